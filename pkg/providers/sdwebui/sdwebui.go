// Package sdwebui is the adapter to stable-diffusion-webui and its kin, started
// with --api: a call draws, and answers with the pictures.
//
// # What it refuses to know
//
// Scripts and settings: a script runs code at the server, and a setting changes
// it for everybody. Callers give what is listed here, and nothing else.
package sdwebui

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// DefaultBaseURL is where the server listens on one's own machine.
const DefaultBaseURL = "http://127.0.0.1:7860"

// defaultMaxAnswer leaves room for eight large pictures in base64.
const defaultMaxAnswer = 192 << 20

// options is what only this adapter knows.
type options struct {
	// Resolution is the side of a square picture of which an aspect_ratio makes
	// another shape: 512 for the first models, 1024 for XL.
	Resolution float64 `json:"resolution"`
	// Upscaler is the model that upscales where the request names none.
	Upscaler string `json:"upscaler"`
}

// Provider is the adapter. It is a [providers.InputChecker].
type Provider struct {
	name    string
	options options
	client  *providers.Client
}

// Open makes the provider from its section of the configuration.
func Open(s providers.Settings) (providers.Provider, error) {
	p := &Provider{name: s.Name, options: options{Resolution: 512, Upscaler: "R-ESRGAN 4x+"}}
	if err := s.Decode(&p.options); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	if p.options.Resolution < 64 || p.options.Resolution > 4096 {
		return nil, fmt.Errorf("options: resolution: must be from 64 to 4096")
	}
	if s.BaseURL == "" {
		s.BaseURL = DefaultBaseURL
	}
	var err error
	p.client, err = providers.NewClient(providers.ClientConfig{
		Provider: s.Name, BaseURL: s.BaseURL, Proxy: s.Proxy, MaxBody: defaultMaxAnswer,
		Classes: classes, DecodeError: decodeError, Authorize: func(r *http.Request) { authorize(r, s.APIKey.Reveal()) },
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// authorize sends user:password as --api-auth wants it, and anything else as a
// token for a gateway before the server.
func authorize(r *http.Request, key string) {
	if user, password, basic := strings.Cut(key, ":"); basic {
		r.SetBasicAuth(user, password)
	} else if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
}

//go:embed schemas/*.json
var schemas embed.FS

// offered is read once: every job asks for it several times.
var offered = providers.Features(schemas, models)

// models are none: a server has what its operator has put there.
var models = map[tasks.Feature][]string{tasks.TextToImage: nil, tasks.ImageToImage: nil, tasks.Upscale: nil}

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Synchronous: true, Features: offered, Files: providers.HandoverDataURI,
	}
}

// paths by feature.
var paths = map[tasks.Feature]string{
	tasks.TextToImage: "/sdapi/v1/txt2img", tasks.ImageToImage: "/sdapi/v1/img2img", tasks.Upscale: "/sdapi/v1/extra-single-image",
}

// Submit implements [providers.Provider].
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	body, err := p.body(req)
	if err != nil {
		return providers.Status{}, err
	}
	var made reply
	answer, err := p.client.JSON(ctx, providers.Call{URL: paths[req.Feature], Submit: true}, body, &made)
	if err != nil {
		return providers.Status{}, err
	}
	if made.Images == nil && made.Image == "" {
		return providers.Status{}, p.client.Strange(true, "the answer has no pictures")
	}
	details := made.details()
	st, err := p.client.Completed(true, providers.Status{Data: details.data()}, answer.Body, req.Feature)
	if err == nil && details.First > 0 && details.First < len(st.Outputs) {
		st.Outputs = st.Outputs[details.First:] // before it stands a sheet of them all
	}
	return st, err
}

// Poll implements [providers.Provider]: there is nothing to poll. The progress
// that the server tells is that of whatever it draws just now.
func (p *Provider) Poll(context.Context, providers.Ref) (providers.Status, error) {
	return providers.Status{}, &classify.Error{
		Class: classify.NotFound, Provider: p.name, Message: "pictures are answered at once; there is nothing to poll",
	}
}

// reply is what all three endpoints answer.
type reply struct {
	Images *[]string `json:"images"`
	Image  string    `json:"image"`
	Info   string    `json:"info"` // JSON in a text
}

// details is what is told about the pictures.
type details struct {
	Seed  *float64  `json:"seed"`
	Seeds []float64 `json:"all_seeds"`
	First int       `json:"index_of_first_image"`
	Model string    `json:"sd_model_name"`
}

func (r reply) details() details {
	var d details
	_ = json.Unmarshal([]byte(r.Info), &d) // pictures count without it
	return d
}

func (d details) data() map[string]any {
	data := map[string]any{}
	if d.Seed != nil {
		data["seed"] = *d.Seed
	}
	if len(d.Seeds) > 1 {
		data["seeds"] = d.Seeds
	}
	if d.Model != "" {
		data["model"] = d.Model
	}
	return data
}

// classes says what the server's exceptions mean, where the status does not.
var classes = map[string]classify.Class{
	"outofmemoryerror": classify.Overloaded,
}

// errorReply is the body of the server's own errors.
type errorReply struct {
	Error  string          `json:"error"`
	Detail json.RawMessage `json:"detail"` // a text, or a list as FastAPI makes it
	Errors string          `json:"errors"`
}

func decodeError(status int, header http.Header, body []byte) *classify.Error {
	var said errorReply
	if json.Unmarshal(body, &said) != nil || said.Error == "" {
		return providers.DecodeError(status, header, body)
	}
	failure := &classify.Error{Code: said.Error, Message: said.Errors}
	var detail string
	if json.Unmarshal(said.Detail, &detail) == nil && detail != "" {
		failure.Message = detail
	}
	if failure.Message == "" {
		failure.Message = said.Error
	}
	return failure
}

// shape is the width and height of an aspect ratio: about as many pixels as the
// square has, in steps that the models can draw.
func (p *Provider) shape(ratio string) (width, height float64) {
	var a, b float64
	_, _ = fmt.Sscanf(ratio, "%f:%f", &a, &b) // checked
	step := func(v float64) float64 { return max(64, math.Round(v/64)*64) }
	return step(p.options.Resolution * math.Sqrt(a/b)), step(p.options.Resolution * math.Sqrt(b/a))
}
