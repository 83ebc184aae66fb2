package app

import (
	"context"
	"net"
	"sync"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/internal/store"
)

// Worker runs a worker until the context ends: it finishes what it can, hands
// over the rest, and cuts no paid call short. It keeps to the configuration that
// it was started with.
func Worker(ctx context.Context, cfg *config.Config, log *zap.Logger, _ Reload) error {
	p, err := open(ctx, cfg, log, cfg.Redis.URL.Reveal())
	if err != nil {
		return err
	}
	defer p.close()
	return p.together(ctx, func(ctx context.Context) error { return p.work(ctx, cfg.Redis.URL.Reveal()) }, p.serveMetrics, p.publish)
}

// together runs services until the context ends or one of them fails, which
// ends the others. The store's subscription outlives them all.
func (p *platform) together(ctx context.Context, services ...func(context.Context) error) error {
	storeCtx, stopStore := context.WithCancel(context.WithoutCancel(ctx))
	var store sync.WaitGroup
	store.Go(func() {
		if err := p.store.Run(storeCtx); err != nil {
			p.log.Error("watch jobs", zap.Error(err))
		}
	})
	defer store.Wait()
	defer stopStore()

	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var group sync.WaitGroup
	for _, service := range services {
		group.Go(func() {
			if err := service(running); err != nil {
				stop(err)
			}
		})
	}
	<-running.Done()
	group.Wait()
	if ctx.Err() != nil {
		return nil // asked to end
	}
	return context.Cause(running)
}

// work takes tasks until the context ends and their handlers have. The engine
// tends the jobs for as long as handlers run.
func (p *platform) work(ctx context.Context, redisURL string) error {
	client, err := store.NewClient(redisURL)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // nothing is under way any more
	mark := p.openTideMark(ctx)           // before anything is bought, and before the tide rises
	servers := queue.NewServers(queue.ServersConfig{
		Client: client, Handler: p.engine, Logger: p.log.Named("asynq"), Now: p.store.Now,
		Concurrency: queue.Concurrency{
			Submit: p.cfg.Worker.SubmitConcurrency, Poll: p.cfg.Worker.PollConcurrency,
			Finalize: p.cfg.Worker.FinalizeConcurrency, Deliver: p.cfg.Worker.DeliverConcurrency,
		},
		ShutdownTimeout: p.cfg.Worker.ShutdownTimeout,
		Hooks:           queue.Hooks{PutBack: p.engine.Observer.PutBack},
	})
	tendCtx, stopTending := context.WithCancel(context.WithoutCancel(ctx))
	var tending sync.WaitGroup
	for _, tend := range []func(context.Context) error{p.engine.Run, p.artifacts.Run, p.trimArchive, mark.keep} {
		tending.Go(func() {
			if err := tend(tendCtx); err != nil {
				p.log.Error("tend", zap.Error(err))
			}
		})
	}
	defer tending.Wait()
	defer stopTending()
	p.log.Info("worker is running", zap.Int("submit_concurrency", p.cfg.Worker.SubmitConcurrency))
	return servers.Run(ctx)
}

// serveMetrics serves /metrics on a listener of its own, where one is
// configured.
func (p *platform) serveMetrics(ctx context.Context) error {
	if p.cfg.Metrics.Listen == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := net.Listen("tcp", p.cfg.Metrics.Listen)
	if err != nil {
		return err
	}
	p.log.Info("metrics", zap.String("address", listener.Addr().String()))
	return serve(ctx, listener, metricsServer(p.metricsHandler()))
}
