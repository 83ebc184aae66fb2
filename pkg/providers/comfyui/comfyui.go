// Package comfyui is the adapter to ComfyUI: graphs of the operator's with
// declared placeholders, queued, watched and fetched.
//
// Every submission has a prompt id that is made of the job's attempt, so that a
// lost one is found in the queue or the history under it.
//
// # What it refuses to know
//
// Graphs of callers: a graph can read and write files and run code of its nodes.
// Callers fill in what the operator has declared, and nothing else.
package comfyui

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// DefaultBaseURL is where ComfyUI listens on one's own machine.
const DefaultBaseURL = "http://127.0.0.1:8188"

// Config is what the adapter has to know. Its json keys are the provider's
// options.
type Config struct {
	Workflows []Workflow `json:"workflows"` // one for each feature

	Name    string                                `json:"-"` // in errors
	BaseURL string                                `json:"-"` // empty: DefaultBaseURL
	APIKey  providers.Secret                      `json:"-"` // for a gateway before it; ComfyUI itself has none
	Proxy   func(*http.Request) (*url.URL, error) `json:"-"` // nil: none
}

// Provider is the adapter. It is a [providers.Canceler], a [providers.Finder],
// a [providers.Downloader], a [providers.InputChecker] and a
// [providers.RemoteIDChecker].
type Provider struct {
	config    Config
	client    *providers.Client
	transport *http.Transport // of the events
	workflows []*workflow
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	var config Config
	if err := s.Decode(&config); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	config.Name, config.BaseURL, config.APIKey, config.Proxy = s.Name, s.BaseURL, s.APIKey, s.Proxy
	return New(config)
}

// New returns the provider. It does not call it.
func New(config Config) (*Provider, error) {
	if config.Name == "" {
		config.Name = "comfyui"
	}
	if config.BaseURL == "" {
		config.BaseURL = DefaultBaseURL
	}
	workflows, problems := config.compile()
	client, err := providers.NewClient(providers.ClientConfig{
		Provider: config.Name, BaseURL: config.BaseURL, Authorize: config.authorize,
		Classes: classes, DecodeError: providers.DecodeError, DoubtServerErrors: true, Proxy: config.Proxy,
	})
	if err = errors.Join(providers.JoinProblems("options", problems), err); err != nil {
		return nil, err
	}
	return &Provider{
		config: config, client: client, workflows: workflows,
		transport: &http.Transport{Proxy: config.Proxy, DisableKeepAlives: true},
	}, nil
}

func (c Config) authorize(r *http.Request) {
	if c.APIKey != "" {
		r.Header.Set("Authorization", "Bearer "+c.APIKey.Reveal())
	}
}

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities {
	c := providers.Capabilities{
		Poll:  providers.PollPolicy{First: time.Second, Interval: time.Second, Ceiling: 5 * time.Second},
		Files: providers.HandoverUpload,
	}
	for _, w := range p.workflows {
		c.Features = append(c.Features, providers.FeatureCapability{
			Feature: w.config.Feature, Models: w.config.Models.Names(), Input: w.config.Input.Schema(),
		})
	}
	return c
}

// CheckInput implements [providers.InputChecker]: what is not declared is
// refused.
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	w := p.workflow(feature)
	if w == nil {
		return providers.NotOffered()
	}
	if key, detail := w.config.Input.Check(input); detail != "" {
		return providers.InvalidInput(key, detail)
	}
	if _, ok := w.config.Models.Value(model); !ok {
		return &classify.Error{Class: classify.Validation, Provider: p.config.Name, Field: "/model", Message: "this provider does not have the model"}
	}
	return nil
}

func (p *Provider) workflow(feature tasks.Feature) *workflow {
	for _, w := range p.workflows {
		if w.config.Feature == feature {
			return w
		}
	}
	return nil
}

// Submit implements [providers.Provider]. Files are uploaded first; that buys
// nothing.
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	id := promptID(req.ClientID)
	w := p.workflow(req.Feature)
	values := w.values(req)
	for _, declared := range w.config.Input {
		if _, given := req.Input[declared.Name]; given && declared.Type == providers.TypeFile {
			name, err := p.upload(ctx, req, declared, id)
			if err != nil {
				return providers.Status{}, err
			}
			values[declared.Name] = name
		}
	}
	var reply promptReply
	body := promptRequest{Prompt: w.fill(values), ClientID: id, PromptID: id}
	if _, err := p.client.JSON(ctx, providers.Call{URL: "/prompt", Submit: true}, body, &reply); err != nil {
		return providers.Status{}, err
	}
	if !remoteID.MatchString(reply.PromptID) {
		return providers.Status{}, p.client.Strange(true, "the answer has no prompt id")
	}
	st := providers.Status{State: providers.Queued, RemoteID: reply.PromptID}
	return st, nil
}

// upload hands a file over under a name of ours, and returns what the graph
// calls it.
func (p *Provider) upload(ctx context.Context, req providers.Request, declared providers.Declaration, id string) (string, error) {
	files, err := req.Attachments(declared.Name)
	if err != nil {
		return "", err
	}
	file := files[0] // the check allows one
	switch {
	case file.URL != "":
		return "", providers.InvalidInput(declared.Name, "must be a file that comes along: ComfyUI fetches none")
	case !declared.Accepts(file.MediaType):
		return "", providers.InvalidInput(declared.Name, "is not a file of a kind that is taken here")
	}
	var form providers.Form
	form.Field("type", "input")
	form.Field("subfolder", "easel")
	form.Field("overwrite", "true")
	file.AddTo(&form, "image", id+"-"+declared.Name)
	var reply uploadReply
	if _, err := p.client.JSON(ctx, providers.Call{URL: "/upload/image", Payload: form.Payload()}, nil, &reply); err != nil {
		return "", err
	}
	if reply.Name == "" {
		return "", p.client.Strange(false, "the answer to an upload has no name")
	}
	if reply.Subfolder != "" {
		return reply.Subfolder + "/" + reply.Name, nil
	}
	return reply.Name, nil
}

// promptID is the id of an attempt's submissions: always the same, so that it
// can be asked for when the answer was lost.
func promptID(clientID string) string {
	sum := sha256.Sum256([]byte("easel/comfyui/" + clientID))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // RFC 9562: made by a rule of one's own
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

var remoteID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// ValidRemoteID implements [providers.RemoteIDChecker].
func (p *Provider) ValidRemoteID(id string) bool { return remoteID.MatchString(id) }

// Download implements [providers.Downloader].
func (p *Provider) Download(ctx context.Context, _ providers.Ref, out providers.Output) (providers.Body, error) {
	return p.client.Open(ctx, providers.Call{URL: out.URL}, 0)
}
