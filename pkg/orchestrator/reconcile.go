package orchestrator

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Run keeps the jobs of this worker tended and repairs what was cut off, until
// the context ends. It must run for as long as handlers do. Any number of
// processes may run it: the store hands each overdue job to one of them, and
// compare-and-set does the rest.
func (e *Engine) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { e.heartbeat(ctx) })
	loops.Go(func() { e.reconcile(ctx) })
	loops.Go(func() { e.moveLines(ctx) })
	loops.Go(func() { e.tellHealth(ctx) })
	loops.Wait()
	return nil
}

// reconcile looks at overdue jobs until the context ends. Full batches follow
// one another without a pause.
func (e *Engine) reconcile(ctx context.Context) {
	for round := 0; ctx.Err() == nil; round++ {
		found := e.pass(ctx)
		if (e.Retention.Jobs > 0 || e.Retention.Artifacts > 0) && round%10 == 0 {
			e.purge(ctx)
		}
		if round%30 == 0 {
			e.checkPlaces(ctx)
		}
		if found < e.Timings.ReconcileBatch && !e.rest(ctx) {
			return
		}
	}
}

// rest waits for the next round, and meanwhile keeps an eye on suspects: how
// soon a dead worker's job goes on is up to that. It reports false when the
// context ended first.
func (e *Engine) rest(ctx context.Context) bool {
	const looks = 4
	for range looks {
		if !sleep(ctx, e.Timings.Reconcile/looks) {
			return false
		}
		e.confirmSuspects(ctx)
	}
	return true
}

// shown is how long a living handler may take to show itself.
func (t Timings) shown() time.Duration { return t.Heartbeat + 500*time.Millisecond }

// pass looks at one batch of overdue jobs and reports how many there were.
func (e *Engine) pass(ctx context.Context) int {
	e.confirmSuspects(ctx)
	// Less than a lease, so that the next heartbeat of a handler shows; long
	// enough for us to see it before another process takes the job; and no
	// longer, since we may be killed before we do.
	push := min(e.Timings.shown()+time.Second, e.Timings.Lease-time.Second)
	ids, err := e.Store.Overdue(ctx, e.Timings.ReconcileBatch, push)
	if err != nil && ctx.Err() == nil {
		e.Observer.Failed("look for overdue jobs", "", err)
	}
	for _, id := range ids {
		if err := e.look(ctx, id, false); err != nil && ctx.Err() == nil {
			e.Observer.Failed("reconcile", id, err)
		}
	}
	return len(ids)
}

// suspect is a job whose task is active and overdue: its handler is dead, or it
// has just been taken from a long queue and is about to claim the job. Who lives
// changes the touch within a heartbeat.
type suspect struct {
	touch time.Time
	since time.Time
}

// suspectIt remembers the job's touch, to see whether anybody changes it.
func (e *Engine) suspectIt(ctx context.Context, id string) error {
	touch, err := e.Store.Touched(ctx, id)
	if err != nil || touch.IsZero() {
		return err
	}
	e.suspects[id] = suspect{touch: touch, since: e.Store.Now()}
	return nil
}

// confirmSuspects looks again at the jobs whose touch nobody has changed.
func (e *Engine) confirmSuspects(ctx context.Context) {
	for id, s := range e.suspects {
		if e.Store.Now().Sub(s.since) < e.Timings.shown() {
			continue
		}
		delete(e.suspects, id)
		touch, err := e.Store.Touched(ctx, id)
		if err == nil && touch.Equal(s.touch) {
			err = e.look(ctx, id, true)
		}
		if err != nil && ctx.Err() == nil {
			e.Observer.Failed("reconcile", id, err)
		}
	}
}

// look finds out why a job is overdue and mends it. Overdue is not lost: a
// backlog or a paused queue makes everything overdue, so the queue is asked
// first. Untended says that its handler was given the time to show itself.
func (e *Engine) look(ctx context.Context, id string, untended bool) error {
	job, err := e.Store.Load(ctx, id)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNewerSchema) {
		return nil
	}
	if err != nil {
		return err
	}
	now := e.Store.Now()
	switch {
	case job.Touch.After(now):
		return nil // somebody has moved it on since it was taken as overdue
	case !job.State.AtRest() && !now.Before(job.Deadline):
		return e.mend(ctx, job, "deadline", e.deadlineMove)
	case job.State == tasks.Unresolved && e.unresolvedTooLong(job, now):
		return e.mend(ctx, job, "unresolved_timeout", e.giveUpUnresolved)
	case job.State.Final() && job.Kind != "" && now.Sub(job.FinishedAt) > e.Timings.Settle:
		return e.mend(ctx, job, "settled", e.settleMove)
	case job.State.Final() && job.Kind == "" && (job.HasLive() || job.HasOpen()) && now.Sub(job.FinishedAt) > e.Timings.Settle:
		return e.mend(ctx, job, "settled", e.settleMove)
	}
	if err := e.lookAtMainLane(ctx, job, untended, now); err != nil {
		return err
	}
	return e.lookAtSideLanes(ctx, job, now)
}

// mend applies a repair and enqueues what it made due. Nothing happens when the
// repair finds that the job has moved on.
func (e *Engine) mend(ctx context.Context, job *tasks.Job, what string, repair move) error {
	mended := false
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		err := repair(next, now)
		mended = err == nil
		return err
	})
	if err != nil || !mended {
		return err
	}
	e.Observer.Repaired(what, after)
	if job.Kind != "" && after.ArchivedStep == job.Step {
		// The waiting task of the step that failed is to say so in the archive.
		if err := e.Queue.RunNow(ctx, job.MainTask(0)); err != nil {
			e.Observer.Failed("archive the failed step", job.ID, err)
		}
	} else {
		e.drop(ctx, job, after)
	}
	e.follow(ctx, job, after)
	return nil
}

func (e *Engine) lookAtMainLane(ctx context.Context, job *tasks.Job, untended bool, now time.Time) error {
	if job.Kind == "" {
		return e.lookAtRest(ctx, job)
	}
	if later(job.Due, now) != now && !job.InLine {
		return nil // a side lane made it overdue
	}
	state, err := e.Queue.State(ctx, job.MainTask(0))
	if err != nil {
		return err
	}
	switch {
	case state.Waiting():
		return e.Store.Touch(ctx, []string{job.ID}, 6*e.Timings.Grace)
	case state == TaskActive && !untended:
		return e.suspectIt(ctx, job.ID)
	}
	return e.restoreStep(ctx, job, state)
}

// restoreStep goes on with a step whose task will not run. A submit that was
// begun is looked up and not begun again.
func (e *Engine) restoreStep(ctx context.Context, job *tasks.Job, state TaskState) error {
	if job.State == tasks.Submitting && job.Kind == tasks.KindSubmit {
		return e.mend(ctx, job, "lost_submit", e.lostTouch(job.Step, job.Gen))
	}
	return e.mend(ctx, job, "lost_task", e.raise(job.Step, job.Gen, state == TaskActive))
}

// lookAtRest looks now and then at what a job without a step still owes: live
// submissions whose copy budget is spent, and unknown ones.
func (e *Engine) lookAtRest(ctx context.Context, job *tasks.Job) error {
	if !job.HasLive() && !job.HasOpen() {
		return nil
	}
	return e.mend(ctx, job, "slow_look", func(next *tasks.Job, now time.Time) error {
		if next.Kind != "" || next.Version != job.Version {
			return errUnchanged
		}
		for i := range next.Submissions {
			if s := &next.Submissions[i]; s.Live() && s.Succeeded {
				s.Copies = e.Limits.Copies - 1 // one more try
			}
		}
		kind, _ := e.plan(next, now)
		if kind == "" || kind == tasks.KindSubmit {
			return errUnchanged
		}
		advance(next, kind, now)
		return nil
	})
}

// raise gives the current step a task with a new id: the old one is missing, or
// held by a dead worker. A step whose handlers keep dying ends the job.
func (e *Engine) raise(step int64, gen int, crashed bool) move {
	return func(job *tasks.Job, now time.Time) error {
		if job.Step != step || job.Gen != gen || job.Kind == "" {
			return errUnchanged
		}
		if crashed {
			if job.Crashes++; job.Crashes >= e.Limits.Crashes && !job.State.AtRest() {
				return e.crashed(job, now)
			}
		}
		if err := job.Move(tasks.EventOverdue, job.State); err != nil {
			return err
		}
		job.Gen++
		return nil
	}
}

// lostTouch is a submit whose handler has fallen silent. It may be dead, or
// paused and about to call: so the submission stays open, and is looked up.
func (e *Engine) lostTouch(step int64, gen int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Current()
		if job.Step != step || job.Gen != gen || job.State != tasks.Submitting || s == nil {
			return errUnchanged
		}
		if job.Crashes++; job.Crashes >= e.Limits.Crashes {
			return e.crashed(job, now)
		}
		if !e.canLookUp(s) {
			return e.hold(job, s, now)
		}
		if err := job.Move(tasks.EventLookup, tasks.Submitting); err != nil {
			return err
		}
		job.Progress.Message = "looking up what became of the submission"
		advance(job, tasks.KindLookup, now)
		return nil
	}
}

// crashed ends a job whose handlers keep dying, so that it cannot take worker
// after worker with it.
func (e *Engine) crashed(job *tasks.Job, now time.Time) error {
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Open() && job.State != tasks.Processing {
			if err := job.Move(tasks.EventCrashed, tasks.Unresolved); err != nil {
				return err
			}
			return e.hold(job, s, now)
		}
	}
	return e.fail(job, tasks.EventCrashed, &tasks.Failure{
		Class: classify.Unknown, Code: "crash_loop", ProviderID: job.ProviderID, At: now,
		Message: "the workers that handled the job died several times in a row",
	}, now)
}

func (e *Engine) unresolvedTooLong(job *tasks.Job, now time.Time) bool {
	limit := e.Retention.UnresolvedTimeout
	return limit > 0 && job.Error != nil && now.Sub(job.Error.At) > limit
}

// giveUpUnresolved fails a job that nobody has resolved in the configured time.
func (e *Engine) giveUpUnresolved(job *tasks.Job, now time.Time) error {
	if job.State != tasks.Unresolved {
		return errUnchanged
	}
	return e.fail(job, tasks.EventDeadline, &tasks.Failure{
		Class: classify.UnknownOutcome, Code: "unresolved_timeout", ProviderID: job.ProviderID, At: now,
		Message: "nobody resolved the job in " + e.Retention.UnresolvedTimeout.String(),
	}, now)
}

// settleMove stops waiting for late results: no provider keeps them for ever.
func (e *Engine) settleMove(job *tasks.Job, now time.Time) error {
	if !job.State.Final() {
		return errUnchanged
	}
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Live() || s.Open() {
			s.State = tasks.SubmissionEnded
		}
		if s := &job.Submissions[i]; s.Revoke == tasks.RevokeWanted {
			s.Revoke = tasks.RevokeFailed
		}
	}
	if err := job.Move(tasks.EventTold, job.State); err != nil {
		return err
	}
	e.replan(job, now)
	return nil
}

// lookAtSideLanes puts lost deliveries and provider cancels back on the queue.
func (e *Engine) lookAtSideLanes(ctx context.Context, job *tasks.Job, now time.Time) error {
	for i := range job.Outbox {
		d := job.Outbox[i]
		if d.State != tasks.DeliveryPending || d.NextAt.Add(e.Timings.Grace).After(now) {
			continue
		}
		task := deliverTask(job, &d, now)
		if err := e.restoreSideTask(ctx, job, task, raiseDelivery(task)); err != nil {
			return err
		}
	}
	for i := range job.Submissions {
		s := job.Submissions[i]
		if s.Revoke != tasks.RevokeWanted || s.RevokeAt.Add(e.Timings.Grace).After(now) {
			continue
		}
		task := revokeTask(job, &s, now)
		if err := e.restoreSideTask(ctx, job, task, raiseRevoke(task)); err != nil {
			return err
		}
	}
	return nil
}

// raiseDelivery gives a delivery a new task, if it still waits for that one.
func raiseDelivery(task tasks.Task) func(*tasks.Job) bool {
	return func(next *tasks.Job) bool {
		d := next.Delivery(task.Step)
		if d == nil || d.Gen != task.Gen || d.State != tasks.DeliveryPending {
			return false
		}
		d.Gen++
		return true
	}
}

// raiseRevoke does the same for a provider cancel.
func raiseRevoke(task tasks.Task) func(*tasks.Job) bool {
	return func(next *tasks.Job) bool {
		s := next.Submission(int(task.Step))
		if s == nil || s.RevokeGen != task.Gen || s.Revoke != tasks.RevokeWanted {
			return false
		}
		s.RevokeGen++
		return true
	}
}

func (e *Engine) restoreSideTask(ctx context.Context, job *tasks.Job, task tasks.Task, raise func(*tasks.Job) bool) error {
	state, err := e.Queue.State(ctx, task)
	if err != nil || state.Waiting() {
		return err
	}
	after, err := e.change(ctx, job, func(next *tasks.Job, _ time.Time) error {
		if !raise(next) {
			return errUnchanged
		}
		return next.Move(tasks.EventTold, next.State)
	})
	if err != nil || after.Version == job.Version {
		return err
	}
	e.Observer.Repaired("lost_"+string(task.Kind), after)
	task.Gen++
	e.enqueueSide(ctx, task)
	return nil
}
