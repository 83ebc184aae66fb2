package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// heldDelay is how soon a task comes back that found paid submits held.
const heldDelay = 10 * time.Second

// Restoration is what became of the open jobs after Redis was restored from a
// backup.
type Restoration struct {
	Since   time.Time `json:"since"`   // submits were held since
	Doubted int       `json:"doubted"` // open jobs of the backup
	Found   int       `json:"found"`   // had been submitted since the backup, and are taken up
	Held    int       `json:"held"`    // nobody can tell: unresolved
	Asking  int       `json:"asking"`  // not found, and it is too early to be sure: workers ask again
	Cleared int       `json:"cleared"` // surely not submitted
}

// lookers is how many jobs are looked up at a time.
const lookers = 8

// AfterRestore looks up or holds every job that the backup left open, and then
// lets paid submits resume. A backup does not know what was bought after it was
// taken: a job that is queued in it may be done at its provider.
//
// First every open job is marked, which by itself keeps anything from being
// bought for it before its doubt is settled; then all are looked up. It may be
// cut off and run again.
func (d *Doctor) AfterRestore(ctx context.Context) (*Restoration, error) {
	since, err := d.Ledger.HoldSubmits(ctx)
	if err != nil {
		return nil, err
	}
	r := &Restoration{Since: since}
	var doubted []*tasks.Job
	err = d.Ledger.Owing(ctx, func(ids []string) error {
		for _, id := range ids {
			job, err := d.Engine.cast(ctx, id, since)
			if err != nil {
				return fmt.Errorf("mark job %s: %w", id, err)
			}
			if job != nil {
				doubted = append(doubted, job)
			}
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	r.Doubted = len(doubted)
	if err := d.Engine.settleDoubts(ctx, doubted, r); err != nil {
		return r, err
	}
	return r, d.Ledger.ReleaseSubmits(ctx)
}

// cast marks a job of the backup as doubted. One that was accepted after the
// restore, that has ended, or that is not due before it cannot have been
// submitted; nil then.
func (e *Engine) cast(ctx context.Context, id string, since time.Time) (*tasks.Job, error) {
	job, err := e.Store.Load(ctx, id)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNewerSchema) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if job.State.Final() || job.CreatedAt.After(since) || job.Request.RunAt.After(since) {
		return nil, nil
	}
	return e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		if next.State.Final() || !next.RestoredAt.Before(since) {
			return errUnchanged
		}
		next.RestoredAt = since
		if next.State == tasks.Queued {
			return e.beginDoubt(next, now)
		}
		return next.Move(tasks.EventTold, next.State)
	})
}

// settleDoubts looks all doubted jobs up, a few at a time.
func (e *Engine) settleDoubts(ctx context.Context, jobs []*tasks.Job, r *Restoration) error {
	var mu sync.Mutex
	var failed error
	queue := make(chan *tasks.Job)
	var working sync.WaitGroup
	for range lookers {
		working.Go(func() {
			for job := range queue {
				after, err := e.settleDoubt(ctx, job)
				mu.Lock()
				failed = errors.Join(failed, err)
				if err == nil {
					r.tally(job, after)
				}
				mu.Unlock()
			}
		})
	}
	for _, job := range jobs {
		queue <- job
	}
	close(queue)
	working.Wait()
	return failed
}

func (r *Restoration) tally(before, after *tasks.Job) {
	switch {
	case before.State == tasks.Processing && after.State == tasks.Processing:
		r.Cleared++ // it is polled, as before
	case after.State == tasks.Unresolved:
		r.Held++
	case after.State == tasks.Submitting:
		r.Asking++
	case after.State == tasks.Queued:
		r.Cleared++
	default:
		r.Found++
	}
}

// settleDoubt takes the look-up that a job waits for, here and now. The steps
// that follow are the workers'.
func (e *Engine) settleDoubt(ctx context.Context, job *tasks.Job) (*tasks.Job, error) {
	if job.State == tasks.Submitting && job.Kind == tasks.KindSubmit {
		// Its worker died with the Redis of before, or works on: then its answer
		// is a fact, whatever the look-up brings.
		after, err := e.change(ctx, job, e.lostTouch(job.Step, job.Gen))
		if err != nil {
			return job, err
		}
		job = after
	}
	if job.State == tasks.Submitting && job.Kind == tasks.KindLookup {
		defer e.tending.begin(job.ID)()
		if outcome := e.lookUp(ctx, job); outcome.Err != nil && ctx.Err() != nil {
			return job, ctx.Err()
		}
	}
	after, err := e.Store.Load(ctx, job.ID)
	if err != nil {
		return job, err
	}
	e.enqueue(ctx, after)
	return after, nil
}

// doubt looks up before it buys: the job's record comes from a backup.
func (e *Engine) doubt(ctx context.Context, job *tasks.Job) Outcome {
	after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
		if next.Step != job.Step || next.State != tasks.Queued || next.RestoredAt.IsZero() {
			return errUnchanged
		}
		return e.beginDoubt(next, now)
	})
	if err != nil {
		return Retry(err, 2*time.Second)
	}
	return e.conclude(ctx, job, after)
}

// beginDoubt adds a submission that may have been made after the backup, to be
// looked up, or held where nobody can be asked. Its deadline is that of the last
// call that can have been begun before the restore.
func (e *Engine) beginDoubt(job *tasks.Job, now time.Time) error {
	known := job.UpdatedAt
	number := e.intend(job, job.RestoredAt.Add(e.submitTimeout(job.ProviderID)), now)
	s := job.Submission(number)
	failure := &tasks.Failure{
		Class: classify.UnknownOutcome, Code: "restored", ProviderID: s.ProviderID, At: now,
		Message: fmt.Sprintf("Redis was restored from a backup: the job may have been submitted to %s between %s and %s. "+
			"It is taken up when it is found; otherwise look at %s for client id %s and resolve the job as created or not_created",
			s.ProviderID, known.UTC().Format(time.RFC3339), job.RestoredAt.UTC().Format(time.RFC3339), s.ProviderID, s.ClientID),
	}
	s.State, s.Doubted, s.SentAt, s.LookupAt, s.Error = tasks.SubmissionUnknown, true, known, now, failure
	if a := job.Attempt(s.Attempt); a != nil {
		a.Outcome, a.Error = tasks.OutcomeUnknown, failure
	}
	if err := job.Move(tasks.EventStart, tasks.Submitting); err != nil {
		return err
	}
	if !e.canLookUp(s) {
		return e.holdDoubted(job, s, now)
	}
	job.Progress.Message = "looking up what was submitted since the backup"
	advance(job, tasks.KindLookup, now)
	return nil
}

func (e *Engine) submitTimeout(provider string) time.Duration {
	if entry, ok := e.Registry.Get(provider); ok && entry.SubmitTimeout > 0 {
		return entry.SubmitTimeout
	}
	return e.Timings.SubmitTimeout
}

// holdDoubted is hold, with the words for what is known.
func (e *Engine) holdDoubted(job *tasks.Job, s *tasks.Submission, now time.Time) error {
	failure := s.Error
	if err := e.hold(job, s, now); err != nil {
		return err
	}
	if failure != nil && failure.Code == "restored" {
		told := *failure
		told.At = now
		job.Error, job.Progress.Message = &told, "unresolved: it may have been submitted since the backup"
	}
	return nil
}

// suspected is one submission that may have been made after the backup.
type suspected struct {
	entry   providers.Entry
	model   string
	attempt int
}

// suspectedOf lists what may have been submitted: every attempt that the budget
// leaves, at every provider that the job may have gone to.
func (e *Engine) suspectedOf(job *tasks.Job, s *tasks.Submission) []suspected {
	var list []suspected
	add := func(entry providers.Entry, model string) {
		for n := range max(job.Budget-job.Spent, 0) + 1 {
			list = append(list, suspected{entry, model, s.Attempt + n})
		}
	}
	if entry, ok := e.Registry.Get(s.ProviderID); ok {
		add(entry, s.Model)
	}
	for _, entry := range e.Registry.Candidates(job.Request.FeatureType, job.Request.ProviderID, job.Request.FallbackProviderIDs) {
		if entry.Name != s.ProviderID {
			add(entry, entry.Model(job.Request.FeatureType))
		}
	}
	return list
}

// lookUpDoubted asks for everything that may have been submitted since the
// backup, our own staging area first. Only when all of it is surely absent is
// the job free to be bought.
func (e *Engine) lookUpDoubted(ctx context.Context, job *tasks.Job, s *tasks.Submission) move {
	if st, outputs, err := e.Artifacts.Staged(ctx, stagingPrefix(job.ID, s.Number)); err == nil {
		return e.finished(s.Number, tasks.EventFound, st, outputs)
	} else if !errors.Is(err, ErrNoArtifact) {
		return e.lookAgain(s.Number, nil)
	}
	early, unaskable := false, false
	for _, candidate := range e.suspectedOf(job, s) {
		finder, finds := candidate.entry.Provider.(providers.Finder)
		if !finds {
			unaskable = true
			continue
		}
		asked := *s
		asked.ProviderID, asked.Model, asked.Attempt = candidate.entry.Name, candidate.model, candidate.attempt
		asked.ClientID = clientID(job.ID, candidate.attempt)
		st, err := e.find(ctx, job, &asked, finder)
		switch {
		case err == nil:
			return e.takeUp(s.Number, &asked, e.foundAs(ctx, job, &asked, st))
		case errors.Is(err, providers.ErrAbsent):
			early = early || e.Store.Now().Before(s.Deadline.Add(e.Timings.Slack+finder.ListLag()))
		case errors.Is(err, errors.ErrUnsupported):
			unaskable = true
		default:
			return e.lookAgain(s.Number, nil)
		}
	}
	entry, _ := e.Registry.Get(s.ProviderID)
	switch {
	case unaskable && !entry.ResubmitOnUnknown:
		return e.cannotTellDoubted(s.Number)
	case early || e.Store.Now().Before(s.Deadline.Add(e.Timings.Slack)):
		return e.lookAgain(s.Number, nil)
	default:
		return e.cleared(s.Number)
	}
}

// find makes one look-up.
func (e *Engine) find(ctx context.Context, job *tasks.Job, s *tasks.Submission, finder providers.Finder) (providers.Status, error) {
	ctx, cancel := context.WithTimeout(ctx, e.Timings.CallTimeout)
	defer cancel()
	started := time.Now()
	st, err := finder.Find(ctx, providers.Lost{Request: e.request(job, s, nil), SentAt: s.SentAt})
	failure := err
	if errors.Is(err, providers.ErrAbsent) {
		failure = nil
	}
	e.called(job, s.ProviderID, "lookup", failure, started)
	return st, err
}

// takeUp makes the doubted submission the one that was found. The job stays
// doubted: what was found may have failed, and been followed by another.
func (e *Engine) takeUp(number int, found *tasks.Submission, apply move) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		if a := job.Attempt(s.Attempt); a != nil {
			a.Number, a.ProviderID, a.Model = found.Attempt, found.ProviderID, found.Model
		}
		job.LastAttempt = max(job.LastAttempt, found.Attempt)
		s.Attempt, s.ProviderID, s.Model, s.ClientID, s.Doubted = found.Attempt, found.ProviderID, found.Model, found.ClientID, false
		job.ProviderID, job.Model = found.ProviderID, found.Model
		return apply(job, now)
	}
}

// cannotTellDoubted holds a doubted job, since nobody can be asked.
func (e *Engine) cannotTellDoubted(number int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		if job.State == tasks.Submitting || job.State == tasks.Unresolved {
			return e.holdDoubted(job, s, now)
		}
		advance(job, "", time.Time{})
		return nil
	}
}

// cleared records that nothing was submitted since the backup, or that the
// operator has chosen not to mind.
func (e *Engine) cleared(number int) move {
	return func(job *tasks.Job, now time.Time) error {
		s := job.Submission(number)
		if s == nil || !s.Open() {
			return errUnchanged
		}
		s.State = tasks.SubmissionAbsent
		reopen(job, s.Attempt)
		job.RestoredAt = time.Time{}
		if !lastHope(job) {
			return e.setAside(job, now)
		}
		if err := job.Move(tasks.EventAbsent, tasks.Queued); err != nil {
			return err
		}
		job.Error, job.Crashes = nil, 0
		job.Progress = tasks.Progress{Stage: tasks.StageInitializing, Message: "nothing was submitted since the backup"}
		advance(job, tasks.KindSubmit, now)
		return nil
	}
}
