package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/hibiken/asynq"
	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/artifacts"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	rawQueue = "raw"
	rawType  = "generate"
	// checkInterval is how often the baseline looks at empty queues; asynq's own
	// default of one second would flatter Easel.
	checkInterval = 200 * time.Millisecond
	// resultKept is how long asynq keeps a task that has a result.
	resultKept = time.Hour
)

// rawAsynq is the baseline: asynq as one uses it without Easel.
type rawAsynq struct {
	client  *asynq.Client
	servers *redis.Client
	workers int
	payload []byte
	keep    time.Duration
	closers []func() error
}

// openRaw opens a baseline over a Redis that was cleared. Finished tasks are
// kept for keep.
func (l *lab) openRaw(workers int, keep time.Duration, hooks ...redis.Hook) (*rawAsynq, error) {
	front, err := l.client(hooks...)
	if err != nil {
		return nil, err
	}
	back, err := l.client(hooks...)
	if err != nil {
		return nil, errors.Join(err, front.Close())
	}
	return &rawAsynq{
		client: asynq.NewClientFromRedisClient(front), servers: back, workers: workers, payload: body(), keep: keep,
		closers: []func() error{front.Close, back.Close},
	}, nil
}

// enqueue adds one task, with an id of its own as Easel's have, and returns it.
func (r *rawAsynq) enqueue(ctx context.Context) (string, error) {
	id := ulid.Make().String()
	return id, r.enqueueAs(ctx, id)
}

func (r *rawAsynq) enqueueAs(ctx context.Context, id string) error {
	_, err := r.client.EnqueueContext(ctx, asynq.NewTask(rawType, r.payload),
		asynq.TaskID(id), asynq.Queue(rawQueue), asynq.Timeout(10*time.Minute), asynq.Retention(r.keep))
	return err
}

// work starts a worker; stop ends it and waits for it.
func (r *rawAsynq) work(handler asynq.HandlerFunc) (stop func() error, err error) {
	server := asynq.NewServerFromRedisClient(r.servers, asynq.Config{
		Concurrency: r.workers, Queues: map[string]int{rawQueue: 1}, TaskCheckInterval: checkInterval,
		DelayedTaskCheckInterval: time.Second, Logger: zap.NewNop().Sugar(),
	})
	if err := server.Start(handler); err != nil {
		return nil, err
	}
	return func() error {
		server.Shutdown()
		return nil
	}, nil
}

// api serves the least that an HTTP API can do: read the body, enqueue it.
func (r *rawAsynq) api() (post func(ctx context.Context) error, stop func() error, err error) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		payload, err := io.ReadAll(request.Body)
		if err == nil {
			_, err = r.client.EnqueueContext(request.Context(), asynq.NewTask(rawType, payload),
				asynq.TaskID(ulid.Make().String()), asynq.Queue(rawQueue), asynq.Timeout(10*time.Minute))
		}
		if err != nil {
			http.Error(w, "not accepted", http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return poster(&http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}, "/")
}

func (r *rawAsynq) close() error { return closeAll(r.closers) }

// counted is the handler that does nothing, or something else, and counts.
func counted(done *countdown, handler asynq.HandlerFunc) asynq.HandlerFunc {
	return func(ctx context.Context, task *asynq.Task) error {
		if err := handler(ctx, task); err != nil {
			done.fail(err)
			return err
		}
		done.tick()
		return nil
	}
}

func nothing(context.Context, *asynq.Task) error { return nil }

// byHand is the handler that many services begin with: one call to the
// provider, through the same adapter as Easel's; the picture stored on the same
// disk with the same care; one result written to Redis. It survives no crash:
// a task that runs again calls, and pays, again.
type byHand struct {
	provider providers.Provider
	files    *artifacts.Store
}

func (l *lab) openByHand(ctx context.Context) (*byHand, error) {
	config := sketch.Defaults()
	config.BaseURL = l.instant
	provider, err := sketch.New(config)
	if err != nil {
		return nil, err
	}
	url, err := l.storage()
	if err != nil {
		return nil, err
	}
	files, err := artifacts.Open(ctx, artifacts.Config{URL: url})
	if err != nil {
		return nil, err
	}
	return &byHand{provider: provider, files: files}, nil
}

// handle implements [asynq.HandlerFunc].
func (h *byHand) handle(ctx context.Context, task *asynq.Task) error {
	id := task.ResultWriter().TaskID()
	status, err := h.provider.Submit(ctx, providers.Request{
		JobID: id, ClientID: id, Submission: 1, Feature: tasks.TextToImage, Model: sketch.ModelNoop,
		Input: map[string]any{"prompt": string(task.Payload())},
	})
	if err != nil {
		return err
	}
	if len(status.Outputs) != 1 {
		return fmt.Errorf("the provider answered %d outputs", len(status.Outputs))
	}
	stored, err := h.files.Put(ctx, id+"/0.*", status.Outputs[0].MediaType, bytes.NewReader(status.Outputs[0].Data), 1<<20)
	if err != nil {
		return err
	}
	_, err = task.ResultWriter().Write([]byte(stored.Key))
	return err
}

func (h *byHand) close() error {
	err := h.files.Close()
	if closer, ok := h.provider.(io.Closer); ok {
		err = errors.Join(err, closer.Close())
	}
	return err
}
