package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// OrchestratorConfig is what requests get that do not say themselves. Zero
// fields leave the choice to the Easel that is asked.
type OrchestratorConfig struct {
	// DefaultProvider serves the requests that name no provider, where it
	// offers their feature. Such a request counts as one that names it: it is
	// not taken elsewhere unless it has fallbacks.
	DefaultProvider string
	// Timeout is how long a job may take, from its acceptance on.
	Timeout time.Duration
	// RetryAttempts is how often a generation that failed may be bought anew;
	// [NoRetries] for never.
	RetryAttempts int
	// RetryDelay is the first wait between tries; it grows.
	RetryDelay time.Duration
	// Polling is for [PollJobOptions] that do not say.
	Polling PollingConfig
}

// NoRetries asks, as RetryAttempts, for one try only.
const NoRetries = -1

// PollingConfig says how a [JobPoller] asks when events do not come.
type PollingConfig struct {
	// InitialInterval is the first wait without an event after which the job
	// is read: 2 s.
	InitialInterval time.Duration
	// Factor is by how much the interval grows with every read that found
	// nothing new: 1.5.
	Factor float64
	// Ceiling is the longest interval: 30 s.
	Ceiling time.Duration
	// Deadline is how long the poller goes on; 0: as long as the job takes.
	Deadline time.Duration
	// ConsecutiveErrors is how many reads in a row may fail: 5.
	ConsecutiveErrors int
}

// check reports everything that is wrong, with its path.
func (c OrchestratorConfig) check() error {
	var problems []error
	report := func(wrong bool, field, detail string) {
		if wrong {
			problems = append(problems, fmt.Errorf("easel: OrchestratorConfig.%s: %s", field, detail))
		}
	}
	p := c.Polling
	report(c.Timeout < 0, "Timeout", "must not be negative")
	report(c.RetryAttempts < NoRetries, "RetryAttempts", "must be NoRetries, 0 for the default, or positive")
	report(c.RetryDelay < 0, "RetryDelay", "must not be negative")
	report(p.InitialInterval < 0, "Polling.InitialInterval", "must not be negative")
	report(p.Factor != 0 && p.Factor < 1, "Polling.Factor", "must be at least 1")
	report(p.Ceiling < 0 || p.Ceiling != 0 && p.Ceiling < p.InitialInterval, "Polling.Ceiling", "must not be below the interval")
	report(p.Deadline < 0, "Polling.Deadline", "must not be negative")
	report(p.ConsecutiveErrors < 0, "Polling.ConsecutiveErrors", "must not be negative")
	return errors.Join(problems...)
}

// complete fills in what a draft leaves open and the configuration decides.
func (c *Client) complete(ctx context.Context, draft tasks.Draft) (tasks.Draft, error) {
	if draft.ProviderID == "" {
		provider, err := c.preferred(ctx, draft.FeatureType)
		if err != nil {
			return draft, err
		}
		draft.ProviderID = provider
	}
	if draft.TimeoutMS == nil && c.config.Timeout > 0 {
		draft.TimeoutMS = new(c.config.Timeout.Milliseconds())
	}
	if draft.RetryAttempts == nil && c.config.RetryAttempts != 0 {
		draft.RetryAttempts = new(max(c.config.RetryAttempts, 0))
	}
	if draft.RetryDelayMS == nil && c.config.RetryDelay > 0 {
		draft.RetryDelayMS = new(c.config.RetryDelay.Milliseconds())
	}
	return draft, nil
}

// catalogAge is how old what is known of the providers may be.
const catalogAge = time.Minute

// catalog remembers what the providers offer, so that choosing one does not cost
// a request each time.
type catalog struct {
	mu        sync.Mutex
	preferred string // set by SetDefaultProvider
	set       bool
	known     []Provider
	readAt    time.Time
}

// preferred is the default provider, if there is one and it offers the feature.
func (c *Client) preferred(ctx context.Context, feature tasks.Feature) (string, error) {
	c.catalog.mu.Lock()
	defer c.catalog.mu.Unlock()
	name := c.config.DefaultProvider
	if c.catalog.set {
		name = c.catalog.preferred
	}
	if name == "" {
		return "", nil
	}
	if c.catalog.known == nil || time.Since(c.catalog.readAt) > catalogAge {
		known, err := c.transport.providers(ctx)
		if err != nil {
			return "", fmt.Errorf("look for the default provider: %w", err)
		}
		c.catalog.known, c.catalog.readAt = known, time.Now()
	}
	for _, provider := range c.catalog.known {
		if provider.ID == name && provider.Offers(feature) {
			return name, nil
		}
	}
	return "", nil
}
