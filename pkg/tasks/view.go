package tasks

import (
	"encoding/json"
	"fmt"
	"time"
)

// View is a job as callers see it: the JSON of the HTTP API, of webhooks and of
// the Go client. v1 only grows; clients ignore what they do not know.
type View struct {
	ID          string            `json:"id" doc:"Identifier of the job" example:"job_01JD3XK8M5Q0R7Z4N9T2V6W8YB"`
	Status      Status            `json:"status" doc:"queued, processing, completed, failed, canceled or unresolved"`
	Version     int64             `json:"version" doc:"Grows by one with every change; also the ETag"`
	FeatureType Feature           `json:"feature_type"`
	InputData   json.RawMessage   `json:"input_data,omitempty"`
	UserID      string            `json:"user_id"`
	ProviderID  string            `json:"provider_id"`
	Model       string            `json:"model"`
	Priority    Priority          `json:"priority"`
	Metadata    map[string]string `json:"metadata"`
	RunAt       *time.Time        `json:"run_at"`
	Progress    ProgressView      `json:"progress"`
	Result      *ResultView       `json:"result"`
	Error       *FailureView      `json:"error"`
	Warnings    []Warning         `json:"warnings"`
	Cost        *Cost             `json:"cost"`
	Attempts    []AttemptView     `json:"attempts"`
	Deliveries  []DeliveryView    `json:"deliveries,omitempty"`
	URLs        URLs              `json:"urls"`
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
	StartedAt   *time.Time        `json:"started_at"`
	FinishedAt  *time.Time        `json:"finished_at"`
	ExpiresAt   *time.Time        `json:"expires_at"`
}

// ProgressView is [Progress] as callers see it.
type ProgressView struct {
	Stage         Stage      `json:"stage"`
	Percent       *float64   `json:"percent" doc:"0 to 100, or null when nobody knows"`
	Message       string     `json:"message"`
	Estimated     bool       `json:"estimated" doc:"true when the percentage or ETA is Easel's and not the provider's"`
	ETA           *time.Time `json:"eta"`
	QueuePosition *int       `json:"queue_position"`
}

// ResultView is [Result] as callers see it.
type ResultView struct {
	Artifacts []ArtifactView  `json:"artifacts"`
	Output    json.RawMessage `json:"output"`
	Late      bool            `json:"late" doc:"true when the result came after the job had ended"`
}

// ArtifactView is [Artifact] as callers see it.
type ArtifactView struct {
	Index      int        `json:"index"`
	Kind       string     `json:"kind"`
	URL        string     `json:"url"`
	MediaType  string     `json:"media_type"`
	Bytes      int64      `json:"bytes"`
	SHA256     string     `json:"sha256"`
	Width      *int       `json:"width"`
	Height     *int       `json:"height"`
	DurationMS *int64     `json:"duration_ms"`
	ExpiresAt  *time.Time `json:"expires_at"`
	Path       string     `json:"path,omitempty" doc:"where the file lies, when the server and its caller share a disk"`
}

// FailureView is [Failure] as callers see it.
type FailureView struct {
	Class          string `json:"class"`
	Code           string `json:"code"`
	Message        string `json:"message"`
	ProviderID     string `json:"provider_id"`
	ProviderStatus *int   `json:"provider_status"`
	Retryable      bool   `json:"retryable"`
}

// AttemptView is [Attempt] as callers see it.
type AttemptView struct {
	Number     int          `json:"number"`
	ProviderID string       `json:"provider_id"`
	Model      string       `json:"model"`
	RemoteID   *string      `json:"remote_id"`
	Outcome    Outcome      `json:"outcome"`
	Error      *FailureView `json:"error"`
	Cost       *Cost        `json:"cost"`
	StartedAt  time.Time    `json:"started_at"`
	AnsweredAt *time.Time   `json:"answered_at"`
	DoneAt     *time.Time   `json:"done_at"`
	EndedAt    *time.Time   `json:"ended_at"`
}

// DeliveryView is [Delivery] as callers see it.
type DeliveryView struct {
	Type       string     `json:"type"`
	State      string     `json:"state"`
	Tries      int        `json:"tries"`
	LastStatus *int       `json:"last_status"`
	LastError  string     `json:"last_error"`
	NextAt     *time.Time `json:"next_at"`
	DoneAt     *time.Time `json:"done_at"`
}

// URLs says where a job can be read, watched and canceled.
type URLs struct {
	Self   string `json:"self"`
	Events string `json:"events"`
	Cancel string `json:"cancel"`
}

// Links makes the URLs of a view. Those of artifacts may carry a signature.
type Links interface {
	// Job is the URL of a job, without a trailing slash.
	Job(id string) string
	// Artifact is the URL of one of its artifacts, and when it stops working
	// (zero: never).
	Artifact(j *Job, index int) (url string, expires time.Time)
}

// NewView shows a job to callers.
func NewView(j *Job, links Links) View {
	self := links.Job(j.ID)
	v := View{
		ID: j.ID, Status: j.State.Status(), Version: j.Version,
		FeatureType: j.Request.FeatureType, InputData: j.Request.InputData, UserID: j.Request.UserID,
		ProviderID: j.ProviderID, Model: j.Model, Priority: j.Request.Priority,
		Metadata: j.Request.Metadata, RunAt: optionalTime(j.Request.RunAt),
		Progress: ProgressView{
			Stage: j.Progress.Stage, Percent: j.Progress.Percent, Message: j.Progress.Message,
			Estimated: j.Progress.Estimated, ETA: optionalTime(j.Progress.ETA), QueuePosition: j.Progress.QueuePosition,
		},
		Error: viewFailure(j.Error), Warnings: j.Warnings, Attempts: []AttemptView{},
		URLs:      URLs{Self: self, Events: self + "/events", Cancel: self + "/cancel"},
		CreatedAt: j.CreatedAt, UpdatedAt: j.UpdatedAt, StartedAt: optionalTime(j.StartedAt),
		FinishedAt: optionalTime(j.FinishedAt), ExpiresAt: optionalTime(j.PurgeAt),
	}
	if v.Metadata == nil {
		v.Metadata = map[string]string{}
	}
	if v.Warnings == nil {
		v.Warnings = []Warning{}
	}
	if r := j.Result; r != nil {
		v.Result = viewResult(j, r, links)
	}
	for i := range j.Attempts {
		v.Attempts = append(v.Attempts, viewAttempt(j, &j.Attempts[i]))
		if c := j.Attempts[i].Cost; c != nil && len(j.Attempts) == 1 {
			v.Cost = c
		}
	}
	for _, d := range j.Outbox {
		v.Deliveries = append(v.Deliveries, DeliveryView{
			Type: d.Type, State: d.State, Tries: d.Tries, LastStatus: optional(d.LastCode),
			LastError: d.LastErr, NextAt: optionalTime(d.NextAt), DoneAt: optionalTime(d.DoneAt),
		})
	}
	return v
}

func viewResult(j *Job, r *Result, links Links) *ResultView {
	v := &ResultView{Artifacts: []ArtifactView{}, Output: r.Output, Late: r.Late}
	if len(v.Output) == 0 {
		v.Output = json.RawMessage("{}")
	}
	for _, a := range r.Artifacts {
		url, expires := links.Artifact(j, a.Index)
		v.Artifacts = append(v.Artifacts, ArtifactView{
			Index: a.Index, Kind: a.Kind, URL: url, MediaType: a.MediaType, Bytes: a.Bytes, SHA256: a.SHA256,
			Width: optional(a.Width), Height: optional(a.Height), DurationMS: optional(a.Duration),
			ExpiresAt: optionalTime(expires),
		})
	}
	return v
}

func viewAttempt(j *Job, a *Attempt) AttemptView {
	v := AttemptView{
		Number: a.Number, ProviderID: a.ProviderID, Model: a.Model, Outcome: a.Outcome,
		Error: viewFailure(a.Error), Cost: a.Cost, StartedAt: a.StartedAt,
		AnsweredAt: optionalTime(a.AnsweredAt), DoneAt: optionalTime(a.DoneAt), EndedAt: optionalTime(a.EndedAt),
	}
	for i := range j.Submissions {
		if s := &j.Submissions[i]; s.Attempt == a.Number && s.RemoteID != "" {
			v.RemoteID = &s.RemoteID
		}
	}
	return v
}

func viewFailure(f *Failure) *FailureView {
	if f == nil {
		return nil
	}
	return &FailureView{
		Class: string(f.Class), Code: f.Code, Message: f.Message, ProviderID: f.ProviderID,
		ProviderStatus: optional(f.ProviderStatus), Retryable: f.Retryable,
	}
}

func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

func optionalTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// RelativeLinks are the links of a server that does not know its public URL.
type RelativeLinks struct{}

// Job implements [Links].
func (RelativeLinks) Job(id string) string { return "/v1/jobs/" + id }

// Artifact implements [Links].
func (RelativeLinks) Artifact(j *Job, index int) (string, time.Time) {
	return fmt.Sprintf("/v1/jobs/%s/artifacts/%d", j.ID, index), time.Time{}
}
