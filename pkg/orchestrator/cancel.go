package orchestrator

import (
	"context"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Cancel ends a job for good: nothing retries it. The record decides; the
// provider is told afterwards, if it can be. A job that is canceled already is
// returned as it is; a completed or failed one is a conflict. ifVersion is the
// version that the caller has seen, 0 for any.
func (e *Engine) Cancel(ctx context.Context, tenant, id string, ifVersion int64) (*tasks.Job, error) {
	job, err := e.Get(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	return e.cancel(ctx, job, ifVersion)
}

func (e *Engine) cancel(ctx context.Context, job *tasks.Job, ifVersion int64) (*tasks.Job, error) {
	first := job
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		if err := checkVersion(next, ifVersion); err != nil {
			return err
		}
		switch next.State {
		case tasks.Canceled:
			return errUnchanged
		case tasks.Completed, tasks.Failed:
			return conflict(CodeJobFinal, "the job is %s already", next.State.Status())
		}
		return e.cancelMove(next, now)
	})
	if err != nil {
		return nil, err
	}
	e.drop(ctx, first, after)
	e.follow(ctx, first, after)
	return after, nil
}

func (e *Engine) cancelMove(job *tasks.Job, now time.Time) error {
	if err := job.Move(tasks.EventCancel, tasks.Canceled); err != nil {
		return err
	}
	job.Error = &tasks.Failure{Class: classify.Canceled, Code: "canceled", Message: "canceled by its caller", At: now}
	job.Progress.Message = "canceled"
	job.Progress.ETA = time.Time{}
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Live() && !s.Succeeded {
			e.revoke(job, s, now)
		}
	}
	e.replan(job, now)
	return nil
}

// drop takes the task of a step that was passed from the queue, so that it does
// not wait there for nothing. An active one, or one that is not found, does no
// harm: its step has passed.
func (e *Engine) drop(ctx context.Context, before, after *tasks.Job) {
	if before.Kind == "" || (before.Step == after.Step && before.Gen == after.Gen) {
		return
	}
	if err := e.Queue.Delete(ctx, before.MainTask(0)); err != nil {
		e.Observer.Failed("delete a passed task", before.ID, err)
	}
}

func checkVersion(job *tasks.Job, ifVersion int64) error {
	if ifVersion != 0 && job.Version != ifVersion {
		return ErrVersion
	}
	return nil
}

// expire fails a job whose time is over. What is still alive at a provider is
// kept and attached late.
func (e *Engine) expire(ctx context.Context, job *tasks.Job) Outcome {
	after, err := e.change(ctx, job, e.deadlineMove)
	if err != nil {
		return Retry(err, 2*time.Second)
	}
	return e.conclude(ctx, job, after)
}

func (e *Engine) deadlineMove(job *tasks.Job, now time.Time) error {
	if job.State.AtRest() || now.Before(job.Deadline) {
		return errUnchanged
	}
	return e.fail(job, tasks.EventDeadline, &tasks.Failure{
		Class: classify.Timeout, Code: "deadline_exceeded", ProviderID: job.ProviderID, At: now,
		Message: "the job was not done within its timeout of " + job.Request.Timeout.String(),
	}, now)
}
