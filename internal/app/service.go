package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/embedded"
	"github.com/easel-jobs/easel/internal/httpapi"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// ServiceOptions say how [OpenService] opens an Easel for a Go program.
type ServiceOptions struct {
	// RedisURL is where the installation lives. Empty: a Redis of this
	// process, in DataDir.
	RedisURL string
	// ConfigFile is the installation's configuration. Empty: what the
	// installation has published in its Redis.
	ConfigFile string
	// DataDir is where files go that this process keeps. Empty with a Redis
	// of its own: a temporary directory, removed at the end.
	DataDir string
	// Tenant owns the jobs; empty: the default one.
	Tenant string
	// Worker runs a worker in this process.
	Worker bool
	// Providers are added to those that are configured.
	Providers []providers.Entry
	Log       *zap.Logger
	// Patience bounds the wait for a Redis and an installation that are not
	// there yet.
	Patience time.Duration
}

// ErrNoInstallation is what [OpenService] answers where nobody has said what the
// installation is like: no API and no worker has run on this Redis yet.
var ErrNoInstallation = errors.New("no Easel has run on this Redis yet: start its API or worker, or give the configuration")

// ErrForeignProviders is what [OpenService] answers to a worker that does not
// know all providers of the installation: it would take their tasks and could
// only put them back.
var ErrForeignProviders = errors.New("a worker must know every provider of its installation")

// FunctionAdapter is the adapter of providers that are functions of a Go
// program.
const FunctionAdapter = "function"

// Service is Easel inside a Go program: the engine without HTTP, for package
// client.
type Service struct {
	Engine   *orchestrator.Engine
	Tenant   string
	platform *platform
	worker   bool
	redis    *embedded.Server
	tempDir  string
	stop     context.CancelFunc
	ended    chan struct{}
	err      error
}

// OpenService opens an Easel for a Go program. The context bounds the opening
// only; [Service.Close] ends what was opened.
func OpenService(ctx context.Context, o ServiceOptions) (_ *Service, err error) {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Tenant == "" {
		o.Tenant = tasks.DefaultTenant
	}
	s := &Service{Tenant: o.Tenant, worker: o.Worker, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	cfg, err := s.configure(&o)
	if err != nil {
		return nil, err
	}
	if o.RedisURL == "" {
		s.redis, err = embedded.Start(context.WithoutCancel(ctx), embedded.Config{DataDir: cfg.DataDir, Logger: o.Log.Named("redis")})
		if err != nil {
			return nil, err
		}
		o.RedisURL = s.redis.URL()
	}
	if o.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Patience)
		defer cancel()
	}
	s.platform, err = openPrepared(ctx, cfg, o.Log, o.RedisURL, func(ctx context.Context, p *platform) error {
		if o.ConfigFile != "" || s.redis != nil {
			return nil
		}
		return p.prepareFromRedis(ctx, o)
	})
	if err != nil {
		return nil, err
	}
	s.platform.fleeting = s.redis != nil && !s.redis.Durable()
	s.Engine = s.platform.engine
	for _, entry := range o.Providers {
		if err := s.Register(ctx, entry); err != nil {
			return nil, err
		}
	}
	s.start(context.WithoutCancel(ctx), o)
	return s, nil
}

// configure makes the configuration that the options name.
func (s *Service) configure(o *ServiceOptions) (*config.Config, error) {
	cfg := config.Default()
	if o.ConfigFile != "" {
		var err error
		if cfg, err = config.Load(config.LoadOptions{File: o.ConfigFile}); err != nil {
			return nil, err
		}
	}
	switch {
	case o.DataDir != "":
		cfg.DataDir = o.DataDir
	case o.RedisURL == "" && o.ConfigFile == "":
		dir, err := os.MkdirTemp("", "easel-")
		if err != nil {
			return nil, fmt.Errorf("make a data directory: %w", err)
		}
		s.tempDir, cfg.DataDir = dir, dir
	}
	return cfg, nil
}

// prepareFromRedis takes settings and providers from what the installation has
// published.
func (p *platform) prepareFromRedis(ctx context.Context, o ServiceOptions) error {
	settings, offers, err := p.published(ctx)
	for err == nil && settings == nil && !o.Worker {
		select {
		case <-ctx.Done():
			return ErrNoInstallation
		case <-time.After(200 * time.Millisecond):
		}
		settings, offers, err = p.published(ctx)
	}
	if err != nil {
		return err
	}
	if settings != nil {
		settings.apply(p)
	}
	if o.Worker {
		return p.prepareWorker(offers, o)
	}
	for _, entry := range o.Providers {
		delete(offers, entry.Name) // ours is the one that counts here
	}
	p.registry, err = registryOf(offers)
	return err
}

// prepareWorker makes the registry of a worker without a configuration: it has
// what its program registers.
func (p *platform) prepareWorker(offers map[string]offer, o ServiceOptions) error {
	known := func(name string, _ offer) bool {
		return offers[name].Adapter == FunctionAdapter ||
			slices.ContainsFunc(o.Providers, func(e providers.Entry) bool { return e.Name == name })
	}
	maps.DeleteFunc(offers, known)
	if len(offers) > 0 {
		return fmt.Errorf("%w; of this one it lacks %s: give the configuration file",
			ErrForeignProviders, strings.Join(slices.Sorted(maps.Keys(offers)), ", "))
	}
	var err error
	p.cfg.Providers = nil
	p.registry, err = providers.NewRegistry(nil, "")
	return err
}

// start runs what the service needs: its subscription, and perhaps a worker.
func (s *Service) start(ctx context.Context, o ServiceOptions) {
	ctx, s.stop = context.WithCancel(ctx)
	p := s.platform
	var services []func(context.Context) error
	switch {
	case o.Worker && (o.ConfigFile != "" || s.redis != nil):
		services = append(services, p.publish)
	case o.Worker:
		services = append(services, p.publishProviders)
	case o.ConfigFile == "":
		services = append(services, p.keepUp)
	}
	if o.Worker {
		services = append(services, func(ctx context.Context) error { return p.work(ctx, o.RedisURL) })
	}
	if s.redis != nil {
		services = append(services, s.redisLives)
	}
	go func() {
		defer close(s.ended)
		defer s.release()
		s.err = p.together(ctx, services...)
	}()
}

// publishProviders is publish for a process whose settings are the
// installation's, or nobody's.
func (p *platform) publishProviders(ctx context.Context) error {
	ticker := time.NewTicker(publishInterval)
	defer ticker.Stop()
	for {
		settings, _, err := p.published(ctx)
		if err == nil {
			err = p.publishOnce(ctx, settings == nil)
		}
		if err != nil && ctx.Err() == nil {
			p.log.Warn("publish the providers", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *Service) redisLives(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.redis.Done():
		return errors.New("the embedded Redis has ended")
	}
}

func (s *Service) release() {
	if s.platform != nil {
		s.platform.close()
	}
	if s.redis != nil {
		if err := s.redis.Close(); err != nil && s.platform != nil {
			s.platform.log.Warn("stop Redis", zap.Error(err))
		}
	}
	if s.tempDir != "" {
		_ = os.RemoveAll(s.tempDir) // a temporary directory: the system's own cleaning gets what is left
	}
}

// Register adds a provider to a process that has a worker, and tells the other
// processes of it.
func (s *Service) Register(ctx context.Context, entry providers.Entry) error {
	if !s.worker {
		return errors.New("this process has no worker to run it")
	}
	if err := s.platform.registry.Register(entry); err != nil {
		return err
	}
	settings, _, err := s.platform.published(ctx)
	if err != nil {
		return err
	}
	return s.platform.publishOnce(ctx, settings == nil)
}

// Learn looks at once for providers that are not known yet.
func (s *Service) Learn(ctx context.Context) error {
	if s.worker {
		return nil
	}
	return s.platform.learn(ctx)
}

// View shows a job as the HTTP API does, with the files' paths where storage is
// a disk.
func (s *Service) View(job *tasks.Job) tasks.View {
	view := tasks.NewView(job, s.platform.links)
	if view.Result != nil {
		for i := range view.Result.Artifacts {
			view.Result.Artifacts[i].Path = s.platform.artifacts.Path(job.Result.Artifacts[i].Key)
		}
	}
	return view
}

// MaxBody is how large a request may be.
func (s *Service) MaxBody() int64 { return int64(s.platform.cfg.API.MaxBody) }

// Refusal is the problem that the HTTP API would answer to an error of the
// engine; of an item of a batch where index is not negative.
func (s *Service) Refusal(err error, index int) *httpapi.Problem {
	problem := httpapi.Refusal(err)
	if index >= 0 {
		problem = httpapi.ItemRefusal(err, index)
	}
	problem.Type = s.platform.cfg.API.PublicURL + problem.Type
	return problem
}

// Catalog lists what is configured, and what can be asked for, as the HTTP API
// shows it.
func (s *Service) Catalog(ctx context.Context) (httpapi.ProviderList, httpapi.FeatureList, error) {
	infos, err := s.Engine.ProviderInfos(ctx)
	if err != nil {
		return httpapi.ProviderList{}, httpapi.FeatureList{}, err
	}
	return httpapi.Providers(infos), httpapi.Features(infos), nil
}

// Close ends what was opened and waits: the worker finishes what it is at. It
// returns early with the context's error.
func (s *Service) Close(ctx context.Context) error {
	s.stop()
	select {
	case <-s.ended:
		return s.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CheckEntry refuses what the HTTP API refuses before it asks the engine.
func (s *Service) CheckEntry(entry orchestrator.Entry) error {
	return errors.Join(httpapi.CheckKey(entry.IdempotencyKey), httpapi.CheckSize(int64(len(entry.Draft.InputData)), s.MaxBody()))
}

// What the HTTP API refuses before it asks the engine, likewise.
var (
	CheckKey   = httpapi.CheckKey
	CheckBatch = httpapi.CheckBatch
	CheckQuery = httpapi.CheckQuery
	CheckMode  = httpapi.CheckMode
)

// HasWorker reports whether providers can be registered.
func (s *Service) HasWorker() bool { return s.worker }

// Backlog is the named queue of that name.
func (s *Service) Backlog(name string) *store.Backlog {
	return s.platform.store.Backlog(s.Tenant, name)
}
