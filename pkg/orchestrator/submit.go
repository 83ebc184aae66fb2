package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// leastCallTime is how much of a submission's time must be left for the call to
// be made at all.
const leastCallTime = 100 * time.Millisecond

// submit hands a queued job to its provider: intent, one call, outcome.
func (e *Engine) submit(ctx context.Context, job *tasks.Job) Outcome {
	now := e.Store.Now()
	switch {
	case job.State == tasks.Submitting:
		// Delivered twice: the other run may be inside the paid call. If it is
		// not, nobody pushes the touch, and the reconciler looks the
		// submission up.
		return Done
	case job.State != tasks.Queued:
		return e.verdict(job, job.Step)
	case !now.Before(job.Deadline):
		return e.expire(ctx, job)
	case job.InLine:
		// Called up: what is due is only when it would look by itself.
	case job.Due.After(now.Add(early)) && lastFailure(job) != nil:
		return e.waiting(job)
	case job.Due.After(now.Add(early)):
		return e.comeBackAt(ctx, job, job.Due, false)
	}
	entry, ok := e.Registry.Get(job.ProviderID)
	if !ok {
		e.Observer.PutBack("unknown_provider")
		return Retry(fmt.Errorf("provider %q is not configured on this worker", job.ProviderID), putBackDelay)
	}
	if !job.RestoredAt.IsZero() {
		return e.doubt(ctx, job)
	}
	if outcome, passed := e.passOver(ctx, job); passed {
		return outcome
	}
	return e.takeTurn(ctx, job, entry)
}

// comeBack puts the job's submit off as a delayed task of its own: waiting for
// room is nobody's failure. Delays are spread, so that not all come at once.
func (e *Engine) comeBack(ctx context.Context, job *tasks.Job, delay time.Duration, inLine bool) Outcome {
	return e.comeBackAt(ctx, job, e.Store.Now().Add(spread(delay, job.ID, job.Waits+1)), inLine)
}

// comeBackAt puts the submit off until a time. What was run too early keeps the
// time that it was due: a job that is to run later than now may not run before.
func (e *Engine) comeBackAt(ctx context.Context, job *tasks.Job, due time.Time, inLine bool) Outcome {
	after, err := e.change(ctx, job, func(next *tasks.Job, _ time.Time) error {
		if next.Step != job.Step || next.State != tasks.Queued {
			return errUnchanged
		}
		if err := next.Move(tasks.EventWait, tasks.Queued); err != nil {
			return err
		}
		waits := next.Waits + 1
		advance(next, tasks.KindSubmit, due)
		next.Waits, next.InLine = waits, inLine
		next.Progress.Message = "waiting for room at " + next.ProviderID
		return nil
	})
	if err != nil {
		return Retry(err, 2*time.Second)
	}
	if after.Waits > 0 {
		e.Observer.PutOff(after.ProviderID)
	}
	return e.conclude(ctx, job, after)
}

// hand writes the intent, makes the one call and records its outcome.
//
// The call's time starts before the intent is written, so that a process that
// was paused in between finds it over and does not call. From the intent on,
// neither a lost lease nor a shutdown cuts it short: either would turn an answer
// into an unknown outcome.
//
// It reports that the gate is not open when the provider must not be called
// now; then nothing has happened.
func (e *Engine) hand(ctx context.Context, job *tasks.Job, entry providers.Entry) (outcome Outcome, open bool) {
	files, err := e.inputFiles(ctx, job, entry.Provider.Capabilities())
	if err != nil {
		return Retry(fmt.Errorf("read input files: %w", err), 5*time.Second), true
	}
	timeout := e.Timings.SubmitTimeout
	if entry.SubmitTimeout > 0 {
		timeout = entry.SubmitTimeout
	}
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	deadline := e.Store.Now().Add(timeout)

	var number int
	var from time.Time
	queuedAt := later(job.CreatedAt, job.Request.RunAt)
	if !job.InLine {
		queuedAt = later(queuedAt, job.Due)
	}
	after, err := e.save(ctx, job, func(next *tasks.Job, now time.Time) error {
		number = 0 // an intent that another process was faster than is none
		if next.Step != job.Step || next.Gen != job.Gen || next.State != tasks.Queued {
			return errUnchanged
		}
		number = e.intend(next, deadline, now)
		next.Touch = now.Add(e.Timings.Lease)
		return next.Move(tasks.EventStart, tasks.Submitting)
	}, func(ctx context.Context, next *tasks.Job, bodies map[int64][]byte) (fresh *tasks.Job, err error) {
		fresh, from, err = e.Store.SaveIntent(ctx, next, bodies, entry.Limits)
		return fresh, err
	})
	switch {
	case errors.Is(err, ErrSubmitsHeld):
		e.Observer.PutBack("submits_held")
		return Retry(err, heldDelay), true
	case errors.Is(err, ErrClosed):
		return Outcome{}, false
	}
	if err != nil {
		e.neverSent(ctx, job.ID, number, deadline)
		return Retry(err, 2*time.Second), true
	}
	if number == 0 || after.Step != job.Step {
		return e.passed(ctx, after, job.MainTask(0)), true
	}
	e.sleepUntil(callCtx, from) // if the time for the call ends first, nothing is called
	e.Observer.StageTook("queue", after, after.UpdatedAt.Sub(queuedAt))
	return e.call(ctx, callCtx, after, number, entry, files), true
}

// neverSent takes back an intent whose writing was not confirmed, if it was
// written: nobody but us knows that nothing was sent. Where that fails too, the
// reconciler finds the intent untended, and has to ask or to hold the job.
func (e *Engine) neverSent(ctx context.Context, id string, number int, deadline time.Time) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.Timings.CallTimeout)
	defer cancel()
	job, err := e.Store.Load(ctx, id)
	for errors.Is(err, ErrUnavailable) && sleep(ctx, 500*time.Millisecond) {
		job, err = e.Store.Load(ctx, id)
	}
	if err != nil {
		return // the error of the writing is the one to tell
	}
	if s := job.Submission(number); s == nil || !s.Deadline.Equal(deadline) {
		return // it was not written, or is another worker's
	}
	after, err := e.insist(ctx, job, e.notCalled(number))
	if err != nil {
		e.Observer.Failed("take back an intent", id, err)
		return
	}
	e.follow(ctx, job, after)
}

// intend adds a submission with a number of its own. It continues the last
// attempt when that has not taken place, and begins a new one otherwise.
func (e *Engine) intend(job *tasks.Job, deadline, now time.Time) int {
	attempt := job.Attempt(job.LastAttempt)
	if attempt == nil || attempt.ProviderID != job.ProviderID || !continues(attempt) {
		job.LastAttempt++
		job.Attempts = append(job.Attempts, tasks.Attempt{
			Number: job.LastAttempt, ProviderID: job.ProviderID, Model: job.Model, StartedAt: now,
		})
		attempt = job.Attempt(job.LastAttempt)
	}
	attempt.Outcome, attempt.Error, attempt.EndedAt = tasks.OutcomePending, nil, time.Time{}
	job.LastSubmission++
	job.Submissions = append(forget(job.Submissions), tasks.Submission{
		Number: job.LastSubmission, Attempt: attempt.Number, ProviderID: job.ProviderID, Model: job.Model,
		State: tasks.SubmissionIntent, ClientID: clientID(job.ID, attempt.Number),
		SentAt: now, Deadline: deadline,
	})
	if job.StartedAt.IsZero() {
		job.StartedAt = now
	}
	job.Progress = tasks.Progress{Stage: tasks.StageInitializing, Message: "submitting to " + job.ProviderID}
	if job.Due.After(now) {
		job.Due = now // it was called up before it would have looked by itself
	}
	job.Waits, job.InLine = 0, false
	return job.LastSubmission
}

// continues reports whether the next submission belongs to the same attempt:
// the last one was never made, or refused in a way that costs no attempt.
func continues(a *tasks.Attempt) bool {
	if a.Outcome == tasks.OutcomePending {
		return true
	}
	return a.Outcome == tasks.OutcomeRejected && a.Error != nil && !a.Error.Class.Policy().CostsAttempt
}

// keptSubmissions is how many closed submissions a record remembers.
const keptSubmissions = 20

// forget drops the oldest submissions that can never matter again, so that a
// job that is throttled for days does not grow without bound.
func forget(subs []tasks.Submission) []tasks.Submission {
	for i := 0; len(subs) > keptSubmissions && i < len(subs); {
		switch subs[i].State {
		case tasks.SubmissionRejected, tasks.SubmissionNotCalled, tasks.SubmissionAbsent:
			subs = append(subs[:i], subs[i+1:]...)
		default:
			i++
		}
	}
	return subs
}

// call makes the paid call and brings its answer into the record.
func (e *Engine) call(ctx, callCtx context.Context, job *tasks.Job, number int, entry providers.Entry, files []providers.File) Outcome {
	keep := context.WithoutCancel(ctx)
	if end, _ := callCtx.Deadline(); time.Until(end) < leastCallTime {
		return e.record(keep, job, e.notCalled(number))
	}
	req := e.request(job, job.Submission(number), files)
	req.Report = e.reporter(job.ID, number)
	started, began := time.Now(), e.Store.Now()
	status, err := entry.Provider.Submit(callCtx, req)
	e.called(job, entry.Name, "submit", err, started)
	// Once the outcome is written.
	defer e.fared(keep, entry.Name, job.Model, err, began)
	if err != nil {
		return e.refused(keep, job, number, entry, err)
	}
	status = e.sane(status)
	switch {
	case len(status.RemoteID) > longestID:
		return e.record(keep, job, e.lost(number, &tasks.Failure{
			Class: classify.UnknownOutcome, Code: "strange_answer", ProviderID: entry.Name, At: e.Store.Now(),
			Message: "the provider accepted the submission under an id that is too long to be one",
		}))
	case status.State == providers.Failed || status.State == providers.Canceled:
		failure := statusFailure(entry.Name, status, e.Store.Now())
		return e.record(keep, job, e.acceptedAndFailed(number, status, failure))
	case status.State == providers.Succeeded:
		outputs, err := e.keepOutputs(keep, job, number, status)
		if err != nil {
			// The bytes are on this machine's disk if anywhere; the look-up
			// reads staging first.
			return e.record(keep, job, e.lost(number, tasks.NewFailure(err, e.Store.Now())))
		}
		return e.recordResult(keep, job, number, e.finished(number, tasks.EventAccepted, status, outputs))
	default:
		return e.record(keep, job, e.accepted(number, tasks.EventAccepted, status, nil))
	}
}

// acceptedAndFailed is a submission that was accepted and failed in one answer.
func (e *Engine) acceptedAndFailed(number int, st providers.Status, failure *tasks.Failure) move {
	accept, fail := e.accepted(number, tasks.EventAccepted, st, nil), e.remoteFailed(number, failure)
	return func(job *tasks.Job, now time.Time) error {
		if err := accept(job, now); err != nil {
			return err
		}
		return fail(job, now)
	}
}

// leastStay is how long a provider that is asked too much is left alone, when
// it does not say itself.
const leastStay = 250 * time.Millisecond

// refused records a submit that brought an error: surely not accepted, or
// perhaps.
func (e *Engine) refused(ctx context.Context, job *tasks.Job, number int, entry providers.Entry, err error) Outcome {
	info := classify.Classify(err)
	failure := tasks.NewFailure(err, e.Store.Now())
	if failure.ProviderID == "" {
		failure.ProviderID = entry.Name
	}
	policy := info.Class.Policy()
	if policy.Alert {
		e.Observer.Alert(entry.Name, failure)
	}
	switch {
	case info.Class == classify.UnknownOutcome:
		return e.record(ctx, job, e.lost(number, failure))
	case errors.Is(err, providers.ErrNotCalled):
		return e.record(ctx, job, e.notCalled(number))
	case info.Class == classify.RateLimit:
		e.stayAway(ctx, entry.Name, info.RetryAfter)
	}
	return e.record(ctx, job, e.rejected(number, failure, info.RetryAfter))
}

// record insists on storing an answer and concludes the step.
func (e *Engine) record(ctx context.Context, job *tasks.Job, answer move) Outcome {
	outcome, _ := e.recorded(ctx, job, answer)
	return outcome
}

// recordResult is record for an answer that may complete the job; what was kept
// until the record knew of it is forgotten.
func (e *Engine) recordResult(ctx context.Context, job *tasks.Job, number int, answer move) Outcome {
	outcome, after := e.recorded(ctx, job, answer)
	if after != nil {
		e.unstage(ctx, after, number)
	}
	return outcome
}

// recorded is the record with the answer, nil where it could not be stored.
func (e *Engine) recorded(ctx context.Context, job *tasks.Job, answer move) (Outcome, *tasks.Job) {
	after, err := e.insist(ctx, job, answer)
	if err != nil {
		e.Observer.Failed("record the provider's answer", job.ID, err)
		return Retry(err, 2*time.Second), nil
	}
	return e.conclude(ctx, job, after), after
}

// called reports a call to a provider.
func (e *Engine) called(job *tasks.Job, provider, call string, err error, started time.Time) {
	class := classify.Class("")
	if err != nil {
		class = classify.Classify(err).Class
	}
	took := time.Since(started)
	e.Observer.ProviderCalled(provider, call, class, took)
	if call == "submit" {
		e.Observer.StageTook("submit", job, took)
		if err == nil {
			e.room.took(provider)
		}
	}
}

// request is the job as its provider gets it.
func (e *Engine) request(job *tasks.Job, s *tasks.Submission, files []providers.File) providers.Request {
	req := providers.Request{
		JobID: job.ID, ClientID: s.ClientID, Submission: s.Number, Feature: job.Request.FeatureType,
		Model: s.Model, Files: files, UserID: job.Request.UserID,
	}
	// Validated when it was accepted; an input that is no object any more is
	// the provider's to refuse.
	_ = json.Unmarshal(job.Request.InputData, &req.Input)
	if e.PublicURL != "" && e.Tokens != nil {
		req.WebhookURL = fmt.Sprintf("%s/v1/webhooks/%s/%s/%s", e.PublicURL, s.ProviderID, job.ID, e.Tokens.Token(job.ID, s.Number))
	}
	return req
}

// statusFailure is the failure that a provider reported of a generation.
func statusFailure(provider string, st providers.Status, now time.Time) *tasks.Failure {
	var err error = &classify.Error{Class: classify.GenerationFailed, Provider: provider, Message: "the provider gave no reason"}
	switch {
	case st.Failure != nil:
		err = st.Failure
	case st.State == providers.Canceled:
		err = &classify.Error{Class: classify.Canceled, Provider: provider, Message: "canceled at the provider"}
	}
	failure := tasks.NewFailure(err, now)
	if failure.ProviderID == "" {
		failure.ProviderID = provider
	}
	return failure
}

// clientID is how we name an attempt to its provider, where that takes a name.
func clientID(jobID string, attempt int) string { return fmt.Sprintf("%s-%d", jobID, attempt) }
