package orchestrator

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Errors that a [Store] answers.
var (
	ErrNotFound    = errors.New("job not found")
	ErrConflict    = errors.New("job was changed meanwhile")
	ErrNewerSchema = errors.New("job was written by a newer release")
	// ErrSubmitsHeld says that Redis was restored from a backup: nothing may be
	// bought before it is known what was bought since.
	ErrSubmitsHeld = errors.New("paid submits are held until easel doctor --after-restore has run")
	// ErrNoProvider says that no provider of that name is configured.
	ErrNoProvider = errors.New("no such provider is configured")
	// ErrClosed says that a provider must not be called now: it is paused, has
	// asked us to stay away, or it is not the job's turn.
	ErrClosed = errors.New("provider must not be called now")
	// ErrUnavailable wraps every failure of Redis itself.
	ErrUnavailable = errors.New("store is unavailable")
)

// A Store keeps job records. Every change is one script that checks the version
// and maintains the record, the open index, the listing indexes and the event
// stream together.
//
// Times are those of Redis: [Store.Now] follows its clock, so that processes
// with different clocks agree on what is due.
type Store interface {
	// Now is the time by Redis' clock. It costs no round trip.
	Now() time.Time

	// Create writes new records, each with its place in the indexes, in one
	// round trip. Where a job's idempotency key is taken the record is not
	// written, and the outcome names the job that holds the key; nor is it where
	// as many queued jobs have job.ProviderID as most says for it, and the outcome
	// tells how many. A provider that most does not name has no limit.
	Create(ctx context.Context, jobs []*tasks.Job, most map[string]int) ([]Created, error)

	// Keyed names the job that holds a tenant's idempotency key; its
	// ExistingID is empty when none does.
	Keyed(ctx context.Context, tenant, key string) (Created, error)

	// Load returns the record. ErrNotFound, ErrNewerSchema.
	Load(ctx context.Context, id string) (*tasks.Job, error)

	// Claim is Load by a handler: when the job's lane still stands at step and
	// gen, its touch is pushed ahead by lease in the same round trip.
	Claim(ctx context.Context, task tasks.Task, lease time.Duration) (*tasks.Job, error)

	// Save writes the record if the stored version is job.Version, and raises
	// job.Version and job.UpdatedAt. It never recreates a missing record
	// (ErrNotFound). On ErrConflict the fresh record is returned beside it; on
	// success the returned job is nil. Bodies are event bodies kept for
	// deliveries, by version; a nil body removes it.
	Save(ctx context.Context, job *tasks.Job, bodies map[int64][]byte) (*tasks.Job, error)

	// SaveIntent is Save for the intent of a paid call: it returns only once the
	// intent is as durable as the store is configured to make it. In the same
	// script it looks at the gate of job.ProviderID: ErrClosed, and nothing is
	// written, when that is paused or asked to be left alone, or when it has
	// limits and the job's turn is not now. From is when the call may be made,
	// at most a few hundredths of a second away: writing takes time too, so
	// that an intent may be written a little before its turn.
	SaveIntent(ctx context.Context, job *tasks.Job, bodies map[int64][]byte, limits providers.Limits) (fresh *tasks.Job, from time.Time, err error)

	// TakeTurn gives a job that waits for job.ProviderID its turn there, if that
	// comes in a moment, and otherwise a place in the line. Limits hold over
	// all processes. A job that has a turn is told of it again; one that is
	// not taken lapses, and its job stands at the head of the line.
	TakeTurn(ctx context.Context, job *tasks.Job, limits providers.Limits) (Turn, error)
	// CallUp gives turns to those at the head of the providers' lines, and
	// returns their ids. Waiting says that some stand in line still.
	CallUp(ctx context.Context, limits map[string]providers.Limits) (called []string, waiting bool, err error)

	// Pause closes a provider's gate to paid calls until it is resumed.
	Pause(ctx context.Context, provider string) error
	// Resume opens the gate again.
	Resume(ctx context.Context, provider string) error
	// StayAway closes the gate for a while: the provider has asked for it.
	StayAway(ctx context.Context, provider string, wait time.Duration) error
	// Gates returns what is at the gates of the named providers.
	Gates(ctx context.Context, names []string) (map[string]Gate, error)

	// SomePlaces returns up to n places that are taken at a provider, at random.
	SomePlaces(ctx context.Context, provider string, n int) ([]HeldPlace, error)
	// GiveBack gives a place back that no job holds, if the job's record is
	// still the one of that version; 0: there is none.
	GiveBack(ctx context.Context, provider string, place HeldPlace, version int64) error

	// Body returns an event body that Save kept.
	Body(ctx context.Context, id string, version int64) ([]byte, error)

	// Touch pushes the touch of running jobs ahead, never back.
	Touch(ctx context.Context, ids []string, lease time.Duration) error

	// Touched returns the job's touch: who tends it pushes that ahead. Zero when
	// the job is not in the open index.
	Touched(ctx context.Context, id string) (time.Time, error)

	// Overdue takes up to n jobs whose touch has passed and pushes their
	// touch by push in the same script, so that two reconcilers do not both
	// take them.
	Overdue(ctx context.Context, n int, push time.Duration) ([]string, error)

	// Expired takes up to n jobs and uploads whose purge time has passed,
	// likewise.
	Expired(ctx context.Context, n int, push time.Duration) ([]string, error)

	// Tombstone marks the record as being purged: it reads as missing from
	// now on, and stands in the purge index until Purge. ErrConflict when the
	// version has moved.
	Tombstone(ctx context.Context, job *tasks.Job) error

	// Purge removes what a tombstoned job left in Redis: record, indexes,
	// idempotency key. It is repeatable.
	Purge(ctx context.Context, id string) error

	// List returns a page of a tenant's jobs, newest first.
	List(ctx context.Context, query Query) (Page, error)

	// Watch returns a channel that gets a value whenever the job changed, or
	// may have. Values are dropped while one is waiting to be read. The
	// process holds one subscription however many watchers there are.
	Watch(id string) (changed <-chan struct{}, stop func())

	// ReportCalls counts calls to a provider, for all processes to see, and opens
	// or closes its circuit.
	ReportCalls(ctx context.Context, key CircuitKey, report CallReport) error
	// TakeProbe reports whether a call may be made: the circuit is closed, or
	// its time is over and this call is the one that finds out.
	TakeProbe(ctx context.Context, key CircuitKey) (bool, error)
	// ForgetCircuits closes all circuits of a provider.
	ForgetCircuits(ctx context.Context, provider string) error
	// Circuits returns the circuits that are open.
	Circuits(ctx context.Context) (map[CircuitKey]Circuit, error)
}

// Uploads keeps what is known of uploaded files. Each has its place in the index
// that [Store.Expired] reads, beside the jobs.
type Uploads interface {
	// CreateUpload writes a new record, to be purged at the given time.
	CreateUpload(ctx context.Context, u *tasks.Upload, purgeAt time.Time) error
	// SaveUpload writes the record anew. It never recreates a missing one:
	// ErrNoUpload.
	SaveUpload(ctx context.Context, u *tasks.Upload, purgeAt time.Time) error
	// LoadUpload returns the record. ErrNoUpload.
	LoadUpload(ctx context.Context, id string) (*tasks.Upload, error)
	// RemoveUpload removes the record. It is repeatable.
	RemoveUpload(ctx context.Context, id string) error
}

// ErrNoUpload is what [Uploads] and the engine answer when there is no such
// file, or it is somebody else's, or has expired.
var ErrNoUpload = errors.New("file not found")

// Turn is when a job may be submitted, or where it stands in line.
type Turn struct {
	Given  bool
	At     time.Time // from when on the intent of a given turn may be written
	Before int       // how many stand before it in line
	Paused bool      // the line does not move
}

// Gate is what is at a provider's gate.
type Gate struct {
	PausedSince time.Time // zero: it is not paused
	Until       time.Time // the provider asked to be left alone until then
	Waiting     int       // jobs in line
	InFlight    int       // submissions that it has, or may have
}

// HeldPlace is a place that a submission takes up at a provider.
type HeldPlace struct {
	JobID      string
	Submission int
}

// Created is the outcome of one record of [Store.Create].
type Created struct {
	// ExistingID is empty when the record was written, else the id of the
	// job that already holds the idempotency key.
	ExistingID string
	// ExistingHash is the request hash of that job.
	ExistingHash string
	// Waiting is 0 when the record was written, else how many jobs wait for the
	// provider, which are as many as may.
	Waiting int
}

// CircuitKey names a circuit: that of a model at a provider, or, where the model
// is empty, that of the provider as a whole, which its key and its money open.
type CircuitKey struct{ Provider, Model string }

// CallReport is how calls to a provider went.
type CallReport struct {
	Well, Bad int
	Reason    string    // class of the last failure
	Trip      bool      // opens the circuit at once
	Began     time.Time // zero: nobody knows
}

// Circuit is an open circuit: the provider is passed over where another can be
// asked, until a probe has gone well.
type Circuit struct {
	Since   time.Time
	ProbeAt time.Time // from then on a single call finds out
	Reason  string
}

// Query selects jobs. Zero fields do not filter.
type Query struct {
	Tenant        string
	Statuses      []tasks.Status
	UserID        string
	FeatureType   tasks.Feature
	ProviderID    string
	CreatedAfter  time.Time // inclusive
	CreatedBefore time.Time // exclusive
	Limit         int       // 1 to 100
	Cursor        string
}

// Page is one page of jobs. It may be short, even empty, while NextCursor says
// that there is more: a read is bounded whatever the filter.
type Page struct {
	Jobs       []*tasks.Job
	NextCursor string
}

// ErrBadCursor is what [Store.List] answers to a cursor it did not make.
var ErrBadCursor = errors.New("cursor is not one that a list returned")

// TaskState is where a task stands on the queue.
type TaskState string

// The states of a task.
const (
	TaskMissing   TaskState = "missing"
	TaskPending   TaskState = "pending"
	TaskScheduled TaskState = "scheduled"
	TaskRetry     TaskState = "retry"
	TaskActive    TaskState = "active"
	TaskArchived  TaskState = "archived"
	TaskCompleted TaskState = "completed"
)

// Waiting reports whether the queue will run the task by itself.
func (s TaskState) Waiting() bool {
	return s == TaskPending || s == TaskScheduled || s == TaskRetry
}

// ErrTaskTaken is what [Queue.Enqueue] answers when the task's id is held by a
// task that will not run again: its gen must be raised.
var ErrTaskTaken = errors.New("task id is held by a finished task")

// A Queue runs tasks at least once, sometimes twice at a time, sometimes never.
type Queue interface {
	// Enqueue adds the task. A task with the same id that is pending,
	// scheduled, in retry or active counts as success.
	Enqueue(ctx context.Context, task tasks.Task) error
	// State says where the task stands.
	State(ctx context.Context, task tasks.Task) (TaskState, error)
	// RunNow makes a scheduled or retrying task pending. Any other state is no
	// error: the task runs anyway, or has run.
	RunNow(ctx context.Context, task tasks.Task) error
	// Delete removes a task that is not active. A missing one is no error.
	Delete(ctx context.Context, task tasks.Task) error
}

// Artifacts is storage that lasts, keyed by slash-separated paths that begin
// with the job's id.
type Artifacts interface {
	// Put stores what r yields under key, and reports what it was: hash, size,
	// sniffed media type, dimensions, duration. A key that ends in ".*" gets the
	// extension of the media type. It refuses more than limit bytes (0: takes
	// any), and stores nothing when it fails.
	Put(ctx context.Context, key, claimedType string, r io.Reader, limit int64) (tasks.Artifact, error)
	// Open reads what was stored. ErrNoArtifact when there is nothing.
	Open(ctx context.Context, key string) (ArtifactReader, error)
	// Stage keeps the bytes that a synchronous provider returned, with a
	// manifest, under prefix. It is complete once the manifest is there. Bytes
	// that are what they claim to be are put where they are to stay, and their
	// output says what was stored. When storage fails the bytes are spooled to
	// disk and handed in later; their outputs have yet to be copied.
	Stage(ctx context.Context, prefix string, st providers.Status) ([]tasks.Output, error)
	// Staged reads the manifest back. ErrNoArtifact when there is none.
	Staged(ctx context.Context, prefix string) (providers.Status, []tasks.Output, error)
	// Unstage removes the manifest, and what is spooled, once the record says
	// the same. The artifacts stay.
	Unstage(ctx context.Context, prefix string) error
	// Delete removes everything under prefix.
	Delete(ctx context.Context, prefix string) error
}

// ErrNoArtifact is what [Artifacts] answers when nothing is stored there.
var ErrNoArtifact = errors.New("nothing is stored there")

// ArtifactReader reads a stored artifact.
type ArtifactReader interface {
	io.ReadSeekCloser
	Size() int64
	ModTime() time.Time
}

// A Fetcher downloads what a URL from outside names, guarded and bounded.
type Fetcher interface {
	// Fetch opens the URL. The error is classified: NotFound when the URL has
	// expired. The caller closes the body.
	Fetch(ctx context.Context, url string) (providers.Body, error)
}

// A Notifier delivers one event to a caller's webhook, once.
type Notifier interface {
	// Deliver posts the body. It returns the receiver's HTTP status (0 when it
	// was not reached) and the wait it asked for.
	Deliver(ctx context.Context, tenant, url, id string, at time.Time, body []byte) (Receipt, error)
}

// Receipt is how a webhook's receiver answered.
type Receipt struct {
	Status     int
	RetryAfter time.Duration
}

// Outcome is what a handled task asks of the queue. It is a function of the
// record, so that a redelivery gets the same answer.
type Outcome struct {
	// Err is nil when the task is done. Otherwise the task goes to the retry
	// set, to run again after Delay, or with Archive to the archive.
	Err     error
	Delay   time.Duration
	Archive bool
}

// Done is the outcome of a task that has nothing more to do.
var Done = Outcome{}

// Retry puts the task into the retry set with the error.
func Retry(err error, delay time.Duration) Outcome { return Outcome{Err: err, Delay: delay} }

// Archive puts the task into the archive, where operators look.
func Archive(err error) Outcome { return Outcome{Err: err, Archive: true} }

// A Handler runs one task.
type Handler interface {
	Handle(ctx context.Context, task tasks.Task) Outcome
}
