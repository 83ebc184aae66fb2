package client

import (
	"context"
	"encoding/json"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Provider is a provider that the server has configured.
type Provider struct {
	ID          string            `json:"id"` // what provider_id says
	Adapter     string            `json:"adapter"`
	Default     bool              `json:"default"`
	Demo        bool              `json:"demo"` // chosen by name only, or as the sole one
	Synchronous bool              `json:"synchronous"`
	Webhooks    bool              `json:"webhooks"`
	Files       string            `json:"files"`                // how input files reach it: upload, data_uri, url, or empty
	ResultsKept int64             `json:"results_kept_seconds"` // how long it keeps what it made; 0 when it does not say
	Features    []ProviderFeature `json:"features"`
	Health      Health            `json:"health"`
}

// ProviderFeature is what a provider offers, its default model first.
type ProviderFeature struct {
	FeatureType tasks.Feature `json:"feature_type"`
	Models      []string      `json:"models"`
}

// Health is how a provider fares: "ok", or "down" with the reason.
type Health struct {
	Status string     `json:"status"`
	Reason string     `json:"reason"`
	Since  *time.Time `json:"since"`
}

// Feature is a kind of generation, and who offers it.
type Feature struct {
	FeatureType tasks.Feature     `json:"feature_type"`
	Providers   []FeatureProvider `json:"providers"`
}

// FeatureProvider is a provider of a feature. InputSchema is the JSON Schema of
// its input_data.
type FeatureProvider struct {
	ProviderID  string          `json:"provider_id"`
	Models      []string        `json:"models"`
	InputSchema json.RawMessage `json:"input_schema"`
}

// Providers lists what is configured, and what was registered.
func (c *Client) Providers(ctx context.Context) ([]Provider, error) {
	return c.transport.providers(ctx)
}

// Features lists what can be asked for.
func (c *Client) Features(ctx context.Context) ([]Feature, error) { return c.transport.features(ctx) }

// Offers reports whether the provider has the feature.
func (p Provider) Offers(feature tasks.Feature) bool {
	for _, offered := range p.Features {
		if offered.FeatureType == feature {
			return true
		}
	}
	return false
}
