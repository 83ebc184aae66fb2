package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/providers"
)

// A process that has the configuration publishes what one that only knows the
// Redis needs to accept and read jobs as the API does ([OpenService]): a few
// settings, and the providers. No key and nothing that looks like one is among
// it.

// publishInterval is how often it is published anew, in case Redis has lost it.
const publishInterval = time.Minute

// forgotten is how long a provider may be missing from what is published while
// others are not, until it counts as taken out of the configuration.
const forgotten = time.Hour

// installation is the part of the configuration that is published.
type installation struct {
	ArtifactsURL string           `json:"artifacts_url"`
	ArtifactSize int64            `json:"artifact_size"`
	URLTTL       time.Duration    `json:"url_ttl"`
	PublicURL    string           `json:"public_url"`
	MaxBody      int64            `json:"max_body"`
	OwnSecret    bool             `json:"own_secret"` // links are signed with a secret that is not in Redis
	AllowHTTP    bool             `json:"allow_http"`
	AllowPrivate []string         `json:"allow_private"`
	Retention    config.Retention `json:"retention"`
	Defaults     config.Defaults  `json:"defaults"`
}

func installationOf(cfg *config.Config) installation {
	return installation{
		ArtifactsURL: cfg.ArtifactsURL(), ArtifactSize: int64(cfg.Artifacts.MaxBytes), URLTTL: cfg.Artifacts.URLTTL,
		PublicURL: cfg.API.PublicURL, MaxBody: int64(cfg.API.MaxBody),
		OwnSecret: len(cfg.SecretKey) > 0,
		AllowHTTP: cfg.Webhooks.AllowHTTP, AllowPrivate: append(origins(cfg), cfg.Webhooks.AllowPrivate...),
		Retention: cfg.Retention, Defaults: cfg.Defaults,
	}
}

// apply makes the configuration that of the installation.
func (i installation) apply(p *platform) {
	cfg := p.cfg
	cfg.Artifacts = config.Artifacts{URL: i.ArtifactsURL, URLTTL: i.URLTTL, MaxBytes: config.Size(i.ArtifactSize)}
	cfg.API.PublicURL, cfg.API.MaxBody = i.PublicURL, config.Size(i.MaxBody)
	cfg.Webhooks.AllowHTTP, cfg.Webhooks.AllowPrivate = i.AllowHTTP, i.AllowPrivate
	cfg.Retention, cfg.Defaults = i.Retention, i.Defaults
	p.unsigned = i.OwnSecret
}

// offer is a provider as it is published. Its settings are enough to make the
// adapter again for everything but calls; where that fails, the rest has to do.
type offer struct {
	At           time.Time               `json:"at"`
	Adapter      string                  `json:"adapter"`
	Default      bool                    `json:"default"`
	BaseURL      string                  `json:"base_url"`
	OnUnknown    string                  `json:"on_unknown"`
	Concurrency  int                     `json:"concurrency"`
	MaxBacklog   int                     `json:"max_backlog"`
	Models       []providers.ModelChoice `json:"models"`
	Options      map[string]any          `json:"options"`
	Capabilities providers.Capabilities  `json:"capabilities"`
	Cancels      bool                    `json:"cancels"`
	Finds        bool                    `json:"finds"`
	FindLag      time.Duration           `json:"find_lag"`
}

// secretive are options that are not published, whatever they hold.
var secretive = regexp.MustCompile(`(?i)secret|token|password|key|credential|auth|header|env`)

func (p *platform) offerOf(entry providers.Entry) offer {
	o := offer{
		At: p.store.Now(), Adapter: entry.Adapter, Default: entry.Name == p.registry.Default(), OnUnknown: config.OnUnknownHold,
		Concurrency: entry.Concurrency, MaxBacklog: entry.MaxBacklog, Models: entry.Models,
		Capabilities: entry.Provider.Capabilities(),
	}
	if entry.ResubmitOnUnknown {
		o.OnUnknown = config.OnUnknownResubmit
	}
	_, o.Cancels = entry.Provider.(providers.Canceler)
	if finder, ok := entry.Provider.(providers.Finder); ok {
		o.Finds, o.FindLag = true, finder.ListLag()
	}
	if set := p.cfg.Provider(entry.Name); set != nil {
		o.BaseURL, o.Options = set.BaseURL, maps.Clone(set.Options)
		maps.DeleteFunc(o.Options, func(name string, _ any) bool { return secretive.MatchString(name) })
	}
	return o
}

// publish tells processes that know only our Redis what they must know, now and
// then again. What fails is tried again with the next.
func (p *platform) publish(ctx context.Context) error {
	ticker := time.NewTicker(publishInterval)
	defer ticker.Stop()
	for {
		if err := p.publishOnce(ctx, true); err != nil && ctx.Err() == nil {
			p.log.Warn("publish the installation", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// publishOnce publishes the providers, and the settings where they are this
// process's own.
func (p *platform) publishOnce(ctx context.Context, settings bool) error {
	var raw []byte
	var err error
	if settings {
		if raw, err = json.Marshal(installationOf(p.cfg)); err != nil {
			return fmt.Errorf("encode the installation: %w", err)
		}
	}
	offers := map[string][]byte{}
	for _, entry := range p.registry.All() {
		if offers[entry.Name], err = json.Marshal(p.offerOf(entry)); err != nil {
			return fmt.Errorf("encode provider %s: %w", entry.Name, err)
		}
	}
	return p.store.Publish(ctx, raw, offers)
}

// published reads what was published: nil settings where nobody has.
func (p *platform) published(ctx context.Context) (*installation, map[string]offer, error) {
	raw, named, err := p.store.Published(ctx)
	if err != nil {
		return nil, nil, err
	}
	var settings *installation
	if raw != nil {
		settings = &installation{}
		if err := json.Unmarshal(raw, settings); err != nil {
			return nil, nil, fmt.Errorf("read the installation: %w", err)
		}
	}
	offers := make(map[string]offer, len(named))
	newest := time.Time{}
	for name, raw := range named {
		var o offer
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, nil, fmt.Errorf("read provider %s: %w", name, err)
		}
		offers[name] = o
		if o.At.After(newest) {
			newest = o.At
		}
	}
	maps.DeleteFunc(offers, func(_ string, o offer) bool { return o.At.Before(newest.Add(-forgotten)) })
	return settings, offers, nil
}

// registryOf makes a registry of published providers.
func registryOf(offers map[string]offer) (*providers.Registry, error) {
	var entries []providers.Entry
	var preferred string
	for _, name := range slices.Sorted(maps.Keys(offers)) {
		entries = append(entries, offers[name].entry(name))
		if offers[name].Default {
			preferred = name
		}
	}
	return providers.NewRegistry(entries, preferred)
}

// placeholder stands for the key of a provider that is not called from here.
const placeholder = "not-known-here"

// entry is a published provider as a process sees it that does not call it: with
// its adapter's own checks where this build has the adapter.
func (o offer) entry(name string) providers.Entry {
	settings := providers.Settings{
		Name: name, Use: o.Adapter, APIKey: placeholder, BaseURL: o.BaseURL, OnUnknown: o.OnUnknown,
		Concurrency: o.Concurrency, MaxBacklog: o.MaxBacklog, Models: o.Models, Options: o.Options,
	}
	if opened, err := providers.Open(openers, []providers.Settings{settings}); err == nil {
		return opened[0]
	}
	return providers.Entry{
		Name: name, Adapter: o.Adapter, Provider: o.stub(name), Concurrency: o.Concurrency, MaxBacklog: o.MaxBacklog,
		ResubmitOnUnknown: o.OnUnknown == config.OnUnknownResubmit, Models: o.Models,
	}
}

// elsewhere is a provider that only other processes can call. It stands in the
// registry so that requests for it can be accepted.
type elsewhere struct {
	name         string
	capabilities providers.Capabilities
	lag          time.Duration
}

// What an adapter can do beside the contract is told by its type, and so is what
// a stand-in says of it.
type (
	cancelsElsewhere struct{ elsewhere }
	findsElsewhere   struct{ elsewhere }
	bothElsewhere    struct{ findsElsewhere }
)

func (o offer) stub(name string) providers.Provider {
	e := elsewhere{name: name, capabilities: o.Capabilities, lag: o.FindLag}
	switch {
	case o.Cancels && o.Finds:
		return bothElsewhere{findsElsewhere{e}}
	case o.Cancels:
		return cancelsElsewhere{e}
	case o.Finds:
		return findsElsewhere{e}
	default:
		return e
	}
}

func (e elsewhere) Capabilities() providers.Capabilities { return e.capabilities }

func (e elsewhere) notHere() error {
	return fmt.Errorf("%w: %s is not configured in this process", providers.ErrNotCalled, e.name)
}

func (e elsewhere) Submit(context.Context, providers.Request) (providers.Status, error) {
	return providers.Status{}, e.notHere()
}

func (e elsewhere) Poll(context.Context, providers.Ref) (providers.Status, error) {
	return providers.Status{}, e.notHere()
}

func (e cancelsElsewhere) Cancel(context.Context, providers.Ref) error { return e.notHere() }

func (e bothElsewhere) Cancel(context.Context, providers.Ref) error { return e.notHere() }

func (e findsElsewhere) Find(context.Context, providers.Lost) (providers.Status, error) {
	return providers.Status{}, e.notHere()
}

func (e findsElsewhere) ListLag() time.Duration { return e.lag }

// keepUp adds the providers that are published later.
func (p *platform) keepUp(ctx context.Context) error {
	ticker := time.NewTicker(publishInterval / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := p.learn(ctx); err != nil && ctx.Err() == nil {
			p.log.Warn("read the installation", zap.Error(err))
		}
	}
}

// learn adds published providers that are not known yet.
func (p *platform) learn(ctx context.Context) error {
	_, offers, err := p.published(ctx)
	if err != nil {
		return err
	}
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(offers)) {
		if _, known := p.registry.Get(name); !known {
			problems = append(problems, p.registry.Register(offers[name].entry(name)))
		}
	}
	return errors.Join(problems...)
}
