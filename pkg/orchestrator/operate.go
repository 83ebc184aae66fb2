package orchestrator

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// RunTask is what an operator's "run" on a task means for its job: a failed job
// is retried, an unresolved one looked up, a waiting step taken now. It applies
// only to the job's current step, or to the one whose task was archived.
func (e *Engine) RunTask(ctx context.Context, taskID string) (*tasks.Job, error) {
	job, step, err := e.jobOfTask(ctx, taskID)
	if err != nil {
		return nil, err
	}
	switch {
	case job.State == tasks.Failed || job.State == tasks.Unresolved:
		if step != job.Step && step != job.ArchivedStep {
			return nil, moved(taskID)
		}
		after, _, err := e.retry(ctx, job, RetryDefault, "", 0)
		return after, err
	case step != job.Step || job.Kind == "":
		return nil, moved(taskID)
	}
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		if next.Step != job.Step {
			return moved(taskID)
		}
		if !next.Due.After(now) {
			return errUnchanged
		}
		if err := next.Move(tasks.EventTold, next.State); err != nil {
			return err
		}
		next.Due = now
		return nil
	})
	if err != nil {
		return nil, err
	}
	return after, e.Queue.RunNow(ctx, after.MainTask(0))
}

// DropTask is what an operator's "delete", "archive" or "cancel" of a waiting or
// running task means for its job: the job is canceled. A task of a step that
// has passed, of a delivery, or of a job at rest changes nothing.
func (e *Engine) DropTask(ctx context.Context, taskID string) (*tasks.Job, error) {
	job, step, err := e.jobOfTask(ctx, taskID)
	if err != nil {
		return nil, err
	}
	if step != job.Step || job.Kind == "" || job.State.AtRest() {
		return nil, moved(taskID)
	}
	return e.cancel(ctx, job, job.Version)
}

// jobOfTask reads a main-lane task's id, <job>:<step>:<gen>, and the job's
// record. A task of a side lane, or of a generation that was given up, has
// nothing to say about the job.
func (e *Engine) jobOfTask(ctx context.Context, taskID string) (*tasks.Job, int64, error) {
	parts := strings.Split(taskID, ":")
	if len(parts) != 3 {
		return nil, 0, ErrNotFound
	}
	step, err := strconv.ParseInt(parts[1], 10, 64)
	gen, genErr := strconv.Atoi(parts[2])
	if err != nil || genErr != nil {
		return nil, 0, moved(taskID)
	}
	job, err := e.Store.Load(ctx, parts[0])
	if err != nil {
		return nil, 0, fmt.Errorf("job of task %s: %w", taskID, err)
	}
	if step == job.Step && gen != job.Gen {
		return nil, 0, moved(taskID)
	}
	return job, step, nil
}

func moved(taskID string) error {
	return conflict(CodeJobMoved, "task %s is no longer the current step of its job", taskID)
}
