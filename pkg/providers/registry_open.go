package providers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// An Opener makes a provider from its section of the configuration. It decodes
// what is its own with [Settings.Decode] and checks it; it does not call the
// provider.
type Opener func(Settings) (Provider, error)

// Settings is one provider's section of the configuration.
type Settings struct {
	Name        string // what provider_id says
	Use         string // which adapter; empty: the one that is called like the provider
	APIKey      Secret
	BaseURL     string // empty: the adapter's own
	OnUnknown   string // "hold" (also empty) or "resubmit"
	Concurrency int
	Limits      Limits
	// SubmitTimeout bounds one paid call; 0 means the worker's own bound.
	SubmitTimeout time.Duration
	MaxBacklog    int
	Models        []ModelChoice
	Options       map[string]any // what only this adapter knows

	DataDir   string // where the process keeps its files
	PublicURL string // where providers reach our webhooks; empty: nowhere

	// Proxy chooses the proxy for calls to the provider, as
	// [http.Transport.Proxy] does. Nil means none: the environment's is not used.
	Proxy func(*http.Request) (*url.URL, error)
	// Outside carries redirects to hosts that are not the provider's own; it
	// should refuse private addresses. Nil refuses all.
	Outside http.RoundTripper
	// Transport carries the calls to the provider. Nil means the client's own;
	// a recorder puts itself there.
	Transport http.RoundTripper
}

// The values of [Settings].OnUnknown.
const (
	OnUnknownHold     = "hold"
	OnUnknownResubmit = "resubmit"
)

// Adapter is the name of the adapter that the provider uses.
func (s Settings) Adapter() string {
	if s.Use != "" {
		return s.Use
	}
	return s.Name
}

// Decode reads the adapter's own options into a struct with json tags. Keys
// that it does not have are refused by name; defaults that stand in it stay
// where an option is not given.
func (s Settings) Decode(into any) error {
	if len(s.Options) == 0 {
		return nil
	}
	raw, err := json.Marshal(s.Options)
	if err != nil {
		return errors.New("options cannot be read")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return optionError(err)
	}
	return nil
}

// Client makes the client of a hosted API, which wants a key: what the settings
// say is put into the config, with the adapter's own address where they name
// none.
func (s Settings) Client(baseURL string, config ClientConfig) (*Client, error) {
	config.Provider, config.BaseURL, config.Proxy, config.Outside = s.Name, s.BaseURL, s.Proxy, s.Outside
	if config.BaseURL == "" {
		config.BaseURL = baseURL
	}
	if s.Transport != nil {
		config.Transport = s.Transport
	}
	client, err := NewClient(config)
	if s.APIKey == "" {
		err = errors.Join(errors.New("api_key: is missing"), err)
	}
	if err != nil {
		return nil, err
	}
	return client, nil
}

// optionError words a decoding error for the person who wrote the
// configuration, without what stands there: it may be a secret.
func optionError(err error) error {
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		return fmt.Errorf("%s: must be %s, is %s", mismatch.Field, mismatch.Type, mismatch.Value)
	}
	if key, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return fmt.Errorf("%s: is not an option of this adapter", strings.Trim(key, `"`))
	}
	return err
}

// Open makes the providers that are configured, in their order. Whatever is
// wrong with any of them is reported at once, with its path.
func Open(openers map[string]Opener, settings []Settings) ([]Entry, error) {
	var entries []Entry
	var problems []error
	for i, s := range settings {
		entry, err := open(openers, s)
		if err != nil {
			problems = append(problems, fmt.Errorf("providers[%d] (%s): %w", i, s.Name, err))
			continue
		}
		entries = append(entries, entry)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return entries, nil
}

func open(openers map[string]Opener, s Settings) (Entry, error) {
	opener, ok := openers[s.Adapter()]
	if !ok {
		known := slices.Sorted(maps.Keys(openers))
		return Entry{}, fmt.Errorf("use: there is no adapter %q; there is %s", s.Adapter(), strings.Join(known, ", "))
	}
	if s.OnUnknown != "" && s.OnUnknown != OnUnknownHold && s.OnUnknown != OnUnknownResubmit {
		return Entry{}, fmt.Errorf("on_unknown: must be %s or %s", OnUnknownHold, OnUnknownResubmit)
	}
	provider, err := opener(s)
	if err != nil {
		return Entry{}, err
	}
	return Entry{
		Name: s.Name, Adapter: s.Adapter(), Provider: provider, Concurrency: s.Concurrency, Limits: s.Limits,
		SubmitTimeout: s.SubmitTimeout,
		MaxBacklog:    s.MaxBacklog, ResubmitOnUnknown: s.OnUnknown == OnUnknownResubmit, Models: s.Models,
	}, nil
}

// Secret is a string that does not print, whatever prints it.
type Secret string

const redacted = "[redacted]"

// Reveal returns the secret itself, for the place that needs it.
func (s Secret) Reveal() string { return string(s) }

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format hides the secret from every verb, %#v and %x too.
func (s Secret) Format(f fmt.State, _ rune) { fmt.Fprint(f, s.String()) }

// MarshalText hides the secret from JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Duration is a time.Duration that options write as "1m30s".
type Duration time.Duration

// UnmarshalText reads "1m30s".
func (d *Duration) UnmarshalText(text []byte) error {
	value, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 1m30s", text)
	}
	*d = Duration(value)
	return nil
}
