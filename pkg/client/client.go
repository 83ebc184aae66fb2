package client

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Job is a job as the API shows it.
type Job = tasks.View

// JobStatus is where a job stands: queued, processing, completed, failed,
// canceled or unresolved; see [tasks.Statuses].
type JobStatus = tasks.Status

// Client speaks to one Easel, whichever way it was opened: [Dial], [Connect] or
// [Embedded]. It is safe for concurrent use. [Client.Close] it when it is no
// longer needed.
type Client struct {
	transport transport
	config    OrchestratorConfig
	catalog   catalog

	closeOnce sync.Once
	closeErr  error
}

// transport carries the verbs to an Easel. What it answers is the same over
// HTTP and through Redis, errors too; conformance_test.go holds both to that.
type transport interface {
	enqueue(ctx context.Context, draft tasks.Draft, o callOptions) (*Job, error)
	enqueueBatch(ctx context.Context, drafts []tasks.Draft, o callOptions) ([]BatchResult, error)
	get(ctx context.Context, id string) (*Job, error)
	list(ctx context.Context, query Query) (*Page, error)
	// watch yields the job whenever it is newer than what was yielded before,
	// until it is at rest.
	watch(ctx context.Context, id string) iter.Seq2[Job, error]
	cancel(ctx context.Context, id string, o callOptions) (*Job, error)
	retry(ctx context.Context, id string, mode RetryMode, o callOptions) (*Job, error)
	resolve(ctx context.Context, id string, resolution Resolution, o callOptions) (*Job, error)
	adopt(ctx context.Context, a Adoption) (*Job, error)
	erase(ctx context.Context, id string, o callOptions) error
	openArtifact(ctx context.Context, id string, index int) (*Artifact, error)
	providers(ctx context.Context) ([]Provider, error)
	pauseProvider(ctx context.Context, name string) (*Provider, error)
	resumeProvider(ctx context.Context, name string) (*Provider, error)
	features(ctx context.Context) ([]Feature, error)
	// register adds a provider to the worker of this process.
	register(ctx context.Context, spec ProviderSpec) error
	// backlog is the list of a named queue.
	backlog(name string) (backlog, error)
	close(ctx context.Context) error
}

// ErrUnsupported is wrapped by the errors of calls that the way in which the
// client was opened does not have: a provider cannot be registered over HTTP,
// for instance.
var ErrUnsupported = errors.New("easel: not possible with this client")

// newClient is a client over the transport, with what its options say of
// requests.
func newClient(t transport, o opening) *Client {
	return &Client{transport: t, config: o.config}
}

// closePatience is how long [Client.Close] waits for work that is under way: no
// paid call is cut short.
const closePatience = 6 * time.Minute

// Close ends what the client has opened: connections, and with [WithWorker] or
// [Embedded] the worker, which finishes what it is at. Jobs go on elsewhere, or
// when an Easel is there again.
func (c *Client) Close() error {
	c.closeOnce.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closePatience)
		defer cancel()
		c.closeErr = c.transport.close(ctx)
	})
	return c.closeErr
}
