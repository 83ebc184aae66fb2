package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Option changes one call.
type Option func(http.Header)

// WithIdempotencyKey names the request, so that another process, or this one
// after a restart, can repeat it and get the same job. Without it every call has
// a key of its own.
func WithIdempotencyKey(key string) Option {
	// Quoted, so that a key of any characters is read as it was given.
	return func(h http.Header) { h.Set("Idempotency-Key", quote(key)) }
}

// WithWait asks the server to answer [Client.Enqueue] only when the job is at
// rest, or after d, at most a minute. It saves a short job a second request.
func WithWait(d time.Duration) Option {
	return func(h http.Header) { h.Set("Prefer", "wait="+strconv.Itoa(int(d/time.Second))) }
}

// IfVersion has a verb refused ([IsVersionMismatch]) when the job has changed
// since that version.
func IfVersion(version int64) Option {
	return func(h http.Header) { h.Set("If-Match", `"`+strconv.FormatInt(version, 10)+`"`) }
}

func header(options []Option) http.Header {
	h := http.Header{}
	for _, option := range options {
		option(h)
	}
	return h
}

// keyed is header with an idempotency key in any case.
func keyed(options []Option) http.Header {
	h := header(options)
	if h.Get("Idempotency-Key") == "" {
		WithIdempotencyKey(rand.Text())(h)
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

// Enqueue asks for a job. Once it has returned without an error, the job is the
// server's worry.
func (c *Client) Enqueue(ctx context.Context, draft tasks.Draft, options ...Option) (*Job, error) {
	body, err := json.Marshal(draft)
	if err != nil {
		return nil, fmt.Errorf("easel: encode request: %w", err)
	}
	return fetch[Job](ctx, c, call{
		method: http.MethodPost, path: []string{"v1", "jobs"}, header: keyed(options), body: body, repeatable: true,
	})
}

// BatchResult is what became of one request of a batch: the job, or why there is
// none.
type BatchResult struct {
	Status  int      `json:"status"`
	Job     *Job     `json:"job"`
	Problem *Problem `json:"error"`
}

// EnqueueBatch asks for up to 1,000 jobs and returns what became of each, in
// order. One bad request does not sink the others: the error is only about the
// batch as a whole.
func (c *Client) EnqueueBatch(ctx context.Context, drafts []tasks.Draft, options ...Option) ([]BatchResult, error) {
	body, err := json.Marshal(map[string]any{"jobs": drafts})
	if err != nil {
		return nil, fmt.Errorf("easel: encode batch: %w", err)
	}
	answer, err := fetch[struct {
		Results []BatchResult `json:"results"`
	}](ctx, c, call{
		method: http.MethodPost, path: []string{"v1", "jobs", "batch"}, header: keyed(options), body: body, repeatable: true,
	})
	if err != nil {
		return nil, err
	}
	if len(answer.Results) != len(drafts) {
		return nil, fmt.Errorf("easel: the server answered %d of %d requests", len(answer.Results), len(drafts))
	}
	return answer.Results, nil
}

// Get returns a job as it is now.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) {
	return fetch[Job](ctx, c, call{method: http.MethodGet, path: []string{"v1", "jobs", id}, repeatable: true})
}

// Query selects jobs. Zero fields do not filter.
type Query struct {
	Statuses      []tasks.Status
	UserID        string
	FeatureType   tasks.Feature
	ProviderID    string
	CreatedAfter  time.Time // inclusive
	CreatedBefore time.Time // exclusive
	Limit         int       // of one page, 1 to 100; 0 is the server's default
	Cursor        string    // NextCursor of the page before
	IncludeInput  bool      // lists leave input_data out otherwise
}

// Page is one page of jobs, newest first. It may be short, even empty, while
// there is a NextCursor.
type Page struct {
	Jobs       []Job
	NextCursor string // empty after the last page
}

// List returns a page of jobs.
func (c *Client) List(ctx context.Context, query Query) (*Page, error) {
	answer, err := fetch[struct {
		Jobs       []Job   `json:"jobs"`
		NextCursor *string `json:"next_cursor"`
	}](ctx, c, call{method: http.MethodGet, path: []string{"v1", "jobs"}, query: query.values(), repeatable: true})
	if err != nil {
		return nil, err
	}
	page := &Page{Jobs: answer.Jobs}
	if answer.NextCursor != nil {
		page.NextCursor = *answer.NextCursor
	}
	return page, nil
}

// All yields every job that the query selects, page by page. It stops after the
// first error.
func (c *Client) All(ctx context.Context, query Query) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		for {
			page, err := c.List(ctx, query)
			if err != nil {
				yield(Job{}, err)
				return
			}
			for _, job := range page.Jobs {
				if !yield(job, nil) {
					return
				}
			}
			if page.NextCursor == "" {
				return
			}
			query.Cursor = page.NextCursor
		}
	}
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
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.IncludeInput {
		v.Set("include", "input")
	}
	return v
}

// Cancel ends a job. One that is already canceled is no error; one that is
// completed or failed is a conflict.
func (c *Client) Cancel(ctx context.Context, id string, options ...Option) (*Job, error) {
	return fetch[Job](ctx, c, call{
		method: http.MethodPost, path: []string{"v1", "jobs", id, "cancel"}, header: header(options), repeatable: true,
	})
}

// RetryMode says what a retry may do.
type RetryMode string

// The modes of [Client.Retry].
const (
	RetryDefault RetryMode = ""           // resume when there is something to resume, else regenerate
	Resume       RetryMode = "resume"     // look up, poll or download again; buys nothing
	Regenerate   RetryMode = "regenerate" // ask the provider anew
)

// Retry starts a failed or unresolved job again.
func (c *Client) Retry(ctx context.Context, id string, mode RetryMode, options ...Option) (*Job, error) {
	body, err := json.Marshal(struct {
		Mode RetryMode `json:"mode,omitempty"`
	}{mode})
	if err != nil {
		return nil, fmt.Errorf("easel: encode retry: %w", err)
	}
	return fetch[Job](ctx, c, call{
		method: http.MethodPost, path: []string{"v1", "jobs", id, "retry"}, header: keyed(options), body: body, repeatable: true,
	})
}

// Resolution says what became of a submission whose answer was lost; see
// [NotCreated] and [Created].
type Resolution struct {
	Outcome  string `json:"outcome"`
	RemoteID string `json:"remote_id,omitempty"`
}

// NotCreated says that the provider never got the submission: it may be sent
// again.
func NotCreated() Resolution { return Resolution{Outcome: "not_created"} }

// Created says under which id the provider has the submission.
func Created(remoteID string) Resolution { return Resolution{Outcome: "created", RemoteID: remoteID} }

// Resolve settles an unresolved job. The key needs the scope "operate".
func (c *Client) Resolve(ctx context.Context, id string, resolution Resolution, options ...Option) (*Job, error) {
	body, err := json.Marshal(resolution)
	if err != nil {
		return nil, fmt.Errorf("easel: encode resolution: %w", err)
	}
	return fetch[Job](ctx, c, call{
		method: http.MethodPost, path: []string{"v1", "jobs", id, "resolve"}, header: header(options), body: body,
	})
}

// Delete erases a job at rest: its record, inputs and artifacts.
func (c *Client) Delete(ctx context.Context, id string, options ...Option) error {
	response, tries, err := c.do(ctx, call{
		method: http.MethodDelete, path: []string{"v1", "jobs", id}, header: header(options), repeatable: true,
	})
	if err != nil {
		if tries > 1 && IsNotFound(err) {
			return nil // an earlier try had erased it, and its answer was lost
		}
		return err
	}
	return response.Body.Close()
}
