package orchestrator

import (
	"context"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// RetryMode says what a retry may cost.
type RetryMode string

// The modes. The empty one resumes when there is something to resume, and
// regenerates otherwise.
const (
	RetryDefault    RetryMode = ""
	RetryResume     RetryMode = "resume"     // look up, poll or copy again: no purchase
	RetryRegenerate RetryMode = "regenerate" // a new generation
)

// keptRetryKeys is how many idempotency keys of retries a record remembers.
const keptRetryKeys = 16

// Retry starts a failed job again with a fresh budget, or has an unresolved one
// looked up again. It never buys while a submission is alive or unknown. A
// repeated idempotency key answers with the job and changes nothing; one that
// asked for another mode is a conflict.
func (e *Engine) Retry(ctx context.Context, tenant, id string, mode RetryMode, key string, ifVersion int64) (*tasks.Job, bool, error) {
	job, err := e.Get(ctx, tenant, id)
	if err != nil {
		return nil, false, err
	}
	return e.retry(ctx, job, mode, key, ifVersion)
}

func (e *Engine) retry(ctx context.Context, job *tasks.Job, mode RetryMode, key string, ifVersion int64) (*tasks.Job, bool, error) {
	first, replayed := job, false
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		if applied, known := appliedRetry(next, key); known {
			if applied != mode {
				return conflict(CodeKeyReused, "the idempotency key belongs to another retry of the job")
			}
			replayed = true
			return errUnchanged
		}
		if err := checkVersion(next, ifVersion); err != nil {
			return err
		}
		if key != "" {
			next.RetryKeys = append(next.RetryKeys, string(mode)+" "+key)
			next.RetryKeys = next.RetryKeys[max(0, len(next.RetryKeys)-keptRetryKeys):]
		}
		return e.retryMove(next, mode, now)
	})
	if err != nil {
		return nil, false, err
	}
	if !replayed {
		e.drop(ctx, first, after)
		e.dropArchived(ctx, first)
		e.follow(ctx, first, after)
	}
	return after, replayed, nil
}

// appliedRetry returns the mode of the retry that has the key.
func appliedRetry(job *tasks.Job, key string) (mode RetryMode, known bool) {
	for _, applied := range job.RetryKeys {
		if word, name, _ := strings.Cut(applied, " "); name == key && key != "" {
			return RetryMode(word), true
		}
	}
	return "", false
}

// dropArchived takes the archived task of the step that had ended the job from
// the archive: it no longer tells the truth. Which queue it lies in is not
// recorded, so every one that it may lie in is asked.
func (e *Engine) dropArchived(ctx context.Context, job *tasks.Job) {
	if job.ArchivedStep == 0 {
		return
	}
	task := tasks.Task{JobID: job.ID, Step: job.ArchivedStep}
	if job.ArchivedStep == job.Step {
		task.Gen = job.Gen
	}
	for _, kind := range []tasks.Kind{tasks.KindSubmit, tasks.KindPoll, tasks.KindFinalize} {
		task.Kind, task.Queue = kind, kind.Queue(job.Request.Priority)
		if err := e.Queue.Delete(ctx, task); err != nil {
			e.Observer.Failed("delete an archived task", job.ID, err)
		}
	}
}

func (e *Engine) retryMove(job *tasks.Job, mode RetryMode, now time.Time) error {
	if mode == RetryDefault {
		mode = RetryRegenerate
		if job.HasLive() || job.HasOpen() || job.Result != nil {
			mode = RetryResume
		}
	}
	switch job.State {
	case tasks.Failed:
		if mode == RetryResume {
			return e.resume(job, now)
		}
		return e.regenerate(job, now)
	case tasks.Unresolved:
		if mode == RetryRegenerate {
			return conflict(CodeUnresolved, "a submission may have been accepted; resolve the job as not_created before it is generated anew")
		}
		return e.lookUpNow(job, now)
	case tasks.Completed, tasks.Canceled:
		return conflict(CodeJobFinal, "the job is %s", job.State.Status())
	default:
		return conflict(CodeJobNotAtRest, "the job is still %s", job.State.Status())
	}
}

// resume goes on with what is already paid for. Where that has come late, it is
// the result.
func (e *Engine) resume(job *tasks.Job, now time.Time) error {
	switch {
	case job.Result != nil:
		if err := job.Move(tasks.EventResume, tasks.Processing); err != nil {
			return err
		}
		e.refresh(job, now)
		return e.completed(job, now)
	case job.HasLive():
		e.refresh(job, now)
		for i := range job.Submissions {
			job.Submissions[i].Copies, job.Submissions[i].Late = 0, false
		}
		if err := job.Move(tasks.EventResume, tasks.Processing); err != nil {
			return err
		}
		job.Progress = tasks.Progress{Stage: tasks.StageProcessing, Message: "resumed"}
		e.replan(job, now)
		return nil
	case job.HasOpen():
		if err := job.Move(tasks.EventResume, tasks.Unresolved); err != nil {
			return err
		}
		e.refresh(job, now)
		return e.lookUpNow(job, now)
	default:
		return conflict(CodeNothingToDo, "no submission of the job is alive: it can only be generated anew")
	}
}

// regenerate buys anew, with a fresh budget.
func (e *Engine) regenerate(job *tasks.Job, now time.Time) error {
	if job.Adopted {
		return conflict(CodeAdopted, "the job was adopted: there is no request to generate anew from")
	}
	if job.HasLive() || job.HasOpen() {
		return conflict(CodeUnresolved, "a submission of the job is alive or unknown: resume it, or cancel the job")
	}
	if err := job.Move(tasks.EventRegenerate, tasks.Queued); err != nil {
		return err
	}
	e.refresh(job, now)
	job.Progress = tasks.Progress{Stage: tasks.StageInitializing, Message: "queued again"}
	advance(job, tasks.KindSubmit, now)
	return nil
}

// refresh gives the job its budget and its time again.
func (e *Engine) refresh(job *tasks.Job, now time.Time) {
	job.Spent, job.Crashes, job.Resubmits = 0, 0, 0
	job.Budget = job.Request.RetryAttempts
	job.Error = nil
	job.Deadline = now.Add(job.Request.Timeout)
	job.ArchivedStep = 0
}

// lookUpNow has an unresolved job's submissions looked up once more. It never
// buys.
func (e *Engine) lookUpNow(job *tasks.Job, now time.Time) error {
	if err := job.Move(tasks.EventLookup, tasks.Unresolved); err != nil {
		return err
	}
	advance(job, tasks.KindLookup, now)
	return nil
}

// Resolution settles an unresolved job.
type Resolution struct {
	// Outcome is not_created or created.
	Outcome string
	// RemoteID is the provider's id of what was created.
	RemoteID string
}

// The outcomes of a [Resolution].
const (
	NotCreated = "not_created"
	CreatedAs  = "created"
)

// Resolve settles an unresolved job by an operator's word: that nothing was
// created, whereupon it is submitted anew without spending budget; or what was
// created, which is then polled.
func (e *Engine) Resolve(ctx context.Context, tenant, id string, r Resolution, ifVersion int64) (*tasks.Job, error) {
	job, err := e.Get(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	if err := e.checkResolution(job, r); err != nil {
		return nil, err
	}
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		if err := checkVersion(next, ifVersion); err != nil {
			return err
		}
		if next.State != tasks.Unresolved {
			return conflict(CodeNotUnresolved, "the job is %s, not unresolved", next.State.Status())
		}
		if r.Outcome == CreatedAs {
			return e.resolveCreated(next, r.RemoteID, now)
		}
		return e.resolveNotCreated(next, now)
	})
	if err != nil {
		return nil, err
	}
	e.drop(ctx, job, after)
	e.dropArchived(ctx, job)
	e.follow(ctx, job, after)
	return after, nil
}

func (e *Engine) checkResolution(job *tasks.Job, r Resolution) error {
	invalid := &InvalidError{}
	switch r.Outcome {
	case NotCreated:
		if r.RemoteID != "" {
			invalid.add("/remote_id", "belongs to the outcome created only")
		}
	case CreatedAs:
		if !e.validRemoteID(job.ProviderID, r.RemoteID) {
			invalid.add("/remote_id", "is not an id of the provider %s", job.ProviderID)
		}
	default:
		invalid.add("/outcome", "must be not_created or created")
	}
	return invalid.orNil()
}

func (e *Engine) validRemoteID(provider, id string) bool {
	if id == "" || len(id) > maxLabel || !printable(id) {
		return false
	}
	entry, ok := e.Registry.Get(provider)
	if !ok {
		return false
	}
	checker, ok := entry.Provider.(providers.RemoteIDChecker)
	return !ok || checker.ValidRemoteID(id)
}

func (e *Engine) resolveNotCreated(job *tasks.Job, now time.Time) error {
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Open() {
			s.State = tasks.SubmissionAbsent
			reopen(job, s.Attempt)
			if s.Doubted {
				job.RestoredAt = time.Time{} // the operator has settled the doubt
			}
		}
	}
	if err := job.Move(tasks.EventNotCreated, tasks.Queued); err != nil {
		return err
	}
	job.Error = nil
	job.Deadline = later(job.Deadline, now.Add(job.Request.Timeout))
	job.Progress = tasks.Progress{Stage: tasks.StageInitializing, Message: "resolved as not created"}
	advance(job, tasks.KindSubmit, now)
	return nil
}

func (e *Engine) resolveCreated(job *tasks.Job, remoteID string, now time.Time) error {
	for i := len(job.Submissions) - 1; i >= 0; i-- {
		if s := &job.Submissions[i]; s.Open() {
			return e.accepted(s.Number, tasks.EventFound, providers.Status{State: providers.Running, RemoteID: remoteID}, nil)(job, now)
		}
	}
	return conflict(CodeNotUnresolved, "no submission of the job is unknown")
}
