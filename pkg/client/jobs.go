package client

import (
	"context"
	"iter"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Enqueue asks for a job. Once it has returned without an error, the job is
// Easel's worry.
func (c *Client) Enqueue(ctx context.Context, draft tasks.Draft, options ...Option) (*Job, error) {
	draft, err := c.complete(ctx, draft)
	if err != nil {
		return nil, err
	}
	return c.transport.enqueue(ctx, draft, gatherKeyed(options))
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
	completed := make([]tasks.Draft, len(drafts))
	for i, draft := range drafts {
		var err error
		if completed[i], err = c.complete(ctx, draft); err != nil {
			return nil, err
		}
	}
	return c.transport.enqueueBatch(ctx, completed, gatherKeyed(options))
}

// Get returns a job as it is now.
func (c *Client) Get(ctx context.Context, id string) (*Job, error) { return c.transport.get(ctx, id) }

// Query selects jobs. Zero fields do not filter.
type Query struct {
	Statuses      []tasks.Status
	UserID        string
	FeatureType   tasks.Feature
	ProviderID    string
	CreatedAfter  time.Time // inclusive
	CreatedBefore time.Time // exclusive
	Limit         int       // of one page, 1 to 100; 0 is the default, 20
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
	return c.transport.list(ctx, query)
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

// Watch yields the job as it is now, and again whenever it has changed, until it
// is at rest. Versions may be skipped: what is yielded are states, each newer
// than the one before. A stream that breaks is opened again where it was; after
// too many failures in a row the last value is an error.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[Job, error] {
	return c.transport.watch(ctx, id)
}

// Wait returns the job once it is at rest: completed, failed, canceled or
// unresolved.
func (c *Client) Wait(ctx context.Context, id string) (*Job, error) {
	var last *Job
	for job, err := range c.Watch(ctx, id) {
		if err != nil {
			return last, err
		}
		last = &job
	}
	return last, nil
}

// Cancel ends a job. One that is already canceled is no error; one that is
// completed or failed is a conflict.
func (c *Client) Cancel(ctx context.Context, id string, options ...Option) (*Job, error) {
	return c.transport.cancel(ctx, id, gather(options))
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
	return c.transport.retry(ctx, id, mode, gatherKeyed(options))
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

// Resolve settles an unresolved job. Over HTTP the key needs the scope
// "operate".
func (c *Client) Resolve(ctx context.Context, id string, resolution Resolution, options ...Option) (*Job, error) {
	return c.transport.resolve(ctx, id, resolution, gather(options))
}

// Adoption names a generation that somebody else has started at a provider.
// ProviderID and RemoteID are required; see [Client.Adopt].
type Adoption struct {
	ProviderID string `json:"provider_id"`
	RemoteID   string `json:"remote_id"`
	// FeatureType is what it makes; empty: the first feature that the provider
	// offers, with a warning.
	FeatureType tasks.Feature     `json:"feature_type,omitempty"`
	Model       string            `json:"model,omitempty"`
	UserID      string            `json:"user_id,omitempty"`
	TimeoutMS   *int64            `json:"timeout_ms,omitempty"`
	WebhookURL  string            `json:"webhook_url,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// Adopt makes a generation at a provider a job, by the provider's own id: it is
// polled, and its result is copied and told, like that of any other. Nothing is
// bought for it, now or later. The same id adopted again is the same job. Over
// HTTP the key needs the scope "operate".
func (c *Client) Adopt(ctx context.Context, adoption Adoption) (*Job, error) {
	return c.transport.adopt(ctx, adoption)
}

// Delete erases a job at rest: its record, inputs and artifacts.
func (c *Client) Delete(ctx context.Context, id string, options ...Option) error {
	return c.transport.erase(ctx, id, gather(options))
}
