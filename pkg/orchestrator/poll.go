package orchestrator

import (
	"context"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// poll asks the provider once about every live submission, not only the newest:
// two may be alive when a lost one was found after another was made.
func (e *Engine) poll(ctx context.Context, job *tasks.Job) Outcome {
	first := job
	for i := range first.Submissions {
		s := job.Submission(first.Submissions[i].Number)
		if s == nil || !s.Live() || s.Succeeded {
			continue
		}
		after, err := e.insist(ctx, job, e.pollOne(ctx, job, s))
		if err != nil {
			return Retry(err, 2*time.Second)
		}
		job = after
	}
	if job.Step == first.Step && job.Kind == tasks.KindPoll {
		after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
			if next.Step != first.Step {
				return errUnchanged
			}
			e.replan(next, now)
			return nil
		})
		if err != nil {
			return Retry(err, 2*time.Second)
		}
		job = after
	}
	return e.conclude(ctx, first, job)
}

// pollOne asks about one submission and says what the answer changes.
func (e *Engine) pollOne(ctx context.Context, job *tasks.Job, s *tasks.Submission) move {
	startedAt := e.Store.Now()
	entry, ok := e.Registry.Get(s.ProviderID)
	if !ok {
		e.Observer.PutBack("unknown_provider")
		failure := &tasks.Failure{Class: classify.Unknown, Code: "provider_not_configured", At: startedAt,
			Message: fmt.Sprintf("provider %q is not configured on this worker", s.ProviderID), ProviderID: s.ProviderID}
		return e.running(job.Step, s.Number, providers.Status{PollAfter: putBackDelay}, failure, startedAt)
	}
	callCtx, cancel := context.WithTimeout(ctx, e.Timings.CallTimeout)
	defer cancel()
	started := time.Now()
	st, err := entry.Provider.Poll(callCtx, refOf(job, s))
	e.called(job, entry.Name, "poll", err, started)
	if err != nil {
		return e.blip(job, s, err, startedAt)
	}
	st = e.sane(st)
	switch st.State {
	case providers.Queued, providers.Running:
		return e.running(job.Step, s.Number, st, nil, startedAt)
	case providers.Succeeded:
		outputs, err := e.keepOutputs(ctx, job, s.Number, st)
		if err != nil {
			return e.blip(job, s, err, startedAt)
		}
		return e.succeeded(s.Number, st, outputs)
	case providers.Failed, providers.Canceled:
		return e.remoteFailed(s.Number, statusFailure(entry.Name, st, e.Store.Now()))
	default:
		return e.blip(job, s, fmt.Errorf("%s answered an unknown state", entry.Name), startedAt)
	}
}

// blip is a poll that brought no answer. It never kills a paid job: only "gone",
// still so after a grace, ends the submission.
func (e *Engine) blip(job *tasks.Job, s *tasks.Submission, err error, startedAt time.Time) move {
	failure := tasks.NewFailure(err, e.Store.Now())
	if failure.ProviderID == "" {
		failure.ProviderID = s.ProviderID
	}
	gone := failure.Class == classify.NotFound && !s.GoneSince.IsZero() &&
		e.Store.Now().Sub(s.GoneSince) >= e.Timings.GoneGrace
	if gone {
		failure.Message = "the provider does not know the generation any more"
		return e.remoteFailed(s.Number, failure)
	}
	return e.running(job.Step, s.Number, providers.Status{PollAfter: classify.Classify(err).RetryAfter}, failure, startedAt)
}

// refOf names a submission at its provider.
func refOf(job *tasks.Job, s *tasks.Submission) providers.Ref {
	return providers.Ref{
		RemoteID: s.RemoteID, PollURL: s.PollURL, CancelURL: s.CancelURL,
		Feature: job.Request.FeatureType, Model: s.Model, ClientID: s.ClientID, SentAt: s.SentAt,
	}
}
