package queue

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Servers take tasks off the queues and hand them to the orchestrator. Each
// family of queues has an asynq server of its own, so that slow submits never
// hold up polls, nor polls the webhooks.
type Servers struct {
	cfg      ServersConfig
	listener *listener
}

// ServersConfig says what [NewServers] builds. Zero values take the default
// that is named beside them.
type ServersConfig struct {
	// Client is the servers' own: [NewServers] adds hooks to it that repeat
	// scripts whose context has a deadline, and hold back the answer that there
	// is no task. Its pool should hold at least half of all the concurrency
	// together, and a connection for each family that waits.
	Client  redis.UniversalClient
	Handler orchestrator.Handler
	Logger  *zap.Logger // none
	Hooks   Hooks
	// Now is the time by Redis' clock, in which all servers reckon. Where it is
	// nil, each reckons in its machine's.
	Now func() time.Time

	Concurrency Concurrency
	// ShutdownTimeout is how long running handlers are waited for before their
	// context is cancelled. It must exceed the longest paid call. 5m5s.
	ShutdownTimeout time.Duration

	TaskCheckInterval        time.Duration // between looks at empty queues for which nobody rang, 500 ms
	DelayedTaskCheckInterval time.Duration // between looks for tasks that are due, 1 s
	RegisterInterval         time.Duration // between announcements of the queues, 10 s
}

// Concurrency is how many handlers of each family run at once.
type Concurrency struct {
	Submit   int // 256
	Poll     int // 64
	Finalize int // 16
	Deliver  int // 32
}

// Hooks let telemetry watch. Each may be nil.
type Hooks struct {
	// Handle is called before a task is handled, with its trace context in
	// task.Trace; ended is called with the outcome.
	Handle func(ctx context.Context, task tasks.Task) (handled context.Context, ended func(orchestrator.Outcome))
	// PutBack is called for each task that was left to a newer release.
	PutBack func(kind string)
	// CompletionRepeated is called for each repeat of a completion write.
	CompletionRepeated func()
}

// NewServers returns the servers of one worker; [Servers.Run] starts them.
func NewServers(cfg ServersConfig) *Servers {
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	cfg.Concurrency = Concurrency{
		Submit:   cmp.Or(cfg.Concurrency.Submit, 256),
		Poll:     cmp.Or(cfg.Concurrency.Poll, 64),
		Finalize: cmp.Or(cfg.Concurrency.Finalize, 16),
		Deliver:  cmp.Or(cfg.Concurrency.Deliver, 32),
	}
	cfg.ShutdownTimeout = cmp.Or(cfg.ShutdownTimeout, 5*time.Minute+5*time.Second)
	cfg.TaskCheckInterval = cmp.Or(cfg.TaskCheckInterval, 500*time.Millisecond)
	cfg.DelayedTaskCheckInterval = cmp.Or(cfg.DelayedTaskCheckInterval, time.Second)
	cfg.RegisterInterval = cmp.Or(cfg.RegisterInterval, 10*time.Second)
	s := &Servers{cfg: cfg, listener: newListener(cfg.Client, cfg.TaskCheckInterval, families(cfg.Concurrency))}
	cfg.Client.AddHook(completionRetry{repeated: cfg.Hooks.CompletionRepeated})
	cfg.Client.AddHook(ringer{rdb: cfg.Client})
	cfg.Client.AddHook(s.listener)
	return s
}

// family is the queues that one server serves, with their weights.
type family struct {
	name        string
	queues      map[string]int
	concurrency int
}

func families(c Concurrency) []family {
	return []family{
		{"submit", map[string]int{tasks.QueueSubmitHigh: 6, tasks.QueueSubmitDefault: 3, tasks.QueueSubmitLow: 1}, c.Submit},
		{"poll", map[string]int{tasks.QueuePoll: 1}, c.Poll},
		{"finalize", map[string]int{tasks.QueueFinalize: 1}, c.Finalize},
		{"deliver", map[string]int{tasks.QueueDeliver: 1}, c.Deliver},
	}
}

// Run serves until ctx ends, then stops fetching in every family, waits for the
// handlers that run, and returns when the last has ended. Handlers do not see
// ctx end; they see their context cancelled after ShutdownTimeout, when their
// tasks have been put back for other workers. It is called once.
func (s *Servers) Run(ctx context.Context) error {
	handlers, cancelHandlers := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelHandlers()
	run := &runner{handler: s.cfg.Handler, hooks: s.cfg.Hooks, logger: s.cfg.Logger}

	registering, stopRegistering := context.WithCancel(ctx)
	var registrar sync.WaitGroup
	registrar.Go(func() { s.keepRegistered(registering) })
	defer registrar.Wait()
	defer stopRegistering()

	var started []*asynq.Server
	var startErr error
	for _, f := range families(s.cfg.Concurrency) {
		server := s.build(handlers, f)
		if err := server.Start(run); err != nil {
			startErr = fmt.Errorf("start %s server: %w", f.name, err)
			break
		}
		started = append(started, server)
	}
	if startErr == nil {
		<-ctx.Done()
	}

	s.listener.stop()
	inParallel(started, (*asynq.Server).Stop)
	inParallel(started, (*asynq.Server).Shutdown)
	cancelHandlers()
	run.wait()
	return startErr
}

func (s *Servers) build(handlers context.Context, f family) *asynq.Server {
	return asynq.NewServerFromRedisClient(onTime(s.cfg.Client, s.cfg.Now), asynq.Config{
		Concurrency:              f.concurrency,
		Queues:                   f.queues,
		BaseContext:              func() context.Context { return handlers },
		TaskCheckInterval:        glance,
		DelayedTaskCheckInterval: s.cfg.DelayedTaskCheckInterval,
		ShutdownTimeout:          s.cfg.ShutdownTimeout,
		RetryDelayFunc:           retryDelay,
		IsFailure:                isFailure,
		Logger:                   s.cfg.Logger.Named("asynq").With(zap.String("family", f.name)).Sugar(),
		LogLevel:                 asynq.InfoLevel,
	})
}

// keepRegistered announces the queues now and then until ctx ends. A failure
// waits for the next time: tasks run also from queues that nobody sees.
func (s *Servers) keepRegistered(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.RegisterInterval)
	defer ticker.Stop()
	for {
		if err := register(ctx, s.cfg.Client); err != nil && ctx.Err() == nil {
			s.cfg.Logger.Warn("queues may be missing from the dashboard", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func inParallel(servers []*asynq.Server, do func(*asynq.Server)) {
	var wg sync.WaitGroup
	for _, server := range servers {
		wg.Go(func() { do(server) })
	}
	wg.Wait()
}
