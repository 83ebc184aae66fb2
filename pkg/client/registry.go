package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// ProviderSpec is a provider that is a function of this program. Easel does for
// it what it does for any other: it queues, bounds and retries the calls, keeps
// what they return, and tells who watches.
type ProviderSpec struct {
	// ID is what provider_id says: letters, digits, dots, dashes and
	// underscores.
	ID string
	// Name is for people; the ID when empty.
	Name string
	// Capabilities are the features that the function serves.
	Capabilities []Capability
	// Execute makes one generation. It is called concurrently, at most once
	// per submission, and its context ends after Timeout.
	Execute ExecuteProvider
	// Concurrency is how many calls this process makes at a time; 0: 64.
	Concurrency int
	// Timeout bounds one call; 0: the worker's own bound, 5 minutes.
	Timeout time.Duration
	// Repeatable says that a call may be made again when nobody knows what
	// became of the first one, since the process was killed in it: it costs
	// nothing. Otherwise such a job becomes unresolved.
	Repeatable bool
}

// ExecuteProvider is a provider in one function. An error of type
// [*ClassifiedError] says what to do about it; any other is classified by what
// it is, and a time-out counts as an unknown outcome, since the call may have
// been paid for.
type ExecuteProvider func(ctx context.Context, r ProviderRequest) (*ProviderResult, error)

// Capability is a feature that a provider serves. The first model is the
// default; InputSchema is the JSON Schema of its input, with which misspelt
// inputs are noticed.
type Capability struct {
	FeatureType tasks.Feature
	Models      []string
	InputSchema json.RawMessage
}

// ProviderRequest is what is asked of a provider.
type ProviderRequest struct {
	JobID       string
	RequestID   string // the same for every submission of one attempt
	FeatureType tasks.Feature
	Model       string
	Input       map[string]any
	// Files are the parts of the input that are files; in Input their place is
	// taken by {"$file": index}.
	Files  []ProviderFile
	UserID string
	// Report tells how far the function is, to who watches the job: a
	// percentage, negative where it is not known, and a message. It answers
	// whether somebody still wants the result.
	Report func(ctx context.Context, percent float64, message string) (wanted bool)
}

// Text returns a string of the input, or the fallback.
func (r ProviderRequest) Text(key, fallback string) string {
	if s, ok := r.Input[key].(string); ok && s != "" {
		return s
	}
	return fallback
}

// ProviderFile is an input file. Pointer says where it stood, such as /image.
type ProviderFile struct {
	Pointer   string
	MediaType string
	Data      []byte
}

// ProviderResult is what a provider made. There must be a file: a generation
// without one has failed. A text is a file, too.
type ProviderResult struct {
	Files []File
	// Output is what is not a file: a seed, a text.
	Output map[string]any
	Cost   *tasks.Cost
}

// errNoWorker is the answer to who registers a provider where nothing would run
// it.
var errNoWorker = fmt.Errorf("%w: a registered provider runs in a worker; open the client with Connect and WithWorker, or with Embedded", ErrUnsupported)

func (s ProviderSpec) check() error {
	var problems []error
	report := func(wrong bool, detail string) {
		if wrong {
			problems = append(problems, fmt.Errorf("easel: ProviderSpec.%s", detail))
		}
	}
	report(s.ID == "", "ID: is missing")
	report(s.Execute == nil, "Execute: is missing")
	report(len(s.Capabilities) == 0, "Capabilities: names no feature")
	report(s.Concurrency < 0, "Concurrency: must not be negative")
	report(s.Timeout < 0, "Timeout: must not be negative")
	for i, c := range s.Capabilities {
		report(c.FeatureType == "", fmt.Sprintf("Capabilities[%d].FeatureType: is missing", i))
		report(len(c.InputSchema) > 0 && !json.Valid(c.InputSchema), fmt.Sprintf("Capabilities[%d].InputSchema: is not JSON", i))
	}
	return errors.Join(problems...)
}

// RegisterProvider adds a provider that is a function of this program. It needs
// a worker in this process, [WithWorker] or [Embedded], and is [ErrUnsupported]
// without one. Other processes learn of the provider and can ask for it; each
// program of an installation that has a worker should register the same ones,
// or else a job may wait for the one that knows its provider.
func (c *Client) RegisterProvider(ctx context.Context, spec ProviderSpec) error {
	if err := spec.check(); err != nil {
		return err
	}
	if err := c.transport.register(ctx, spec); err != nil {
		return err
	}
	c.catalog.forget()
	return nil
}

// ErrNoProvider is wrapped by errors of calls that name a provider or a feature
// that nobody has.
var ErrNoProvider = errors.New("easel: there is no such provider")

// Provider returns the provider of that id, or [ErrNoProvider].
func (c *Client) Provider(ctx context.Context, id string) (*Provider, error) {
	all, err := c.Providers(ctx)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].ID == id {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("%w: %q", ErrNoProvider, id)
}

// ProviderForFeature returns the provider that a request would get that names
// none: the default one where it has the feature, else the first that is well.
// Where nobody has the feature it is [ErrNoProvider].
func (c *Client) ProviderForFeature(ctx context.Context, feature tasks.Feature) (*Provider, error) {
	all, err := c.Providers(ctx)
	if err != nil {
		return nil, err
	}
	wanted := c.defaultProvider()
	onlyDemos := true
	for _, p := range all {
		onlyDemos = onlyDemos && p.Demo
	}
	var best *Provider
	for i := range all {
		p := &all[i]
		switch {
		case !p.Offers(feature) || p.Demo && !onlyDemos && !p.Default && p.ID != wanted:
		case p.ID == wanted:
			return p, nil
		case best == nil || p.better(best):
			best = p
		}
	}
	if best == nil {
		return nil, fmt.Errorf("%w: nobody offers %q", ErrNoProvider, feature)
	}
	return best, nil
}

// better reports whether a request goes here rather than there: first who is
// well, then the installation's default, then the order of the configuration.
func (p *Provider) better(than *Provider) bool {
	well, wellThere := p.Health.Status != "down", than.Health.Status != "down"
	if well != wellThere {
		return well
	}
	return p.Default && !than.Default
}

// SetDefaultProvider has the provider serve this client's requests that name
// none, where it offers their feature; see [OrchestratorConfig]. Empty takes it
// back. A provider that does not exist is [ErrNoProvider].
func (c *Client) SetDefaultProvider(ctx context.Context, id string) error {
	if id != "" {
		if _, err := c.Provider(ctx, id); err != nil {
			return err
		}
	}
	c.catalog.mu.Lock()
	defer c.catalog.mu.Unlock()
	c.catalog.preferred, c.catalog.set, c.catalog.known = id, true, nil
	return nil
}

func (c *Client) defaultProvider() string {
	c.catalog.mu.Lock()
	defer c.catalog.mu.Unlock()
	if c.catalog.set {
		return c.catalog.preferred
	}
	return c.config.DefaultProvider
}

// forget has the providers read again.
func (k *catalog) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known = nil
}
