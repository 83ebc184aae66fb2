// Package gemini is the adapter to Google's Gemini API: pictures by
// generateContent, answered at once, and films by Veo, which are operations that
// are polled.
//
// # What it refuses to know
//
// Imagen, which has been shut down, conversations, and the account's own
// webhooks.
package gemini

import (
	"context"
	"embed"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// DefaultBaseURL is where the API is.
const DefaultBaseURL = "https://generativelanguage.googleapis.com/v1beta"

// Provider is the adapter. It is a [providers.Downloader] for films, an
// [providers.InputChecker] and a [providers.RemoteIDChecker].
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
		Classes: classes, DecodeError: decodeError, DoubtServerErrors: true, MaxBody: 128 << 20,
		Authorize: func(r *http.Request) { r.Header.Set("X-Goog-Api-Key", s.APIKey.Reveal()) },
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
		Features: offered, Files: providers.HandoverDataURI, ResultLifetime: 48 * time.Hour,
		Poll: providers.PollPolicy{First: 10 * time.Second, Interval: 10 * time.Second, Ceiling: 30 * time.Second},
	}
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	if providers.KindOf(req.Feature) == "video" {
		return p.film(ctx, req)
	}
	return p.draw(ctx, req)
}

func (p *Provider) draw(ctx context.Context, req providers.Request) (providers.Status, error) {
	body, err := drawing(req)
	if err != nil {
		return providers.Status{}, err
	}
	var made content
	path := "/models/" + providers.ModelOr(models, req.Feature, req.Model) + ":generateContent"
	answer, err := p.client.JSON(ctx, providers.Call{URL: path, Submit: true}, body, &made)
	if err != nil {
		return providers.Status{}, err
	}
	if made.Candidates == nil && made.Feedback == nil {
		return providers.Status{}, p.client.Strange(true, "the answer has no candidates")
	}
	st, err := p.client.Completed(true, providers.Status{Data: made.details()}, answer.Body, req.Feature)
	if err == nil && st.State == providers.Failed {
		// A refusal is a success by its status, and says why in its own way.
		st.Failure = p.client.Failed(made.reason())
	}
	return st, err
}

func (p *Provider) film(ctx context.Context, req providers.Request) (providers.Status, error) {
	body, err := filming(req)
	if err != nil {
		return providers.Status{}, err
	}
	var made operation
	path := "/models/" + providers.ModelOr(models, req.Feature, req.Model) + ":predictLongRunning"
	if _, err := p.client.JSON(ctx, providers.Call{URL: path, Submit: true}, body, &made); err != nil {
		return providers.Status{}, err
	}
	if !remoteID.MatchString(made.Name) {
		return providers.Status{}, p.client.Strange(true, "the answer has no operation")
	}
	return providers.Status{State: providers.Running, RemoteID: made.Name}, nil
}

// Poll implements [providers.Provider]. Only films have something to poll.
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	if !remoteID.MatchString(ref.RemoteID) {
		return providers.Status{}, &classify.Error{
			Class: classify.NotFound, Provider: p.name, Message: "pictures are answered at once; there is nothing to poll",
		}
	}
	var made operation
	answer, err := p.client.JSON(ctx, providers.Call{URL: "/" + ref.RemoteID}, nil, &made)
	if err != nil {
		return providers.Status{}, err
	}
	st := providers.Status{State: providers.Running, RemoteID: made.Name}
	switch {
	case made.Name == "":
		return providers.Status{}, p.client.Strange(false, "the answer has no operation")
	case !made.Done:
		return st, nil
	case made.Error != nil:
		st.State, st.Failure = providers.Failed, p.client.Failed(made.Error.code(), made.Error.Message)
		return st, nil
	case made.Response == nil:
		return providers.Status{}, p.client.Strange(false, "the operation is done, and says neither how nor why")
	}
	st, err = p.client.Completed(false, st, answer.Body, tasks.TextToVideo)
	if err == nil && st.State == providers.Failed && made.Response.Videos.Filtered > 0 {
		st.Failure = p.client.Failed("rai_filtered", st.Failure.Message)
	}
	return st, err
}

// remoteID is the name of an operation, which is a path below the API's.
var remoteID = regexp.MustCompile(`^models/[a-z0-9][a-z0-9.-]{0,63}/operations/[A-Za-z0-9_-]{1,128}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

// Download implements [providers.Downloader]. A film wants our key, which stays
// with the API when it redirects elsewhere.
func (p *Provider) Download(ctx context.Context, _ providers.Ref, out providers.Output) (providers.Body, error) {
	return p.client.Open(ctx, providers.Call{URL: out.URL, Anywhere: true}, 0)
}
