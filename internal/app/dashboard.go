package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/dashboard"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Dashboard runs the operators' pages until the context ends. It keeps to the
// configuration that it was started with.
func Dashboard(ctx context.Context, cfg *config.Config, log *zap.Logger, _ Reload) error {
	p, err := open(ctx, cfg, log, cfg.Redis.URL.Reveal())
	if err != nil {
		return err
	}
	defer p.close()
	listener, err := net.Listen("tcp", cfg.Dashboard.Listen)
	if err != nil {
		return fmt.Errorf("dashboard: %w", err)
	}
	handler, err := p.dashboardHandler(cfg.Redis.URL.Reveal(), listener.Addr().String(), cfg.API.PublicURL)
	if err != nil {
		return err
	}
	log.Info("dashboard is listening", zap.String("address", listener.Addr().String()))
	return p.together(ctx, func(ctx context.Context) error { return serve(ctx, listener, pageServer(handler)) })
}

// pageServer serves pages and artifacts to a few operators.
func pageServer(handler http.Handler) *http.Server {
	return &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
}

func (p *platform) dashboardHandler(redisURL, address, apiURL string) (http.Handler, error) {
	client, err := store.NewClient(redisURL)
	if err != nil {
		return nil, err
	}
	p.closers = append(p.closers, client.Close)
	return dashboard.New(dashboard.Config{
		Redis: dashboard.SharedRedis{Client: client}, Operator: p.engine, Jobs: p.engine, Lookup: p.engine.Find,
		Overview: p.overview, RepairGhosts: p.repairGhosts, Tenants: p.tenants(),
		Username: p.cfg.Dashboard.Username, Password: p.cfg.Dashboard.Password.Reveal(),
		Loopback: loopback(address), Secret: p.secrets[0], APIURL: apiURL, Logger: p.log.Named("dashboard"),
	})
}

// tenants are those that keys are configured for.
func (p *platform) tenants() []string {
	var names []string
	for _, k := range p.cfg.API.Keys {
		names = append(names, k.Tenant)
	}
	if len(names) == 0 {
		names = append(names, tasks.DefaultTenant)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (p *platform) repairGhosts(ctx context.Context) (int, error) {
	ghosts, err := p.inspector.Ghosts(ctx)
	if err != nil {
		return 0, err
	}
	return p.inspector.Repair(ctx, ghosts)
}

// overview gathers the numbers of the first page. What cannot be read is left
// out and said.
func (p *platform) overview(ctx context.Context) (dashboard.Overview, error) {
	var o dashboard.Overview
	counts, err := p.store.Counts(ctx)
	if err != nil {
		o.Checks = append(o.Checks, dashboard.Check{Name: "Redis", Detail: "does not answer"})
		return o, err
	}
	o.Checks = append(o.Checks, dashboard.Check{Name: "Redis", OK: true, Detail: "answers"})
	for _, w := range p.store.Check(ctx) {
		o.Checks = append(o.Checks, dashboard.Check{Name: "Redis", Detail: w.Message})
	}
	o.Counts = &dashboard.Counts{
		Waiting: counts.Jobs[tasks.Queued], Running: counts.Jobs[tasks.Submitting] + counts.Jobs[tasks.Processing],
		Unresolved: counts.Jobs[tasks.Unresolved], Failed: counts.Jobs[tasks.Failed],
	}
	infos, err := p.engine.ProviderInfos(ctx)
	if err != nil {
		return o, err
	}
	for _, info := range infos {
		provider := dashboard.Provider{
			Name: info.Name, Adapter: info.Adapter, OK: info.Health.Status != orchestrator.HealthDown,
			Degraded: info.Health.Status == orchestrator.HealthDegraded,
			Reason:   info.Health.Reason, Since: info.Health.Since,
			PausedSince: info.Gate.PausedSince, Waiting: info.Gate.Waiting,
		}
		if info.Gate.Until.After(p.store.Now()) {
			provider.Until = info.Gate.Until
		}
		for _, f := range info.Capabilities.Features {
			provider.Features = append(provider.Features, string(f.Feature))
		}
		o.Providers = append(o.Providers, provider)
	}
	stats, err := p.inspector.Stats(ctx)
	for _, s := range stats {
		o.Queues = append(o.Queues, dashboard.Queue{
			Name: s.Queue, Pending: s.Size[orchestrator.TaskPending], Active: s.Size[orchestrator.TaskActive],
			Scheduled: s.Size[orchestrator.TaskScheduled], Retry: s.Size[orchestrator.TaskRetry],
			Archived: s.Size[orchestrator.TaskArchived], Latency: s.Latency, Paused: s.Paused,
		})
	}
	return o, err
}
