package tasks

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// Schema is the version of the record that this build writes. A build that
// meets a newer one puts the task back instead of guessing.
const Schema = 1

// DefaultTenant owns every job where no keys are configured.
const DefaultTenant = "default"

// Job is what a caller asked for and all we know of it since: one record in
// Redis, the source of truth. Version grows by one with every change.
type Job struct {
	ID             string `json:"id"`
	Schema         int    `json:"schema"`
	Version        int64  `json:"version"`
	Tenant         string `json:"tenant"`
	RequestHash    string `json:"request_hash"`
	IdempotencyKey string `json:"idempotency_key,omitempty"`
	// Request is stored beside the record, since it never changes.
	Request Request `json:"-"`

	State    State     `json:"state"`
	Progress Progress  `json:"progress"`
	Error    *Failure  `json:"error,omitempty"`
	Warnings []Warning `json:"warnings,omitempty"`
	Result   *Result   `json:"result,omitempty"`

	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
	Deadline   time.Time `json:"deadline"`

	// ProviderID and Model are those that serve the job now: the caller's
	// choice, ours, or where a failover has led.
	ProviderID string `json:"provider_id"`
	Model      string `json:"model,omitempty"`

	// Main lane: the one step that moves the job on, and when it is due.
	// Kind is empty when the lane has nothing to do.
	Step   int64     `json:"step"`
	Gen    int       `json:"gen"`
	Kind   Kind      `json:"kind,omitempty"`
	Due    time.Time `json:"due,omitzero"`
	HintAt time.Time `json:"hint_at,omitzero"` // a provider's webhook came
	// Hints are the events that webhooks brought lately, each with the step that
	// the job stood at.
	Hints []Hint `json:"hints,omitempty"`
	Waits int    `json:"waits,omitempty"` // times in a row without room
	// InLine says that the step waits in the line before its provider, and may
	// be called up before it is due.
	InLine bool `json:"in_line,omitempty"`
	// ArchivedStep is the step whose task ended with SkipRetry, so that a
	// redelivery of it gets the same answer.
	ArchivedStep int64 `json:"archived_step,omitempty"`
	// Touch is when somebody must look at the job at the latest: its score in
	// the open index. Zero when the job owes nothing.
	Touch time.Time `json:"touch,omitzero"`
	// Places are those that the job's submissions take up at providers.
	Places []Place `json:"places,omitempty"`

	// Budgets. Budget is how many failures may be spent, Spent how many were;
	// crashes and resubmits are counted apart.
	Budget    int `json:"budget"`
	Spent     int `json:"spent"`
	Crashes   int `json:"crashes,omitempty"`
	Resubmits int `json:"resubmits,omitempty"`
	// Adopted jobs follow a generation that Easel has not started: nothing is
	// ever bought for them.
	Adopted bool `json:"adopted,omitempty"`

	Attempts       []Attempt    `json:"attempts,omitempty"`
	Submissions    []Submission `json:"submissions,omitempty"`
	LastSubmission int          `json:"last_submission,omitempty"` // numbers are never reused
	LastAttempt    int          `json:"last_attempt,omitempty"`
	Outbox         []Delivery   `json:"outbox,omitempty"`
	// RestoredAt is set when Redis was restored from a backup: what was bought
	// for the job between the two is unknown, so that nothing is bought before
	// everybody who may have it has been asked.
	RestoredAt time.Time `json:"restored_at,omitzero"`
	// RetryKeys are the idempotency keys of retries that were applied, each
	// after the retry's mode and a space.
	RetryKeys []string  `json:"retry_keys,omitempty"`
	PurgeAt   time.Time `json:"purge_at,omitzero"`
}

// Stage is the part of its life that a job has reached.
type Stage string

// The stages of [Progress].
const (
	StageInitializing Stage = "initializing"
	StageProcessing   Stage = "processing"
	StageFinalizing   Stage = "finalizing"
	StageCompleted    Stage = "completed"
)

// Progress says how far a job is. Percent and ETA are nil when nobody knows;
// Estimated marks those that are ours and not the provider's.
type Progress struct {
	Stage         Stage     `json:"stage"`
	Percent       *float64  `json:"percent,omitempty"`
	Message       string    `json:"message,omitempty"`
	Estimated     bool      `json:"estimated,omitempty"`
	ETA           time.Time `json:"eta,omitzero"`
	QueuePosition *int      `json:"queue_position,omitempty"`
}

// Failure is an error as the record keeps it. Message is fit for the caller: it
// never holds a secret, a prompt or a payload.
type Failure struct {
	Class          classify.Class `json:"class"`
	Code           string         `json:"code,omitempty"`
	Message        string         `json:"message"`
	ProviderID     string         `json:"provider_id,omitempty"`
	ProviderStatus int            `json:"provider_status,omitempty"`
	Retryable      bool           `json:"retryable"`
	At             time.Time      `json:"at,omitzero"`
}

// NewFailure records what [classify.Classify] says of err.
func NewFailure(err error, at time.Time) *Failure {
	info := classify.Classify(err)
	return &Failure{
		Class: info.Class, Code: info.Code, Message: info.Message, ProviderID: info.Provider,
		ProviderStatus: info.Status, Retryable: info.Retryable, At: at,
	}
}

// Warning tells the caller of something that did not stop the job.
type Warning struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Pointer string `json:"pointer,omitempty"`
}

// Cost is an amount of money; Basis says who claims it. Unknown is a nil *Cost,
// never zero.
type Cost struct {
	Amount   string `json:"amount"` // decimal, e.g. "0.040"
	Currency string `json:"currency"`
	Basis    string `json:"basis"` // "reported" or "estimated"
}

// Outcome is how a provider answered a submission.
type Outcome string

// The outcomes of an [Attempt].
const (
	OutcomePending  Outcome = "pending"
	OutcomeAccepted Outcome = "accepted"
	OutcomeRejected Outcome = "rejected"
	OutcomeUnknown  Outcome = "unknown"
)

// Attempt is one try at a job.
type Attempt struct {
	Number     int       `json:"number"`
	ProviderID string    `json:"provider_id"`
	Model      string    `json:"model,omitempty"`
	Outcome    Outcome   `json:"outcome"`
	Error      *Failure  `json:"error,omitempty"`
	Cost       *Cost     `json:"cost,omitempty"`
	StartedAt  time.Time `json:"started_at"`
	AnsweredAt time.Time `json:"answered_at,omitzero"` // when the provider answered the submission
	DoneAt     time.Time `json:"done_at,omitzero"`     // when it had finished the work
	EndedAt    time.Time `json:"ended_at,omitzero"`
}

// SubmissionState is what we know of a [Submission].
type SubmissionState string

// The states of a submission. Intent and unknown may have cost money; accepted
// is live until it has ended.
const (
	SubmissionIntent    SubmissionState = "intent"     // written down, perhaps sent
	SubmissionAccepted  SubmissionState = "accepted"   // the provider has it
	SubmissionRejected  SubmissionState = "rejected"   // the provider refused it
	SubmissionNotCalled SubmissionState = "not_called" // surely never sent
	SubmissionUnknown   SubmissionState = "unknown"    // sent, and no answer came
	SubmissionAbsent    SubmissionState = "absent"     // looked up: it does not exist
	SubmissionEnded     SubmissionState = "ended"      // nothing more will come of it
)

// Submission is one handing-over to a provider. A negative answer applies only
// to its own submission while that is open; a positive one always applies.
type Submission struct {
	Number     int             `json:"number"`
	Attempt    int             `json:"attempt"`
	ProviderID string          `json:"provider_id"`
	Model      string          `json:"model,omitempty"`
	State      SubmissionState `json:"state"`
	ClientID   string          `json:"client_id"` // ours; derives from job and attempt
	RemoteID   string          `json:"remote_id,omitempty"`
	PollURL    string          `json:"poll_url,omitempty"`
	CancelURL  string          `json:"cancel_url,omitempty"`

	SentAt   time.Time `json:"sent_at"`
	Deadline time.Time `json:"deadline"` // after it the call cannot be under way any more
	LookupAt time.Time `json:"lookup_at,omitzero"`
	Lookups  int       `json:"lookups,omitempty"`
	// Doubted submissions were not made as far as the record goes, but may have
	// been after the backup that it was restored from.
	Doubted bool `json:"doubted,omitempty"`
	// Waived submissions are unknown for good: the operator's configuration
	// let the job go on without their answer.
	Waived bool `json:"waived,omitempty"`
	// AcceptedAt is when we learned the id; polls and their grace count from it.
	AcceptedAt time.Time `json:"accepted_at,omitzero"`
	Polls      int       `json:"polls,omitempty"`
	Blips      int       `json:"blips,omitempty"` // failed polls in a row
	GoneSince  time.Time `json:"gone_since,omitzero"`

	// Succeeded is set once the provider is done; Outputs say where the bytes
	// lie: at the provider (URL) or in our storage (Key).
	Succeeded bool            `json:"succeeded,omitempty"`
	Outputs   []Output        `json:"outputs,omitempty"`
	Data      json.RawMessage `json:"data,omitempty"` // what is not a file
	Copies    int             `json:"copies,omitempty"`
	Stored    bool            `json:"stored,omitempty"`
	Late      bool            `json:"late,omitempty"`
	Error     *Failure        `json:"error,omitempty"`

	Revoke      RevokeState `json:"revoke,omitempty"`
	RevokeTries int         `json:"revoke_tries,omitempty"`
	RevokeGen   int         `json:"revoke_gen,omitempty"`
	RevokeAt    time.Time   `json:"revoke_at,omitzero"`
}

// RevokeState says how far we are with telling a provider to stop.
type RevokeState string

// The states of a provider cancel; empty means that none is wanted.
const (
	RevokeWanted RevokeState = "wanted"
	RevokeDone   RevokeState = "done"
	RevokeFailed RevokeState = "failed"
)

// Live reports whether the provider has the submission and may still bring us
// something: it is accepted and neither stored nor ended.
func (s *Submission) Live() bool { return s.State == SubmissionAccepted && !s.Stored }

// Open reports whether the provider may have the submission without our
// knowing, and the job waits to learn it.
func (s *Submission) Open() bool {
	return s.State == SubmissionIntent || (s.State == SubmissionUnknown && !s.Waived)
}

// Hint is an event that a provider's webhook has brought.
type Hint struct {
	EventID string `json:"event_id"`
	Step    int64  `json:"step"`
}

// Place is a place that a submission takes up at its provider, among those that
// the provider may have in flight. It is given back at Until in any case.
type Place struct {
	ProviderID string    `json:"provider_id"`
	Submission int       `json:"submission"`
	Until      time.Time `json:"until"`
}

// Output is one file that a provider produced, before it is copied.
type Output struct {
	Kind      string `json:"kind,omitempty"` // image, video, audio, file
	MediaType string `json:"media_type,omitempty"`
	URL       string `json:"url,omitempty"`
	Key       string `json:"key,omitempty"` // in our storage
	Name      string `json:"name,omitempty"`
	// Stored says what lies at Key when it is the artifact already: there is
	// nothing left to copy. It never changes.
	Stored *Artifact `json:"stored,omitempty"`
}

// Result is what a job produced.
type Result struct {
	Artifacts  []Artifact      `json:"artifacts"`
	Output     json.RawMessage `json:"output,omitempty"` // what is not a file, at most 64 KB
	Late       bool            `json:"late,omitempty"`
	Submission int             `json:"submission"`
}

// Artifact is a file that a job produced, in our storage.
type Artifact struct {
	Index     int       `json:"index"`
	Kind      string    `json:"kind"`
	Key       string    `json:"key"`
	MediaType string    `json:"media_type"`
	Bytes     int64     `json:"bytes"`
	SHA256    string    `json:"sha256"`
	Width     int       `json:"width,omitempty"`
	Height    int       `json:"height,omitempty"`
	Duration  int64     `json:"duration_ms,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Delivery is one event that the caller's webhook is owed.
type Delivery struct {
	Version  int64     `json:"version"` // the job's version that the event tells of
	Type     string    `json:"type"`    // job.completed, job.failed, …
	State    string    `json:"state"`   // pending, delivered, failed
	Tries    int       `json:"tries,omitempty"`
	Gen      int       `json:"gen,omitempty"`
	At       time.Time `json:"at"` // when it happened
	NextAt   time.Time `json:"next_at,omitzero"`
	LastCode int       `json:"last_code,omitempty"`
	LastErr  string    `json:"last_error,omitempty"`
	DoneAt   time.Time `json:"done_at,omitzero"`
}

// The states of a [Delivery].
const (
	DeliveryPending   = "pending"
	DeliveryDelivered = "delivered"
	DeliveryFailed    = "failed"
)

// Submission returns the submission with that number, or nil.
func (j *Job) Submission(number int) *Submission {
	for i := range j.Submissions {
		if j.Submissions[i].Number == number {
			return &j.Submissions[i]
		}
	}
	return nil
}

// Current returns the newest submission, or nil.
func (j *Job) Current() *Submission {
	if len(j.Submissions) == 0 {
		return nil
	}
	return &j.Submissions[len(j.Submissions)-1]
}

// Attempt returns the attempt with that number, or nil.
func (j *Job) Attempt(number int) *Attempt {
	for i := range j.Attempts {
		if j.Attempts[i].Number == number {
			return &j.Attempts[i]
		}
	}
	return nil
}

// HasLive reports whether some submission is at a provider.
func (j *Job) HasLive() bool {
	return slices.ContainsFunc(j.Submissions, func(s Submission) bool { return s.Live() })
}

// HasOpen reports whether some submission may be at a provider without our
// knowing.
func (j *Job) HasOpen() bool {
	return slices.ContainsFunc(j.Submissions, func(s Submission) bool { return s.Open() })
}

// Delivery returns the delivery of that version, or nil.
func (j *Job) Delivery(version int64) *Delivery {
	for i := range j.Outbox {
		if j.Outbox[i].Version == version {
			return &j.Outbox[i]
		}
	}
	return nil
}

// OwesSideLane reports whether a delivery or a provider cancel is outstanding.
func (j *Job) OwesSideLane() bool {
	return slices.ContainsFunc(j.Outbox, func(d Delivery) bool { return d.State == DeliveryPending }) ||
		slices.ContainsFunc(j.Submissions, func(s Submission) bool { return s.Revoke == RevokeWanted })
}

// Owes reports whether the job still owes work: while it does it stands in the
// open index and is not purged.
func (j *Job) Owes() bool {
	return j.Kind != "" || !j.State.Final() || j.OwesSideLane() || j.HasOpen() || j.HasLive()
}

// MainTask is the task of the job's current step.
func (j *Job) MainTask(delay time.Duration) Task {
	return Task{
		Kind: j.Kind, JobID: j.ID, Step: j.Step, Gen: j.Gen,
		Queue: j.Kind.Queue(j.Request.Priority), Delay: max(delay, 0),
	}
}

// Clone returns a deep copy, so that a move can be tried and thrown away.
func (j *Job) Clone() *Job {
	c := *j
	c.Warnings = slices.Clone(j.Warnings)
	c.Attempts = slices.Clone(j.Attempts)
	for i := range c.Attempts {
		c.Attempts[i].Error = clonePointer(c.Attempts[i].Error)
		c.Attempts[i].Cost = clonePointer(c.Attempts[i].Cost)
	}
	c.Submissions = slices.Clone(j.Submissions)
	for i := range c.Submissions {
		c.Submissions[i].Outputs = slices.Clone(c.Submissions[i].Outputs)
		c.Submissions[i].Error = clonePointer(c.Submissions[i].Error)
	}
	c.Outbox = slices.Clone(j.Outbox)
	c.Places = slices.Clone(j.Places)
	c.Hints = slices.Clone(j.Hints)
	c.RetryKeys = slices.Clone(j.RetryKeys)
	c.Error = clonePointer(j.Error)
	c.Progress.Percent = clonePointer(j.Progress.Percent)
	c.Progress.QueuePosition = clonePointer(j.Progress.QueuePosition)
	c.Result = clonePointer(j.Result)
	if c.Result != nil {
		c.Result.Artifacts = slices.Clone(c.Result.Artifacts)
	}
	return &c
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
