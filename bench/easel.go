package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/internal/artifacts"
	"github.com/easel-jobs/easel/internal/fetch"
	"github.com/easel-jobs/easel/internal/httpapi"
	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/internal/webhook"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// easel is one Easel: what its processes are made of, without configuration,
// log and metrics.
type easel struct {
	cfg     easelConfig
	engine  *orchestrator.Engine
	servers *queue.Servers
	closers []func() error
}

// easelConfig says what an [easel] works with.
type easelConfig struct {
	provider string // base URL
	places   int    // submits at the provider at a time
	workers  int    // submits handled at a time
	hooks    []redis.Hook
	rested   *countdown                                        // counts jobs that completed; may be nil
	started  func(task tasks.Task)                             // told of every task that is handled; may be nil
	mark     func(context.Context, tasks.Kind) context.Context // may be nil
}

// openEasel opens an Easel over a Redis that was cleared.
func (l *lab) openEasel(ctx context.Context, cfg easelConfig) (_ *easel, err error) {
	e := &easel{cfg: cfg}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	front, err := l.client()
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, front.Close)
	back, err := l.client()
	if err != nil {
		return nil, err
	}
	e.closers = append(e.closers, back.Close)
	if err := e.openEngine(ctx, l, front); err != nil {
		return nil, err
	}
	e.servers = queue.NewServers(queue.ServersConfig{
		Client: back, Handler: e.engine, Hooks: queue.Hooks{Handle: e.handled}, Now: e.engine.Store.Now,
		Concurrency: queue.Concurrency{Submit: cfg.workers},
	})
	// Behind the hooks of the queue, where what it sends together is one trip.
	for _, hook := range cfg.hooks {
		front.AddHook(hook)
		back.AddHook(hook)
	}
	return e, nil
}

func (e *easel) openEngine(ctx context.Context, l *lab, client *redis.Client) error {
	records, err := store.Open(ctx, store.Config{Client: client})
	if err != nil {
		return err
	}
	url, err := l.storage()
	if err != nil {
		return err
	}
	files, err := artifacts.Open(ctx, artifacts.Config{URL: url})
	if err != nil {
		return err
	}
	e.closers = append(e.closers, files.Close)
	registry, err := e.openRegistry()
	if err != nil {
		return err
	}
	guard, err := fetch.NewGuard(fetch.Policy{AllowHTTP: true, AllowOrigins: []string{l.receiver}})
	if err != nil {
		return err
	}
	notifier, err := webhook.New(webhook.Config{Client: guard.Client(), ServerSecrets: [][]byte{[]byte("a secret of the benchmark alone")}})
	if err != nil {
		return err
	}
	e.engine, err = orchestrator.New(orchestrator.Config{
		Store: records, Queue: queue.NewClient(client, queue.WithClock(records.Now)), Registry: registry, Artifacts: files, Inputs: files,
		Notifier: notifier, Observer: watcher{rested: e.cfg.rested}, CheckURL: guard.CheckURL,
		Retention: orchestrator.Retention{Jobs: 168 * time.Hour},
	})
	return err
}

func (e *easel) openRegistry() (*providers.Registry, error) {
	config := sketch.Defaults()
	config.BaseURL = e.cfg.provider
	provider, err := sketch.New(config)
	if err != nil {
		return nil, err
	}
	if closer, ok := provider.(io.Closer); ok {
		e.closers = append(e.closers, closer.Close)
	}
	return providers.NewRegistry([]providers.Entry{
		{Name: "sketch", Adapter: "sketch", Provider: provider, Concurrency: e.cfg.places},
	}, "")
}

// handled is told of every task before it is handled.
func (e *easel) handled(ctx context.Context, task tasks.Task) (context.Context, func(orchestrator.Outcome)) {
	if e.cfg.started != nil {
		e.cfg.started(task)
	}
	if e.cfg.mark != nil {
		ctx = e.cfg.mark(ctx, task.Kind)
	}
	return ctx, func(orchestrator.Outcome) {}
}

// accept takes one job.
func (e *easel) accept(ctx context.Context, d tasks.Draft) (string, error) {
	job, _, err := e.engine.Accept(ctx, tasks.DefaultTenant, orchestrator.Entry{Draft: d})
	if err != nil {
		return "", err
	}
	return job.ID, nil
}

// work starts a worker; stop ends it and waits for it.
func (e *easel) work(ctx context.Context) (stop func() error) {
	tending, endTending := context.WithCancel(context.WithoutCancel(ctx))
	serving, endServing := context.WithCancel(ctx)
	var tend, serve sync.WaitGroup
	var tendErr, serveErr error
	tend.Go(func() { tendErr = e.engine.Run(tending) })
	serve.Go(func() { serveErr = e.servers.Run(serving) })
	return func() error {
		endServing()
		serve.Wait()
		endTending()
		tend.Wait()
		return errors.Join(serveErr, tendErr)
	}
}

// api serves the HTTP API, and returns a function that posts one job to it over
// connections that are kept alive.
func (e *easel) api() (post func(ctx context.Context) error, stop func() error, err error) {
	return poster(httpapi.Server(httpapi.New(httpapi.Config{Jobs: e.engine, Loopback: true})), "/v1/jobs")
}

// poster serves, and returns a function that posts one job to path.
func poster(server *http.Server, path string) (post func(ctx context.Context) error, stop func() error, err error) {
	url, stopServing, err := serve(server)
	if err != nil {
		return nil, nil, err
	}
	transport := &http.Transport{MaxIdleConnsPerHost: manyCallers}
	client, job := &http.Client{Transport: transport}, body()
	post = func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, url+path, bytes.NewReader(job))
		if err != nil {
			return err
		}
		request.Header.Set("Content-Type", "application/json")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			return err
		}
		if response.StatusCode != http.StatusAccepted {
			return fmt.Errorf("the API answered %s", response.Status)
		}
		return nil
	}
	stop = func() error {
		transport.CloseIdleConnections()
		return stopServing()
	}
	return post, stop, nil
}

func (e *easel) close() error { return closeAll(e.closers) }

// watcher counts the jobs that complete. Anything else than completion is a
// failure of the benchmark.
type watcher struct {
	orchestrator.Unobserved
	rested *countdown
}

// JobRested implements [orchestrator.Observer].
func (w watcher) JobRested(job *tasks.Job) {
	switch {
	case w.rested == nil:
	case job.State == tasks.Completed:
		w.rested.tick()
	default:
		w.rested.fail(fmt.Errorf("job %s is %s", job.ID, job.State))
	}
}

// Failed implements [orchestrator.Observer].
func (w watcher) Failed(doing, jobID string, err error) {
	if w.rested != nil {
		w.rested.fail(fmt.Errorf("%s %s: %w", doing, jobID, err))
	}
}
