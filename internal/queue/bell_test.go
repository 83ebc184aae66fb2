package queue_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// unasked is longer than any test: who waits for it to pass has failed.
const unasked = time.Hour

// listening runs servers that look at empty queues only when somebody rings.
func listening(t *testing.T, rdb *redis.Client, handle handlerFunc) (stop func()) {
	cfg := hasty(queue.ServersConfig{Client: rdb, Handler: handle})
	cfg.TaskCheckInterval = unasked
	return run(t, queue.NewServers(cfg))
}

// found tells when the queues of a task's family have been seen to be empty.
func found(t *testing.T, rdb *redis.Client, handled <-chan tasks.Task, client *queue.Client, task tasks.Task) {
	t.Helper()
	task.JobID = "job_first"
	require.NoError(t, client.Enqueue(t.Context(), task))
	require.Equal(t, task.JobID, await(t, handled).JobID)
	awaitWaiting(t, rdb)
}

// awaitWaiting returns when a worker waits at each family's bells.
func awaitWaiting(t *testing.T, rdb *redis.Client) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		require.True(t, time.Now().Before(deadline), "nobody waits at the bells")
		clients, err := rdb.Info(t.Context(), "clients").Result()
		require.NoError(t, err)
		if strings.Contains(clients, "blocked_clients:4") || !strings.Contains(clients, "blocked_clients") {
			return // miniredis does not say
		}
	}
}

func TestAWaitingWorkerIsWoken(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		make func(t *testing.T, client *queue.Client, task tasks.Task)
	}{
		{"by a new task", func(t *testing.T, client *queue.Client, task tasks.Task) {
			require.NoError(t, client.Enqueue(t.Context(), task))
		}},
		{"by a delayed task that is run now", func(t *testing.T, client *queue.Client, task tasks.Task) {
			task.Delay = unasked
			require.NoError(t, client.Enqueue(t.Context(), task))
			require.NoError(t, client.RunNow(t.Context(), task))
		}},
		{"by a delayed task that is due", func(t *testing.T, client *queue.Client, task tasks.Task) {
			task.Delay = time.Second
			require.NoError(t, client.Enqueue(t.Context(), task))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, connect func() *redis.Client) {
				rdb, handled := connect(), make(chan tasks.Task, 16)
				client := queue.NewClient(rdb)
				stop := listening(t, connect(), func(_ context.Context, task tasks.Task) orchestrator.Outcome {
					handled <- task
					return orchestrator.Done
				})
				for _, kind := range []tasks.Kind{tasks.KindSubmit, tasks.KindPoll} { // three queues and one
					task := tasks.Task{Kind: kind, JobID: "job_a", Step: 3, Queue: kind.Queue(tasks.PriorityDefault)}
					found(t, rdb, handled, client, task)
					tc.make(t, client, task)
					require.Equal(t, task.ID(), await(t, handled).ID())
				}
				stop() // also while it waits
			})
		})
	}
}

func TestOneRingWakesOneWorker(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb, handled := connect(), make(chan tasks.Task, 16)
		client := queue.NewClient(rdb)
		var looks atomic.Int64
		for range 3 {
			worker := connect()
			worker.AddHook(counting{"asynq:{" + tasks.QueuePoll + "}:paused", &looks})
			listening(t, worker, func(_ context.Context, task tasks.Task) orchestrator.Outcome {
				handled <- task
				return orchestrator.Done
			})
		}
		const jobs = 20
		for i := range jobs {
			require.NoError(t, client.Enqueue(t.Context(), poll(fmt.Sprint("job_", i))))
			await(t, handled)
		}
		// A look finds the task and another no more of them; if all three came
		// running, two looks of theirs would be in vain.
		require.Less(t, looks.Load(), int64(3*jobs))
	})
}

// counting counts the scripts that name a key.
type counting struct {
	key string
	n   *atomic.Int64
}

func (c counting) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c counting) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (c counting) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		for _, arg := range cmd.Args() {
			if cmd.Name() == "evalsha" && arg == c.key {
				c.n.Add(1)
			}
		}
		return next(ctx, cmd)
	}
}

func TestATaskNobodyRangForIsFound(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb, handled := connect(), make(chan tasks.Task, 16)
		client := queue.NewClient(rdb)
		serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(func(_ context.Context, task tasks.Task) orchestrator.Outcome {
			handled <- task
			return orchestrator.Done
		})})
		found(t, rdb, handled, client, poll("job_a"))

		mute := asynq.NewClientFromRedisClient(connect())
		_, err := mute.EnqueueContext(t.Context(), asynq.NewTask(string(tasks.KindPoll), []byte(`{"job":"job_quiet"}`)), asynq.Queue(tasks.QueuePoll))
		require.NoError(t, err)
		require.Equal(t, "job_quiet", await(t, handled).JobID)
	})
}

// A Redis that refuses to be listened to is looked at as before.
func TestABellThatCannotBeHeardStopsNothing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb, handled := connect(), make(chan tasks.Task, 16)
		for _, q := range tasks.Queues {
			require.NoError(t, rdb.Set(t.Context(), "asynq:{"+q+"}:bell", "no list", 0).Err())
		}
		client := queue.NewClient(rdb)
		stop := serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(func(_ context.Context, task tasks.Task) orchestrator.Outcome {
			handled <- task
			return orchestrator.Done
		})})
		for i := range 3 {
			task := poll(fmt.Sprint("job_", i))
			require.NoError(t, client.Enqueue(t.Context(), task))
			require.Equal(t, task.JobID, await(t, handled).JobID)
		}
		stop()
	})
}
