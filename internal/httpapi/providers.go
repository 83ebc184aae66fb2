package httpapi

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// ProviderList is what is configured.
type ProviderList struct {
	Providers []Provider `json:"providers"`
}

// Provider is one configured provider.
type Provider struct {
	ID          string            `json:"id" doc:"What provider_id says" example:"openai"`
	Adapter     string            `json:"adapter" doc:"Which generation API it speaks to"`
	Default     bool              `json:"default" doc:"Chosen first where a job names no provider"`
	Demo        bool              `json:"demo" doc:"Never chosen beside another provider: only by name, or as the sole one"`
	Synchronous bool              `json:"synchronous" doc:"Answers a submission with the result"`
	Webhooks    bool              `json:"webhooks" doc:"Reports to Easel by webhook"`
	Files       string            `json:"files" doc:"How input files reach it: upload, data_uri (inside the request), url (it fetches them, from the caller's https URL or a signed one of this server), or empty where it takes none"`
	ResultsKept int64             `json:"results_kept_seconds" doc:"How long it keeps what it made; 0 when it does not say. Easel copies results as soon as it knows of them"`
	Features    []ProviderFeature `json:"features"`
	Health      ProviderHealth    `json:"health"`
	PausedSince *time.Time        `json:"paused_since" doc:"null unless an operator has paused it"`
	Limits      ProviderLimits    `json:"limits"`
	InFlight    int               `json:"in_flight" doc:"Submissions that it works on, or may be working on"`
	Waiting     int               `json:"waiting" doc:"Jobs that stand in line for it"`
	Until       *time.Time        `json:"left_alone_until" doc:"null unless it has asked for fewer requests, and the time is not over"`
}

// ProviderLimits bound what is asked of a provider.
type ProviderLimits struct {
	Rate        *string `json:"rate" doc:"Submissions per interval, by all workers together; null when there is no limit" example:"10/s"`
	MaxInFlight *int    `json:"max_in_flight" doc:"Submissions that have not ended, by all workers together; null when there is no limit"`
	Concurrency int     `json:"concurrency" doc:"Calls under way at a time, per worker"`
}

// ProviderFeature is what a provider offers.
type ProviderFeature struct {
	FeatureType tasks.Feature `json:"feature_type" example:"text-to-image"`
	Models      []string      `json:"models" doc:"The default first; empty when there are none, or any is taken"`
}

// ProviderHealth is how a provider fares.
type ProviderHealth struct {
	Status   string            `json:"status" doc:"ok; degraded when some of its models are passed over; down when it is. There may be more one day"`
	Reason   string            `json:"reason" doc:"Class of the failure that is held against it; empty when it is ok"`
	Since    *time.Time        `json:"since" doc:"null when it is ok"`
	Circuits []ProviderCircuit `json:"circuits" doc:"What is held against it, per model"`
}

// ProviderCircuit is a circuit that is open: jobs that can be done elsewhere are.
type ProviderCircuit struct {
	Model   *string    `json:"model" doc:"null when all models are concerned: the key is refused, or money is out"`
	State   string     `json:"state" doc:"open, or half_open when the next submission finds out whether the provider is well again"`
	Reason  string     `json:"reason" doc:"Class of the last failure" example:"server"`
	Since   *time.Time `json:"since"`
	ProbeAt *time.Time `json:"probe_at" doc:"When a single submission may find out"`
}

// FeatureList is what can be asked for.
type FeatureList struct {
	Features []FeatureInfo `json:"features"`
}

// FeatureInfo is one feature and who offers it.
type FeatureInfo struct {
	FeatureType tasks.Feature     `json:"feature_type" example:"text-to-image"`
	Providers   []FeatureProvider `json:"providers"`
}

// FeatureProvider is a provider of a feature.
type FeatureProvider struct {
	ProviderID  string          `json:"provider_id" example:"openai"`
	Models      []string        `json:"models" doc:"The default first; empty when there are none, or any is taken"`
	InputSchema json.RawMessage `json:"input_schema" doc:"JSON Schema of input_data"`
}

type providersOutput struct {
	Body ProviderList
}

func (s *server) listProviders(ctx context.Context, _ *struct{}) (*providersOutput, error) {
	infos, err := s.Jobs.ProviderInfos(ctx)
	if err != nil {
		return nil, problem(err)
	}
	return &providersOutput{Body: Providers(infos)}, nil
}

func viewProvider(info orchestrator.ProviderInfo) Provider {
	view := Provider{
		ID: info.Name, Adapter: info.Adapter, Default: info.Default, Demo: info.Capabilities.Demo,
		Synchronous: info.Capabilities.Synchronous, Webhooks: info.Capabilities.Webhooks,
		Files: string(info.Capabilities.Files), ResultsKept: int64(info.Capabilities.ResultLifetime.Seconds()),
		Features: make([]ProviderFeature, 0, len(info.Capabilities.Features)),
		Health:   ProviderHealth{Status: info.Health.Status, Reason: info.Health.Reason, Since: timeOrNull(info.Health.Since), Circuits: viewCircuits(info.Health.Circuits)},
		Limits:   ProviderLimits{Concurrency: info.Concurrency},
		InFlight: info.Gate.InFlight, Waiting: info.Gate.Waiting,
		PausedSince: timeOrNull(info.Gate.PausedSince), Until: timeOrNull(info.Gate.Until),
	}
	if rate := info.Limits.Rate.String(); rate != "" {
		view.Limits.Rate = &rate
	}
	if most := info.Limits.MaxInFlight; most > 0 {
		view.Limits.MaxInFlight = &most
	}
	for _, feature := range info.Capabilities.Features {
		view.Features = append(view.Features, ProviderFeature{FeatureType: feature.Feature, Models: modelsOf(info, feature)})
	}
	return view
}

func viewCircuits(open []orchestrator.OpenCircuit) []ProviderCircuit {
	views := make([]ProviderCircuit, 0, len(open))
	for _, c := range open {
		view := ProviderCircuit{State: "open", Reason: c.Reason, Since: timeOrNull(c.Since), ProbeAt: timeOrNull(c.ProbeAt)}
		if c.HalfOpen {
			view.State = "half_open"
		}
		if c.Model != "" {
			view.Model = &c.Model
		}
		views = append(views, view)
	}
	return views
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

type providerInput struct {
	Name string `path:"name" doc:"What provider_id says" example:"openai"`
}

type providerOutput struct {
	Body Provider
}

func (s *server) pauseProvider(ctx context.Context, in *providerInput) (*providerOutput, error) {
	return s.operate(ctx, in.Name, s.Jobs.PauseProvider)
}

func (s *server) resumeProvider(ctx context.Context, in *providerInput) (*providerOutput, error) {
	return s.operate(ctx, in.Name, s.Jobs.ResumeProvider)
}

// operate applies a verb to a provider and shows what it is now.
func (s *server) operate(ctx context.Context, name string, verb func(context.Context, string) error) (*providerOutput, error) {
	if err := verb(ctx, name); err != nil {
		return nil, problem(err)
	}
	info, err := s.Jobs.ProviderInfo(ctx, name)
	if err != nil {
		return nil, problem(err)
	}
	return &providerOutput{Body: viewProvider(info)}, nil
}

// modelsOf lists a feature's models: those that are configured first, then the
// adapter's own.
func modelsOf(info orchestrator.ProviderInfo, feature providers.FeatureCapability) []string {
	models := []string{}
	for _, choice := range info.Models {
		if choice.Feature == feature.Feature && !slices.Contains(models, choice.Model) {
			models = append(models, choice.Model)
		}
	}
	for _, model := range feature.Models {
		if !slices.Contains(models, model) {
			models = append(models, model)
		}
	}
	return models
}

type featuresOutput struct {
	Body FeatureList
}

func (s *server) listFeatures(ctx context.Context, _ *struct{}) (*featuresOutput, error) {
	infos, err := s.Jobs.ProviderInfos(ctx)
	if err != nil {
		return nil, problem(err)
	}
	return &featuresOutput{Body: Features(infos)}, nil
}

// featureNamed returns the list's entry for a feature, and makes one if need be.
func featureNamed(list *FeatureList, name tasks.Feature) *FeatureInfo {
	for i := range list.Features {
		if list.Features[i].FeatureType == name {
			return &list.Features[i]
		}
	}
	list.Features = append(list.Features, FeatureInfo{FeatureType: name})
	return &list.Features[len(list.Features)-1]
}

// schemaOrAny is the schema of an input that nobody described: any object.
func schemaOrAny(schema json.RawMessage) json.RawMessage {
	if len(schema) == 0 {
		return json.RawMessage(`{"type":"object"}`)
	}
	return schema
}
