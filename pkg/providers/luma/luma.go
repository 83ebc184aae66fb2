// Package luma is the adapter to Luma's Dream Machine API: generations that are
// polled and reported by webhook.
//
// # What it refuses to know
//
// The bytes of files: the API fetches what it is given by URL, the caller's or
// one of ours. Extending, reframing and upscaling what it has made before is left
// out.
package luma

import (
	"context"
	"embed"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// DefaultBaseURL is where the API is.
const DefaultBaseURL = "https://api.lumalabs.ai/dream-machine/v1"

// Provider is the adapter. It is a [providers.Canceler], a [providers.Finder], a
// [providers.WebhookReader], an [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	client *providers.Client
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	if err := s.Decode(&struct{}{}); err != nil {
		return nil, err
	}
	client, err := s.Client(DefaultBaseURL, providers.ClientConfig{
		DecodeError: decodeError, DoubtServerErrors: true,
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

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features: offered, Webhooks: true, Files: providers.HandoverURL,
		Poll: providers.PollPolicy{First: 3 * time.Second, Interval: 3 * time.Second, Ceiling: 15 * time.Second},
	}
}

// states says what each of the API's states means to us.
var states = map[string]providers.State{
	"queued":    providers.Queued,
	"dreaming":  providers.Running,
	"completed": providers.Succeeded,
	"failed":    providers.Failed,
}

// generation is how the API describes one. What has not come about is null.
type generation struct {
	ID            string          `json:"id"`
	State         string          `json:"state"`
	FailureReason string          `json:"failure_reason"`
	CreatedAt     time.Time       `json:"created_at"`
	Model         string          `json:"model"`
	Request       map[string]any  `json:"request"`
	raw           json.RawMessage // the whole of it, where it came in a list
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	if err := req.NeedURLs(); err != nil {
		return providers.Status{}, err
	}
	body := input(req)
	if req.WebhookURL != "" {
		body["callback_url"] = req.WebhookURL
	}
	var made generation
	call := providers.Call{URL: "/generations/" + providers.KindOf(req.Feature), Submit: true}
	reply, err := p.client.JSON(ctx, call, body, &made)
	if err != nil {
		return providers.Status{}, err
	}
	return p.status(made, reply.Body, true, req)
}

// Poll implements [providers.Provider].
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	var made generation
	reply, err := p.client.JSON(ctx, providers.Call{URL: generationPath(ref)}, nil, &made)
	if err != nil {
		return providers.Status{}, err
	}
	return p.status(made, reply.Body, false, providers.Request{Feature: ref.Feature})
}

func generationPath(ref providers.Ref) string { return "/generations/" + url.PathEscape(ref.RemoteID) }

func (p *Provider) status(made generation, answer []byte, submitted bool, req providers.Request) (providers.Status, error) {
	state, known := states[made.State]
	if made.ID == "" || !known {
		return providers.Status{}, p.client.Strange(submitted, "the generation has no id, or a state that is not known")
	}
	st := providers.Status{State: state, RemoteID: made.ID}
	switch state {
	case providers.Succeeded:
		return p.client.Completed(submitted, st, answer, req.Feature)
	case providers.Failed:
		st.Failure = p.client.Failed("", made.FailureReason)
		if class := providers.ClassInText(made.FailureReason, phrases); class != "" {
			st.Failure.Class = class
		}
	}
	return st, nil
}

// phrases tell moderation from other failures, for which there are no codes.
var phrases = []providers.Phrase{
	{Word: "moderat", Class: classify.ContentPolicy},
	{Word: "policy", Class: classify.ContentPolicy},
	{Word: "blacklist", Class: classify.ContentPolicy},
}

// decodeError also knows moderation and an empty account, which come as bad
// requests.
func decodeError(status int, header http.Header, body []byte) *classify.Error {
	failure := providers.DecodeError(status, header, body)
	if failure == nil || status != http.StatusBadRequest && status != http.StatusForbidden && status != http.StatusUnprocessableEntity {
		return failure
	}
	failure.Class = providers.ClassInText(failure.Message, append([]providers.Phrase{{Word: "credit", Class: classify.Quota}}, phrases...))
	return failure
}

// Cancel implements [providers.Canceler]. The API can only remove a generation;
// that its work stops as well is not promised.
func (p *Provider) Cancel(ctx context.Context, ref providers.Ref) error {
	_, err := p.client.Do(ctx, providers.Call{Method: http.MethodDelete, URL: generationPath(ref)})
	if classify.Classify(err).Class == classify.NotFound {
		return nil
	}
	return err
}

const (
	listSize  = 100
	listPages = 20
)

// Find implements [providers.Finder]. The list shows each request with its
// callback, which is a mark of ours; without one it is known by what was asked
// for and when.
func (p *Provider) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	made, whole, err := p.list(ctx, lost)
	if err != nil {
		return providers.Status{}, err
	}
	sent := input(lost.Request)
	var listed []providers.Listed
	for _, one := range made {
		callback, _ := one.Request["callback_url"].(string)
		if callback != "" && callback == lost.Request.WebhookURL {
			return p.status(one, one.raw, false, lost.Request)
		}
		if one.Model == sent["model"] && !another(callback, lost.Request.WebhookURL) {
			listed = append(listed, providers.Listed{ID: one.ID, Created: one.CreatedAt, Input: one.Request})
		}
	}
	id, err := p.client.Match(lost, sent, listed, whole)
	if err != nil {
		return providers.Status{}, err
	}
	found := made[slices.IndexFunc(made, func(one generation) bool { return one.ID == id })]
	return p.status(found, found.raw, false, lost.Request)
}

// another reports whether a callback leads to where ours does, for another
// submission: …/job/token.
func another(callback, ours string) bool {
	return callback != ours && ours != "" && path.Dir(path.Dir(callback)) == path.Dir(path.Dir(ours))
}

// list reads the generations, newest first, until they are older than the
// submission, and reports whether it came that far.
func (p *Provider) list(ctx context.Context, lost providers.Lost) (all []generation, whole bool, err error) {
	for page := range listPages {
		var reply struct {
			More        bool               `json:"has_more"`
			Generations *[]json.RawMessage `json:"generations"`
		}
		query := url.Values{"limit": {strconv.Itoa(listSize)}, "offset": {strconv.Itoa(page * listSize)}}
		if _, err := p.client.JSON(ctx, providers.Call{URL: "/generations", Query: query}, nil, &reply); err != nil {
			return nil, false, err
		}
		if reply.Generations == nil {
			return nil, false, p.client.Strange(false, "the answer has no list")
		}
		for _, raw := range *reply.Generations {
			one := generation{raw: raw}
			if err := json.Unmarshal(raw, &one); err != nil {
				return nil, false, p.client.Strange(false, "the list has something that is no generation")
			}
			all = append(all, one)
		}
		if !reply.More && len(*reply.Generations) < listSize || reachesBack(all, lost) {
			return all, true, nil
		}
	}
	return all, false, nil
}

// reachesBack reports whether a list goes from new to old, and is older at its
// end than the submission.
func reachesBack(all []generation, lost providers.Lost) bool {
	sorted := slices.IsSortedFunc(all, func(a, b generation) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return sorted && len(all) > 0 && all[len(all)-1].CreatedAt.Before(lost.FindSince())
}

// ListLag implements [providers.Finder].
func (p *Provider) ListLag() time.Duration { return 2 * time.Minute }

// ReadWebhook implements [providers.WebhookReader]. Nobody signs these: the
// token in our URL has to do, and what they say is asked again.
func (p *Provider) ReadWebhook(_ context.Context, header http.Header, body []byte) (providers.Hint, error) {
	return providers.Webhook{Header: header, Body: body}.Hint("", p.ValidRemoteID, "id")
}

var remoteID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

// seconds is a duration as the API has it, 5s.
func seconds(v any) any {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64) + "s"
	case string:
		return strings.TrimSuffix(v, "s") + "s"
	}
	return v
}
