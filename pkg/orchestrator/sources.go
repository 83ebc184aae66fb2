package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// sourceTime bounds how long one file that a request names by URL may take: its
// caller is waiting.
const sourceTime = 30 * time.Second

// sources opens what the requests of a tenant name as files. What does not exist
// and what belongs to somebody else is refused in the same words.
func (e *Engine) sources(tenant string) OpenSource {
	return func(ctx context.Context, source tasks.Source) (io.ReadCloser, string, error) {
		switch {
		case source.Upload != "":
			return e.openUpload(ctx, tenant, source.Upload)
		case source.Job != "":
			return e.openArtifactOf(ctx, tenant, source.Job, source.Artifact)
		default:
			return e.openURL(ctx, source.URL)
		}
	}
}

func refuseSource(format string, args ...any) error {
	return &classify.Error{Class: classify.Validation, Code: "source_refused", Message: fmt.Sprintf(format, args...)}
}

func (e *Engine) openUpload(ctx context.Context, tenant, id string) (io.ReadCloser, string, error) {
	u, err := e.GetUpload(ctx, tenant, id)
	var r ArtifactReader
	if err == nil {
		r, err = e.Artifacts.Open(ctx, u.Key)
	}
	switch {
	case errors.Is(err, ErrNoUpload), errors.Is(err, ErrNoArtifact):
		return nil, "", refuseSource("names no uploaded file, or one that has expired")
	case err != nil:
		return nil, "", err
	}
	return r, u.MediaType, nil
}

func (e *Engine) openArtifactOf(ctx context.Context, tenant, id string, index int) (io.ReadCloser, string, error) {
	// Asked for by its owner: [Engine.OpenArtifact] takes an empty tenant for
	// whoever holds a signed link.
	_, err := e.Get(ctx, tenant, id)
	var artifact tasks.Artifact
	var r ArtifactReader
	if err == nil {
		artifact, r, err = e.OpenArtifact(ctx, tenant, id, index)
	}
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrNoArtifact):
		return nil, "", refuseSource("names no job, or no artifact that it has")
	case err != nil:
		return nil, "", err
	}
	return r, artifact.MediaType, nil
}

// openURL fetches what a URL names, through the guard.
func (e *Engine) openURL(ctx context.Context, url string) (io.ReadCloser, string, error) {
	if e.Sources == nil {
		return nil, "", refuseSource("names a URL, and this server fetches none")
	}
	ctx, cancel := context.WithTimeout(ctx, sourceTime)
	select {
	case e.fetches <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return nil, "", fmt.Errorf("%w: too many files are being fetched", ErrUnavailable)
	}
	end := func() { cancel(); <-e.fetches }
	body, err := e.Sources.Fetch(ctx, url)
	if err != nil {
		defer end()
		return nil, "", unfetched(ctx, err)
	}
	return &sourceBody{body, ctx, end}, body.MediaType(), nil
}

// sourceBody is a file that arrives from a URL.
type sourceBody struct {
	providers.Body
	ctx context.Context //nolint:containedctx // it is the body's: reading has no other
	end func()
}

// Read implements [io.Reader].
func (b *sourceBody) Read(p []byte) (int, error) {
	n, err := b.Body.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = unfetched(b.ctx, err)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *sourceBody) Close() error {
	defer b.end()
	return b.Body.Close()
}

// unfetched makes the failure to fetch a URL its caller's to mend, unless it is
// the caller who has gone.
func unfetched(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return context.Canceled
	}
	info := classify.Classify(err)
	if info.Class == classify.Validation {
		return refuseSource("cannot be fetched: %s", info.Message)
	}
	return refuseSource("could not be fetched: %s", info.Message)
}

// standIns shows a provider that checks an input the files that it names as what
// will take their place.
func standIns(input map[string]any) map[string]any {
	shown, _ := standIn(input).(map[string]any)
	return shown
}

func standIn(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, is, err := tasks.SourceOf(v); is || err != nil {
			return map[string]any{"$file": 0.0}
		}
		shown := make(map[string]any, len(v))
		for key, item := range v {
			shown[key] = standIn(item)
		}
		return shown
	case []any:
		shown := make([]any, len(v))
		for i, item := range v {
			shown[i] = standIn(item)
		}
		return shown
	default:
		return v
	}
}
