package orchestrator

import (
	"context"
	"errors"
	"strings"
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

// purgeOne removes what of a job has had its time: its artifacts, or all of it.
func (e *Engine) purgeOne(ctx context.Context, id string) error {
	if strings.HasPrefix(id, tasks.UploadPrefix) {
		return e.purgeUpload(ctx, id)
	}
	job, err := e.Store.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		// Tombstoned before, and cut off: all of it goes, since it may have
		// been its caller who wanted it gone.
		return e.remove(ctx, id)
	}
	if err != nil {
		return err
	}
	now := e.Store.Now()
	if job.PurgeAt.IsZero() || now.Before(job.PurgeAt) || job.Owes() {
		return nil
	}
	if e.Retention.Jobs == 0 || now.Before(job.FinishedAt.Add(e.Retention.Jobs)) {
		return e.expireArtifacts(ctx, job)
	}
	if err := e.Store.Tombstone(ctx, job); err != nil {
		if errors.Is(err, ErrConflict) {
			return nil
		}
		return err
	}
	if e.Retention.Artifacts > 0 {
		return e.remove(ctx, id)
	}
	return e.removeRecord(ctx, job)
}

// removeRecord purges a job whose artifacts are kept: only what it was made
// from goes with the record.
func (e *Engine) removeRecord(ctx context.Context, job *tasks.Job) error {
	for _, prefix := range leftovers(job) {
		if err := e.Artifacts.Delete(ctx, prefix); err != nil {
			return err
		}
	}
	if job.Result != nil {
		if err := e.Artifacts.Unstage(ctx, stagingPrefix(job.ID, job.Result.Submission)); err != nil {
			return err
		}
	}
	return e.Store.Purge(ctx, job.ID)
}

// leftovers are the places of a job's files that are not its result.
func leftovers(job *tasks.Job) []string {
	prefixes := make([]string, 0, len(job.Submissions)+1)
	if len(job.Request.Files) > 0 {
		prefixes = append(prefixes, job.ID+"/inputs")
	}
	for i := range job.Submissions {
		if number := job.Submissions[i].Number; job.Result == nil || number != job.Result.Submission {
			prefixes = append(prefixes, stagingPrefix(job.ID, number))
		}
	}
	return prefixes
}

// expireArtifacts removes a job's files before its record: first the files, so
// that a crash in between leaves the record to try again from.
func (e *Engine) expireArtifacts(ctx context.Context, job *tasks.Job) error {
	if err := e.Artifacts.Delete(ctx, job.ID); err != nil {
		return err
	}
	_, err := e.change(ctx, job, func(next *tasks.Job, _ time.Time) error {
		if next.Result == nil || len(next.Result.Artifacts) == 0 {
			return errUnchanged
		}
		next.Result.Artifacts = nil
		next.Warnings = append(next.Warnings, tasks.Warning{
			Code: "artifacts_expired", Message: "the files were removed after their retention of " + e.Retention.Artifacts.String(),
		})
		return next.Move(tasks.EventTold, next.State)
	})
	return err
}

// purgeAt is when the first of a job's remains may go; zero while it owes
// anything, and for what is kept for ever.
func (e *Engine) purgeAt(job *tasks.Job) time.Time {
	if !job.State.Final() || job.Owes() {
		return time.Time{}
	}
	var at time.Time
	if e.Retention.Jobs > 0 {
		at = job.FinishedAt.Add(e.Retention.Jobs)
	}
	if files := job.Result != nil && len(job.Result.Artifacts) > 0; files && e.Retention.Artifacts > 0 {
		if expiry := job.FinishedAt.Add(e.Retention.Artifacts); at.IsZero() || expiry.Before(at) {
			at = expiry
		}
	}
	return at
}
