package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/artifacts"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/fetch"
	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/internal/sign"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/internal/telemetry"
	"github.com/easel-jobs/easel/internal/webhook"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
)

// Version is the release, set when it is built.
var Version = "dev"

// redisPatience is how often the wait for Redis is mentioned.
const redisPatience = 5 * time.Second

// How long a server may take that a caller's input names, and how long it may be
// silent: the caller waits.
const (
	sourceTime    = 30 * time.Second
	sourceSilence = 10 * time.Second
)

// platform is what every kind of process stands on.
type platform struct {
	cfg       *config.Config
	log       *zap.Logger
	metrics   *telemetry.Metrics
	store     *store.Store
	queue     *queue.Client
	inspector *queue.Inspector
	artifacts *artifacts.Store
	guard     *fetch.Guard // on what providers name
	callers   *fetch.Guard // on what callers name to be told
	sources   *fetch.Guard // on what callers name to be fetched
	engine    *orchestrator.Engine
	registry  *providers.Registry // of the configured providers, unless prepare has made another
	links     *links
	secrets   [][]byte
	closers   []func() error
	// fleeting says that Redis ends with this process, and its data with it.
	fleeting bool
	// unsigned says that links to artifacts cannot be signed here, since the
	// secret is not known.
	unsigned bool
}

// open opens everything that the configuration names. What was opened before a
// failure is closed again.
func open(ctx context.Context, cfg *config.Config, log *zap.Logger, redisURL string) (*platform, error) {
	return openPrepared(ctx, cfg, log, redisURL, nil)
}

// openPrepared is open with a look at what stands in Redis before the rest is
// opened; prepare may change the configuration and the registry by it.
func openPrepared(ctx context.Context, cfg *config.Config, log *zap.Logger, redisURL string, prepare func(context.Context, *platform) error) (_ *platform, err error) {
	p := &platform{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	p.metrics = telemetry.NewMetrics(Version)
	if err := p.openRedis(ctx, redisURL); err != nil {
		return nil, err
	}
	if prepare != nil {
		if err := prepare(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := p.openSecrets(ctx); err != nil {
		return nil, err
	}
	if err := p.openStorage(ctx); err != nil {
		return nil, err
	}
	if err := p.openEngine(); err != nil {
		return nil, err
	}
	p.metrics.WatchJobs(p.countJobs)
	p.metrics.WatchQueues(p.countTasks)
	p.metrics.WatchProviders(p.countProviders)
	return p, nil
}

// openRedis connects, and waits for a Redis that is not there yet: processes
// start in any order.
func (p *platform) openRedis(ctx context.Context, url string) error {
	client, err := store.NewClient(url)
	if err != nil {
		return err
	}
	p.closers = append(p.closers, client.Close)
	mentioned := time.Time{}
	for {
		p.store, err = store.Open(ctx, store.Config{
			Client: client, IntentDurability: store.Durability(p.cfg.Redis.IntentDurability), OnError: func(string, error) { p.metrics.RedisFailed() },
			OnRestored: p.restored,
		})
		if err == nil || !errors.Is(err, orchestrator.ErrUnavailable) {
			break
		}
		if time.Since(mentioned) > redisPatience {
			p.log.Warn("waiting for Redis", zap.String("address", client.Options().Addr), zap.Error(err))
			mentioned = time.Now()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("redis did not answer: %w", err)
		case <-time.After(300 * time.Millisecond):
		}
	}
	if err != nil {
		return err
	}
	for _, warning := range p.store.Check(ctx) {
		p.log.Warn("redis", zap.String("code", warning.Code), zap.String("problem", warning.Message))
	}
	p.queue = queue.NewClient(client, queue.WithTaskTimeout(p.cfg.Worker.ShutdownTimeout+time.Minute), queue.WithClock(p.store.Now))
	p.inspector = queue.NewInspector(client)
	return nil
}

// restored tells the operator that Redis' data went back in time.
func (p *platform) restored(from, to time.Time) {
	p.log.Error("Redis went back in time: it was restored from a backup, or lost writes in a failover. "+
		"Nothing is submitted until easel doctor --after-restore has run",
		zap.Time("from", from), zap.Time("to", to))
}

// openSecrets takes the configured secrets, or the one that the installation
// has made for itself.
func (p *platform) openSecrets(ctx context.Context) error {
	for _, s := range p.cfg.SecretKey {
		p.secrets = append(p.secrets, []byte(s.Reveal()))
	}
	if len(p.secrets) == 0 {
		secret, err := p.store.GetOrCreateSecret(ctx)
		if err != nil {
			return fmt.Errorf("make the installation's secret: %w", err)
		}
		p.secrets = append(p.secrets, secret)
	}
	return nil
}

func (p *platform) openStorage(ctx context.Context) error {
	var err error
	p.artifacts, err = artifacts.Open(ctx, artifacts.Config{
		URL: p.cfg.ArtifactsURL(), SpoolDir: filepath.Join(p.cfg.DataDir, "spool"), Log: p.log.Named("artifacts"),
		Inputs: artifacts.InputLimits{FileBytes: int64(p.cfg.API.MaxFile), TotalBytes: 2 * int64(p.cfg.API.MaxFile)},
	})
	if err != nil {
		return err
	}
	p.closers = append(p.closers, p.artifacts.Close)
	return p.openGuards()
}

// openGuards keeps apart who names a URL: the address of a provider in our own
// network is there for its results, and not for a caller's webhook to post to.
func (p *platform) openGuards() error {
	hooks := p.cfg.Webhooks
	for _, g := range []struct {
		guard  **fetch.Guard
		policy fetch.Policy
	}{
		{&p.guard, fetch.Policy{AllowHTTP: hooks.AllowHTTP, AllowOrigins: append(origins(p.cfg), hooks.AllowPrivate...)}},
		{&p.callers, fetch.Policy{AllowHTTP: hooks.AllowHTTP, AllowOrigins: hooks.AllowPrivate}},
		{&p.sources, fetch.Policy{AllowOrigins: p.cfg.API.FileOrigins}},
	} {
		guard, err := fetch.NewGuard(g.policy)
		if err != nil {
			return err
		}
		*g.guard = guard
	}
	return nil
}

func (p *platform) openEngine() error {
	signer, err := sign.New(p.secrets...)
	if err != nil {
		return err
	}
	outside := p.guard.Client()
	if p.registry == nil {
		if p.registry, err = openRegistry(p.cfg, outside.Transport); err != nil {
			return err
		}
	}
	fetcher := fetch.New(p.guard, fetch.Limits{Bytes: int64(p.cfg.Artifacts.MaxBytes)})
	sources := fetch.New(p.sources, fetch.Limits{
		Bytes: int64(p.cfg.API.MaxFile), Header: sourceSilence, Idle: sourceSilence, Total: sourceTime,
	})
	notifier, err := p.openNotifier()
	if err != nil {
		return err
	}
	p.links = &links{
		publicURL: p.cfg.API.PublicURL, signer: signer, signed: !p.unsigned, ttl: p.cfg.Artifacts.URLTTL, now: time.Now,
	}
	timings, limits := orchestrator.DefaultTimings(), orchestrator.DefaultLimits()
	timings.SubmitTimeout = p.cfg.Worker.SubmitTimeout
	limits.ArtifactBytes = int64(p.cfg.Artifacts.MaxBytes)
	var inputLinks orchestrator.InputLinks
	if p.links.reachable() {
		inputLinks = p.links
	}
	p.engine, err = orchestrator.New(orchestrator.Config{
		Store: p.store, Queue: p.queue, Registry: p.registry, Artifacts: p.artifacts, Inputs: p.artifacts, Uploads: p.store, Sources: sources,
		Fetcher: fetcher, Notifier: notifier, Observer: telemetry.NewObserver(p.metrics, p.log),
		Tokens: signer, Links: p.links, InputLinks: inputLinks, CheckURL: p.callers.CheckURL, PublicURL: p.cfg.API.PublicURL,
		Defaults: orchestrator.Defaults{
			Timeout: p.cfg.Defaults.Timeout, RetryAttempts: p.cfg.Defaults.RetryAttempts, RetryDelay: p.cfg.Defaults.RetryDelay,
		},
		Retention: orchestrator.Retention{
			Jobs: p.cfg.Retention.Jobs, Artifacts: p.cfg.Retention.Artifacts, UnresolvedTimeout: p.cfg.Retention.UnresolvedTimeout,
			Uploads: p.cfg.Retention.Uploads,
		},
		Limits: limits, Timings: timings,
	})
	p.closers = append(p.closers, func() error { fetcher.Close(); sources.Close(); return nil })
	for _, entry := range p.registry.All() {
		if closer, ok := entry.Provider.(interface{ Close() error }); ok {
			p.closers = append(p.closers, closer.Close)
		}
	}
	return err
}

func (p *platform) openNotifier() (*webhook.Notifier, error) {
	return webhook.New(webhook.Config{
		Client: p.callers.Client(), Secrets: webhookSecrets(p.cfg), ServerSecrets: p.secrets, UserAgent: "Easel/" + Version,
	})
}

func webhookSecrets(cfg *config.Config) []webhook.Secret {
	secrets := make([]webhook.Secret, 0, len(cfg.Webhooks.Secrets))
	for _, s := range cfg.Webhooks.Secrets {
		secrets = append(secrets, webhook.Secret{Tenant: s.Tenant, Value: s.Secret.Reveal()})
	}
	return secrets
}

// close closes what was opened, the last first.
func (p *platform) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		if err := p.closers[i](); err != nil {
			p.log.Warn("close", zap.Error(err))
		}
	}
}

// loopback reports whether only this machine can reach the address.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
