package orchestrator

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// How input files reach the provider: as bytes that the adapter sends, or, where
// the provider takes a file only by fetching it, as a URL of ours.

// linkSlack is how long beyond its job's deadline a provider may fetch a file: it
// may still be at work, and what it makes then is a late result.
const linkSlack = time.Hour

// inputFiles are the files of the job's input as the provider takes them. The
// bytes of those that it fetches are not read.
func (e *Engine) inputFiles(ctx context.Context, job *tasks.Job, takes providers.Capabilities) ([]providers.File, error) {
	files := make([]providers.File, 0, len(job.Request.Files))
	for i, f := range job.Request.Files {
		file := providers.File{Pointer: f.Pointer, MediaType: f.MediaType, SHA256: f.SHA256}
		var err error
		if takes.Fetches(f.Bytes) && e.InputLinks != nil {
			file.URL = e.InputLinks.Input(job.ID, i, e.linkEnd(job))
		} else if file.Data, err = e.readArtifact(ctx, f.Key); err != nil {
			return nil, fmt.Errorf("input %s: %w", f.Pointer, err)
		}
		files = append(files, file)
	}
	return files, nil
}

// linkEnd is until when a provider may need the job's files. No link lasts longer
// than the longest job.
func (e *Engine) linkEnd(job *tasks.Job) time.Time {
	end, latest := job.Deadline, e.Store.Now().Add(maxTimeout)
	if end.After(latest) {
		end = latest
	}
	return end.Add(linkSlack)
}

func (e *Engine) readArtifact(ctx context.Context, key string) ([]byte, error) {
	r, err := e.Artifacts.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // read to its end or given up: nothing is lost
	return io.ReadAll(r)
}

// checkHandover refuses files that the provider could only fetch from a server
// that nobody outside can reach. It answers *InvalidError.
func (e *Engine) checkHandover(entry providers.Entry, files []tasks.File) error {
	invalid := &InvalidError{}
	takes := entry.Provider.Capabilities()
	for _, f := range files {
		switch {
		case e.InputLinks != nil || !takes.Fetches(f.Bytes):
		case takes.Files == providers.HandoverURL:
			invalid.add("/input_data"+f.Pointer, providers.NeedsPublicURL)
		default:
			invalid.add("/input_data"+f.Pointer, "has more than the %d bytes that the provider takes inside a request, and %s",
				takes.LargestInline, providers.NeedsPublicURL)
		}
	}
	return invalid.orNil()
}
