package providers

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Registry holds the providers that are configured, in the order of the
// configuration. It is safe for concurrent use; entries can be added while the
// process runs and are never taken away.
type Registry struct {
	defaultProvider string
	orders          map[tasks.Feature][]string

	mu      sync.RWMutex
	entries []Entry
}

// Entry is a configured provider.
type Entry struct {
	Name     string // what provider_id says
	Adapter  string // which adapter it uses
	Provider Provider
	// Concurrency is how many submissions a worker may have under way here at
	// a time; 0 means no limit.
	Concurrency int
	// Limits bound what all workers together ask of it.
	Limits Limits
	// SubmitTimeout bounds one paid call; 0 means the worker's own bound.
	SubmitTimeout time.Duration
	// MaxBacklog is how many jobs may wait for this provider before new ones
	// are refused; 0 means no limit.
	MaxBacklog int
	// ResubmitOnUnknown says that the operator would rather pay twice than
	// have a job wait for a person.
	ResubmitOnUnknown bool
	// Models overrides the adapter's default models, and adds to those that
	// may be asked for.
	Models []ModelChoice
}

// ModelChoice is a model that is configured for a feature. The first of a
// feature is its default.
type ModelChoice struct {
	Feature tasks.Feature `json:"feature"`
	Model   string        `json:"model"`
}

// Offers reports whether the provider has the feature.
func (e Entry) Offers(f tasks.Feature) bool {
	return e.Provider.Capabilities().Feature(f) != nil
}

// ModelsFor lists the models that may be asked for, the default first. Empty
// means that the provider has no models, or takes any.
func (e Entry) ModelsFor(f tasks.Feature) []string {
	capability := e.Provider.Capabilities().Feature(f)
	if capability == nil {
		return nil
	}
	var models []string
	for _, choice := range e.Models {
		if choice.Feature == f {
			models = append(models, choice.Model)
		}
	}
	for _, model := range capability.Models {
		if !slices.Contains(models, model) {
			models = append(models, model)
		}
	}
	return models
}

// Model is the default model for a feature, empty when there is none.
func (e Entry) Model(f tasks.Feature) string {
	if models := e.ModelsFor(f); len(models) > 0 {
		return models[0]
	}
	return ""
}

// lists reports whether the model is one that the provider names.
func (e Entry) lists(f tasks.Feature, model string) bool {
	return slices.Contains(e.ModelsFor(f), model)
}

// takesAny reports whether the adapter names no models for the feature, so that
// any may be asked for.
func (e Entry) takesAny(f tasks.Feature) bool {
	capability := e.Provider.Capabilities().Feature(f)
	return capability != nil && len(capability.Models) == 0
}

// demo reports whether the provider must not be chosen beside another one.
func (e Entry) demo() bool { return e.Provider.Capabilities().Demo }

// NewRegistry returns a registry of the entries. DefaultProvider is the name of
// the one that is preferred where a request names none; it may be empty. All
// mistakes are reported at once.
func NewRegistry(entries []Entry, defaultProvider string) (*Registry, error) {
	r := &Registry{defaultProvider: defaultProvider}
	var problems []error
	for i, entry := range entries {
		if err := r.Register(entry); err != nil {
			problems = append(problems, fmt.Errorf("providers[%d]: %w", i, err))
		}
	}
	if _, ok := r.Get(defaultProvider); defaultProvider != "" && !ok {
		problems = append(problems, fmt.Errorf("defaults.provider: %q is not configured", defaultProvider))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return r, nil
}

// Prefer sets the order in which providers are chosen for features, before the
// registry is used. Those that an order does not name come after it. All mistakes
// are reported at once.
func (r *Registry) Prefer(orders map[tasks.Feature][]string) error {
	var problems []error
	for feature, names := range orders {
		for i, name := range names {
			switch entry, ok := r.Get(name); {
			case !ok:
				problems = append(problems, fmt.Errorf("order for %s: providers[%d]: %q is not configured", feature, i, name))
			case !entry.Offers(feature):
				problems = append(problems, fmt.Errorf("order for %s: providers[%d]: %q does not offer the feature", feature, i, name))
			}
		}
	}
	r.orders = orders
	return errors.Join(problems...)
}

// Register adds a provider to those that are configured. It fails when the
// entry is wrong or its name is taken.
func (r *Registry) Register(entry Entry) error {
	if err := entry.check(); err != nil {
		return err
	}
	entry.Models = slices.Clone(entry.Models)
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.ContainsFunc(r.entries, func(e Entry) bool { return e.Name == entry.Name }) {
		return fmt.Errorf("name: %q is taken", entry.Name)
	}
	r.entries = append(r.entries, entry)
	return nil
}

// names stand in URLs, metrics and the configuration.
var names = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (e Entry) check() error {
	var problems []error
	report := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !names.MatchString(e.Name) {
		report("name: %q is not one of letters, digits, dots, dashes and underscores (at most 64)", e.Name)
	}
	if e.Concurrency < 0 {
		report("concurrency: must not be negative")
	}
	if e.Limits.MaxInFlight < 0 {
		report("max_in_flight: must not be negative")
	}
	if e.MaxBacklog < 0 {
		report("max_backlog: must not be negative")
	}
	if e.Provider == nil {
		report("provider: is missing")
		return errors.Join(problems...)
	}
	for i, choice := range e.Models {
		switch {
		case choice.Model == "":
			report("models[%d].model: is missing", i)
		case !e.Offers(choice.Feature):
			report("models[%d].feature: %q is not offered by this provider", i, choice.Feature)
		}
	}
	return errors.Join(problems...)
}

// Default is the name of the provider that is preferred where a request names
// none; it may be empty.
func (r *Registry) Default() string { return r.defaultProvider }

// Get returns the entry of that name.
func (r *Registry) Get(name string) (Entry, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	i := slices.IndexFunc(r.entries, func(e Entry) bool { return e.Name == name })
	if i < 0 {
		return Entry{}, false
	}
	return r.entries[i], true
}

// All lists the entries in configuration order.
func (r *Registry) All() []Entry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Clone(r.entries)
}

// ForFeature lists the entries that offer the feature, in configuration order.
func (r *Registry) ForFeature(f tasks.Feature) []Entry {
	return slices.DeleteFunc(r.All(), func(e Entry) bool { return !e.Offers(f) })
}

// Features lists every feature that somebody offers, in configuration order.
func (r *Registry) Features() []tasks.Feature {
	var features []tasks.Feature
	for _, entry := range r.All() {
		for _, capability := range entry.Provider.Capabilities().Features {
			if !slices.Contains(features, capability.Feature) {
				features = append(features, capability.Feature)
			}
		}
	}
	return features
}
