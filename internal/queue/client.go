package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// maxRetry is far above any budget: the job's record decides when enough is
// enough, asynq's counter never does.
const maxRetry = 1000

// DefaultTaskTimeout is how long asynq waits for a handler when nobody says
// otherwise.
const DefaultTaskTimeout = 10 * time.Minute

// Client puts tasks on the queue and asks after them. It implements
// [orchestrator.Queue].
type Client struct {
	rdb       redis.UniversalClient
	client    *asynq.Client
	inspector *asynq.Inspector
	timeout   time.Duration
	retention time.Duration
	now       func() time.Time
}

var _ orchestrator.Queue = (*Client)(nil)

// ClientOption changes a setting of a [Client].
type ClientOption func(*Client)

// WithTaskTimeout sets how long asynq waits for the handler of a task before it
// gives the task to another. It must exceed the longest handler: asynq stops
// waiting, but it cannot stop the handler.
func WithTaskTimeout(d time.Duration) ClientOption {
	return func(c *Client) { c.timeout = max(d, time.Second) }
}

// WithRetention keeps finished tasks for operators to see. Nothing relies on
// it; by default they vanish.
func WithRetention(d time.Duration) ClientOption {
	return func(c *Client) { c.retention = d }
}

// WithClock sets whose time the tasks are given: that of Redis, so that processes
// whose clocks differ agree on what is due. By default it is this machine's.
func WithClock(now func() time.Time) ClientOption {
	return func(c *Client) { c.now = now }
}

// NewClient returns a Client on rdb, which stays the caller's to close, and gets
// a hook that rings for the tasks that are enqueued. It must not be the client
// given to [NewServers].
func NewClient(rdb redis.UniversalClient, options ...ClientOption) *Client {
	c := &Client{rdb: rdb, timeout: DefaultTaskTimeout}
	for _, option := range options {
		option(c)
	}
	rdb.AddHook(ringer{rdb: rdb})
	c.client = asynq.NewClientFromRedisClient(onTime(rdb, c.now))
	c.inspector = asynq.NewInspectorFromRedisClient(onTime(rdb, c.now))
	return c
}

// Enqueue adds the task. A task with the same id that is still to run, or is
// running, counts as success; one that will not run again is
// [orchestrator.ErrTaskTaken].
//
// Any other error leaves open whether the task was added: Redis may have heard
// us and not been heard. Repeating the call with the same task is safe.
func (c *Client) Enqueue(ctx context.Context, task tasks.Task) error {
	payload, err := json.Marshal(task)
	if err != nil {
		return fmt.Errorf("encode task %s: %w", task.ID(), err)
	}
	// A task that ends between the conflict and the look at it has freed its
	// id, so that the second try meets none.
	for range 3 {
		_, err = c.client.EnqueueContext(ctx, asynq.NewTask(string(task.Kind), payload), c.options(task)...)
		if err == nil {
			return nil
		}
		if !errors.Is(err, asynq.ErrTaskIDConflict) {
			return fmt.Errorf("enqueue %s: %w", task.ID(), unavailable(err))
		}
		switch state, err := c.State(ctx, task); {
		case err != nil:
			return fmt.Errorf("enqueue %s, whose id is taken: %w", task.ID(), err)
		case state == orchestrator.TaskActive || state.Waiting():
			return nil
		case state != orchestrator.TaskMissing:
			return fmt.Errorf("enqueue %s: %w (%s)", task.ID(), orchestrator.ErrTaskTaken, state)
		}
	}
	return fmt.Errorf("enqueue %s: %w", task.ID(), err)
}

func (c *Client) options(task tasks.Task) []asynq.Option {
	options := []asynq.Option{
		asynq.TaskID(task.ID()),
		asynq.Queue(queueOf(task)),
		asynq.MaxRetry(maxRetry),
		asynq.Timeout(c.timeout),
		asynq.Retention(c.retention),
	}
	if task.Delay > 0 {
		options = append(options, asynq.ProcessIn(task.Delay))
	}
	return options
}

// queueOf is where the task waits; tasks made by hand may leave it open.
func queueOf(task tasks.Task) string {
	return cmp.Or(task.Queue, task.Kind.Queue(tasks.PriorityDefault))
}

// State says where the task stands.
func (c *Client) State(ctx context.Context, task tasks.Task) (orchestrator.TaskState, error) {
	var info *asynq.TaskInfo
	err := c.inspect(ctx, func() (err error) {
		info, err = c.inspector.GetTaskInfo(queueOf(task), task.ID())
		return err
	})
	switch {
	case missing(err):
		return orchestrator.TaskMissing, nil
	case err != nil:
		return "", fmt.Errorf("state of %s: %w", task.ID(), unavailable(err))
	}
	return orchestrator.TaskState(info.State.String()), nil
}

// RunNow makes a scheduled or retrying task pending. Any other state is no
// error: the task runs anyway, or has run. It looks before it acts, because
// asynq would also run finished tasks again.
func (c *Client) RunNow(ctx context.Context, task tasks.Task) error {
	state, err := c.State(ctx, task)
	if err != nil {
		return fmt.Errorf("run now: %w", err)
	}
	if state != orchestrator.TaskScheduled && state != orchestrator.TaskRetry {
		return nil
	}
	err = c.inspect(ctx, func() error { return c.inspector.RunTask(queueOf(task), task.ID()) })
	if err == nil || missing(err) {
		return nil
	}
	// It became due meanwhile: asynq refuses pending and active tasks.
	if state, stateErr := c.State(ctx, task); stateErr == nil && state != orchestrator.TaskScheduled && state != orchestrator.TaskRetry {
		return nil
	}
	return fmt.Errorf("run %s now: %w", task.ID(), unavailable(err))
}

// Delete removes a task that is not active. A missing one is no error, nor is
// an active one: it is left to its handler, which reads the record before it
// writes.
func (c *Client) Delete(ctx context.Context, task tasks.Task) error {
	err := c.inspect(ctx, func() error { return c.inspector.DeleteTask(queueOf(task), task.ID()) })
	if err == nil || missing(err) {
		return nil
	}
	if state, stateErr := c.State(ctx, task); stateErr == nil && state == orchestrator.TaskActive {
		return nil
	}
	return fmt.Errorf("delete %s: %w", task.ID(), unavailable(err))
}

// inspect makes one call of asynq's inspector, which takes no context and sees
// only announced queues: one that was forgotten is announced and asked again.
func (c *Client) inspect(ctx context.Context, call func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := call()
	if !errors.Is(err, asynq.ErrQueueNotFound) {
		return err
	}
	if err := c.Register(ctx); err != nil {
		return err
	}
	return call()
}

func missing(err error) bool {
	return errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound)
}

// unavailable marks a failure of Redis as such: asynq keeps only the text of it.
func unavailable(err error) error {
	if errors.Is(err, orchestrator.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", orchestrator.ErrUnavailable, err)
}
