package orchestrator

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Hint takes a provider's webhook. Its token proves that the sender was told of
// the submission; what the body claims is not believed, it only makes us ask
// now. An id that is new to us is adopted once the provider has confirmed it.
// Whatever is wrong is ErrNotFound, so that nobody can probe.
func (e *Engine) Hint(ctx context.Context, provider, jobID, token string, header http.Header, body []byte) error {
	job, err := e.Store.Load(ctx, jobID)
	if err != nil {
		return err
	}
	s := e.tokenSubmission(job, provider, token)
	if s == nil {
		return ErrNotFound
	}
	entry, ok := e.Registry.Get(provider)
	if !ok {
		return ErrNotFound
	}
	reader, ok := entry.Provider.(providers.WebhookReader)
	if !ok {
		return ErrNotFound
	}
	hint, err := reader.ReadWebhook(ctx, header, body)
	if err != nil {
		return ErrNotFound
	}
	if s.Stored || s.State == tasks.SubmissionEnded {
		return nil // we know already
	}
	if s.RemoteID == "" {
		return e.adopt(ctx, job, s, entry, hint.RemoteID)
	}
	if hint.RemoteID != "" && hint.RemoteID != s.RemoteID {
		return ErrNotFound
	}
	return e.pollNow(ctx, job, hint.EventID)
}

// tokenSubmission is the submission that the token was made for.
func (e *Engine) tokenSubmission(job *tasks.Job, provider, token string) *tasks.Submission {
	if e.Tokens == nil {
		return nil
	}
	var found *tasks.Submission
	for i := range job.Submissions {
		s := &job.Submissions[i]
		if e.Tokens.Verify(job.ID, s.Number, token) && s.ProviderID == provider {
			found = s
		}
	}
	return found
}

// adopt takes the id that a webhook brought for a submission whose answer was
// lost, or is still under way, after the provider has confirmed that it exists.
func (e *Engine) adopt(ctx context.Context, job *tasks.Job, s *tasks.Submission, entry providers.Entry, remoteID string) error {
	if remoteID == "" || !e.validRemoteID(entry.Name, remoteID) {
		return ErrNotFound
	}
	callCtx, cancel := context.WithTimeout(ctx, e.Timings.CallTimeout)
	defer cancel()
	ref := refOf(job, s)
	ref.RemoteID = remoteID
	started := time.Now()
	st, err := entry.Provider.Poll(callCtx, ref)
	e.called(job, entry.Name, "poll", err, started)
	if err != nil {
		if classify.Classify(err).Class == classify.NotFound {
			return ErrNotFound
		}
		return err // the provider sends the webhook again
	}
	if st.RemoteID == "" {
		st.RemoteID = remoteID
	}
	after, err := e.change(ctx, job, e.foundAs(ctx, job, s, st))
	if err != nil {
		return err
	}
	e.follow(ctx, job, after)
	return nil
}

// keptHints is how many events a record remembers.
const keptHints = 8

// pollNow has the current poll run now. The step does not change: a poll that
// is under way sees the hint when it ends and asks once more. An event that came
// before is old news once the step has passed at which it came; until then its
// poll may have been lost, and is asked for again.
func (e *Engine) pollNow(ctx context.Context, job *tasks.Job, eventID string) error {
	stale := false
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		stale = false
		if !next.HasLive() {
			return errUnchanged
		}
		if i := slices.IndexFunc(next.Hints, func(h tasks.Hint) bool { return h.EventID == eventID }); i >= 0 && eventID != "" {
			stale = next.Hints[i].Step != next.Step
			return errUnchanged
		}
		if err := next.Move(tasks.EventTold, next.State); err != nil {
			return err
		}
		next.HintAt = now
		if eventID != "" {
			next.Hints = append(next.Hints, tasks.Hint{EventID: eventID, Step: next.Step})
			next.Hints = next.Hints[max(0, len(next.Hints)-keptHints):]
		}
		return nil
	})
	if err != nil || stale {
		return err
	}
	if after.Kind == tasks.KindPoll {
		return e.Queue.RunNow(ctx, after.MainTask(0))
	}
	return nil
}

// The safety net behind webhooks: polls are so many times rarer, and come again
// as often as without for a while after a hint, since a provider may tell of an
// end before its API knows of it.
const (
	netStretch  = 10
	netCeiling  = 2 * time.Minute
	hintIsFresh = 30 * time.Second
)

// patience is the poll policy of a submission at this moment.
func (e *Engine) patience(job *tasks.Job, s *tasks.Submission, now time.Time) providers.PollPolicy {
	policy := e.pollPolicy(s)
	if !e.expectsWebhook(s) || now.Sub(job.HintAt) < hintIsFresh {
		return policy
	}
	policy.First, policy.Interval = netStretch*policy.First, netStretch*policy.Interval
	policy.Ceiling = max(policy.Ceiling, policy.Interval, min(netStretch*policy.Ceiling, netCeiling))
	return policy
}

// expectsWebhook reports whether the provider was told where to report.
func (e *Engine) expectsWebhook(s *tasks.Submission) bool {
	if e.PublicURL == "" || e.Tokens == nil {
		return false
	}
	entry, ok := e.Registry.Get(s.ProviderID)
	if !ok || !entry.Provider.Capabilities().Webhooks {
		return false
	}
	_, reads := entry.Provider.(providers.WebhookReader)
	return reads
}
