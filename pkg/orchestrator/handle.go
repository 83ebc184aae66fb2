package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// putBackDelay is how long a task waits that this release or this worker cannot
// handle; another one may.
const putBackDelay = 30 * time.Second

// early is how much too early asynq may run a task: its scores are whole
// seconds.
const early = 1500 * time.Millisecond

// Handle implements [Handler]: it runs one step of one job. What it answers is
// a function of the record, so a task that is delivered twice gets the same
// answer twice.
func (e *Engine) Handle(ctx context.Context, task tasks.Task) Outcome {
	job, err := e.Store.Claim(ctx, task, e.Timings.Lease)
	switch {
	case errors.Is(err, ErrNotFound):
		return Done // erased, or purged
	case errors.Is(err, ErrNewerSchema):
		e.Observer.PutBack("newer_schema")
		return Retry(err, putBackDelay)
	case err != nil:
		return Retry(err, 2*time.Second)
	}
	defer e.tending.begin(job.ID)()
	switch task.Kind {
	case tasks.KindDeliver:
		return e.deliver(ctx, job, task)
	case tasks.KindRevoke:
		return e.tellProvider(ctx, job, task)
	}
	if task.Step != job.Step || task.Gen != job.Gen || task.Kind != job.Kind {
		return e.passed(ctx, job, task)
	}
	switch task.Kind {
	case tasks.KindSubmit:
		return e.submit(ctx, job)
	case tasks.KindLookup:
		return e.lookUp(ctx, job)
	case tasks.KindPoll:
		return e.poll(ctx, job)
	case tasks.KindFinalize:
		return e.finalize(ctx, job)
	default:
		e.Observer.PutBack("unknown_kind")
		return Retry(fmt.Errorf("task kind %q is not known to this release", task.Kind), putBackDelay)
	}
}

// passed answers a task whose step the job has passed. It repeats the answer
// that the step got, and makes sure that the job's next step exists, since this
// may be the redelivery of a handler that died before it could enqueue it.
func (e *Engine) passed(ctx context.Context, job *tasks.Job, task tasks.Task) Outcome {
	if job.Kind != "" && job.Step > task.Step {
		state, err := e.Queue.State(ctx, job.MainTask(0))
		if err == nil && state == TaskMissing {
			e.enqueue(ctx, job)
		}
	}
	return e.verdict(job, task.Step)
}

// verdict is what the record says about a step that has been taken.
func (e *Engine) verdict(job *tasks.Job, step int64) Outcome {
	if job.ArchivedStep == step && job.Error != nil {
		return Archive(failureError(job.Error))
	}
	return Done
}

// conclude enqueues what a change made due and answers the task of the step
// that the handler was called for.
func (e *Engine) conclude(ctx context.Context, before, after *tasks.Job) Outcome {
	e.follow(ctx, before, after)
	if after.Step == before.Step && after.Kind == before.Kind && after.Kind != "" {
		return e.waiting(after)
	}
	return e.verdict(after, before.Step)
}

// waiting answers a task whose step is not over: it goes to asynq's retry set
// with the error that it waits for.
func (e *Engine) waiting(job *tasks.Job) Outcome {
	return Retry(failureError(lastFailure(job)), max(job.Due.Sub(e.Store.Now()), 0))
}

// lastFailure is the newest failure that the record holds.
func lastFailure(job *tasks.Job) *tasks.Failure {
	var newest *tasks.Failure
	for i := range job.Submissions {
		if f := job.Submissions[i].Error; f != nil && (newest == nil || !f.At.Before(newest.At)) {
			newest = f
		}
	}
	return newest
}

// failureError is a recorded failure as an error again.
func failureError(f *tasks.Failure) error {
	if f == nil {
		return &classify.Error{Class: classify.Unknown, Message: "the step is to be taken again"}
	}
	return &classify.Error{Class: f.Class, Code: f.Code, Message: f.Message, Status: f.ProviderStatus, Provider: f.ProviderID}
}
