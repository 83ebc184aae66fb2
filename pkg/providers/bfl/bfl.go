// Package bfl is the adapter to Black Forest Labs' own API for FLUX models:
// tasks that are polled at the address of their region, and reported by webhook.
//
// # What it refuses to know
//
// Fine-tuning. The API has no list of tasks and cannot cancel one: what is lost
// comes back by webhook, or not at all.
package bfl

import (
	"context"
	"crypto/subtle"
	"embed"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// DefaultBaseURL is where the API is; it has regions at api.eu and api.us.
const DefaultBaseURL = "https://api.bfl.ai"

// options is what only this adapter knows.
type options struct {
	// WebhookSecret is given to the API with each task, so that it signs its
	// webhooks. Empty means that only the token in our URL proves them.
	WebhookSecret providers.Secret `json:"webhook_secret"`
	// WebhookPlain says that the API sends the secret itself in the header
	// X-Webhook-Secret, as older ones do, and not a signature.
	WebhookPlain bool `json:"webhook_plain"`
}

// Provider is the adapter. It is a [providers.WebhookReader], a
// [providers.InputChecker] and a [providers.RemoteIDChecker].
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
		Hosts:     []string{"*.bfl.ai"},
		Authorize: func(r *http.Request) { r.Header.Set("X-Key", s.APIKey.Reveal()) },
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
		Files: providers.HandoverDataURI, ResultLifetime: 10 * time.Minute,
		Poll: providers.PollPolicy{First: time.Second, Interval: time.Second, Ceiling: 5 * time.Second},
	}
}

// states says what each of the API's states means to us. It does not tell
// waiting from working.
var states = map[string]providers.State{
	"Pending":           providers.Running,
	"Ready":             providers.Succeeded,
	"Request Moderated": providers.Failed,
	"Content Moderated": providers.Failed,
	"Error":             providers.Failed,
	"Failed":            providers.Failed,
}

// notFound is what the API says of an id that it does not know, also of one that
// is only too new for the host that was asked.
const notFound = "Task not found"

// classes says what those states mean that are failures.
var classes = map[string]classify.Class{
	"request moderated": classify.ContentPolicy,
	"content moderated": classify.ContentPolicy,
	"error":             classify.Server,
	"failed":            classify.Server,
}

// task is how the API describes a generation. Cost is in credits.
type task struct {
	ID       string   `json:"id"`
	PollURL  string   `json:"polling_url"`
	Cost     *float64 `json:"cost"`
	Status   string   `json:"status"`
	Progress *float64 `json:"progress"`
}

// Submit implements [providers.Provider]. With a webhook the answer names no
// address to poll: then it is the one of the host that was asked.
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	body, warnings, err := input(req)
	if err != nil {
		return providers.Status{}, err
	}
	if req.WebhookURL != "" {
		body["webhook_url"] = req.WebhookURL
		if secret := p.options.WebhookSecret.Reveal(); secret != "" {
			body["webhook_secret"] = secret
		}
	}
	var made task
	call := providers.Call{URL: "/v1/" + providers.ModelOr(models, req.Feature, req.Model), Submit: true}
	if _, err := p.client.JSON(ctx, call, body, &made); err != nil {
		return providers.Status{}, err
	}
	if made.ID == "" {
		return providers.Status{}, p.client.Strange(true, "the task has no id")
	}
	return providers.Status{
		State: providers.Queued, RemoteID: made.ID, PollURL: made.PollURL, Cost: costOf(made.Cost), Warnings: warnings,
	}, nil
}

// costOf is what credits cost: a cent each.
func costOf(credits *float64) *tasks.Cost {
	if credits == nil {
		return nil
	}
	dollars := math.Round(*credits*100) / 10_000
	return &tasks.Cost{Amount: strconv.FormatFloat(dollars, 'f', -1, 64), Currency: "USD", Basis: "reported"}
}

// youth is how long an id may be unknown because it is new.
const youth = 30 * time.Second

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	call := providers.Call{URL: ref.PollURL}
	if call.URL == "" {
		call = providers.Call{URL: "/v1/get_result", Query: url.Values{"id": {ref.RemoteID}}}
	}
	var made task
	reply, err := p.client.JSON(ctx, call, nil, &made)
	gone := made.Status == notFound || classify.Classify(err).Class == classify.NotFound
	switch {
	case gone && p.now().Sub(ref.SentAt) < youth:
		return providers.Status{}, p.client.Strange(false, "the task is not known yet")
	case gone:
		return providers.Status{}, &classify.Error{Class: classify.NotFound, Provider: p.name, Code: notFound, Message: "the provider does not know the task"}
	case err != nil:
		return providers.Status{}, err
	}
	return p.status(made, reply.Body, ref)
}

func (p *Provider) status(made task, answer []byte, ref providers.Ref) (providers.Status, error) {
	state, known := states[made.Status]
	if !known {
		return providers.Status{}, p.client.Strange(false, "the task has a state that is not known")
	}
	st := providers.Status{State: state, RemoteID: ref.RemoteID, PollURL: ref.PollURL, Percent: percent(made.Progress)}
	switch state {
	case providers.Succeeded:
		return p.client.Completed(false, st, answer, ref.Feature)
	case providers.Failed:
		st.Failure = p.client.Failed(made.Status, "the provider's verdict is: "+made.Status)
	}
	return st, nil
}

// percent reads a progress that is a share of one, or a percentage.
func percent(progress *float64) *float64 {
	if progress == nil || *progress < 0 || *progress > 100 {
		return nil
	}
	value := *progress
	if value <= 1 {
		value *= 100
	}
	return &value
}

// ReadWebhook implements [providers.WebhookReader].
func (p *Provider) ReadWebhook(_ context.Context, header http.Header, body []byte) (providers.Hint, error) {
	webhook := providers.Webhook{Header: header, Body: body, At: p.now()}
	if err := p.verify(webhook); err != nil {
		return providers.Hint{}, err
	}
	return webhook.Hint("", p.ValidRemoteID, "id", "task_id")
}

func (p *Provider) verify(webhook providers.Webhook) error {
	secret := p.options.WebhookSecret
	switch {
	case secret == "":
		return nil
	case !p.options.WebhookPlain:
		return webhook.VerifyHex(secret, webhook.Header.Get("X-Bfl-Signature"))
	case subtle.ConstantTimeCompare([]byte(secret.Reveal()), []byte(webhook.Header.Get("X-Webhook-Secret"))) == 1:
		return nil
	}
	return providers.Forged("the webhook does not have our secret")
}

var remoteID = regexp.MustCompile(`^[0-9a-zA-Z][0-9a-zA-Z_-]{7,63}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }
