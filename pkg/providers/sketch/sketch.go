package sketch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Config is what the adapter has to know. Its json keys are the provider's
// options.
type Config struct {
	Mode          string           `json:"mode"`
	MinDuration   millis           `json:"min_duration_ms"`
	MaxDuration   millis           `json:"max_duration_ms"`
	Lookup        bool             `json:"lookup"`
	AllowSimulate bool             `json:"allow_simulate"`
	WebhookSecret providers.Secret `json:"webhook_secret"`

	Name    string           `json:"-"` // in errors
	BaseURL string           `json:"-"` // empty: a service of its own
	APIKey  providers.Secret `json:"-"`
	Dir     string           `json:"-"` // where that service keeps its ledger; empty: in memory
	Now     func() time.Time `json:"-"`
}

// Defaults is a configuration with nothing set.
func Defaults() Config { return Config{Name: "sketch", Lookup: true} }

// Open makes the provider from its section of the configuration. Providers of
// different names have ledgers of their own.
func Open(settings providers.Settings) (providers.Provider, error) {
	config := Defaults()
	if err := settings.Decode(&config); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	config.Name, config.BaseURL, config.APIKey = settings.Name, settings.BaseURL, settings.APIKey
	if settings.DataDir != "" {
		config.Dir = filepath.Join(settings.DataDir, "sketch", settings.Name)
	}
	return New(config)
}

// Provider is the adapter to a [Service]. It is a [providers.Canceler],
// [providers.WebhookReader], [providers.Downloader], [providers.InputChecker]
// and [providers.RemoteIDChecker].
type Provider struct {
	config       Config
	capabilities providers.Capabilities
	client       *providers.Client
	local        *inProcess // nil when the service is elsewhere
}

// finding is a Provider whose service lists by client id.
type finding struct{ *Provider }

// localURL is the address of a service in the same process; nothing is dialed.
const localURL = "http://sketch.invalid"

// New returns the provider; it is a [providers.Finder] where lookup is on, and
// an io.Closer in any case.
func New(config Config) (providers.Provider, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	p := &Provider{config: config, capabilities: config.capabilities()}
	client := providers.ClientConfig{
		Provider: config.Name, BaseURL: config.BaseURL, Classes: classesByCode(), DecodeError: decodeError,
	}
	if key := config.APIKey.Reveal(); key != "" {
		client.Authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key) }
	}
	if config.BaseURL == "" {
		service, err := NewService(config.service())
		if err != nil {
			return nil, fmt.Errorf("options: %w", err)
		}
		p.local = newInProcess(service)
		client.BaseURL, client.Transport = localURL, p.local
	}
	var err error
	if p.client, err = providers.NewClient(client); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if config.Lookup {
		return finding{p}, nil
	}
	return p, nil
}

func (c Config) service() ServiceConfig {
	return ServiceConfig{
		Dir: c.Dir, Mode: c.Mode, MinDuration: c.MinDuration.duration(), MaxDuration: c.MaxDuration.duration(),
		NoLookup: !c.Lookup, AllowSimulate: c.AllowSimulate, APIKey: c.APIKey.Reveal(),
		WebhookSecret: c.WebhookSecret.Reveal(), Now: c.Now,
	}
}

// Close ends the service that the provider holds, if it holds one, and waits
// for it.
func (p *Provider) Close() error {
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
	if p.local == nil {
		return nil
	}
	return errors.Join(p.local.service.Close(), p.local.Close())
}

// Service returns the service that the provider holds, or nil.
func (p *Provider) Service() *Service {
	if p.local == nil {
		return nil
	}
	return p.local.service
}

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities { return p.capabilities }

func (c Config) capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features: features(), Synchronous: c.Mode == ModeSync, Demo: true, Webhooks: true, Files: providers.HandoverDataURI,
		Poll: providers.PollPolicy{First: 300 * time.Millisecond, Interval: 250 * time.Millisecond, Ceiling: 30 * time.Second},
	}
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	input, err := json.Marshal(req.Input)
	if err != nil {
		return providers.Status{}, invalid("/input_data", "cannot be encoded as JSON")
	}
	in := submission{
		ClientID: req.ClientID, Reference: req.JobID, Feature: req.Feature, Model: req.Model,
		Input: input, WebhookURL: req.WebhookURL,
	}
	for _, f := range req.Files {
		in.Files = append(in.Files, submittedFile{Pointer: f.Pointer, MediaType: f.MediaType, Data: f.Data})
	}
	var out report
	call := providers.Call{URL: "/v1/generations", Submit: true, Header: p.unreachable(in)}
	if _, err := p.client.JSON(ctx, call, in, &out); err != nil {
		return providers.Status{}, fmt.Errorf("submit: %w", err)
	}
	return p.status(out, true)
}

// unreachable asks our own transport to refuse the connection where that is
// what the input wants simulated.
func (p *Provider) unreachable(in submission) http.Header {
	if p.local == nil || !p.config.AllowSimulate {
		return nil
	}
	o, err := parseOrder(in.Feature, in.Model, in.Input, true)
	if err != nil || o.simulate.Fail != classify.Network || o.simulate.Stage != stageSubmit {
		return nil
	}
	return http.Header{unreachableHeader: {strconv.Itoa(o.simulate.Times) + " " + in.counter()}}
}

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	var out report
	call := providers.Call{URL: "/v1/generations/" + url.PathEscape(ref.RemoteID)}
	if _, err := p.client.JSON(ctx, call, nil, &out); err != nil {
		return providers.Status{}, fmt.Errorf("poll: %w", err)
	}
	if out.ID != ref.RemoteID {
		return providers.Status{}, p.client.Strange(false, "the answer is about another generation")
	}
	return p.status(out, false)
}

// Cancel implements [providers.Canceler].
func (p *Provider) Cancel(ctx context.Context, ref providers.Ref) error {
	call := providers.Call{Method: http.MethodPost, URL: "/v1/generations/" + url.PathEscape(ref.RemoteID) + "/cancel"}
	_, err := p.client.Do(ctx, call)
	if err != nil && classify.Classify(err).Class != classify.NotFound {
		return fmt.Errorf("cancel: %w", err)
	}
	return nil
}

// Find implements [providers.Finder].
func (p finding) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	var out listing
	call := providers.Call{URL: "/v1/generations", Query: url.Values{"client_id": {lost.Request.ClientID}}}
	if _, err := p.client.JSON(ctx, call, nil, &out); err != nil {
		return providers.Status{}, fmt.Errorf("find: %w", err)
	}
	switch {
	case out.Generations == nil:
		return providers.Status{}, p.client.Strange(false, "the answer has no list of generations")
	case len(out.Generations) == 0:
		return providers.Status{}, fmt.Errorf("find: %w", providers.ErrAbsent)
	case out.Generations[0].ClientID != lost.Request.ClientID:
		return providers.Status{}, p.client.Strange(false, "the answer is about another client id")
	}
	// The oldest is the one whose answer was lost first.
	return p.status(out.Generations[0], false)
}

// ListLag implements [providers.Finder]: what was accepted is listed at once.
func (p finding) ListLag() time.Duration { return 0 }

// ReadWebhook implements [providers.WebhookReader]. Where the service is
// elsewhere and no secret is configured the signature cannot be checked, which
// is no harm: what a webhook says is not believed.
func (p *Provider) ReadWebhook(_ context.Context, header http.Header, body []byte) (providers.Hint, error) {
	secret := p.config.WebhookSecret.Reveal()
	if p.local != nil {
		secret = p.local.service.config.WebhookSecret
	}
	if secret != "" {
		if err := verify(secret, header.Get(SignatureHeader), body, p.config.Now()); err != nil {
			return providers.Hint{}, &classify.Error{
				Class: classify.Authentication, Code: "bad_signature", Message: err.Error(), Provider: p.config.Name,
			}
		}
	}
	var n notice
	if err := json.Unmarshal(body, &n); err != nil || !p.ValidRemoteID(n.ID) {
		return providers.Hint{}, &classify.Error{
			Class: classify.Validation, Code: "bad_webhook", Message: "the webhook names no generation", Provider: p.config.Name,
		}
	}
	return providers.Hint{RemoteID: n.ID, EventID: n.EventID}, nil
}

// Download implements [providers.Downloader]: outputs of a service in the same
// process have no address that anybody else could call.
func (p *Provider) Download(ctx context.Context, _ providers.Ref, out providers.Output) (providers.Body, error) {
	body, err := p.client.Open(ctx, providers.Call{URL: out.URL}, 0)
	if err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	return body, nil
}

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	raw, err := json.Marshal(input)
	if err != nil {
		return invalid("/input_data", "cannot be encoded as JSON")
	}
	_, err = parseOrder(feature, model, raw, p.config.AllowSimulate)
	var failure *classify.Error
	if errors.As(err, &failure) {
		failure.Provider = p.config.Name
	}
	return err
}

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return idPattern.MatchString(id) }

// states says what each of the service's statuses means to us.
var states = map[string]providers.State{
	statusQueued:    providers.Queued,
	statusRunning:   providers.Running,
	statusSucceeded: providers.Succeeded,
	statusFailed:    providers.Failed,
	statusCanceled:  providers.Canceled,
}

// status translates a report. Submit says whether it answers the paid call.
func (p *Provider) status(r report, submit bool) (providers.Status, error) {
	state, known := states[r.Status]
	if !known || !p.ValidRemoteID(r.ID) {
		return providers.Status{}, p.client.Strange(submit, "the answer has no id or status that we know")
	}
	st := providers.Status{
		State: state, RemoteID: r.ID, Percent: r.Percent, QueuePosition: r.QueuePosition,
		ETA: r.ETA.duration(), Data: r.Data,
	}
	for _, out := range r.Outputs {
		if len(out.Data) == 0 && !strings.HasPrefix(out.Path, "/") {
			return providers.Status{}, p.client.Strange(submit, "the answer has an output without bytes or path")
		}
		o := providers.Output{Kind: out.Kind, MediaType: out.MediaType, Name: out.Name, Data: out.Data}
		if len(out.Data) == 0 {
			o.URL = p.base() + out.Path
		}
		st.Outputs = append(st.Outputs, o)
	}
	if state == providers.Failed {
		st.Failure = p.failure(r.Error)
	}
	return st, nil
}

func (p *Provider) base() string {
	if p.local != nil {
		return localURL
	}
	return strings.TrimSuffix(p.config.BaseURL, "/")
}

// failure is how a generation ended that ran and failed.
func (p *Provider) failure(said *problem) *classify.Error {
	failure := &classify.Error{Class: classify.GenerationFailed, Message: "the generation failed", Provider: p.config.Name}
	if said != nil {
		failure.Code, failure.Message, failure.Field = said.Code, said.Message, said.Field
		if class, ok := classesByCode()[said.Code]; ok {
			failure.Class = class
		}
	}
	return failure
}

// decodeError reads the service's error body.
func decodeError(_ int, _ http.Header, body []byte) *classify.Error {
	var said problemBody
	if json.Unmarshal(body, &said) != nil || said.Error == nil || said.Error.Code == "" {
		return nil //nolint:nilerr // a body in no known form says nothing: the status does
	}
	return &classify.Error{
		Code: said.Error.Code, Message: said.Error.Message, Field: said.Error.Field,
		RetryAfter: said.Error.RetryAfter.duration(),
	}
}
