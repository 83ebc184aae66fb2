package queue_test

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if url := os.Getenv(workerURL); url != "" {
		workUntilKilled(url)
		return
	}
	goleak.VerifyTestMain(m)
}

// backends are the servers that the queue must work on.
var backends = []struct {
	name  string
	start func(t *testing.T) *redis.Options
}{
	{"redis", func(t *testing.T) *redis.Options {
		return &redis.Options{Addr: redistest.Start(t).Addr()}
	}},
	{"miniredis", func(t *testing.T) *redis.Options {
		return &redis.Options{Addr: miniredis.RunT(t).Addr()}
	}},
}

// onEach runs a test on every backend. Redis clients are closed before their
// server is.
func onEach(t *testing.T, test func(t *testing.T, connect func() *redis.Client)) {
	for _, b := range backends {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			options := b.start(t)
			test(t, func() *redis.Client { return connect(t, options.Addr) })
		})
	}
}

func connect(t *testing.T, addr string) *redis.Client {
	rdb := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// handlerFunc is a handler that is one function.
type handlerFunc func(ctx context.Context, task tasks.Task) orchestrator.Outcome

func (f handlerFunc) Handle(ctx context.Context, task tasks.Task) orchestrator.Outcome {
	return f(ctx, task)
}

// serving runs servers until the test ends, or until stop, which returns when
// Run has.
func serving(t *testing.T, cfg queue.ServersConfig) (stop func()) {
	return run(t, queue.NewServers(hasty(cfg)))
}

func run(t *testing.T, servers *queue.Servers) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- servers.Run(ctx) }()
	var stopped atomic.Bool
	stop = func() {
		cancel()
		if !stopped.Swap(true) {
			require.NoError(t, <-ended)
		}
	}
	t.Cleanup(stop)
	return stop
}

// hasty fills in what makes a test quick.
func hasty(cfg queue.ServersConfig) queue.ServersConfig {
	cfg.Concurrency = queue.Concurrency{Submit: 4, Poll: 4, Finalize: 4, Deliver: 4}
	cfg.TaskCheckInterval = 20 * time.Millisecond
	cfg.DelayedTaskCheckInterval = 50 * time.Millisecond
	cfg.RegisterInterval = 50 * time.Millisecond
	if cfg.ShutdownTimeout == 0 {
		cfg.ShutdownTimeout = patience
	}
	return cfg
}

func awaitState(t *testing.T, client *queue.Client, task tasks.Task, want orchestrator.TaskState) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		state, err := client.State(t.Context(), task)
		if err == nil && state == want {
			return
		}
		if time.Now().After(deadline) {
			require.NoError(t, err)
			require.Equal(t, want, state, task.ID())
		}
	}
}

func poll(job string) tasks.Task {
	return tasks.Task{Kind: tasks.KindPoll, JobID: job, Step: 3, Queue: tasks.QueuePoll}
}

// nextRun is when asynq will run a waiting task, from Redis' now on.
func nextRun(t *testing.T, rdb *redis.Client, task tasks.Task, state orchestrator.TaskState) time.Duration {
	t.Helper()
	key := fmt.Sprintf("asynq:{%s}:%s", task.Queue, state)
	score, err := rdb.ZScore(t.Context(), key, task.ID()).Result()
	require.NoError(t, err)
	now, err := rdb.Time(t.Context()).Result()
	require.NoError(t, err)
	return time.Unix(int64(score), 0).Sub(now)
}

func taskInfo(t *testing.T, rdb *redis.Client, task tasks.Task) *asynq.TaskInfo {
	t.Helper()
	info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo(task.Queue, task.ID())
	require.NoError(t, err)
	return info
}
