package sketch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The wire format, as both halves speak it.

// maxSubmission bounds a submission with its files.
const maxSubmission = 64 << 20

// submission is the body of POST /v1/generations.
type submission struct {
	ClientID string `json:"client_id,omitempty"`
	// Reference is the caller's name for the piece of work that its client
	// ids belong to; simulated faults are counted by it.
	Reference  string          `json:"reference,omitempty"`
	Feature    tasks.Feature   `json:"feature"`
	Model      string          `json:"model,omitempty"`
	Input      json.RawMessage `json:"input"`
	Files      []submittedFile `json:"files,omitempty"`
	WebhookURL string          `json:"webhook_url,omitempty"`
}

type submittedFile struct {
	Pointer   string `json:"pointer"`
	MediaType string `json:"media_type"`
	Data      []byte `json:"data"` // base64
}

// counter names what faults are counted by.
func (in submission) counter() string { return counter(in.Reference, in.ClientID) }

func (e entry) counter() string { return counter(e.Reference, e.ClientID) }

func counter(reference, clientID string) string {
	if reference != "" {
		return reference
	}
	return clientID
}

// The statuses of a generation.
const (
	statusQueued    = "queued"
	statusRunning   = "running"
	statusSucceeded = "succeeded"
	statusFailed    = "failed"
	statusCanceled  = "canceled"
)

// report is what the service says of a generation.
type report struct {
	ID            string         `json:"id"`
	ClientID      string         `json:"client_id,omitempty"`
	Status        string         `json:"status"`
	Percent       *float64       `json:"percent,omitempty"`
	QueuePosition *int           `json:"queue_position,omitempty"`
	ETA           millis         `json:"eta_ms,omitempty"`
	Outputs       []product      `json:"outputs,omitempty"`
	Data          map[string]any `json:"data,omitempty"`
	Error         *problem       `json:"error,omitempty"`
}

// product is one output: its bytes, or where to fetch them.
type product struct {
	Kind      string `json:"kind"`
	MediaType string `json:"media_type"`
	Name      string `json:"name"`
	Path      string `json:"path"`
	Data      []byte `json:"data,omitempty"` // base64
}

type problem struct {
	Code       string `json:"code"`
	Message    string `json:"message"`
	Field      string `json:"field,omitempty"`
	RetryAfter millis `json:"retry_after_ms,omitempty"`
}

type problemBody struct {
	Error *problem `json:"error"`
}

// listing is the answer of the look-up.
type listing struct {
	Generations []report `json:"generations"`
}

// over reports whether the generation has ended.
func (e entry) over(now time.Time) bool {
	return !e.CanceledAt.IsZero() || !e.DoneAt.IsZero() && !now.Before(e.DoneAt)
}

// report says how a generation fares now. It is computed, not remembered: from
// when it was accepted, when it is done, and what was simulated.
func (s *Service) report(e entry, o order) report {
	now := s.config.Now()
	r := report{ID: e.ID, ClientID: e.ClientID}
	switch {
	case !e.CanceledAt.IsZero(), e.over(now) && e.Doom == classify.Canceled:
		r.Status = statusCanceled
	case e.over(now) && e.Doom != "":
		f := faults[e.Doom]
		r.Status, r.Error = statusFailed, &problem{Code: f.code, Message: f.message}
	case e.over(now):
		r.Status, r.Outputs = statusSucceeded, o.products(e.ID)
		r.Data = map[string]any{"seed": o.seed}
		r.Percent = new(100.0)
	case now.Before(e.StartsAt):
		ahead := float64(e.StartsAt.Sub(now)) / float64(max(e.StartsAt.Sub(e.AcceptedAt), 1))
		r.Status, r.QueuePosition = statusQueued, new(int(math.Ceil(ahead*3)))
		r.Percent = new(0.0)
	case e.DoneAt.IsZero():
		r.Status = statusRunning
	default:
		r.Status, r.ETA = statusRunning, millis(e.DoneAt.Sub(now).Milliseconds())
		done := float64(now.Sub(e.StartsAt)) / float64(max(e.DoneAt.Sub(e.StartsAt), 1))
		r.Percent = new(math.Floor(done * 100))
	}
	return r
}

// products lists the outputs of an order.
func (o order) products(id string) []product {
	count := o.count
	if o.simulate.Outputs > 0 {
		count = o.simulate.Outputs
	}
	if o.simulate.NoOutput {
		count = 0
	}
	kind := offerOf(o.feature).kind
	mediaType, ending := o.mediaType()
	out := make([]product, count)
	for i := range out {
		out[i] = product{
			Kind: kind, MediaType: mediaType, Name: fmt.Sprintf("%s-%d.%s", kind, i, ending),
			Path: fmt.Sprintf("/v1/files/%s-%d", id, i),
		}
	}
	return out
}

func answer(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		status, raw = http.StatusInternalServerError, []byte(`{"error":{"code":"internal_error"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(status)
	_, _ = w.Write(raw) // nobody to tell: the caller has gone
}

// answerError answers with an error of ours, which carries a class.
func answerError(w http.ResponseWriter, err error, wait millis) {
	var failure *classify.Error
	if !errors.As(err, &failure) {
		answerFault(w, faults[classify.Server], wait)
		return
	}
	answerProblem(w, faults[failure.Class].status, &problem{Code: failure.Code, Message: failure.Message, Field: failure.Field}, wait)
}

func answerFault(w http.ResponseWriter, f fault, wait millis) {
	answerProblem(w, f.status, &problem{Code: f.code, Message: f.message}, wait)
}

func answerProblem(w http.ResponseWriter, status int, p *problem, wait millis) {
	if wait > 0 {
		// The header has whole seconds only; the body says it exactly.
		w.Header().Set("Retry-After", strconv.FormatInt((int64(wait)+999)/1000, 10))
		p.RetryAfter = wait
	}
	answer(w, status, problemBody{p})
}
