// Package openai is the adapter to OpenAI's media API and to the servers that
// speak it: images (generate and edit), speech, and the /videos shape. Images
// and speech answer at once with their bytes; videos are polled.
//
// # What it refuses to know
//
// Streams, batches, and the account's own webhooks: a job is one request, and
// what is polled needs no other news.
package openai

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// DefaultBaseURL is where OpenAI itself is.
const DefaultBaseURL = "https://api.openai.com/v1"

// defaultMaxAnswer leaves room for ten large pictures in base64.
const defaultMaxAnswer = 192 << 20

// Config is what the adapter has to know. Its json keys are the provider's
// options.
type Config struct {
	// Preset is which server it is, for its address and its ways: see presets.
	// Empty is OpenAI, or with a base URL any server that copies it.
	Preset       string `json:"preset"`
	Organization string `json:"organization"`
	Project      string `json:"project"`
	// ResponseFormat is sent with image requests. Empty sends it only to the
	// models that take it; servers that answer with a URL of their own want
	// "b64_json".
	ResponseFormat string `json:"response_format"`

	Name    string                                `json:"-"` // in errors
	BaseURL string                                `json:"-"` // empty: DefaultBaseURL
	APIKey  providers.Secret                      `json:"-"` // may be empty elsewhere than at OpenAI
	Proxy   func(*http.Request) (*url.URL, error) `json:"-"` // nil: none
	Outside http.RoundTripper                     `json:"-"` // carries downloads from other hosts; nil: there are none
	// MaxAnswer is how many bytes of an answer are read at most; 0 means 192 MiB.
	MaxAnswer int64 `json:"-"`

	transport http.RoundTripper // carries the calls; nil: the client's own
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	var config Config
	if err := s.Decode(&config); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	config.Name, config.BaseURL, config.APIKey = s.Name, s.BaseURL, s.APIKey
	config.Proxy, config.Outside, config.transport = s.Proxy, s.Outside, s.Transport
	return New(config)
}

// Provider is the adapter. It is a [providers.Finder] and a
// [providers.Downloader] for videos, a [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	config Config
	client *providers.Client
	preset preset
	vendor bool // OpenAI itself, whose models we know
	// features is what it offers, read once: every job asks for it several times.
	features []providers.FeatureCapability
}

// New returns the provider. It does not call it.
func New(config Config) (*Provider, error) {
	if config.Name == "" {
		config.Name = "openai"
	}
	preset, known := presets[config.Preset]
	if config.BaseURL == "" {
		config.BaseURL = preset.baseURL
	}
	if config.ResponseFormat == "" {
		config.ResponseFormat = preset.responseFormat
	}
	if config.MaxAnswer <= 0 {
		config.MaxAnswer = defaultMaxAnswer
	}
	vendor := config.BaseURL == DefaultBaseURL
	var problems []error
	if !known {
		problems = append(problems, fmt.Errorf("options: preset: must be one of %s", strings.Join(presetNames(), ", ")))
	}
	if vendor && config.APIKey == "" {
		problems = append(problems, errors.New("api_key: is missing"))
	}
	if !slices.Contains([]string{"", "b64_json", "url"}, config.ResponseFormat) {
		problems = append(problems, errors.New("options: response_format: must be b64_json or url"))
	}
	client, err := providers.NewClient(providers.ClientConfig{
		Provider: config.Name, BaseURL: config.BaseURL, Authorize: config.authorize,
		Classes: classes, DecodeError: preset.decodeError, MaxBody: config.MaxAnswer,
		Proxy: config.Proxy, Outside: config.Outside, Transport: config.transport,
	})
	if err = errors.Join(append(problems, err)...); err != nil {
		return nil, err
	}
	return &Provider{config: config, client: client, preset: preset, vendor: vendor, features: preset.offer(vendor)}, nil
}

func (c Config) authorize(r *http.Request) {
	if c.APIKey != "" {
		r.Header.Set("Authorization", "Bearer "+c.APIKey.Reveal())
	}
	if c.Organization != "" {
		r.Header.Set("OpenAI-Organization", c.Organization)
	}
	if c.Project != "" {
		r.Header.Set("OpenAI-Project", c.Project)
	}
}

// models are those of OpenAI, the default first. Other servers have their own.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:  {"gpt-image-1.5", "gpt-image-2", "gpt-image-1", "gpt-image-1-mini", "dall-e-3", "dall-e-2"},
	tasks.ImageToImage: {"gpt-image-1.5", "gpt-image-2", "gpt-image-1", "gpt-image-1-mini", "chatgpt-image-latest", "dall-e-2"},
	tasks.TextToSpeech: {"gpt-4o-mini-tts", "tts-1", "tts-1-hd"},
	tasks.TextToVideo:  {"sora-2", "sora-2-pro"},
	tasks.ImageToVideo: {"sora-2", "sora-2-pro"},
}

// Capabilities implements [providers.Provider]. With a base URL of its own the
// provider takes any model; the configuration may name those it has.
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features: slices.Clone(p.features),
		Poll:     providers.PollPolicy{First: 5 * time.Second, Interval: 5 * time.Second, Ceiling: 20 * time.Second},
		Files:    providers.HandoverUpload, Synchronous: p.preset.synchronous,
		ResultLifetime: time.Hour, // of a DALL·E URL; other pictures come as bytes
	}
}

// offer lists the features of a server of this kind, with models where they are
// the vendor's own.
func (p preset) offer(vendor bool) []providers.FeatureCapability {
	offered := map[tasks.Feature][]string{}
	for _, feature := range p.features {
		offered[feature] = nil
		if vendor {
			offered[feature] = models[feature]
		}
	}
	return providers.Features(schemas, offered)
}

//go:embed schemas/*.json
var schemas embed.FS

// withModel fills in OpenAI's default where no model was chosen, and the server
// has none of its own.
func (p *Provider) withModel(req providers.Request) providers.Request {
	if p.preset.foreign {
		return req
	}
	if list := models[req.Feature]; req.Model == "" && len(list) > 0 {
		req.Model = list[0]
	}
	return req
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	req = p.withModel(req)
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	if send, ok := p.preset.own[req.Feature]; ok {
		return send(p, ctx, req)
	}
	switch req.Feature {
	case tasks.TextToImage:
		return p.generateImage(ctx, req)
	case tasks.ImageToImage:
		return p.editImage(ctx, req)
	case tasks.TextToSpeech:
		return p.speak(ctx, req)
	default:
		return p.startVideo(ctx, req)
	}
}

// Poll implements [providers.Provider]. Only videos have something to poll.
func (p *Provider) Poll(ctx context.Context, ref providers.Ref) (providers.Status, error) {
	if ref.RemoteID == "" {
		return providers.Status{}, &classify.Error{
			Class: classify.NotFound, Provider: p.config.Name, Message: "images and speech are answered at once; there is nothing to poll",
		}
	}
	return p.pollVideo(ctx, ref)
}

var remoteID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

// Download implements [providers.Downloader]. The content of a video wants our
// credentials; pictures that a server left at a URL are fetched without them,
// unless that server is the provider's own.
func (p *Provider) Download(ctx context.Context, _ providers.Ref, out providers.Output) (providers.Body, error) {
	return p.client.Open(ctx, providers.Call{URL: out.URL, Anywhere: true}, 0)
}
