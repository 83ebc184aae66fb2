package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// remote is a transport over the HTTP API.
type remote struct {
	repeater
	base      *url.URL
	key       string
	http      *http.Client
	userAgent string
	idle      time.Duration
}

// header is what the options of a call are on the wire.
func (o callOptions) header() http.Header {
	h := http.Header{}
	if o.keyed {
		// Quoted, so that a key of any characters is read as it was given.
		h.Set("Idempotency-Key", quote(o.key))
	}
	if o.waits {
		h.Set("Prefer", "wait="+strconv.Itoa(int(o.wait/time.Second)))
	}
	if o.version != 0 {
		h.Set("If-Match", `"`+strconv.FormatInt(o.version, 10)+`"`)
	}
	return h
}

// quote writes a string as RFC 9651 does.
func quote(s string) string {
	out := make([]byte, 0, len(s)+2)
	out = append(out, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return string(append(out, '"'))
}

func (r *remote) enqueue(ctx context.Context, draft tasks.Draft, o callOptions) (*Job, error) {
	return post[Job](ctx, r, []string{"v1", "jobs"}, draft, o, true)
}

func (r *remote) enqueueBatch(ctx context.Context, drafts []tasks.Draft, o callOptions) ([]BatchResult, error) {
	answer, err := post[struct {
		Results []BatchResult `json:"results"`
	}](ctx, r, []string{"v1", "jobs", "batch"}, map[string]any{"jobs": drafts}, o, true)
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != len(drafts) {
		return nil, fmt.Errorf("easel: the server answered %d of %d requests", len(answer.Results), len(drafts))
	}
	return answer.Results, nil
}

func (r *remote) get(ctx context.Context, id string) (*Job, error) {
	return fetch[Job](ctx, r, call{method: http.MethodGet, path: []string{"v1", "jobs", id}, repeatable: true})
}

func (r *remote) list(ctx context.Context, query Query) (*Page, error) {
	answer, err := fetch[struct {
		Jobs       []Job   `json:"jobs"`
		NextCursor *string `json:"next_cursor"`
	}](ctx, r, call{method: http.MethodGet, path: []string{"v1", "jobs"}, query: query.values(), repeatable: true})
	if err != nil {
		return nil, err
	}
	page := &Page{Jobs: answer.Jobs}
	if answer.NextCursor != nil {
		page.NextCursor = *answer.NextCursor
	}
	return page, nil
}

func (q Query) values() url.Values {
	v := url.Values{}
	for _, status := range q.Statuses {
		v.Add("status", string(status))
	}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("user_id", q.UserID)
	set("feature_type", string(q.FeatureType))
	set("provider_id", q.ProviderID)
	set("cursor", q.Cursor)
	if !q.CreatedAfter.IsZero() {
		v.Set("created_after", q.CreatedAfter.UTC().Format(time.RFC3339Nano))
	}
	if !q.CreatedBefore.IsZero() {
		v.Set("created_before", q.CreatedBefore.UTC().Format(time.RFC3339Nano))
	}
	if q.Limit != 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.IncludeInput {
		v.Set("include", "input")
	}
	return v
}

func (r *remote) cancel(ctx context.Context, id string, o callOptions) (*Job, error) {
	return fetch[Job](ctx, r, call{
		method: http.MethodPost, path: []string{"v1", "jobs", id, "cancel"}, header: o.header(), repeatable: true,
	})
}

func (r *remote) retry(ctx context.Context, id string, mode RetryMode, o callOptions) (*Job, error) {
	body := struct {
		Mode RetryMode `json:"mode,omitempty"`
	}{mode}
	return post[Job](ctx, r, []string{"v1", "jobs", id, "retry"}, body, o, true)
}

func (r *remote) resolve(ctx context.Context, id string, resolution Resolution, o callOptions) (*Job, error) {
	return post[Job](ctx, r, []string{"v1", "jobs", id, "resolve"}, resolution, o, false)
}

func (r *remote) adopt(ctx context.Context, a Adoption) (*Job, error) {
	return post[Job](ctx, r, []string{"v1", "jobs", "adopt"}, a, callOptions{}, true)
}

func (r *remote) erase(ctx context.Context, id string, o callOptions) error {
	response, tries, err := r.do(ctx, call{
		method: http.MethodDelete, path: []string{"v1", "jobs", id}, header: o.header(), repeatable: true,
	})
	if err != nil {
		if tries > 1 && IsNotFound(err) {
			return nil // an earlier try had erased it, and its answer was lost
		}
		return err
	}
	return response.Body.Close()
}

func (r *remote) openArtifact(ctx context.Context, id string, index int) (*Artifact, error) {
	response, _, err := r.do(ctx, call{ //nolint:bodyclose // the caller closes it, as the artifact
		method: http.MethodGet, path: []string{"v1", "jobs", id, "artifacts", strconv.Itoa(index)},
		header: http.Header{"Accept": {"*/*"}}, repeatable: true,
	})
	if err != nil {
		return nil, err
	}
	return &Artifact{
		ReadCloser: response.Body, MediaType: response.Header.Get("Content-Type"), Size: response.ContentLength,
	}, nil
}

func (r *remote) providers(ctx context.Context) ([]Provider, error) {
	answer, err := fetch[struct {
		Providers []Provider `json:"providers"`
	}](ctx, r, call{method: http.MethodGet, path: []string{"v1", "providers"}, repeatable: true})
	if err != nil {
		return nil, err
	}
	return answer.Providers, nil
}

func (r *remote) pauseProvider(ctx context.Context, name string) (*Provider, error) {
	return fetch[Provider](ctx, r, call{method: http.MethodPost, path: []string{"v1", "providers", name, "pause"}, repeatable: true})
}

func (r *remote) resumeProvider(ctx context.Context, name string) (*Provider, error) {
	return fetch[Provider](ctx, r, call{method: http.MethodPost, path: []string{"v1", "providers", name, "resume"}, repeatable: true})
}

func (r *remote) features(ctx context.Context) ([]Feature, error) {
	answer, err := fetch[struct {
		Features []Feature `json:"features"`
	}](ctx, r, call{method: http.MethodGet, path: []string{"v1", "features"}, repeatable: true})
	if err != nil {
		return nil, err
	}
	return answer.Features, nil
}

func (r *remote) register(context.Context, ProviderSpec) error { return errNoWorker }

func (r *remote) backlog(string) (backlog, error) {
	return nil, fmt.Errorf("%w: a named queue lives in Redis; open the client with Connect or Embedded", ErrUnsupported)
}

func (r *remote) close(context.Context) error {
	r.http.CloseIdleConnections()
	return nil
}

// post sends a body and decodes the answer.
func post[T any](ctx context.Context, r *remote, path []string, body any, o callOptions, repeatable bool) (*T, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("easel: encode request: %w", err)
	}
	return fetch[T](ctx, r, call{method: http.MethodPost, path: path, header: o.header(), body: raw, repeatable: repeatable})
}
