package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Config is what an [Engine] is made of. Store, Queue and Registry are
// required; the rest is needed by those who use it.
type Config struct {
	Store     Store
	Queue     Queue
	Registry  *providers.Registry
	Artifacts Artifacts
	Inputs    Inputs
	Fetcher   Fetcher
	Notifier  Notifier
	Observer  Observer
	Tokens    Tokens
	Links     tasks.Links
	// InputLinks makes the URLs from which providers fetch input files. Nil:
	// nobody outside can reach us, and no provider is asked to.
	InputLinks InputLinks
	// Uploads keeps what is known of uploaded files. Nil: there are none.
	Uploads Uploads
	// Sources fetches files that requests name by URL. It must reach nothing
	// that a caller should not, such as the providers' own addresses. Nil: URLs
	// are not fetched.
	Sources Fetcher

	// CheckURL refuses URLs from callers that may not be called, before
	// anything is written. Nil allows all.
	CheckURL func(url string) error
	// PublicURL is where providers reach our webhooks; empty: they are not
	// asked to.
	PublicURL string

	Defaults  Defaults
	Retention Retention
	Limits    Limits
	Timings   Timings
}

// Inputs moves the files of a request into artifact storage before it is
// accepted.
type Inputs interface {
	// StoreInputs replaces data URLs, large base64 and the sources of files in
	// the input by references to files that it stores under the job's id. It
	// returns errors of class classify.Validation that name the field.
	//
	// When it is a source that could not be had, the replaced input and its
	// files are returned beside the error, so that the request is known: those
	// of sources without a key.
	StoreInputs(ctx context.Context, jobID string, input json.RawMessage, open OpenSource) (json.RawMessage, []tasks.File, error)

	// StoreFile stores one file that may become an input, as it arrives. What
	// must not is refused with an error of class classify.Validation, and not
	// stored.
	StoreFile(ctx context.Context, key, claimedType string, r io.Reader) (tasks.Artifact, error)
}

// OpenSource opens a file that an input names. Its errors of class
// classify.Validation say what is wrong with the source; any other that the file
// could not be read now. The caller closes what is returned.
type OpenSource func(ctx context.Context, source tasks.Source) (r io.ReadCloser, mediaType string, err error)

// Tokens makes and checks the secret part of the webhook URLs that providers
// get.
type Tokens interface {
	// Token proves that its bearer was told of this submission.
	Token(jobID string, submission int) string
	// Verify reports whether the token belongs to the submission.
	Verify(jobID string, submission int, token string) bool
}

// InputLinks makes URLs under which providers fetch what a job is made from.
type InputLinks interface {
	// Input is where whoever has the URL can read the job's input file of that
	// index, as [Engine.OpenInput] opens it, until the given time.
	Input(jobID string, index int, until time.Time) string
}

// Defaults are used where a request does not say.
type Defaults struct {
	Timeout       time.Duration
	RetryAttempts int
	RetryDelay    time.Duration
}

// Retention says how long jobs at rest are kept. Zero keeps for ever.
type Retention struct {
	Jobs time.Duration
	// Artifacts may be shorter than Jobs. Zero keeps the files, also beyond
	// their job's record.
	Artifacts         time.Duration
	UnresolvedTimeout time.Duration // fail unresolved jobs after that; 0: never
	Uploads           time.Duration // keep uploaded files; 0: a day
}

// Limits bound what a job may bring and take.
type Limits struct {
	ArtifactBytes int64 // one output file
	Outputs       int   // files of one generation
	OutputData    int   // bytes of Result.Output
	Resubmits     int   // new submissions after "absent" or on_unknown: resubmit
	Crashes       int   // in a row
	Copies        int   // tries to copy the outputs of one submission
	UploadBytes   int64 // one uploaded file
	Sources       int   // files that are fetched from URLs for requests at the door, at a time
}

// Timings are the engine's intervals. Tests shorten them.
type Timings struct {
	SubmitTimeout  time.Duration // one paid call
	CallTimeout    time.Duration // poll, look-up, cancel
	CopyTimeout    time.Duration // all outputs of one submission
	Lease          time.Duration // how long a silent handler counts as alive
	Heartbeat      time.Duration // how often handlers push their touch
	Grace          time.Duration // how late a step may start before somebody looks
	Reconcile      time.Duration // how often overdue jobs are looked for
	ReconcileBatch int
	Slack          time.Duration // beyond a submission's deadline, for clocks and pauses
	GoneGrace      time.Duration // how long "no such id" may pass by itself
	Settle         time.Duration // how long late results are waited for after the end
	SlowLook       time.Duration // how often jobs at rest that owe something are looked at
	MaxBackoff     time.Duration
	Deliveries     []time.Duration // waits between tries of a webhook
}

// DefaultTimings are those of production.
func DefaultTimings() Timings {
	return Timings{
		SubmitTimeout: 5 * time.Minute, CallTimeout: 30 * time.Second, CopyTimeout: 10 * time.Minute,
		Lease: 6 * time.Second, Heartbeat: 1500 * time.Millisecond, Grace: 5 * time.Second,
		Reconcile: time.Second, ReconcileBatch: 100,
		Slack: 5 * time.Second, GoneGrace: 30 * time.Second, Settle: 24 * time.Hour, SlowLook: 10 * time.Minute,
		MaxBackoff: 5 * time.Minute,
		Deliveries: []time.Duration{
			5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 8 * time.Hour, 8 * time.Hour,
		},
	}
}

// DefaultLimits are those of production.
func DefaultLimits() Limits {
	return Limits{ArtifactBytes: 2 << 30, Outputs: 64, OutputData: 64 << 10, Resubmits: 3, Crashes: 5, Copies: 10, UploadBytes: 32 << 20, Sources: 32}
}

// Engine moves jobs. It is safe for concurrent use; any number of processes may
// run one over the same store.
type Engine struct {
	Config
	room    *room
	line    *line
	tally   *tally
	tending *tending
	reports reports
	fetches chan struct{} // one place for each file that is fetched at the door
	// suspects belongs to the reconciler's loop.
	suspects map[string]suspect
}

// New returns an engine. Zero Timings, Limits and Defaults are those of
// production.
func New(cfg Config) (*Engine, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("orchestrator: Store is missing")
	case cfg.Queue == nil:
		return nil, errors.New("orchestrator: Queue is missing")
	case cfg.Registry == nil:
		return nil, errors.New("orchestrator: Registry is missing")
	}
	if cfg.Timings.Lease == 0 {
		cfg.Timings = DefaultTimings()
	}
	if cfg.Limits.Outputs == 0 {
		cfg.Limits = DefaultLimits()
	}
	if cfg.Retention.Uploads == 0 {
		cfg.Retention.Uploads = 24 * time.Hour
	}
	if cfg.Defaults.Timeout == 0 {
		cfg.Defaults = Defaults{Timeout: 10 * time.Minute, RetryAttempts: 3, RetryDelay: time.Second}
	}
	if cfg.Observer == nil {
		cfg.Observer = Unobserved{}
	}
	if cfg.Links == nil {
		cfg.Links = tasks.RelativeLinks{}
	}
	return &Engine{
		Config: cfg, room: newRoom(), line: newLine(), tally: newTally(), tending: newTending(), suspects: map[string]suspect{},
		fetches: make(chan struct{}, max(cfg.Limits.Sources, 1)),
	}, nil
}

// errUnchanged is what a move answers that found nothing to change.
var errUnchanged = errors.New("unchanged")

// A move changes a copy of the record. It decides from the record alone, since
// it runs again on the fresh one when somebody else was faster.
type move func(job *tasks.Job, now time.Time) error

// change applies a move to the newest record and stores it. It returns the
// stored record; on error the newest that it has seen.
func (e *Engine) change(ctx context.Context, job *tasks.Job, apply move) (*tasks.Job, error) {
	return e.save(ctx, job, apply, e.Store.Save)
}

type saver func(ctx context.Context, job *tasks.Job, bodies map[int64][]byte) (*tasks.Job, error)

func (e *Engine) save(ctx context.Context, job *tasks.Job, apply move, save saver) (*tasks.Job, error) {
	for {
		next, now := job.Clone(), e.Store.Now()
		next.Touch = time.Time{}
		if err := apply(next, now); err != nil {
			if errors.Is(err, errUnchanged) {
				return job, nil
			}
			return job, err
		}
		bodies, err := e.complete(job, next, now)
		if err != nil {
			return job, err
		}
		fresh, err := save(ctx, next, bodies)
		switch {
		case err == nil:
			e.observe(job, next)
			e.freed(job, next)
			return next, nil
		case errors.Is(err, ErrConflict) && fresh != nil:
			job = fresh
		default:
			return job, err
		}
	}
}

// insist is change for facts: it goes on until the record is stored, because
// what it holds cannot be learned again. It gives up only with the context,
// which is the process's own end.
func (e *Engine) insist(ctx context.Context, job *tasks.Job, apply move) (*tasks.Job, error) {
	wait := 100 * time.Millisecond
	for {
		next, err := e.change(ctx, job, apply)
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return next, err
		}
		if !sleep(ctx, wait) {
			return next, fmt.Errorf("store %s: %w", job.ID, err)
		}
		wait = min(2*wait, 2*time.Second)
	}
}

// complete adds what follows from a move: whom to tell, when to look again,
// when to purge.
func (e *Engine) complete(before, after *tasks.Job, now time.Time) (map[int64][]byte, error) {
	if after.State.Final() && after.FinishedAt.IsZero() {
		after.FinishedAt = now
	}
	if !after.State.Final() {
		after.FinishedAt = time.Time{}
	}
	bodies, err := e.announce(before, after, now)
	if err != nil {
		return nil, err
	}
	if touch := e.touch(after, now); after.Touch.IsZero() || (!touch.IsZero() && touch.Before(after.Touch)) {
		after.Touch = touch
	}
	after.PurgeAt = e.purgeAt(after)
	after.Places = e.places(after)
	return bodies, nil
}

// touch is when somebody must look at the job at the latest: the least over
// its lanes and its deadline. Zero when it owes nothing.
func (e *Engine) touch(job *tasks.Job, now time.Time) time.Time {
	var least time.Time
	consider := func(t time.Time) {
		if least.IsZero() || t.Before(least) {
			least = t
		}
	}
	if job.Kind != "" {
		consider(later(job.Due, now).Add(e.Timings.Grace))
	} else if job.HasLive() || job.HasOpen() || job.State == tasks.Unresolved {
		consider(now.Add(e.Timings.SlowLook))
	}
	if !job.State.AtRest() {
		consider(job.Deadline)
	}
	for i := range job.Outbox {
		if d := &job.Outbox[i]; d.State == tasks.DeliveryPending {
			consider(later(d.NextAt, now).Add(e.Timings.Grace))
		}
	}
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Revoke == tasks.RevokeWanted {
			consider(later(s.RevokeAt, now).Add(e.Timings.Grace))
		}
	}
	return least
}

func (e *Engine) observe(before, after *tasks.Job) {
	if after.Result != nil && before.Result == nil {
		if s := after.Submission(after.Result.Submission); s != nil {
			if a := after.Attempt(s.Attempt); a != nil && !a.AnsweredAt.IsZero() {
				e.Observer.StageTook("provider", after, a.DoneAt.Sub(a.StartedAt))
			}
		}
	}
	if after.State.AtRest() && !before.State.AtRest() {
		e.Observer.JobRested(after)
		if !after.CreatedAt.IsZero() {
			e.Observer.StageTook("total", after, after.UpdatedAt.Sub(later(after.CreatedAt, after.Request.RunAt)))
		}
	}
}

// enqueue adds the job's current step to the queue. Its failure is the
// reconciler's to repair: the record already says what is due.
func (e *Engine) enqueue(ctx context.Context, job *tasks.Job) {
	if job.Kind == "" {
		return
	}
	err := e.Queue.Enqueue(ctx, job.MainTask(job.Due.Sub(e.Store.Now())))
	if errors.Is(err, ErrTaskTaken) {
		job, err = e.change(ctx, job, e.raise(job.Step, job.Gen, false))
		if err == nil {
			err = e.Queue.Enqueue(ctx, job.MainTask(job.Due.Sub(e.Store.Now())))
		}
	}
	if err != nil {
		e.Observer.Failed("enqueue "+string(job.Kind), job.ID, err)
	}
}

// enqueueSideLanes adds the tasks of deliveries and provider cancels that are
// new since the record before.
func (e *Engine) enqueueSideLanes(ctx context.Context, before, after *tasks.Job) {
	for i := range after.Outbox {
		d := &after.Outbox[i]
		if d.State == tasks.DeliveryPending && (before == nil || before.Delivery(d.Version) == nil) {
			e.enqueueSide(ctx, deliverTask(after, d, e.Store.Now()))
		}
	}
	for i := range after.Submissions {
		s := &after.Submissions[i]
		if s.Revoke != tasks.RevokeWanted {
			continue
		}
		if before != nil {
			if old := before.Submission(s.Number); old != nil && old.Revoke == tasks.RevokeWanted {
				continue
			}
		}
		e.enqueueSide(ctx, revokeTask(after, s, e.Store.Now()))
	}
}

func (e *Engine) enqueueSide(ctx context.Context, task tasks.Task) {
	if err := e.Queue.Enqueue(ctx, task); err != nil && !errors.Is(err, ErrTaskTaken) {
		e.Observer.Failed("enqueue "+string(task.Kind), task.JobID, err)
	}
}

// follow enqueues whatever a change made due: the next step where it is a new
// one, and the side lanes.
func (e *Engine) follow(ctx context.Context, before, after *tasks.Job) {
	if before == nil || after.Step != before.Step || after.Gen != before.Gen {
		e.enqueue(ctx, after)
	}
	e.enqueueSideLanes(ctx, before, after)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// sleep waits, and reports false when the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
