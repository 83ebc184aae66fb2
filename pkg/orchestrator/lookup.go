package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// lookUp finds out what became of the submissions whose answers were lost:
// first in our own staging area, then at the provider.
func (e *Engine) lookUp(ctx context.Context, job *tasks.Job) Outcome {
	for i := range job.Submissions {
		s := &job.Submissions[i]
		if !s.Open() {
			continue
		}
		answer := e.lookUpOne(ctx, job, s)
		after, err := e.insist(ctx, job, answer)
		if err != nil {
			return Retry(err, 2*time.Second)
		}
		e.unstage(ctx, after, s.Number)
		if after.Step != job.Step || after.Kind != job.Kind {
			return e.conclude(ctx, job, after)
		}
		job = after
	}
	// Nothing is open any more, or nobody could say: plan again.
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		if next.Step != job.Step {
			return errUnchanged
		}
		e.replan(next, now)
		return nil
	})
	if err != nil {
		return Retry(err, 2*time.Second)
	}
	return e.conclude(ctx, job, after)
}

func (e *Engine) lookUpOne(ctx context.Context, job *tasks.Job, s *tasks.Submission) move {
	if s.Doubted {
		return e.lookUpDoubted(ctx, job, s)
	}
	if st, outputs, err := e.Artifacts.Staged(ctx, stagingPrefix(job.ID, s.Number)); err == nil {
		return e.finished(s.Number, tasks.EventFound, st, outputs)
	} else if !errors.Is(err, ErrNoArtifact) {
		return e.lookAgain(s.Number, tasks.NewFailure(err, e.Store.Now()))
	}
	entry, ok := e.Registry.Get(s.ProviderID)
	if !ok {
		return e.lookAgain(s.Number, nil)
	}
	finder, finds := entry.Provider.(providers.Finder)
	if !finds {
		return e.unaskable(s, entry)
	}
	callCtx, cancel := context.WithTimeout(ctx, e.Timings.CallTimeout)
	defer cancel()
	started := time.Now()
	st, err := finder.Find(callCtx, providers.Lost{Request: e.request(job, s, nil), SentAt: s.SentAt})
	if errors.Is(err, providers.ErrAbsent) {
		e.called(job, entry.Name, "lookup", nil, started)
		if e.Store.Now().Before(s.Deadline.Add(e.Timings.Slack + finder.ListLag())) {
			// Too early to be sure: the call may still be under way, or
			// accepted and not yet listed.
			return e.lookAgain(s.Number, nil)
		}
		return e.absent(s.Number)
	}
	e.called(job, entry.Name, "lookup", err, started)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return e.unaskable(s, entry)
	case err != nil:
		return e.lookAgain(s.Number, tasks.NewFailure(err, e.Store.Now()))
	}
	return e.foundAs(ctx, job, s, st)
}

// unaskable is a submission that its provider cannot be asked about: the job
// waits for a late answer or an operator, or, where the operator has chosen so,
// is submitted again once the call cannot be under way any more.
func (e *Engine) unaskable(s *tasks.Submission, entry providers.Entry) move {
	switch {
	case !entry.ResubmitOnUnknown:
		return e.cannotTell(s.Number)
	case e.Store.Now().Before(s.Deadline.Add(e.Timings.Slack)):
		return e.lookAgain(s.Number, nil)
	default:
		return e.resubmitBlindly(s.Number)
	}
}

// foundAs records a submission that was found, in whatever state it is.
func (e *Engine) foundAs(ctx context.Context, job *tasks.Job, s *tasks.Submission, st providers.Status) move {
	st = e.sane(st)
	switch st.State {
	case providers.Succeeded:
		outputs, err := e.keepOutputs(ctx, job, s.Number, st)
		if err != nil {
			return e.lookAgain(s.Number, tasks.NewFailure(err, e.Store.Now()))
		}
		return e.finished(s.Number, tasks.EventFound, st, outputs)
	case providers.Failed, providers.Canceled:
		return e.acceptedAndFailed(s.Number, st, statusFailure(s.ProviderID, st, e.Store.Now()))
	default:
		return e.accepted(s.Number, tasks.EventFound, st, nil)
	}
}

// cannotTell gives up asking about a submission: nobody knows of it.
func (e *Engine) cannotTell(number int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		if job.State == tasks.Submitting || job.State == tasks.Unresolved {
			return e.hold(job, s, now)
		}
		advance(job, "", time.Time{})
		return nil
	}
}

// lookAgain puts the next look-up off: the answer was not sure, or none came.
func (e *Engine) lookAgain(number int, failure *tasks.Failure) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		s.Lookups++
		if failure != nil {
			s.Error = failure
		}
		job.Crashes = 0
		s.LookupAt = now.Add(e.backoff(time.Second, min(s.Lookups, 5)))
		if job.State == tasks.Unresolved {
			// At rest: it is looked at now and then by the reconciler.
			advance(job, "", time.Time{})
			return nil
		}
		event := tasks.EventLookup
		if job.State != tasks.Submitting {
			event = tasks.EventOverdue
		}
		if err := job.Move(event, job.State); err != nil {
			return err
		}
		advance(job, tasks.KindLookup, s.LookupAt)
		return nil
	}
}
