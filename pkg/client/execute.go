package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// FeatureType is a kind of generation. The set is open: whatever a provider
// offers can be asked for.
type FeatureType = tasks.Feature

// The common features.
const (
	TextToImage      = tasks.TextToImage
	ImageToImage     = tasks.ImageToImage
	Upscale          = tasks.Upscale
	RemoveBackground = tasks.RemoveBackground
	TextToVideo      = tasks.TextToVideo
	ImageToVideo     = tasks.ImageToVideo
	TextToSpeech     = tasks.TextToSpeech
	TextToAudio      = tasks.TextToAudio
)

// Request is what [Client.Execute] is asked for. Only FeatureType and InputData
// are required; what is zero gets the default.
type Request struct {
	FeatureType FeatureType
	// InputData is what the provider gets: a map, a struct with json tags, or
	// JSON. A [File] may stand anywhere in it.
	InputData any
	// UserID groups a user's jobs; it is no boundary.
	UserID string
	// ProviderID names the provider. Empty: chosen by capability and health.
	ProviderID          string
	FallbackProviderIDs []string
	Model               string
	// RetryAttempts is how often a generation that failed may be bought anew;
	// [NoRetries] for never.
	RetryAttempts int
	RetryDelay    time.Duration // the first wait between tries
	Timeout       time.Duration // of the job, from its acceptance on
	Priority      tasks.Priority
	Metadata      map[string]string
	WebhookURL    string
	RunAt         time.Time
	// IdempotencyKey names the request: executed twice under one name, also by
	// another process or after a crash, it is one job.
	IdempotencyKey string
	// OnProgress is called with every state of the job that is seen, the last
	// one too, from the goroutine that executes.
	OnProgress func(Progress)
	// CancelWithContext cancels the job when the context ends before it.
	// Otherwise the job goes on.
	CancelWithContext bool
}

// ExecuteOption changes a request; any function on a Request is one.
type ExecuteOption func(*Request)

// OnProgress has f called with every state of the job that is seen.
func OnProgress(f func(Progress)) ExecuteOption {
	return func(r *Request) { r.OnProgress = f }
}

// CancelWithContext cancels the job when the context ends before it.
func CancelWithContext() ExecuteOption {
	return func(r *Request) { r.CancelWithContext = true }
}

// Progress is how far a job is: its stage, and percent, message and ETA where
// somebody knows them. Estimated says that percent and ETA are Easel's, taken
// from earlier jobs, and not the provider's.
type Progress struct {
	JobID  string
	Status JobStatus
	tasks.ProgressView
}

func progressOf(job *Job) Progress { return Progress{job.ID, job.Status, job.Progress} }

// Draft is the request as the API takes it.
func (r Request) Draft() (tasks.Draft, error) {
	input, ok := r.InputData.(json.RawMessage)
	if raw, bytes := r.InputData.([]byte); bytes {
		input, ok = raw, true
	}
	if !ok && r.InputData != nil {
		var err error
		if input, err = json.Marshal(r.InputData); err != nil {
			return tasks.Draft{}, fmt.Errorf("easel: InputData cannot be written as JSON: %w", err)
		}
	}
	d := tasks.Draft{
		FeatureType: r.FeatureType, InputData: input, UserID: r.UserID, ProviderID: r.ProviderID,
		FallbackProviderIDs: r.FallbackProviderIDs, Model: r.Model, WebhookURL: r.WebhookURL,
		Metadata: r.Metadata, Priority: r.Priority,
	}
	if r.RetryAttempts != 0 {
		d.RetryAttempts = new(max(r.RetryAttempts, 0))
	}
	if r.RetryDelay != 0 {
		d.RetryDelayMS = new(r.RetryDelay.Milliseconds())
	}
	if r.Timeout != 0 {
		d.TimeoutMS = new(r.Timeout.Milliseconds())
	}
	if !r.RunAt.IsZero() {
		d.RunAt = &r.RunAt
	}
	return d, nil
}

// GenerationResult is what a job produced.
type GenerationResult struct {
	JobID       string
	Status      JobStatus
	FeatureType FeatureType
	ProviderID  string
	Model       string
	Artifacts   []tasks.ArtifactView
	// Output is what is not a file: a seed, a revised prompt, a text.
	Output   json.RawMessage
	Warnings []tasks.Warning
	Cost     *tasks.Cost // nil: nobody knows
	Attempts int
	// Elapsed is from acceptance to the end.
	Elapsed time.Duration

	client *Client
}

// ErrNoResult is what reading a file answers that a result does not have.
var ErrNoResult = errors.New("easel: the result has no such file")

// Open opens the file at that index. The caller closes it.
func (r *GenerationResult) Open(ctx context.Context, index int) (*Artifact, error) {
	if r.client == nil || index < 0 || index >= len(r.Artifacts) {
		return nil, ErrNoResult
	}
	return r.client.Open(ctx, r.JobID, r.Artifacts[index].Index)
}

// ReadFile reads the file at that index into memory.
func (r *GenerationResult) ReadFile(ctx context.Context, index int) (_ []byte, err error) {
	file, err := r.Open(ctx, index)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	return io.ReadAll(file)
}

// DecodeOutput reads Output into a value.
func (r *GenerationResult) DecodeOutput(into any) error {
	if len(r.Output) == 0 {
		return ErrNoResult
	}
	if err := json.Unmarshal(r.Output, into); err != nil {
		return fmt.Errorf("easel: read output: %w", err)
	}
	return nil
}

func (c *Client) resultOf(job *Job) *GenerationResult {
	r := &GenerationResult{
		JobID: job.ID, Status: job.Status, FeatureType: job.FeatureType, ProviderID: job.ProviderID, Model: job.Model,
		Warnings: job.Warnings, Cost: job.Cost, Attempts: len(job.Attempts), client: c,
	}
	if job.Result != nil {
		r.Artifacts, r.Output = job.Result.Artifacts, job.Result.Output
	}
	if job.FinishedAt != nil {
		r.Elapsed = job.FinishedAt.Sub(job.CreatedAt)
	}
	return r
}

// Execute asks for a job, follows it and returns what it produced.
//
// A job that ends without a result is a [*JobError]; [ClassifyError] says what
// kind of failure it was. When the context ends first, or the job can no longer
// be followed, the error is a [*DetachedError] with the job's id, and the job
// goes on: [Client.Attach] follows it again from any process. Killing this one
// loses nothing either: with [Request].IdempotencyKey the next one executes the
// same request and gets the same job.
func (c *Client) Execute(ctx context.Context, r Request, options ...ExecuteOption) (*GenerationResult, error) {
	for _, option := range options {
		option(&r)
	}
	draft, err := r.Draft()
	if err != nil {
		return nil, err
	}
	var named []Option
	if r.IdempotencyKey != "" {
		named = append(named, WithIdempotencyKey(r.IdempotencyKey))
	}
	job, err := c.Enqueue(ctx, draft, named...)
	if err != nil {
		return nil, err
	}
	return c.follow(ctx, job.ID, r)
}

// Attach follows a job that was asked for before, by this process or another,
// and returns what it produced, as [Client.Execute] does. Of the options those
// count that are about following.
func (c *Client) Attach(ctx context.Context, jobID string, options ...ExecuteOption) (*GenerationResult, error) {
	var r Request
	for _, option := range options {
		option(&r)
	}
	return c.follow(ctx, jobID, r)
}

func (c *Client) follow(ctx context.Context, id string, r Request) (*GenerationResult, error) {
	for job, err := range c.Watch(ctx, id) {
		if err != nil {
			return c.detach(ctx, id, r, err)
		}
		if r.OnProgress != nil {
			r.OnProgress(progressOf(&job))
		}
		if job.Status.AtRest() {
			return c.ended(&job)
		}
	}
	return c.detach(ctx, id, r, errors.New("its events ended early"))
}

// ended is the result of a job at rest.
func (c *Client) ended(job *Job) (*GenerationResult, error) {
	if job.Status != tasks.StatusCompleted {
		return nil, &JobError{job}
	}
	return c.resultOf(job), nil
}

// cancelPatience is how long the cancel of a job may take whose caller is gone.
const cancelPatience = 15 * time.Second

// detach leaves a job that goes on, or cancels it where that was asked for. One
// that was done just then is a result all the same.
func (c *Client) detach(ctx context.Context, id string, r Request, cause error) (*GenerationResult, error) {
	detached := &DetachedError{JobID: id, Cause: cause}
	if ctx.Err() == nil || !r.CancelWithContext {
		return nil, detached
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelPatience)
	defer stop()
	_, err := c.Cancel(ctx, id)
	switch {
	case err == nil:
		detached.Canceled = true
	case IsConflict(err):
		if job, err := c.Get(ctx, id); err == nil && job.Status.AtRest() {
			return c.ended(job)
		}
	default:
		detached.Cause = errors.Join(cause, err)
	}
	return nil, detached
}
