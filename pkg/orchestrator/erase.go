package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Erase removes a job at rest for good: record, inputs and artifacts. What a
// provider might still bring for it is dropped, at its caller's wish. An
// unresolved job must be resolved or canceled first, since its record is all
// that is known of what may have been bought.
func (e *Engine) Erase(ctx context.Context, tenant, id string, ifVersion int64) error {
	job, err := e.Get(ctx, tenant, id)
	if err != nil {
		return err
	}
	for {
		if err := checkVersion(job, ifVersion); err != nil {
			return err
		}
		switch {
		case job.State == tasks.Unresolved:
			return conflict(CodeUnresolved, "the job is unresolved: resolve or cancel it before it is erased")
		case !job.State.Final():
			return conflict(CodeJobNotAtRest, "the job is still %s: cancel it before it is erased", job.State.Status())
		}
		err := e.Store.Tombstone(ctx, job)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		if job, err = e.Get(ctx, tenant, id); err != nil {
			return err
		}
	}
	e.drop(ctx, job, &tasks.Job{})
	return e.remove(ctx, id)
}

// remove takes away what a tombstoned job has left: artifacts first, so that
// none is orphaned by a crash in between; the tombstone stands in the purge
// index until the record is gone.
func (e *Engine) remove(ctx context.Context, id string) error {
	if e.Artifacts != nil {
		if err := e.Artifacts.Delete(ctx, id); err != nil {
			return err
		}
	}
	return e.Store.Purge(ctx, id)
}

// purge removes jobs whose retention is over.
func (e *Engine) purge(ctx context.Context) {
	ids, err := e.Store.Expired(ctx, e.Timings.ReconcileBatch, time.Minute)
	if err != nil {
		e.Observer.Failed("look for expired jobs", "", err)
		return
	}
	for _, id := range ids {
		if err := e.purgeOne(ctx, id); err != nil && ctx.Err() == nil {
			e.Observer.Failed("purge", id, err)
		}
	}
}

func (e *Engine) purgeOne(ctx context.Context, id string) error {
	job, err := e.Store.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return e.remove(ctx, id) // tombstoned before, and cut off
	}
	if err != nil {
		return err
	}
	if job.PurgeAt.IsZero() || e.Store.Now().Before(job.PurgeAt) || job.Owes() {
		return nil
	}
	if err := e.Store.Tombstone(ctx, job); err != nil {
		if errors.Is(err, ErrConflict) {
			return nil
		}
		return err
	}
	return e.remove(ctx, id)
}
