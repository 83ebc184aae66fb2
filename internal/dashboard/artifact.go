package dashboard

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strconv"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// inline are the media types that a browser may show. Everything else is handed
// over as a file, since it could be a page with scripts.
var inline = []string{
	"image/png", "image/jpeg", "image/webp", "image/gif", "image/avif",
	"video/mp4", "video/webm", "audio/wav", "audio/x-wav", "audio/mpeg", "audio/ogg",
}

// showArtifact serves a file that a job produced, with ranges, so that videos
// can be sought in.
func (s *server) showArtifact(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.Atoi(r.PathValue("index"))
	if err != nil || index < 0 {
		s.showMissing(w, r)
		return
	}
	job, ok := s.findJob(w, r)
	if !ok {
		return
	}
	artifact, reader, err := s.Jobs.OpenArtifact(r.Context(), job.Tenant, job.ID, index)
	switch {
	case errors.Is(err, orchestrator.ErrNotFound), errors.Is(err, orchestrator.ErrNoArtifact):
		s.showProblem(w, r, http.StatusNotFound, "This file is not in storage any more.")
		return
	case err != nil:
		s.Logger.Error("dashboard artifact", zap.String("job", job.ID), zap.Int("index", index), zap.Error(err))
		s.showProblem(w, r, http.StatusInternalServerError, "This file could not be read. The log says why.")
		return
	}
	defer reader.Close()

	h := w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "private, max-age=3600")
	if artifact.SHA256 != "" {
		h.Set("ETag", strconv.Quote(artifact.SHA256))
	}
	name := fmt.Sprintf("%s-%d%s", job.ID, index, path.Ext(artifact.Key))
	if slices.Contains(inline, artifact.MediaType) {
		h.Set("Content-Type", artifact.MediaType)
		h.Set("Content-Disposition", "inline; filename="+strconv.Quote(name))
	} else {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", "attachment; filename="+strconv.Quote(name))
	}
	http.ServeContent(w, r, "", reader.ModTime(), reader)
}
