package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

var (
	errUnknownKind = errors.New("this release does not know the kind of task")
	errStopped     = errors.New("worker has stopped")
	errPanicked    = errors.New("handler panicked")
)

// putBackDelay is how long a task waits that only a newer release can run.
const putBackDelay = 30 * time.Second

// runner hands asynq's tasks to the orchestrator, and knows which of them still
// run: asynq gives a handler up when its time is over, but the handler goes on.
type runner struct {
	handler orchestrator.Handler
	hooks   Hooks
	logger  *zap.Logger

	mu      sync.Mutex
	stopped bool
	running sync.WaitGroup
}

// ProcessTask implements [asynq.Handler].
func (r *runner) ProcessTask(ctx context.Context, received *asynq.Task) error {
	if !r.begin() {
		return &delayed{err: errStopped}
	}
	defer r.running.Done()

	queue, _ := asynq.GetQueueName(ctx)
	task, err := decode(received.Type(), queue, received.Payload())
	switch {
	case errors.Is(err, errUnknownKind):
		r.putBack(ctx, received.Type())
		return &delayed{err: err, delay: putBackDelay}
	case err != nil:
		return settle(orchestrator.Archive(err))
	}
	return settle(r.handle(ctx, task))
}

func (r *runner) handle(ctx context.Context, task tasks.Task) orchestrator.Outcome {
	if r.hooks.Handle == nil {
		return r.handler.Handle(ctx, task)
	}
	// asynq turns a panic into a retry; the hook is told of it all the same.
	outcome := orchestrator.Retry(errPanicked, unaskedDelay)
	ctx, ended := r.hooks.Handle(ctx, task)
	defer func() { ended(outcome) }()
	outcome = r.handler.Handle(ctx, task)
	return outcome
}

func (r *runner) putBack(ctx context.Context, kind string) {
	id, _ := asynq.GetTaskID(ctx)
	r.logger.Warn("task put back for a newer release", zap.String("task", id), zap.String("kind", kind))
	if r.hooks.PutBack != nil {
		r.hooks.PutBack(kind)
	}
}

// decode reads a task. A kind that is not ours comes from a newer release; a
// payload that cannot be read never will be.
func decode(kind, queue string, payload []byte) (tasks.Task, error) {
	if !slices.Contains(tasks.Kinds, tasks.Kind(kind)) {
		return tasks.Task{}, fmt.Errorf("%w %q", errUnknownKind, kind)
	}
	var task tasks.Task
	if err := json.Unmarshal(payload, &task); err != nil {
		return tasks.Task{}, fmt.Errorf("payload of %s is not a task: %w", kind, err)
	}
	if task.JobID == "" {
		return tasks.Task{}, fmt.Errorf("payload of %s names no job", kind)
	}
	task.Kind, task.Queue = tasks.Kind(kind), queue
	return task, nil
}

// begin counts a handler in, unless wait was called.
func (r *runner) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return false
	}
	r.running.Add(1)
	return true
}

// wait returns once the last handler has ended, and lets none begin.
func (r *runner) wait() {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.running.Wait()
}
