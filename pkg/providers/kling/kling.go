// Package kling is the adapter to Kling AI's newer API, in which the model is
// part of the path: video tasks that carry an id of ours, so that one whose
// answer was lost can be asked for by it.
//
// # What it refuses to know
//
// The older API under /v1, whose pictures and effects have no place in the newer
// one yet, and its signed tokens.
package kling

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// DefaultBaseURL is where the API is for most of the world; there is one in
// Beijing as well.
const DefaultBaseURL = "https://api-singapore.klingai.com"

// options is what only this adapter knows.
type options struct {
	// WebhookSecret is the one made at Kling, which then signs its webhooks.
	// Empty means that only the token in our URL proves them.
	WebhookSecret providers.Secret `json:"webhook_secret"`
}

// Provider is the adapter. It is a [providers.Finder], a
// [providers.WebhookReader], a [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	name    string
	options options
	client  *providers.Client
	now     func() time.Time
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	p := &Provider{name: s.Name, now: time.Now}
	if err := s.Decode(&p.options); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	var err error
	p.client, err = s.Client(DefaultBaseURL, providers.ClientConfig{
		Classes: classes, DecodeError: providers.DecodeError, DoubtServerErrors: true,
		Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.APIKey.Reveal()) },
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

//go:embed schemas/*.json
var schemas embed.FS

// offered is read once: every job asks for it several times.
var offered = providers.Features(schemas, models)

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features: offered, Webhooks: true,
		Files: providers.HandoverDataURI, ResultLifetime: 30 * 24 * time.Hour,
		Poll: providers.PollPolicy{First: 5 * time.Second, Interval: 5 * time.Second, Ceiling: 20 * time.Second},
	}
}

// states says what each of the API's states means to us.
var states = map[string]providers.State{
	"submitted":  providers.Queued,
	"processing": providers.Running,
	"succeeded":  providers.Succeeded,
	"succeed":    providers.Succeeded, // in the older API's spelling
	"failed":     providers.Failed,
}

// classes says what the API's codes mean, which come with any HTTP status.
var classes = map[string]classify.Class{
	"1000": classify.Authentication, "1001": classify.Authentication, "1002": classify.Authentication,
	"1003": classify.Authentication, "1004": classify.Authentication,
	"1100": classify.Authentication, // the account is abnormal
	"1101": classify.Quota, "1102": classify.Quota,
	"1103": classify.Authentication, // no permission
	"1200": classify.Validation, "1201": classify.Validation, "1202": classify.Validation, "1203": classify.Validation,
	"1300": classify.ContentPolicy, "1301": classify.ContentPolicy,
	"1302": classify.RateLimit,
	"1303": classify.RateLimit,      // more tasks at once than were bought
	"1304": classify.Authentication, // our address is not on the list
	"5000": classify.Server, "5001": classify.Server, "5002": classify.Server,
}

// phrases tell moderation from other failures of a task, which has no codes.
var phrases = []providers.Phrase{
	{Word: "risk control", Class: classify.ContentPolicy},
	{Word: "content policy", Class: classify.ContentPolicy},
	{Word: "sensitive", Class: classify.ContentPolicy},
	{Word: "safety", Class: classify.ContentPolicy},
}

// envelope is around every answer.
type envelope struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// task is how the API describes a generation.
type task struct {
	ID         string `json:"id"`
	Status     string `json:"status"`
	Message    string `json:"message"`
	ExternalID string `json:"external_id"`
	Billing    any    `json:"billing"`

	raw json.RawMessage // the whole of it
}

// Submit implements [providers.Provider]. The client id goes along as the task's
// external id.
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	body, err := input(req)
	if err != nil {
		return providers.Status{}, err
	}
	raw, err := p.call(ctx, providers.Call{URL: "/" + string(req.Feature) + "/" + providers.ModelOr(models, req.Feature, req.Model), Submit: true}, body)
	if err != nil {
		return providers.Status{}, err
	}
	var made task
	if json.Unmarshal(raw, &made) != nil || made.ID == "" {
		return providers.Status{}, p.client.Strange(true, "the task has no id")
	}
	return providers.Status{State: providers.Queued, RemoteID: made.ID}, nil
}

// call makes a call and opens the envelope. A code that is not zero is a
// failure, also where the status is 200.
func (p *Provider) call(ctx context.Context, call providers.Call, in any) (json.RawMessage, error) {
	if in != nil {
		payload, err := providers.JSONPayload(in)
		if err != nil {
			return nil, err
		}
		call.Payload = payload
	}
	var answer envelope
	if _, err := p.client.JSON(ctx, call, nil, &answer); err != nil {
		return nil, err
	}
	if answer.Code != 0 {
		return nil, p.client.Refused(call, strconv.Itoa(answer.Code), answer.Message)
	}
	return answer.Data, nil
}

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	listed, err := p.tasks(ctx, url.Values{"task_ids": {ref.RemoteID}})
	if err != nil {
		return providers.Status{}, err
	}
	for _, one := range listed {
		if one.ID == ref.RemoteID {
			return p.status(one, ref)
		}
	}
	if len(listed) > 0 {
		return providers.Status{}, p.client.Strange(false, "the answer is about another task")
	}
	return providers.Status{}, &classify.Error{Class: classify.NotFound, Provider: p.name, Message: "the provider does not know the task"}
}

// tasks asks for tasks by an id.
func (p *Provider) tasks(ctx context.Context, query url.Values) ([]task, error) {
	raw, err := p.call(ctx, providers.Call{URL: "/tasks", Query: query}, nil)
	if err != nil {
		return nil, err
	}
	var list *[]json.RawMessage
	if json.Unmarshal(raw, &list) != nil || list == nil {
		return nil, p.client.Strange(false, "the answer has no list of tasks")
	}
	found := make([]task, 0, len(*list))
	for _, item := range *list {
		one := task{raw: item}
		if json.Unmarshal(item, &one) != nil {
			return nil, p.client.Strange(false, "the list has something that is no task")
		}
		found = append(found, one)
	}
	return found, nil
}

func (p *Provider) status(made task, ref providers.Ref) (providers.Status, error) {
	state, known := states[made.Status]
	if made.ID == "" || !known {
		return providers.Status{}, p.client.Strange(false, "the task has no id, or a state that is not known")
	}
	st := providers.Status{State: state, RemoteID: made.ID}
	if made.Billing != nil {
		st.Data = map[string]any{"billing": made.Billing}
	}
	switch state {
	case providers.Succeeded:
		return p.client.Completed(false, st, made.raw, ref.Feature)
	case providers.Failed:
		st.Failure = p.client.Failed("", made.Message)
		if class := providers.ClassInText(made.Message, phrases); class != "" {
			st.Failure.Class = class
		}
	}
	return st, nil
}

// Find implements [providers.Finder]: tasks can be asked for by the id that we
// gave them, which is the account's only one.
func (p *Provider) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	req := lost.Request
	if req.ClientID == "" {
		return providers.Status{}, errors.ErrUnsupported
	}
	listed, err := p.tasks(ctx, url.Values{"external_task_ids": {req.ClientID}})
	if err != nil {
		return providers.Status{}, err
	}
	for _, one := range listed {
		if one.ExternalID == req.ClientID {
			return p.status(one, providers.Ref{Feature: req.Feature})
		}
	}
	if len(listed) > 0 {
		return providers.Status{}, p.client.Strange(false, "the answer is about other tasks")
	}
	return providers.Status{}, providers.ErrAbsent
}

// ListLag implements [providers.Finder].
func (p *Provider) ListLag() time.Duration { return time.Minute }

// ReadWebhook implements [providers.WebhookReader].
func (p *Provider) ReadWebhook(_ context.Context, header http.Header, body []byte) (providers.Hint, error) {
	webhook := providers.Webhook{Header: header, Body: body, At: p.now()}
	if p.options.WebhookSecret != "" {
		if err := webhook.VerifyStandard(p.options.WebhookSecret); err != nil {
			return providers.Hint{}, err
		}
	}
	return webhook.Hint(header.Get("Webhook-Id"), p.ValidRemoteID, "id", "task_id")
}

var remoteID = regexp.MustCompile(`^[0-9A-Za-z_-]{6,64}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }
