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
	PausedSince *time.Time        `json:"paused_since"` // nil unless an operator has paused it
	Limits      Limits            `json:"limits"`
	InFlight    int               `json:"in_flight"`        // submissions that it works on, or may be working on
	Waiting     int               `json:"waiting"`          // jobs that stand in line for it
	Until       *time.Time        `json:"left_alone_until"` // it has asked for fewer requests
}

// Limits bound what is asked of a provider. Nil is no limit.
type Limits struct {
	Rate        *string `json:"rate"` // submissions per interval, such as "10/s", by all workers together
	MaxInFlight *int    `json:"max_in_flight"`
	Concurrency int     `json:"concurrency"` // calls under way at a time, per worker
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
	// Circuits are what is held against it, per model.
	Circuits []Circuit `json:"circuits"`
}

// Circuit is an open circuit: jobs that can be done elsewhere are. Model is nil
// when all are concerned.
type Circuit struct {
	Model   *string    `json:"model"`
	State   string     `json:"state"` // open, half_open
	Reason  string     `json:"reason"`
	Since   *time.Time `json:"since"`
	ProbeAt *time.Time `json:"probe_at"`
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

// PauseProvider stops spending at a provider, on all workers and at once, until
// it is resumed. Over HTTP it needs a key of scope operate.
func (c *Client) PauseProvider(ctx context.Context, name string) (*Provider, error) {
	return c.transport.pauseProvider(ctx, name)
}

// ResumeProvider ends a pause. Over HTTP it needs a key of scope operate.
func (c *Client) ResumeProvider(ctx context.Context, name string) (*Provider, error) {
	return c.transport.resumeProvider(ctx, name)
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
