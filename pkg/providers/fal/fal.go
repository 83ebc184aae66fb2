// Package fal is the adapter to fal.ai's queue, which runs models of many
// authors: requests that wait in a queue, are polled, canceled and reported by
// webhook.
//
// # What it refuses to know
//
// The synchronous API and streams of events: whoever waits is Easel.
package fal

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// DefaultBaseURL is where fal's queue is.
const DefaultBaseURL = "https://queue.fal.run"

// options is what only this adapter knows.
type options struct {
	// Inputs says what models call the common names, where we do not know.
	Inputs []providers.InputName `json:"inputs"`
	// PlatformURL is where the history of requests is.
	PlatformURL string `json:"platform_url"`
	// KeysURL is where the keys are that verify webhooks.
	KeysURL string `json:"keys_url"`
}

// Provider is the adapter. It is a [providers.Canceler], a [providers.Finder], a
// [providers.WebhookReader], an [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	options options
	client  *providers.Client
	keys    *providers.Keys[keys]
	now     func() time.Time
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	p := &Provider{now: time.Now, options: options{
		PlatformURL: "https://api.fal.ai/v1", KeysURL: "https://rest.fal.ai/.well-known/jwks.json",
	}}
	if err := s.Decode(&p.options); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	own, err := hosts(DefaultBaseURL, p.options.PlatformURL, p.options.KeysURL)
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	p.client, err = s.Client(DefaultBaseURL, providers.ClientConfig{
		Classes: classes, DecodeError: decodeError, DoubtServerErrors: true,
		Hosts:     own,
		Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Key "+s.APIKey.Reveal()) },
	})
	if err != nil {
		return nil, err
	}
	p.keys = providers.NewKeys(p.fetchKeys)
	return p, nil
}

// hosts are those of fal's addresses.
func hosts(addresses ...string) ([]string, error) {
	var list []string
	for _, address := range addresses {
		parsed, err := url.Parse(address)
		if err != nil || parsed.Hostname() == "" {
			return nil, errors.New("platform_url and keys_url: must be URLs")
		}
		list = append(list, strings.ToLower(parsed.Hostname()))
	}
	return list, nil
}

//go:embed schemas/*.json
var schemas embed.FS

// offered is read once: every job asks for it several times.
var offered = providers.Features(schemas, models)

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features: offered, Webhooks: true, Files: providers.HandoverDataURI,
		Poll: providers.PollPolicy{First: time.Second, Interval: time.Second, Ceiling: 10 * time.Second},
	}
}

// states says what each of the queue's states means to us. It has none for what
// failed: that is complete, too.
var states = map[string]providers.State{
	"IN_QUEUE":    providers.Queued,
	"IN_PROGRESS": providers.Running,
	"COMPLETED":   providers.Succeeded,
}

// queued is how the queue describes a request.
type queued struct {
	ID        string `json:"request_id"`
	Status    string `json:"status"`
	Position  *int   `json:"queue_position"`
	StatusURL string `json:"status_url"`
	CancelURL string `json:"cancel_url"`
	ResultURL string `json:"response_url"`
	Error     string `json:"error"`
	ErrorType string `json:"error_type"`
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	call := providers.Call{URL: "/" + providers.ModelOr(models, req.Feature, req.Model), Submit: true}
	if req.WebhookURL != "" {
		call.Query = url.Values{"fal_webhook": {req.WebhookURL}}
	}
	var made queued
	if _, err := p.client.JSON(ctx, call, p.input(req), &made); err != nil {
		return providers.Status{}, err
	}
	return p.status(made, true)
}

// Poll implements [providers.Provider]. A request that is complete takes a
// second call, for what has become of it.
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	address := ref.PollURL
	if address == "" {
		address = requestPath(ref) + "/status"
	}
	var made queued
	if _, err := p.client.JSON(ctx, providers.Call{URL: address}, nil, &made); err != nil {
		return providers.Status{}, err
	}
	if made.ID == "" {
		made.ID = ref.RemoteID
	}
	st, err := p.status(made, false)
	if err != nil || st.State != providers.Succeeded {
		return st, err
	}
	if made.ResultURL == "" {
		made.ResultURL = requestPath(ref)
	}
	return p.result(ctx, st, made.ResultURL, ref)
}

func (p *Provider) status(made queued, submitted bool) (providers.Status, error) {
	state, known := states[made.Status]
	if submitted && made.Status == "" && made.StatusURL != "" {
		state, known = providers.Queued, true // older queues only name the addresses
	}
	if made.ID == "" || !known || submitted && state == providers.Succeeded {
		return providers.Status{}, p.client.Strange(submitted, "the request has no id, or a state that is not known")
	}
	st := providers.Status{
		State: state, RemoteID: made.ID, PollURL: made.StatusURL, CancelURL: made.CancelURL, QueuePosition: made.Position,
	}
	if state == providers.Succeeded && made.Error != "" {
		return failed(st, p.client.Failed(made.ErrorType, made.Error)), nil
	}
	return st, nil
}

// requestPath is where a request stands: below the name of the app, without what
// follows it in the name of the model.
func requestPath(ref providers.Ref) string {
	parts := strings.Split(providers.ModelOr(models, ref.Feature, ref.Model), "/")
	keep := 2
	if parts[0] == "workflows" || parts[0] == "comfy" {
		keep = 3
	}
	return "/" + strings.Join(parts[:min(keep, len(parts))], "/") + "/requests/" + url.PathEscape(ref.RemoteID)
}

// Cancel implements [providers.Canceler].
func (p *Provider) Cancel(ctx context.Context, ref providers.Ref) error {
	address := ref.CancelURL
	if address == "" {
		address = requestPath(ref) + "/cancel"
	}
	_, err := p.client.Do(ctx, providers.Call{Method: http.MethodPut, URL: address})
	if status := classify.Classify(err).Status; status == http.StatusNotFound || status == http.StatusBadRequest {
		return nil // it does not know the request, or the request has ended
	}
	return err
}

const historyPages = 10

// Find implements [providers.Finder]. The history has requests that have ended,
// and perhaps not all others: who is not in it is never called absent.
func (p *Provider) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	req := lost.Request
	query := url.Values{
		"endpoint_id": {providers.ModelOr(models, req.Feature, req.Model)}, "start": {lost.FindSince().UTC().Format(time.RFC3339)},
		"expand": {"payloads"}, "limit": {"100"},
	}
	var listed []providers.Listed
	for range historyPages {
		var page historyPage
		if _, err := p.client.JSON(ctx, providers.Call{URL: p.options.PlatformURL + "/models/requests/by-endpoint", Query: query}, nil, &page); err != nil {
			return providers.Status{}, err
		}
		if page.Items == nil {
			return providers.Status{}, p.client.Strange(false, "the answer has no list")
		}
		for _, item := range *page.Items {
			listed = append(listed, providers.Listed{ID: item.ID, Created: item.SentAt, Input: item.Input})
		}
		if page.Next == "" {
			break
		}
		query.Set("cursor", page.Next)
	}
	id, err := p.client.Match(lost, p.input(req), listed, false)
	if err != nil {
		return providers.Status{}, err
	}
	return providers.Status{State: providers.Running, RemoteID: id}, nil
}

// historyPage is a page of the requests that a model has had.
type historyPage struct {
	Next  string `json:"next_cursor"`
	Items *[]struct {
		ID     string         `json:"request_id"`
		SentAt time.Time      `json:"sent_at"`
		Input  map[string]any `json:"json_input"`
	} `json:"items"`
}

// ListLag implements [providers.Finder].
func (p *Provider) ListLag() time.Duration { return 5 * time.Minute }

var remoteID = regexp.MustCompile(`^[0-9a-zA-Z][0-9a-zA-Z-]{7,63}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

func failed(st providers.Status, failure *classify.Error) providers.Status {
	st.State, st.Failure = providers.Failed, failure
	if failure.Class == classify.Canceled {
		st.State = providers.Canceled
	}
	return st
}

// result fetches what has become of a request that is complete. An error of the
// model comes as the answer's status.
func (p *Provider) result(ctx context.Context, st providers.Status, address string, ref providers.Ref) (providers.Status, error) {
	var made struct {
		Seed any `json:"seed"`
		NSFW any `json:"has_nsfw_concepts"`
	}
	reply, err := p.client.JSON(ctx, providers.Call{URL: address}, nil, &made)
	if err != nil {
		return p.resultError(st, err)
	}
	st.Data = map[string]any{}
	for key, value := range map[string]any{"seed": made.Seed, "has_nsfw_concepts": made.NSFW} {
		if value != nil {
			st.Data[key] = value
		}
	}
	if units := reply.Header.Get("X-Fal-Billable-Units"); units != "" {
		st.Data["billable_units"] = units
	}
	return p.client.Completed(false, st, reply.Body, ref.Feature)
}

// resultError tells what the model says of a generation from what is wrong with
// our asking.
func (p *Provider) resultError(st providers.Status, err error) (providers.Status, error) {
	var said *classify.Error
	if !errors.As(err, &said) || said.Status < http.StatusBadRequest {
		return providers.Status{}, err // no answer, or none that can be read
	}
	switch {
	case said.Code == codeInProgress:
		st.State = providers.Running
		return st, nil
	case said.Code == "":
		return providers.Status{}, err // a gateway's answer, or none
	case said.Status == http.StatusUnauthorized, said.Status == http.StatusForbidden, said.Status == http.StatusNotFound,
		said.Status == http.StatusTooManyRequests:
		return providers.Status{}, err
	}
	return failed(st, said), nil
}
