// Package elevenlabs is the adapter to ElevenLabs: speech, sound effects and
// music, answered at once with their bytes. A lost speech is found in the
// account's history, which keeps the sound.
//
// # What it refuses to know
//
// Streams, cloned voices and conversations.
package elevenlabs

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
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

// DefaultBaseURL is where ElevenLabs is.
const DefaultBaseURL = "https://api.elevenlabs.io"

// options is what only this adapter knows.
type options struct {
	// Voice speaks where the request names none.
	Voice string `json:"voice"`
}

// Provider is the adapter. It is a [providers.Finder] and a
// [providers.Downloader] for speech, an [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	name    string
	baseURL string
	options options
	client  *providers.Client
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	p := &Provider{name: s.Name, baseURL: s.BaseURL, options: options{Voice: "JBFqnCBsd6RMkjVDRZzb"}}
	if err := s.Decode(&p.options); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	if !voiceForm.MatchString(p.options.Voice) {
		return nil, errors.New("options: voice: must be a voice's id")
	}
	if p.baseURL == "" {
		p.baseURL = DefaultBaseURL
	}
	var err error
	p.client, err = s.Client(DefaultBaseURL, providers.ClientConfig{
		Classes: classes, DecodeError: decodeError,
		Authorize: func(r *http.Request) { r.Header.Set("Xi-Api-Key", s.APIKey.Reveal()) },
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
	return providers.Capabilities{Synchronous: true, Features: offered}
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	path, query, body := p.body(req)
	payload, err := providers.JSONPayload(body)
	if err != nil {
		return providers.Status{}, providers.InvalidInput("", "cannot be encoded")
	}
	reply, err := p.client.Do(ctx, providers.Call{
		URL: path, Query: query, Payload: payload, Submit: true, Header: http.Header{"Accept": {"audio/*"}},
	})
	if err != nil {
		return providers.Status{}, err
	}
	claimed, _, err := mime.ParseMediaType(reply.Header.Get("Content-Type"))
	if !strings.HasPrefix(claimed, "audio/") || err != nil || len(reply.Body) == 0 {
		return providers.Status{}, p.client.Strange(true, "the answer is no sound")
	}
	return providers.Status{
		State: providers.Succeeded, Data: details(reply.Header),
		Outputs: []providers.Output{{Kind: "audio", MediaType: claimed, Data: reply.Body}},
	}, nil
}

// details is what the headers say. The cost is in the account's own credits,
// which are no currency.
func details(header http.Header) map[string]any {
	data := map[string]any{}
	if cost, err := strconv.ParseFloat(header.Get("Character-Cost"), 64); err == nil {
		data["character_cost"] = cost
	}
	for key, name := range map[string]string{"request_id": "Request-Id", "song_id": "Song-Id"} {
		if value := header.Get(name); value != "" {
			data[key] = value
		}
	}
	return data
}

// Poll implements [providers.Provider]. Only a speech that was found in the
// history has something to read again.
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	if ref.RemoteID == "" {
		return providers.Status{}, &classify.Error{
			Class: classify.NotFound, Provider: p.name, Message: "sounds are answered at once; there is nothing to poll",
		}
	}
	var item historyItem
	if _, err := p.client.JSON(ctx, providers.Call{URL: "/v1/history/" + url.PathEscape(ref.RemoteID)}, nil, &item); err != nil {
		return providers.Status{}, err
	}
	if item.ID == "" {
		return providers.Status{}, p.client.Strange(false, "the history's item has no id")
	}
	return p.remembered(item.ID), nil
}

// remembered is the status of a speech that the history keeps.
func (p *Provider) remembered(id string) providers.Status {
	return providers.Status{State: providers.Succeeded, RemoteID: id, Outputs: []providers.Output{{
		Kind: "audio", URL: strings.TrimSuffix(p.baseURL, "/") + "/v1/history/" + url.PathEscape(id) + "/audio",
	}}}
}

// Download implements [providers.Downloader].
func (p *Provider) Download(ctx context.Context, _ providers.Ref, out providers.Output) (providers.Body, error) {
	return p.client.Open(ctx, providers.Call{URL: out.URL}, 0)
}

var remoteID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

// historyItem is a speech that the account has had.
type historyItem struct {
	ID    string  `json:"history_item_id"`
	Text  *string `json:"text"`
	Voice string  `json:"voice_id"`
	Model string  `json:"model_id"`
	Date  float64 `json:"date_unix"`
}

// history is a page of it, newest first.
type history struct {
	Items *[]historyItem `json:"history"`
	More  bool           `json:"has_more"`
	Last  string         `json:"last_history_item_id"`
}

const historyPages = 10

// Find implements [providers.Finder]. A speech that is in the history was made,
// and its sound is there. One that is not may have been made all the same: an
// account can have been told to keep nothing. It is never called absent.
func (p *Provider) Find(ctx context.Context, lost providers.Lost) (providers.Status, error) {
	if lost.Request.Feature != tasks.TextToSpeech {
		return providers.Status{}, fmt.Errorf("%s leaves no trace to look up: %w", lost.Request.Feature, errors.ErrUnsupported)
	}
	voice := p.voice(lost.Request)
	query := url.Values{
		"page_size": {"100"}, "source": {"TTS"}, "voice_id": {voice}, "date_after_unix": {strconv.FormatInt(lost.FindSince().Unix(), 10)},
	}
	var listed []providers.Listed
	for range historyPages {
		var page history
		if _, err := p.client.JSON(ctx, providers.Call{URL: "/v1/history", Query: query}, nil, &page); err != nil {
			return providers.Status{}, err
		}
		if page.Items == nil {
			return providers.Status{}, p.client.Strange(false, "the answer has no history")
		}
		for _, item := range *page.Items {
			listed = append(listed, item.listed())
		}
		if !page.More || page.Last == "" {
			break
		}
		query.Set("start_after_history_item_id", page.Last)
	}
	sent := map[string]any{"text": lost.Request.Input["text"], "voice": voice, "model": providers.ModelOr(models, tasks.TextToSpeech, lost.Request.Model)}
	id, err := p.client.Match(lost, sent, listed, false)
	if err != nil {
		return providers.Status{}, err
	}
	return p.remembered(id), nil
}

func (i historyItem) listed() providers.Listed {
	listed := providers.Listed{ID: i.ID, Created: time.Unix(int64(i.Date), 0)}
	if i.Text != nil {
		listed.Input = map[string]any{"text": *i.Text, "voice": i.Voice}
		if i.Model != "" {
			listed.Input["model"] = i.Model
		}
	}
	return listed
}

// ListLag implements [providers.Finder].
func (p *Provider) ListLag() time.Duration { return time.Minute }

// classes says what the provider's codes mean, where the status does not: money
// that is out comes as 401.
var classes = map[string]classify.Class{
	"quota_exceeded":               classify.Quota,
	"payment_required":             classify.Quota,
	"invalid_api_key":              classify.Authentication,
	"missing_permissions":          classify.Authentication,
	"detected_unusual_activity":    classify.Authentication,
	"max_character_limit_exceeded": classify.Validation,
	"voice_not_found":              classify.Validation,
	"model_not_found":              classify.NotFound,
	"too_many_concurrent_requests": classify.RateLimit,
	"system_busy":                  classify.Overloaded,
	"content_against_policy":       classify.ContentPolicy,
	"bad_prompt":                   classify.ContentPolicy, // music after somebody's work
	"bad_composition_plan":         classify.ContentPolicy,
}

// fields are what some codes are about.
var fields = map[string]string{
	"voice_not_found": "/input_data/voice", "max_character_limit_exceeded": "/input_data/text", "model_not_found": "/model",
}

// decodeError reads {"detail":{"status","message"}}. Newer bodies have a type and
// a code beside it, which tell less.
func decodeError(status int, header http.Header, body []byte) *classify.Error {
	var said struct {
		Detail struct {
			Status  string `json:"status"`
			Message string `json:"message"`
		} `json:"detail"`
	}
	if json.Unmarshal(body, &said) != nil || said.Detail.Status == "" {
		return providers.DecodeError(status, header, body)
	}
	failure := &classify.Error{Code: said.Detail.Status, Message: said.Detail.Message, Field: fields[said.Detail.Status]}
	words := strings.ToLower(failure.Message)
	if status == http.StatusForbidden && classes[failure.Code] == "" && (strings.Contains(words, "policy") || strings.Contains(words, "terms of service")) {
		failure.Class = classify.ContentPolicy
	}
	if failure.Message == "" {
		failure.Message = failure.Code
	}
	return failure
}
