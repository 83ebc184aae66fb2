package sketch

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// simulation is input_data.simulate; the package comment says what each key does.
type simulation struct {
	Fail        classify.Class `json:"fail"`
	Stage       string         `json:"stage"`
	Times       int            `json:"times"`
	RetryAfter  millis         `json:"retry_after_ms"`
	LoseAnswer  bool           `json:"lose_answer"`
	Answer500   bool           `json:"answer_500_after_accept"`
	Hang        millis         `json:"hang_ms"`
	Garbage     bool           `json:"garbage"`
	Duration    *millis        `json:"duration_ms"`
	Synchronous *bool          `json:"sync"`
	PollBlips   int            `json:"poll_blips"`
	NoOutput    bool           `json:"no_output"`
	Outputs     int            `json:"outputs"`
	Webhook     string         `json:"webhook"`
	LateBy      millis         `json:"late_by_ms"`
	Never       bool           `json:"never"`
}

// millis is a count of milliseconds.
type millis int64

func (m millis) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// The stages at which a fault can strike.
const (
	stageSubmit     = "submit"
	stagePoll       = "poll"
	stageGeneration = "generation"
	stageDownload   = "download"
)

const maxSimulatedDelay = millis(24 * 60 * 60 * 1000)

// simulation reads the key of that name.
func (r *inputReader) simulation(allowed bool) (simulation, error) {
	raw, ok := r.fields["simulate"]
	if !ok || string(raw) == "null" {
		return simulation{Stage: stageSubmit}, nil
	}
	if !allowed {
		return simulation{}, invalid("/input_data/simulate", "is not allowed; set the provider's option allow_simulate")
	}
	s := simulation{LateBy: 2000}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return simulation{}, invalid("/input_data/simulate", "has a key that there is not, or a value of the wrong kind")
	}
	return s, s.normalize()
}

// normalize fills in the stage and checks every key.
func (s *simulation) normalize() error {
	if s.Stage == "" {
		s.Stage = stageSubmit
	}
	switch s.Fail {
	case classify.GenerationFailed, classify.Canceled:
		s.Stage = stageGeneration
	case classify.UnknownOutcome:
		if s.Stage == stageSubmit {
			s.Fail, s.LoseAnswer = "", true
		}
	}
	at := func(key, format string, args ...any) error {
		return invalid("/input_data/simulate/"+key, format, args...)
	}
	if _, known := faults[s.Fail]; s.Fail != "" && !known {
		return at("fail", "must be a class of failure")
	}
	if !slices.Contains([]string{stageSubmit, stagePoll, stageGeneration, stageDownload}, s.Stage) {
		return at("stage", "must be submit, poll, generation or download")
	}
	if !slices.Contains([]string{"", "early", "late", "twice", "forged", "none"}, s.Webhook) {
		return at("webhook", "must be early, late, twice, forged or none")
	}
	if s.Times < 0 || s.Times > 1000 || s.PollBlips < 0 || s.PollBlips > 1000 {
		return at("times", "and poll_blips must be from 0 to 1000")
	}
	if s.Outputs < 0 || s.Outputs > 16 {
		return at("outputs", "must be from 0 to 16")
	}
	delays := []millis{s.RetryAfter, s.Hang, s.LateBy}
	if s.Duration != nil {
		delays = append(delays, *s.Duration)
	}
	if slices.Min(delays) < 0 || slices.Max(delays) > maxSimulatedDelay {
		return at("duration_ms", "and the other times must be from 0 to a day")
	}
	return nil
}

// fault is how a class of failure looks on the wire.
type fault struct {
	status  int
	code    string
	message string
}

// faults lists every class. Codes are ours, so that the adapter can tell
// classes apart that share a status.
var faults = map[classify.Class]fault{
	classify.Network:          {0, "", ""}, // a connection that is refused or cut
	classify.UnknownOutcome:   {0, "", ""}, // likewise
	classify.Timeout:          {http.StatusRequestTimeout, "timed_out", "the request took too long"},
	classify.Server:           {http.StatusInternalServerError, "internal_error", "something broke"},
	classify.RateLimit:        {http.StatusTooManyRequests, "rate_limited", "too many requests"},
	classify.Overloaded:       {http.StatusServiceUnavailable, "overloaded", "every easel is taken"},
	classify.Authentication:   {http.StatusUnauthorized, "invalid_api_key", "the key is not good"},
	classify.Quota:            {http.StatusPaymentRequired, "insufficient_quota", "the money is out"},
	classify.Validation:       {http.StatusUnprocessableEntity, "invalid_input", "the input is not valid"},
	classify.ContentPolicy:    {http.StatusUnprocessableEntity, "content_policy", "this will not be drawn"},
	classify.NotFound:         {http.StatusNotFound, "not_found", "there is no such thing"},
	classify.GenerationFailed: {http.StatusUnprocessableEntity, "generation_failed", "the paint ran"},
	classify.Canceled:         {http.StatusConflict, "canceled", "the generation was canceled"},
	classify.Unknown:          {http.StatusTeapot, "strange", "nobody knows"},
}

// classesByCode is the same table read backwards, for the adapter.
func classesByCode() map[string]classify.Class {
	classes := map[string]classify.Class{}
	for class, f := range faults {
		if f.code != "" {
			classes[strings.ToLower(f.code)] = class
		}
	}
	return classes
}
