package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Files is what the API asks of the engine about uploaded files. A file of
// another tenant is orchestrator.ErrNoUpload, like one that does not exist.
type Files interface {
	// Upload stores what r yields. An error of r comes back wrapped, and leaves
	// nothing behind.
	Upload(ctx context.Context, tenant, claimedType string, r io.Reader) (*tasks.Upload, error)
	GetUpload(ctx context.Context, tenant, id string) (*tasks.Upload, error)
	EraseUpload(ctx context.Context, tenant, id string) error
}

// uploadIdle is how long an upload may bring nothing.
const uploadIdle = 30 * time.Second

type uploadInput struct {
	httpRequest
	ContentType string `header:"Content-Type" doc:"What the file is; it counts only where the bytes do not tell" example:"image/png"`
}

type uploadOutput struct {
	Location string `header:"Location" doc:"Where the file is described"`
	Body     tasks.UploadView
}

// upload streams a body into storage: at no time is more of it in memory than a
// few hundred kilobytes.
func (s *server) upload(ctx context.Context, in *uploadInput) (*uploadOutput, error) {
	if err := checkUpload(in.r.Header); err != nil {
		return nil, err
	}
	limit := s.Limits.FileBytes
	if in.r.ContentLength > limit {
		return nil, fileTooLarge(limit)
	}
	tenant := exchangeOf(ctx).tenant
	if !s.uploads.take(tenant) {
		return nil, unavailable("Too many files are being uploaded.", 5, nil)
	}
	defer s.uploads.give(tenant)
	body := &arriving{
		r: http.MaxBytesReader(in.w, in.r.Body, limit), w: in.w, limit: limit,
		idle: s.uploadIdle, end: time.Now().Add(s.Limits.UploadTime),
	}
	u, err := s.Files.Upload(ctx, tenant, claimedType(in.r.Header), body)
	if err != nil {
		return nil, problem(err)
	}
	setReadDeadline(in.w, time.Time{})
	return &uploadOutput{Location: "/v1/files/" + u.ID, Body: u.View()}, nil
}

func fileTooLarge(limit int64) *Problem {
	return newProblem(codeTooLarge, fmt.Sprintf("A file may have up to %d bytes.", limit))
}

// checkUpload refuses bodies that are something around the file.
func checkUpload(header http.Header) error {
	if encoding := header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return newProblem(codeUnsupportedType, "The body must not be compressed.")
	}
	if mediaType, _, _ := mime.ParseMediaType(header.Get("Content-Type")); strings.HasPrefix(mediaType, "multipart/") {
		return newProblem(codeUnsupportedType, "The body must be the file itself, not a form.")
	}
	return nil
}

// claimedType is what the caller says that the file is. What curl says of every
// body is no claim.
func claimedType(header http.Header) string {
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil || mediaType == "application/x-www-form-urlencoded" {
		return ""
	}
	return mediaType
}

// arriving is a body on its way. Each read may wait for a while, all of them
// together for a longer one; its errors are problems.
type arriving struct {
	r     io.Reader
	w     http.ResponseWriter
	limit int64
	idle  time.Duration
	end   time.Time
}

// Read implements [io.Reader].
func (a *arriving) Read(p []byte) (int, error) {
	deadline := time.Now().Add(a.idle)
	if deadline.After(a.end) {
		deadline = a.end
	}
	setReadDeadline(a.w, deadline)
	n, err := a.r.Read(p)
	var exceeded *http.MaxBytesError
	switch {
	case err == nil, errors.Is(err, io.EOF):
		return n, err
	case errors.As(err, &exceeded):
		return n, fileTooLarge(a.limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return n, newProblem(codeMalformed, "The file did not arrive in time.")
	default:
		return n, newProblem(codeMalformed, "The body ended before it was complete.")
	}
}

type filePath struct {
	ID string `path:"id" doc:"The file"`
}

type fileOutput struct {
	Body tasks.UploadView
}

func (s *server) getFile(ctx context.Context, in *filePath) (*fileOutput, error) {
	u, err := s.Files.GetUpload(ctx, exchangeOf(ctx).tenant, in.ID)
	if err != nil {
		return nil, problem(err)
	}
	return &fileOutput{Body: u.View()}, nil
}

func (s *server) deleteFile(ctx context.Context, in *filePath) (*struct{}, error) {
	if err := s.Files.EraseUpload(ctx, exchangeOf(ctx).tenant, in.ID); err != nil {
		return nil, problem(err)
	}
	return nil, nil
}
