// Package replicate is the adapter to Replicate, which runs models of many
// authors behind one API: predictions that are polled, canceled and reported by
// webhook.
//
// # What it refuses to know
//
// Training, deployments' settings and streams of text. What a model takes
// beyond the common names is the model's to judge.
package replicate

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// DefaultBaseURL is where Replicate is.
const DefaultBaseURL = "https://api.replicate.com/v1"

// options is what only this adapter knows.
type options struct {
	// Inputs says what models call the common names, where we do not know.
	Inputs []providers.InputName `json:"inputs"`
	// WebhookSecret verifies webhooks. Empty means that it is asked for with
	// the API key.
	WebhookSecret providers.Secret `json:"webhook_secret"`
}

// Provider is the adapter. It is a [providers.Canceler], a [providers.Finder], a
// [providers.WebhookReader], an [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	name    string
	options options
	client  *providers.Client
	secret  *providers.Keys[providers.Secret]
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
		Classes: classes, DecodeError: decodeError, DoubtServerErrors: true,
		Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.APIKey.Reveal()) },
	})
	if err != nil {
		return nil, err
	}
	p.secret = providers.NewKeys(p.fetchSecret)
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
		Files: providers.HandoverDataURI, ResultLifetime: time.Hour,
		Poll: providers.PollPolicy{First: time.Second, Interval: time.Second, Ceiling: 10 * time.Second},
	}
}

// states says what each of Replicate's states means to us.
var states = map[string]providers.State{
	"starting":   providers.Queued,
	"processing": providers.Running,
	"succeeded":  providers.Succeeded,
	"successful": providers.Succeeded, // in some of the documentation
	"failed":     providers.Failed,
	"canceled":   providers.Canceled,
	"aborted":    providers.Canceled, // ended before it began
}

// Submit implements [providers.Provider]. The webhook tells of the start as
// well: it brings the id of a submission whose answer was lost.
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	path, body := endpoint(providers.ModelOr(models, req.Feature, req.Model))
	body["input"] = p.input(req)
	if req.WebhookURL != "" {
		body["webhook"], body["webhook_events_filter"] = req.WebhookURL, []string{"start", "completed"}
	}
	return p.call(ctx, providers.Call{URL: path, Submit: true}, body, req)
}

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	return p.call(ctx, providers.Call{URL: predictionPath(ref.RemoteID)}, nil, providers.Request{Feature: ref.Feature})
}

func (p *Provider) call(ctx context.Context, call providers.Call, in any, req providers.Request) (providers.Status, error) {
	var made prediction
	reply, err := p.client.JSON(ctx, call, in, &made)
	if err != nil {
		return providers.Status{}, err
	}
	return p.status(made, reply.Body, call.Submit, req)
}

func (p *Provider) status(made prediction, answer []byte, submitted bool, req providers.Request) (providers.Status, error) {
	state, known := states[made.Status]
	if made.ID == "" || !known {
		return providers.Status{}, p.client.Strange(submitted, "the prediction has no id, or a state that is not known")
	}
	st := providers.Status{State: state, RemoteID: made.ID, Percent: made.percent(), Data: made.details()}
	switch {
	case state == providers.Succeeded && made.DataRemoved:
		st.State = providers.Failed
		st.Failure = &classify.Error{
			Class: classify.NotFound, Code: "data_removed", Provider: p.name,
			Message: "the provider has removed the output, an hour after the end",
		}
	case state == providers.Succeeded:
		return p.client.Completed(submitted, st, answer, req.Feature)
	case state == providers.Failed:
		st.Failure = p.failure(made.Error)
	}
	return st, nil
}

func predictionPath(id string) string { return "/predictions/" + url.PathEscape(id) }

// Cancel implements [providers.Canceler].
func (p *Provider) Cancel(ctx context.Context, ref providers.Ref) error {
	_, err := p.client.Do(ctx, providers.Call{Method: http.MethodPost, URL: predictionPath(ref.RemoteID) + "/cancel"})
	if classify.Classify(err).Class == classify.NotFound {
		return nil
	}
	return err
}

const listPages = 20

// Find implements [providers.Finder]. A prediction carries no mark of ours, so
// it is known by its model, what was asked for and when.
func (p *Provider) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	made, whole, err := p.list(ctx, lost)
	if err != nil {
		return providers.Status{}, err
	}
	model := providers.ModelOr(models, lost.Request.Feature, lost.Request.Model)
	var listed []providers.Listed
	for _, one := range made {
		if one.of(model) {
			listed = append(listed, providers.Listed{ID: one.ID, Created: one.CreatedAt, Input: one.Input})
		}
	}
	id, err := p.client.Match(lost, p.input(lost.Request), listed, whole)
	if err != nil {
		return providers.Status{}, err
	}
	found := made[slices.IndexFunc(made, func(one prediction) bool { return one.ID == id })]
	return p.status(found, found.raw, false, lost.Request)
}

// list reads the predictions of the time around the submission, and reports
// whether it read all of them. The first page that is not full is the last one,
// since the window is long past by the time that it counts.
func (p *Provider) list(ctx context.Context, lost providers.Lost) (all []prediction, whole bool, err error) {
	call := providers.Call{URL: "/predictions", Query: url.Values{
		"created_after":  {lost.FindSince().UTC().Format(time.RFC3339)},
		"created_before": {lost.FindUntil().UTC().Format(time.RFC3339)},
	}}
	for range listPages {
		var page predictionList
		if _, err := p.client.JSON(ctx, call, nil, &page); err != nil {
			return nil, false, err
		}
		if page.Results == nil {
			return nil, false, p.client.Strange(false, "the answer has no list")
		}
		for _, raw := range *page.Results {
			one := prediction{raw: raw}
			if err := json.Unmarshal(raw, &one); err != nil {
				return nil, false, p.client.Strange(false, "the list has something that is no prediction")
			}
			all = append(all, one)
		}
		if page.Next == "" {
			return all, true, nil
		}
		call = providers.Call{URL: page.Next}
	}
	return all, false, nil
}

// ListLag implements [providers.Finder].
func (p *Provider) ListLag() time.Duration { return time.Minute }

// ReadWebhook implements [providers.WebhookReader].
func (p *Provider) ReadWebhook(ctx context.Context, header http.Header, body []byte) (providers.Hint, error) {
	webhook := providers.Webhook{Header: header, Body: body, At: p.now()}
	if err := p.secret.Verify(ctx, webhook.At, webhook.VerifyStandard); err != nil {
		return providers.Hint{}, err
	}
	return webhook.Hint(header.Get("Webhook-Id"), p.ValidRemoteID, "id")
}

func (p *Provider) fetchSecret(ctx context.Context) (providers.Secret, error) {
	if p.options.WebhookSecret != "" {
		return p.options.WebhookSecret, nil
	}
	var reply struct {
		Key string `json:"key"`
	}
	if _, err := p.client.JSON(ctx, providers.Call{URL: "/webhooks/default/secret"}, nil, &reply); err != nil {
		return "", err
	}
	return providers.Secret(reply.Key), nil
}

var remoteID = regexp.MustCompile(`^[a-z0-9]{10,64}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

// classes says what Replicate's codes mean, which stand in the text of a failed
// prediction. See https://replicate.com/docs/reference/error-codes.
var classes = map[string]classify.Class{
	"e005":  classify.ContentPolicy, // flagged as sensitive
	"e1000": classify.Server,        // unknown
	"e1001": classify.Validation,    // out of memory, with that input
	"e4875": classify.Server,        // its own webhook URL is empty
}

// phrases are for failures without a code.
var phrases = []providers.Phrase{
	{Word: "nsfw", Class: classify.ContentPolicy},
	{Word: "sensitive", Class: classify.ContentPolicy},
	{Word: "safety", Class: classify.ContentPolicy},
	{Word: "interrupted", Class: classify.Server},
}

var errorCode = regexp.MustCompile(`\bE[0-9]{3,4}\b`)

func (p *Provider) failure(raw json.RawMessage) *classify.Error {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw) // some models fail with an object
	}
	failure := p.client.Failed(errorCode.FindString(text), text)
	if class := providers.ClassInText(text, phrases); class != "" && failure.Code == "" {
		failure.Class = class
	}
	return failure
}

var waitInText = regexp.MustCompile(`(?i)(?:in|~)\s*([0-9]+(?:\.[0-9]+)?)\s*s`)

// decodeError also reads the wait that a throttled answer names in words only.
func decodeError(status int, header http.Header, body []byte) *classify.Error {
	failure := providers.DecodeError(status, header, body)
	if failure == nil || status != http.StatusTooManyRequests || failure.RetryAfter > 0 || header.Get("Retry-After") != "" {
		return failure
	}
	if found := waitInText.FindStringSubmatch(failure.Message); found != nil {
		if seconds, err := strconv.ParseFloat(found[1], 64); err == nil {
			failure.RetryAfter = min(time.Duration(seconds*float64(time.Second)), classify.MaxRetryAfter)
		}
	}
	return failure
}

// endpoint is where a model is run: an official one by its name, a deployment by
// its own, and any other by its version.
func endpoint(model string) (path string, body map[string]any) {
	if name, ok := strings.CutPrefix(model, "deployments/"); ok {
		return "/deployments/" + name + "/predictions", map[string]any{}
	}
	if strings.Contains(model, ":") || !strings.Contains(model, "/") {
		return "/predictions", map[string]any{"version": model}
	}
	return "/models/" + model + "/predictions", map[string]any{}
}
