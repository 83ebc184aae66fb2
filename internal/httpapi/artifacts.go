package httpapi

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

type artifactInput struct {
	httpRequest
	ID          string `path:"id" doc:"The job"`
	Index       string `path:"n" doc:"The artifact's index" example:"0"`
	Range       string `header:"Range" doc:"The bytes that are wanted" example:"bytes=0-1023"`
	IfNoneMatch string `header:"If-None-Match" doc:"The ETag of what is known already"`
}

// getArtifact serves a job's file, whole or in ranges.
func (s *server) getArtifact(ctx context.Context, in *artifactInput) (*huma.StreamResponse, error) {
	index, err := strconv.Atoi(in.Index)
	if err != nil || index < 0 {
		return nil, newProblem(codeNotFound, "There is no such artifact.")
	}
	x := exchangeOf(ctx)
	artifact, content, err := s.Jobs.OpenArtifact(ctx, x.tenant, in.ID, index)
	if err != nil {
		return nil, problem(err)
	}
	f := storedFile{
		name: fileName(in.ID, strconv.Itoa(index)), mediaType: artifact.MediaType, sha256: artifact.SHA256, shared: x.tenant == anyTenant,
	}
	return s.serveFile(in.httpRequest, f, content), nil
}

type inputFileInput struct {
	httpRequest
	ID          string `path:"id" doc:"The job"`
	Index       string `path:"n" doc:"The number of the file, as it stands in input_data under $file" example:"0"`
	Range       string `header:"Range" doc:"The bytes that are wanted" example:"bytes=0-1023"`
	IfNoneMatch string `header:"If-None-Match" doc:"The ETag of what is known already"`
}

// getInput serves a file that a job is made from: to the provider, which has a
// signed link, and to the job's owner.
func (s *server) getInput(ctx context.Context, in *inputFileInput) (*huma.StreamResponse, error) {
	index, err := strconv.Atoi(in.Index)
	if err != nil || index < 0 {
		return nil, newProblem(codeNotFound, "There is no such input file.")
	}
	x := exchangeOf(ctx)
	file, content, err := s.Jobs.OpenInput(ctx, x.tenant, in.ID, index)
	switch {
	case errors.Is(err, orchestrator.ErrNotFound), errors.Is(err, orchestrator.ErrNoArtifact):
		return nil, newProblem(codeNotFound, "There is no such input file.")
	case err != nil:
		return nil, problem(err)
	}
	f := storedFile{
		name: fileName(in.ID, "input-"+strconv.Itoa(index)), mediaType: file.MediaType, sha256: file.SHA256, shared: x.tenant == anyTenant,
	}
	return s.serveFile(in.httpRequest, f, content), nil
}

// serveFile answers with a stored file, whole or in ranges, and closes it.
func (s *server) serveFile(in httpRequest, f storedFile, content orchestrator.ArtifactReader) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(huma.Context) {
		defer content.Close()
		f.describe(in.w.Header())
		out := &contentWriter{ResponseWriter: in.w}
		http.ServeContent(out, in.r, "", content.ModTime(), content)
		if out.refused {
			in.w.Header().Del("Content-Disposition") // it is of the file
			s.writeProblem(in.w, in.r, newProblem(codeNoRange, "The file has no such range."))
		}
	}}
}

// contentWriter lets through what http.ServeContent writes, but for its refusal
// of a range, which is plain text.
type contentWriter struct {
	http.ResponseWriter
	refused bool
}

func (w *contentWriter) WriteHeader(status int) {
	if w.refused = status == http.StatusRequestedRangeNotSatisfiable; !w.refused {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *contentWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// extensions are the file types that a browser may show in place, and how their
// files are called. Everything else, above all what can carry scripts (SVG,
// HTML, PDF), is a download.
var extensions = map[string]string{
	"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "image/gif": "gif", "image/avif": "avif",
	"video/mp4": "mp4", "audio/mp4": "m4a", "video/webm": "webm", "audio/webm": "weba",
	"audio/wav": "wav", "audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav",
	"audio/mpeg": "mp3", "audio/mp3": "mp3",
	"audio/ogg": "ogg", "video/ogg": "ogv", "application/ogg": "ogg",
}

// downloads are extensions of what is never shown in place.
var downloads = map[string]string{
	"image/svg+xml": "svg", "text/html": "html", "application/pdf": "pdf", "application/json": "json",
	"text/plain": "txt", "application/zip": "zip", "model/gltf-binary": "glb",
}

// storedFile is a file that somebody else made, as it is served.
type storedFile struct {
	name      string // without the extension
	mediaType string
	sha256    string
	shared    bool // by a signed link
}

// describe writes the file's headers. Whatever it holds, a browser runs nothing
// of it: its type is final, it lives in a sandbox without an origin, and it is
// embedded elsewhere only by a signed link.
func (f storedFile) describe(header http.Header) {
	mediaType, _, err := mime.ParseMediaType(f.mediaType)
	if err != nil {
		mediaType = "application/octet-stream"
	}
	disposition, extension := "attachment", downloads[mediaType]
	if inline, ok := extensions[mediaType]; ok {
		disposition, extension = "inline", inline
	}
	if extension == "" {
		extension = "bin"
	}
	resourcePolicy := "same-origin"
	if f.shared {
		resourcePolicy = "cross-origin"
	}
	header.Set("Content-Type", mediaType)
	header.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": f.name + "." + extension}))
	header.Set("ETag", `"`+f.sha256+`"`)
	header.Set("Cache-Control", "private, no-cache") // a retry may bring other bytes
	header.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	header.Set("Cross-Origin-Resource-Policy", resourcePolicy)
	header.Set("X-Content-Type-Options", "nosniff")
}

// fileName is safe on every file system: the job's id, and which of its files.
func fileName(jobID, which string) string {
	name := strings.Map(func(r rune) rune {
		if r < 128 && isNameByte(byte(r)) && r != '.' {
			return r
		}
		return '_'
	}, jobID)
	return name + "-" + which
}
