package orchestrator

import (
	"context"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// revokeTries bounds how often a provider is told to stop. After that it is
// left to finish: what it makes is attached late.
const revokeTries = 6

func revokeTask(job *tasks.Job, s *tasks.Submission, now time.Time) tasks.Task {
	return tasks.Task{
		Kind: tasks.KindRevoke, JobID: job.ID, Step: int64(s.Number), Gen: s.RevokeGen,
		Queue: tasks.QueuePoll, Delay: max(s.RevokeAt.Sub(now), 0),
	}
}

// tellProvider tells a provider that nobody wants a submission any more. It
// runs beside the main lane, which goes on polling: canceling is a wish, and
// what was produced all the same is attached.
func (e *Engine) tellProvider(ctx context.Context, job *tasks.Job, task tasks.Task) Outcome {
	s := job.Submission(int(task.Step))
	now := e.Store.Now()
	switch {
	case s == nil || s.Revoke != tasks.RevokeWanted || task.Gen != s.RevokeGen:
		return Done
	case s.RevokeAt.After(now.Add(early)):
		return Retry(failureError(s.Error), s.RevokeAt.Sub(now))
	}
	entry, ok := e.Registry.Get(s.ProviderID)
	if !ok {
		e.Observer.PutBack("unknown_provider")
		return Retry(fmt.Errorf("provider %q is not configured on this worker", s.ProviderID), putBackDelay)
	}
	var failure error
	if canceler, ok := entry.Provider.(providers.Canceler); ok {
		callCtx, cancel := context.WithTimeout(ctx, e.Timings.CallTimeout)
		defer cancel()
		started := time.Now()
		failure = canceler.Cancel(callCtx, refOf(job, s))
		e.called(job, entry.Name, "cancel", failure, started)
	}
	after, err := e.insist(ctx, job, e.revoked(s.Number, failure))
	if err != nil {
		return Retry(err, 2*time.Second)
	}
	if s = after.Submission(s.Number); s != nil && s.Revoke == tasks.RevokeWanted {
		return Retry(fmt.Errorf("tell %s to cancel: %w", entry.Name, failure), s.RevokeAt.Sub(e.Store.Now()))
	}
	return Done
}

// revoked records that the provider was told, or could not be.
func (e *Engine) revoked(number int, failure error) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || s.Revoke != tasks.RevokeWanted {
			return errUnchanged
		}
		if err := job.Move(tasks.EventTold, job.State); err != nil {
			return err
		}
		if failure == nil {
			s.Revoke = tasks.RevokeDone
			return nil
		}
		info := classify.Classify(failure)
		if s.RevokeTries++; s.RevokeTries >= revokeTries || !info.Retryable {
			s.Revoke = tasks.RevokeFailed
			return nil
		}
		s.RevokeAt = now.Add(max(info.RetryAfter, e.backoff(2*time.Second, s.RevokeTries)))
		return nil
	}
}
