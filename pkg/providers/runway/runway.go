// Package runway is the adapter to Runway's API: tasks that are polled and can be
// canceled.
//
// # What it refuses to know
//
// Webhooks and lists, which the API does not have: a submission whose answer was
// lost cannot be found by anybody. What it takes besides pictures is left out.
package runway

import (
	"context"
	"embed"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// DefaultBaseURL is where the API is.
const DefaultBaseURL = "https://api.dev.runwayml.com"

// version of the API that we speak; it refuses requests that do not name one.
var version = http.Header{"X-Runway-Version": {"2024-11-06"}}

// Provider is the adapter. It is a [providers.Canceler], a
// [providers.InputChecker] and a [providers.RemoteIDChecker].
type Provider struct {
	client *providers.Client
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	if err := s.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	client, err := s.Client(DefaultBaseURL, providers.ClientConfig{
		Classes: classes, DecodeError: decodeError, DoubtServerErrors: true,
		Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+s.APIKey.Reveal()) },
	})
	if err != nil {
		return nil, err
	}
	return &Provider{client: client}, nil
}

//go:embed schemas/*.json
var schemas embed.FS

// offered is read once: every job asks for it several times.
var offered = providers.Features(schemas, models)

// Capabilities implements [providers.Provider]. A task must not be asked about
// more often than every five seconds.
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features: offered, Files: providers.HandoverDataURI, LargestInline: largestInline, ResultLifetime: 24 * time.Hour,
		Poll: providers.PollPolicy{First: 5 * time.Second, Interval: 5 * time.Second, Ceiling: 20 * time.Second},
	}
}

// states says what each of the API's states means to us. What is throttled waits
// for the account's other tasks and begins by itself.
var states = map[string]providers.State{
	"PENDING":   providers.Queued,
	"THROTTLED": providers.Queued,
	"RUNNING":   providers.Running,
	"SUCCEEDED": providers.Succeeded,
	"FAILED":    providers.Failed,
	"CANCELLED": providers.Canceled,
}

// task is how the API describes a generation.
type task struct {
	ID            string   `json:"id"`
	Status        string   `json:"status"`
	Progress      *float64 `json:"progress"` // of one
	Failure       string   `json:"failure"`
	FailureCode   string   `json:"failureCode"`
	Cost          *credits `json:"cost"`
	EstimatedCost *credits `json:"estimatedCost"`
}

type credits struct {
	Credits float64 `json:"credits"`
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	body, err := input(req)
	if err != nil {
		return providers.Status{}, err
	}
	var made task
	call := providers.Call{URL: "/v1/" + endpoints[req.Feature], Header: version, Submit: true}
	if _, err := p.client.JSON(ctx, call, body, &made); err != nil {
		return providers.Status{}, err
	}
	if made.ID == "" {
		return providers.Status{}, p.client.Strange(true, "the task has no id")
	}
	return providers.Status{State: providers.Queued, RemoteID: made.ID, Cost: made.cost()}, nil
}

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	var made task
	reply, err := p.client.JSON(ctx, providers.Call{URL: taskPath(ref), Header: version}, nil, &made)
	if err != nil {
		return providers.Status{}, err
	}
	state, known := states[made.Status]
	if made.ID == "" || !known {
		return providers.Status{}, p.client.Strange(false, "the task has no id, or a state that is not known")
	}
	st := providers.Status{State: state, RemoteID: made.ID, Cost: made.cost()}
	switch state {
	case providers.Running:
		st.Percent = percent(made.Progress)
	case providers.Succeeded:
		return p.client.Completed(false, st, reply.Body, ref.Feature)
	case providers.Failed:
		st.Failure = p.failure(made)
	}
	return st, nil
}

func taskPath(ref providers.Ref) string { return "/v1/tasks/" + url.PathEscape(ref.RemoteID) }

// Cancel implements [providers.Canceler]. What has ended is removed by it.
func (p *Provider) Cancel(ctx context.Context, ref providers.Ref) error {
	_, err := p.client.Do(ctx, providers.Call{Method: http.MethodDelete, URL: taskPath(ref), Header: version})
	if classify.Classify(err).Class == classify.NotFound {
		return nil
	}
	return err
}

func percent(progress *float64) *float64 {
	if progress == nil || *progress < 0 || *progress > 1 {
		return nil
	}
	value := *progress * 100
	return &value
}

// cost is in the account's credits: what was charged, or will be.
func (t task) cost() *tasks.Cost {
	spent, basis := t.Cost, "reported"
	if spent == nil {
		spent, basis = t.EstimatedCost, "estimated"
	}
	if spent == nil {
		return nil
	}
	return &tasks.Cost{Amount: strconv.FormatFloat(spent.Credits, 'f', -1, 64), Currency: "credits", Basis: basis}
}

// classes is empty: the codes of failed tasks form a tree, see phrases.
var classes = map[string]classify.Class{}

// phrases say what a branch of the codes means. See
// https://docs.dev.runwayml.com/errors/task-failures.
var phrases = []providers.Phrase{
	{Word: "safety.", Class: classify.ContentPolicy}, // of the input, the output, the pre-processing
	{Word: "asset.invalid", Class: classify.Validation},
	{Word: "internal", Class: classify.Server},
	{Word: "third_party", Class: classify.Server},
}

func (p *Provider) failure(made task) *classify.Error {
	failure := p.client.Failed(made.FailureCode, made.Failure)
	switch class := providers.ClassInText(made.FailureCode+".", phrases); {
	case class != "":
		failure.Class = class
	case made.FailureCode == "":
		failure.Class = classify.Server // an internal one, says the documentation
	}
	return failure
}

// decodeError also knows an empty account, which comes as a bad request.
func decodeError(status int, header http.Header, body []byte) *classify.Error {
	failure := providers.DecodeError(status, header, body)
	if failure != nil && status == http.StatusBadRequest && strings.Contains(strings.ToLower(failure.Message), "enough credits") {
		failure.Class, failure.Field = classify.Quota, ""
	}
	return failure
}

var remoteID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }
