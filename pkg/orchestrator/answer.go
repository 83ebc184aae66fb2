package orchestrator

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// This file is the room behind the three doors. Every function in it returns a
// move: an answer about one submission, applied to the newest record whatever
// the job has become. A positive answer always applies; a negative one only to
// its own submission, while that is still open.

// accepted records that the provider has the submission: it answered so, a
// look-up or a webhook found it, or an operator brought the id.
func (e *Engine) accepted(number int, event tasks.Event, st providers.Status, outputs []tasks.Output) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || s.Stored || s.State == tasks.SubmissionEnded || s.Succeeded ||
			(s.State == tasks.SubmissionAccepted && st.State != providers.Succeeded) {
			return errUnchanged
		}
		s.State, s.AcceptedAt, s.Error = tasks.SubmissionAccepted, now, nil
		s.RemoteID, s.PollURL, s.CancelURL = st.RemoteID, st.PollURL, st.CancelURL
		if a := job.Attempt(s.Attempt); a != nil {
			a.Outcome, a.AnsweredAt, a.Error, a.EndedAt = tasks.OutcomeAccepted, now, nil, time.Time{}
			if st.Cost != nil {
				a.Cost = st.Cost
			}
		}
		job.Warnings = append(job.Warnings, st.Warnings...)
		if st.State == providers.Succeeded {
			e.markSucceeded(job, s, st, outputs, now)
		}
		job.Crashes = 0
		return e.goOn(job, s, event, now)
	}
}

// goOn takes a job whose submission has turned out to be alive to where it can
// be finished: back to processing, or, when the job has ended, on its way to a
// late result.
func (e *Engine) goOn(job *tasks.Job, s *tasks.Submission, event tasks.Event, now time.Time) error {
	if job.State.Final() {
		s.Late = true
		if err := job.Move(tasks.EventLate, job.State); err != nil {
			return err
		}
		if job.State != tasks.Failed && !s.Succeeded {
			e.revoke(job, s, now)
		}
		e.replan(job, now)
		return nil
	}
	if job.State == tasks.Unresolved {
		// It was at rest for an unknown time: it gets its full time again.
		job.Deadline = later(job.Deadline, now.Add(job.Request.Timeout))
	}
	if err := job.Move(event, tasks.Processing); err != nil {
		return err
	}
	job.Error = nil
	if !s.Succeeded {
		job.Progress = tasks.Progress{Stage: tasks.StageProcessing, Message: "accepted by " + s.ProviderID}
	}
	e.replan(job, now)
	return nil
}

// markSucceeded notes that the provider is done and where the outputs lie.
func (e *Engine) markSucceeded(job *tasks.Job, s *tasks.Submission, st providers.Status, outputs []tasks.Output, now time.Time) {
	s.Succeeded, s.Outputs, s.Copies, s.Blips = true, outputs, 0, 0
	s.GoneSince = time.Time{}
	if len(st.Data) > 0 {
		s.Data, _ = json.Marshal(st.Data) // plain decoded JSON always encodes
	}
	if len(s.Data) > e.Limits.OutputData {
		s.Data = nil
		job.Warnings = append(job.Warnings, tasks.Warning{
			Code:    "output_dropped",
			Message: fmt.Sprintf("the provider's output beside its files was larger than %d bytes", e.Limits.OutputData),
		})
	}
	if a := job.Attempt(s.Attempt); a != nil {
		a.DoneAt = now
		if st.Cost != nil {
			a.Cost = st.Cost
		}
	}
	if !job.State.Final() {
		job.Progress = tasks.Progress{Stage: tasks.StageFinalizing, Percent: job.Progress.Percent, Message: "copying the result"}
	}
}

// rejected records that the provider refused the submission.
func (e *Engine) rejected(number int, failure *tasks.Failure, retryAfter time.Duration) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		s.State, s.Error = tasks.SubmissionRejected, failure
		if a := job.Attempt(s.Attempt); a != nil {
			a.Outcome, a.Error, a.AnsweredAt, a.EndedAt = tasks.OutcomeRejected, failure, now, now
		}
		job.Crashes = 0
		if !lastHope(job) {
			return e.setAside(job, now)
		}
		return e.tryAgain(job, tasks.EventRejected, failure, retryAfter, now)
	}
}

// lastHope reports whether the job's fate hangs on the submission that has just
// been answered in the negative: it has not ended, and no other submission is
// alive or may be.
func lastHope(job *tasks.Job) bool {
	return !job.State.Final() && job.State != tasks.Queued && !job.HasLive() && !job.HasOpen()
}

// tryAgain decides what a provider's refusal or failure means for the job:
// again here, another provider, or the end. It is the one place where the
// budget is spent.
func (e *Engine) tryAgain(job *tasks.Job, event tasks.Event, failure *tasks.Failure, retryAfter time.Duration, now time.Time) error {
	policy := failure.Class.Policy()
	if policy.CostsAttempt {
		job.Spent++
	}
	inBudget := job.Spent <= job.Budget && !job.Adopted
	known := e.reports.last()
	switch next, ok := e.alternative(job, known, policy.Retry && known.open(job.ProviderID, job.Model) == nil); {
	case !inBudget:
	case ok && policy.Reroute:
		return e.elsewhere(job, event, next, now)
	case policy.Retry:
		return e.again(job, event, failure, retryAfter, now)
	case policy.Reroute:
		if next, ok := e.comeAround(job); ok {
			return e.elsewhere(job, event, next, now.Add(e.retryDelay(job, failure, 0)))
		}
	}
	return e.fail(job, event, failure, now)
}

// elsewhere queues the job for another provider.
func (e *Engine) elsewhere(job *tasks.Job, event tasks.Event, next choice, due time.Time) error {
	if err := job.Move(event, tasks.Queued); err != nil {
		return err
	}
	hop(job, next, due)
	return nil
}

// again queues the job for the same provider. A refused submit keeps its step,
// so that its task waits in asynq's retry set with the error; what failed later
// needs a submit task of its own.
func (e *Engine) again(job *tasks.Job, event tasks.Event, failure *tasks.Failure, retryAfter time.Duration, now time.Time) error {
	if err := job.Move(event, tasks.Queued); err != nil {
		return err
	}
	delay := e.retryDelay(job, failure, retryAfter)
	job.Progress = tasks.Progress{Stage: tasks.StageInitializing, Message: "waiting to try again: " + string(failure.Class)}
	if job.Kind == tasks.KindSubmit {
		job.Due = now.Add(delay)
		return nil
	}
	advance(job, tasks.KindSubmit, now.Add(delay))
	return nil
}

// retryDelay is what the provider asked for, else the request's delay, doubled
// with every failure.
func (e *Engine) retryDelay(job *tasks.Job, failure *tasks.Failure, retryAfter time.Duration) time.Duration {
	if retryAfter > 0 {
		return retryAfter
	}
	failures := max(job.Spent, 1)
	if !failure.Class.Policy().CostsAttempt {
		failures = 1 + len(job.Submissions)
	}
	return spread(e.backoff(job.Request.RetryDelay, failures), job.ID, failures)
}

// fail ends the job. Submissions that are still alive or unknown are kept: what
// comes of them is attached late.
func (e *Engine) fail(job *tasks.Job, event tasks.Event, failure *tasks.Failure, now time.Time) error {
	if err := job.Move(event, tasks.Failed); err != nil {
		return err
	}
	job.Error = failure
	job.Progress.Message = failure.Message
	job.Progress.ETA = time.Time{}
	job.ArchivedStep = job.Step
	return e.setAside(job, now)
}

// setAside plans what a job that has ended still owes. The lane of any other
// belongs to the submission that it goes on with.
func (e *Engine) setAside(job *tasks.Job, now time.Time) error {
	if !job.State.Final() {
		return nil
	}
	kind, due := e.plan(job, now)
	if kind == "" {
		job.Kind, job.Due = "", time.Time{}
		return nil
	}
	if kind != job.Kind {
		advance(job, kind, due)
	}
	return nil
}

// notCalled records that surely nothing was sent.
func (e *Engine) notCalled(number int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || s.State != tasks.SubmissionIntent {
			return errUnchanged
		}
		s.State = tasks.SubmissionNotCalled
		reopen(job, s.Attempt)
		if !lastHope(job) {
			return e.setAside(job, now)
		}
		if err := job.Move(tasks.EventNotCalled, tasks.Queued); err != nil {
			return err
		}
		advance(job, tasks.KindSubmit, now)
		return nil
	}
}

// reopen takes back an attempt that never took place, so that the next
// submission continues it.
func reopen(job *tasks.Job, number int) {
	if a := job.Attempt(number); a != nil {
		a.Outcome, a.EndedAt = tasks.OutcomePending, time.Time{}
	}
}

// lost records that the submission may have been accepted. Who can be asked is
// asked; who cannot leaves the job unresolved, unless the operator chose to
// submit again, which waits until the call cannot be under way any more.
func (e *Engine) lost(number int, failure *tasks.Failure) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || s.State != tasks.SubmissionIntent {
			return errUnchanged
		}
		s.State, s.Error, s.LookupAt = tasks.SubmissionUnknown, failure, now.Add(time.Second)
		if a := job.Attempt(s.Attempt); a != nil {
			a.Outcome, a.Error = tasks.OutcomeUnknown, failure
		}
		job.Crashes = 0
		switch {
		case job.State.Final():
			return e.setAside(job, now)
		case job.State == tasks.Submitting && e.canLookUp(s):
			if err := job.Move(tasks.EventLost, tasks.Submitting); err != nil {
				return err
			}
			job.Progress.Message = "looking up what became of the submission"
			advance(job, tasks.KindLookup, s.LookupAt)
			return nil
		case job.State == tasks.Submitting:
			return e.hold(job, s, now)
		default:
			return nil
		}
	}
}

// hold leaves the job unresolved: nobody can tell whether the submission was
// accepted, and buying again is not ours to decide.
func (e *Engine) hold(job *tasks.Job, s *tasks.Submission, now time.Time) error {
	if job.State != tasks.Unresolved {
		if err := job.Move(tasks.EventHold, tasks.Unresolved); err != nil {
			return err
		}
	}
	job.Error = &tasks.Failure{
		Class: classify.UnknownOutcome, Code: "unresolved", ProviderID: s.ProviderID, At: now,
		Message: fmt.Sprintf("submission %d was sent to %s at %s and its answer was lost; it may have been accepted and billed. "+
			"A late answer settles the job by itself; otherwise look at %s for client id %s and resolve the job as created or not_created",
			s.Number, s.ProviderID, s.SentAt.UTC().Format(time.RFC3339), s.ProviderID, s.ClientID),
	}
	job.Progress.Message = "unresolved: the provider's answer was lost"
	job.ArchivedStep = job.Step
	job.Kind, job.Due = "", time.Time{}
	return nil
}

// absent records that a look-up is sure: the submission was never created. A
// new one continues the attempt, and no budget is spent.
func (e *Engine) absent(number int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		s.State = tasks.SubmissionAbsent
		reopen(job, s.Attempt)
		return e.submitAnew(job, s, tasks.EventAbsent, now)
	}
}

// resubmitBlindly submits again although nobody can tell what became of the
// first: the operator's choice, for providers configured so.
func (e *Engine) resubmitBlindly(number int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		if job.State != tasks.Submitting && job.State != tasks.Unresolved {
			return notAgain(job)
		}
		if job.Resubmits >= e.Limits.Resubmits {
			return e.hold(job, s, now)
		}
		s.State, s.Waived = tasks.SubmissionUnknown, true
		return e.submitAnew(job, s, tasks.EventResubmit, now)
	}
}

// notAgain leaves a job that is not submitted again whatever a look-up says to
// the slow eye of the reconciler: looking again at once would bring the same.
func notAgain(job *tasks.Job) error {
	if job.Kind != tasks.KindLookup {
		return errUnchanged
	}
	advance(job, "", time.Time{})
	return nil
}

func (e *Engine) submitAnew(job *tasks.Job, s *tasks.Submission, event tasks.Event, now time.Time) error {
	if !lastHope(job) {
		return e.setAside(job, now)
	}
	if job.Resubmits++; job.Resubmits > e.Limits.Resubmits {
		return e.fail(job, event, &tasks.Failure{
			Class: classify.UnknownOutcome, Code: "resubmits_exhausted", ProviderID: s.ProviderID, At: now,
			Message: fmt.Sprintf("%d submissions in a row got no answer and were not created", job.Resubmits),
		}, now)
	}
	if job.State == tasks.Unresolved {
		job.Deadline = later(job.Deadline, now.Add(job.Request.Timeout))
	}
	if err := job.Move(event, tasks.Queued); err != nil {
		return err
	}
	job.Error = nil
	if next, ok := e.alternative(job, e.reports.last(), true); ok && event == tasks.EventAbsent {
		// It surely did not start, and somebody else can be asked at once.
		if a := job.Attempt(s.Attempt); a != nil {
			a.Outcome, a.Error, a.EndedAt = tasks.OutcomeRejected, s.Error, now
		}
		hop(job, next, now)
		return nil
	}
	job.Progress = tasks.Progress{Stage: tasks.StageInitializing, Message: "submitting again"}
	advance(job, tasks.KindSubmit, now.Add(e.backoff(job.Request.RetryDelay, job.Resubmits)))
	return nil
}

// running records what a poll of a live submission saw, and when to ask again.
// It is the one answer that may be dropped when the job has moved on.
func (e *Engine) running(step int64, number int, st providers.Status, blip *tasks.Failure, startedAt time.Time) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if job.Step != step || s == nil || !s.Live() {
			return errUnchanged
		}
		event := tasks.EventRunning
		if job.State.Final() {
			event = tasks.EventLate
		}
		if err := job.Move(event, job.State); err != nil {
			return errUnchanged // a step that the job has not taken: stale
		}
		s.Polls++
		job.Crashes = 0
		if blip != nil {
			s.Blips++
			s.Error = blip
			if blip.Class == classify.NotFound && s.GoneSince.IsZero() {
				s.GoneSince = now
			}
		} else {
			s.Blips, s.Error, s.GoneSince = 0, nil, time.Time{}
			if !job.State.Final() {
				job.Progress = progressOf(st, job.Progress, now)
			}
		}
		due := now.Add(e.pollDelay(job, s, st.PollAfter, now))
		if job.HintAt.After(startedAt) {
			due = now.Add(e.pollPolicy(s).Interval)
		}
		advance(job, tasks.KindPoll, due)
		return nil
	}
}

// progressOf shows what the provider reports, and nothing that it does not. A
// percentage never goes back: some providers start again from zero.
func progressOf(st providers.Status, before tasks.Progress, now time.Time) tasks.Progress {
	p := tasks.Progress{Stage: tasks.StageProcessing, Message: st.Message, Percent: st.Percent, QueuePosition: st.QueuePosition}
	if p.Message == "" {
		p.Message = string(st.State)
	}
	if before.Percent != nil && (p.Percent == nil || *p.Percent < *before.Percent) {
		p.Percent = before.Percent
	}
	if st.ETA > 0 {
		p.ETA = now.Add(st.ETA)
	}
	return p
}

// succeeded records that the provider is done and its outputs can be copied.
func (e *Engine) succeeded(number int, st providers.Status, outputs []tasks.Output) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || s.Stored || s.Succeeded || s.State == tasks.SubmissionEnded {
			return errUnchanged
		}
		event := tasks.EventSucceeded
		if job.State.Final() {
			event, s.Late = tasks.EventLate, true
		}
		if err := job.Move(event, job.State); err != nil {
			return err
		}
		job.Warnings = append(job.Warnings, st.Warnings...)
		e.markSucceeded(job, s, st, outputs, now)
		s.Polls++
		job.Crashes = 0
		e.replan(job, now)
		return nil
	}
}

// remoteFailed records that the provider took the submission and gave up.
func (e *Engine) remoteFailed(number int, failure *tasks.Failure) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Live() {
			return errUnchanged
		}
		s.State, s.Error = tasks.SubmissionEnded, failure
		if s.Revoke == tasks.RevokeWanted {
			s.Revoke = tasks.RevokeDone
		}
		if a := job.Attempt(s.Attempt); a != nil {
			a.Error, a.DoneAt, a.EndedAt = failure, now, now
		}
		job.Crashes = 0
		switch {
		case job.State.Final():
			e.replan(job, now)
			return nil
		case job.State != tasks.Processing:
			return nil // the lane belongs to another submission
		case job.HasLive() || job.HasOpen():
			if err := job.Move(tasks.EventRemoteFailed, tasks.Processing); err != nil {
				return err
			}
			e.replan(job, now)
			return nil
		}
		return e.tryAgain(job, tasks.EventRemoteFailed, failure, 0, now)
	}
}

// stored records that the outputs of a submission lie in our storage. The
// first result wins.
func (e *Engine) stored(number int, artifacts []tasks.Artifact, warnings []tasks.Warning) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || s.Stored {
			return errUnchanged
		}
		s.Stored, s.State, s.Error = true, tasks.SubmissionEnded, nil
		if s.Revoke == tasks.RevokeWanted {
			s.Revoke = tasks.RevokeDone
		}
		if a := job.Attempt(s.Attempt); a != nil {
			a.EndedAt = now
		}
		job.Crashes = 0
		if job.Result != nil && job.State.Final() {
			e.replan(job, now)
			return nil
		}
		// A job that was generated anew although it had a late result keeps
		// that until the new one is there.
		job.Result = &tasks.Result{Artifacts: artifacts, Output: s.Data, Submission: number, Late: job.State.Final()}
		job.Warnings = append(job.Warnings, warnings...)
		if job.State.Final() {
			s.Late = true
			if err := job.Move(tasks.EventLate, job.State); err != nil {
				return err
			}
			e.replan(job, now)
			return nil
		}
		return e.completed(job, now)
	}
}

// completed ends a job that has its result. What else is alive is not wanted.
func (e *Engine) completed(job *tasks.Job, now time.Time) error {
	if err := job.Move(tasks.EventStored, tasks.Completed); err != nil {
		return err
	}
	whole := 100.0
	job.Progress = tasks.Progress{Stage: tasks.StageCompleted, Percent: &whole, Message: "completed"}
	job.Error = nil
	for i := range job.Submissions {
		if other := &job.Submissions[i]; other.Live() {
			e.revoke(job, other, now)
		}
	}
	e.replan(job, now)
	return nil
}

// copyFailed records that outputs could not be copied. Within the copy budget
// the step is kept and asynq tries again; beyond it the job fails, and what the
// provider made is looked for again now and then. Costs is how much of the
// budget the failure takes.
func (e *Engine) copyFailed(step int64, number int, failure *tasks.Failure, expired bool, costs int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if job.Step != step || s == nil || !s.Live() {
			return errUnchanged
		}
		s.Copies += costs
		s.Error = failure
		job.Crashes = 0
		if expired && s.RemoteID != "" && s.Copies < e.Limits.Copies {
			// The URL has died: the provider gives a fresh one with a poll.
			s.Succeeded, s.Outputs = false, nil
			e.replan(job, now)
			return nil
		}
		if s.Copies < e.Limits.Copies {
			job.Due = now.Add(spread(e.backoff(time.Second, s.Copies), job.ID, s.Copies))
			return nil
		}
		if job.State.Final() {
			return e.setAside(job, now)
		}
		return e.fail(job, tasks.EventCopyFailed, failure, now)
	}
}

// revoke asks that the provider be told to stop, where it can be.
func (e *Engine) revoke(job *tasks.Job, s *tasks.Submission, now time.Time) {
	entry, ok := e.Registry.Get(s.ProviderID)
	if !ok || s.Revoke != "" {
		return
	}
	if _, cancels := entry.Provider.(providers.Canceler); cancels {
		s.Revoke, s.RevokeAt = tasks.RevokeWanted, now
	}
}
