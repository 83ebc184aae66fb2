// Package stability is the adapter to Stability AI's v2beta API: pictures and
// sounds that are answered at once, and creative upscaling, which is polled.
//
// # What it refuses to know
//
// The v1 API and image-to-video, which are no longer described.
package stability

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// DefaultBaseURL is where Stability AI is.
const DefaultBaseURL = "https://api.stability.ai"

// banned is how long the API lets nobody in who has asked more than 150 times in
// ten seconds.
const banned = time.Minute

// Provider is the adapter. It is an [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	name   string
	client *providers.Client
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	if err := s.Decode(&struct{}{}); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	client, err := s.Client(DefaultBaseURL, providers.ClientConfig{
		Classes: classes, DecodeError: decodeError,
		Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.APIKey.Reveal()) },
	})
	if err != nil {
		return nil, err
	}
	return &Provider{name: s.Name, client: client}, nil
}

//go:embed schemas/*.json
var schemas embed.FS

// offered is read once: every job asks for it several times.
var offered = providers.Features(schemas, models)

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features: offered, Files: providers.HandoverUpload, ResultLifetime: 24 * time.Hour,
		Poll: providers.PollPolicy{First: 10 * time.Second, Interval: 10 * time.Second, Ceiling: 20 * time.Second},
	}
}

// reply is what every endpoint answers: files beside why it ended, or, where the
// result is to be polled, an id.
type reply struct {
	ID     string       `json:"id"`
	Status string       `json:"status"`
	Finish string       `json:"finish_reason"`
	Seed   *json.Number `json:"seed"`
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	path, form, err := p.form(req)
	if err != nil {
		return providers.Status{}, err
	}
	var made reply
	answer, err := p.client.JSON(ctx, providers.Call{URL: path, Payload: form.Payload(), Submit: true}, nil, &made)
	if err != nil {
		return providers.Status{}, err
	}
	if path == creative {
		if !remoteID.MatchString(made.ID) {
			return providers.Status{}, p.client.Strange(true, "the answer has no id")
		}
		return providers.Status{State: providers.Queued, RemoteID: made.ID}, nil
	}
	return p.finished(true, made, answer.Body, providers.Ref{Feature: req.Feature})
}

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	if ref.RemoteID == "" {
		return providers.Status{}, &classify.Error{
			Class: classify.NotFound, Provider: p.name, Message: "all but creative upscaling is answered at once; there is nothing to poll",
		}
	}
	var made reply
	answer, err := p.client.JSON(ctx, providers.Call{URL: "/v2beta/results/" + url.PathEscape(ref.RemoteID)}, nil, &made)
	if err != nil {
		return providers.Status{}, err
	}
	if answer.Status == http.StatusAccepted {
		state, known := states[made.Status]
		if !known {
			return providers.Status{}, p.client.Strange(false, "the result is in a state that is not known")
		}
		return providers.Status{State: state, RemoteID: ref.RemoteID}, nil
	}
	return p.finished(false, made, answer.Body, ref)
}

// states says what each state of a result that is not there means to us.
var states = map[string]providers.State{"in-progress": providers.Running}

// finishes says why a generation ended. A picture that was filtered comes all
// the same, blurred, and is billed.
var finishes = map[string]providers.State{"SUCCESS": providers.Succeeded, "CONTENT_FILTERED": providers.Failed}

func (p *Provider) finished(submitted bool, made reply, answer []byte, ref providers.Ref) (providers.Status, error) {
	state, known := finishes[made.Finish]
	if !known {
		return providers.Status{}, p.client.Strange(submitted, "the answer does not say how the generation ended")
	}
	st := providers.Status{RemoteID: ref.RemoteID}
	if state == providers.Failed {
		st.State, st.Failure = providers.Failed, p.client.Failed(made.Finish, "the result was filtered")
		return st, nil
	}
	if made.Seed != nil {
		st.Data = map[string]any{"seed": *made.Seed}
	}
	return p.client.Completed(submitted, st, answer, ref.Feature)
}

var remoteID = regexp.MustCompile(`^[0-9a-zA-Z-]{8,128}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

// classes says what the API's names of errors mean, where the status does not.
var classes = map[string]classify.Class{
	"content_filtered":    classify.ContentPolicy,
	"content_moderation":  classify.ContentPolicy,
	"public_figure":       classify.ContentPolicy,
	"invalid_language":    classify.Validation,
	"bad_request":         classify.Validation,
	"payload_too_large":   classify.Validation,
	"unauthorized":        classify.Authentication,
	"payment_required":    classify.Quota,
	"insufficient_credit": classify.Quota,
	"rate_limit_exceeded": classify.RateLimit,
	"internal_error":      classify.Server,
}

// decodeError reads {"id","name","errors"}; what has no name is not the API's.
func decodeError(status int, header http.Header, body []byte) *classify.Error {
	var said struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(body, &said) != nil || said.Name == "" {
		return nil //nolint:nilerr // a body in no known form says nothing: the status does
	}
	failure := providers.DecodeError(status, header, body)
	if failure == nil {
		failure = &classify.Error{Code: said.Name, Message: said.Name}
	}
	if status == http.StatusTooManyRequests && header.Get("Retry-After") == "" {
		failure.RetryAfter = banned
	}
	return failure
}
