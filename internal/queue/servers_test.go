package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func TestEveryKindReachesTheHandler(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		client := queue.NewClient(connect())
		handled := make(chan tasks.Task, 16)
		serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(func(_ context.Context, task tasks.Task) orchestrator.Outcome {
			handled <- task
			return orchestrator.Done
		})})

		var want []tasks.Task
		for i, kind := range tasks.Kinds {
			want = append(want, tasks.Task{Kind: kind, JobID: "job_a", Step: int64(i), Gen: i, Trace: "00-1-2-01", Queue: kind.Queue("")})
		}
		for _, priority := range []tasks.Priority{tasks.PriorityHigh, tasks.PriorityLow} {
			want = append(want, tasks.Task{Kind: tasks.KindSubmit, JobID: "job_b", Queue: tasks.KindSubmit.Queue(priority)})
		}
		var got []tasks.Task
		for _, task := range want {
			require.NoError(t, client.Enqueue(t.Context(), task))
		}
		for range want {
			got = append(got, await(t, handled))
		}
		require.ElementsMatch(t, want, got)
		for _, task := range want {
			awaitState(t, client, task, orchestrator.TaskMissing)
		}
	})
}

func TestOutcomesOnAsynq(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		outcome orchestrator.Outcome
		state   orchestrator.TaskState
		message string
		wait    float64 // seconds
		retried int
	}{
		{"retry", orchestrator.Retry(errors.New("lumen: overloaded (status 529)"), 95*time.Second), orchestrator.TaskRetry, "lumen: overloaded (status 529)", 95, 1},
		{"newer record", orchestrator.Retry(fmt.Errorf("load: %w", orchestrator.ErrNewerSchema), 40*time.Second), orchestrator.TaskRetry, "load: job was written by a newer release", 40, 0},
		{"store down", orchestrator.Retry(fmt.Errorf("load: %w", orchestrator.ErrUnavailable), 10*time.Second), orchestrator.TaskRetry, "load: store is unavailable", 10, 0},
		{"archive", orchestrator.Archive(errors.New("lumen: content_policy: refused")), orchestrator.TaskArchived, "lumen: content_policy: refused: skip retry for the task", 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, connect func() *redis.Client) {
				rdb := connect()
				client := queue.NewClient(rdb)
				serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(func(context.Context, tasks.Task) orchestrator.Outcome {
					return tc.outcome
				})})
				task := poll("job_a")
				require.NoError(t, client.Enqueue(t.Context(), task))
				awaitState(t, client, task, tc.state)

				info := taskInfo(t, rdb, task)
				require.Equal(t, tc.message, info.LastErr)
				require.Equal(t, tc.retried, info.Retried)
				if tc.state == orchestrator.TaskRetry {
					require.InDelta(t, tc.wait, nextRun(t, rdb, task, tc.state).Seconds(), 2)
				}
			})
		})
	}
}

func TestPanicIsRetried(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb := connect()
		client := queue.NewClient(rdb)
		var runs atomic.Int32
		serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(func(context.Context, tasks.Task) orchestrator.Outcome {
			if runs.Add(1) == 1 {
				panic("index out of range")
			}
			return orchestrator.Done
		})})
		task := poll("job_a")
		require.NoError(t, client.Enqueue(t.Context(), task))
		awaitState(t, client, task, orchestrator.TaskRetry)
		require.Contains(t, taskInfo(t, rdb, task).LastErr, "index out of range")

		require.NoError(t, client.RunNow(t.Context(), task))
		awaitState(t, client, task, orchestrator.TaskMissing)
		require.EqualValues(t, 2, runs.Load())
	})
}

func TestForeignTasks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, kind, payload string
		state               orchestrator.TaskState
		message             string
		putBack             []string
	}{
		{"unknown kind", "job:dream", `{"job":"job_a","step":3}`, orchestrator.TaskRetry, `this release does not know the kind of task "job:dream"`, []string{"job:dream"}},
		{"unknown kind, unknown payload", "job:dream", `secret`, orchestrator.TaskRetry, `this release does not know the kind of task "job:dream"`, []string{"job:dream"}},
		{"unreadable payload", "job:poll", `secret`, orchestrator.TaskArchived, "payload of job:poll is not a task", nil},
		{"no job", "job:poll", `{"step":3,"prompt":"secret"}`, orchestrator.TaskArchived, "payload of job:poll names no job", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, connect func() *redis.Client) {
				rdb := connect()
				putBack := make(chan string, 16)
				serving(t, queue.ServersConfig{
					Client: connect(),
					Handler: handlerFunc(func(context.Context, tasks.Task) orchestrator.Outcome {
						t.Error("a foreign task was handled")
						return orchestrator.Done
					}),
					Hooks: queue.Hooks{PutBack: func(kind string) { putBack <- kind }},
				})
				task := poll("job_a")
				_, err := asynq.NewClientFromRedisClient(rdb).EnqueueContext(t.Context(), asynq.NewTask(tc.kind, []byte(tc.payload)),
					asynq.TaskID(task.ID()), asynq.Queue(task.Queue))
				require.NoError(t, err)
				awaitState(t, queue.NewClient(rdb), task, tc.state)

				info := taskInfo(t, rdb, task)
				require.Contains(t, info.LastErr, tc.message)
				require.NotContains(t, info.LastErr, "secret")
				require.Zero(t, info.Retried)
				for _, kind := range tc.putBack {
					require.Equal(t, kind, await(t, putBack))
					require.InDelta(t, 30, nextRun(t, rdb, task, tc.state).Seconds(), 2)
				}
			})
		})
	}
}

func TestHooksSeeEachTask(t *testing.T) {
	t.Parallel()
	type key struct{}
	type seen struct{ job, trace, outcome string }
	addr := redistest.Start(t).Addr()
	client := queue.NewClient(connect(t, addr))
	ended := make(chan seen, 2)
	serving(t, queue.ServersConfig{
		Client: connect(t, addr),
		Handler: handlerFunc(func(ctx context.Context, task tasks.Task) orchestrator.Outcome {
			if task.JobID == "job_panic" {
				panic("index out of range")
			}
			return orchestrator.Archive(errors.New(ctx.Value(key{}).(string)))
		}),
		Hooks: queue.Hooks{Handle: func(ctx context.Context, task tasks.Task) (context.Context, func(orchestrator.Outcome)) {
			return context.WithValue(ctx, key{}, "from the hook"), func(o orchestrator.Outcome) { ended <- seen{task.JobID, task.Trace, o.Err.Error()} }
		}},
	})
	for _, want := range []seen{{"job_a", "00-1-2-01", "from the hook"}, {"job_panic", "", "handler panicked"}} {
		task := poll(want.job)
		task.Trace = want.trace
		require.NoError(t, client.Enqueue(t.Context(), task))
		require.Equal(t, want, await(t, ended))
	}
}

func TestShutdownWaitsForHandlers(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		client := queue.NewClient(connect())
		core, logs := observer.New(zap.InfoLevel)
		started, release := make(chan context.Context), make(chan struct{})
		var handlersEnded atomic.Int32
		stop := serving(t, queue.ServersConfig{
			Client: connect(),
			Logger: zap.New(core),
			Handler: handlerFunc(func(ctx context.Context, _ tasks.Task) orchestrator.Outcome {
				started <- ctx
				<-release
				handlersEnded.Add(1)
				return orchestrator.Done
			}),
		})
		submit := tasks.Task{Kind: tasks.KindSubmit, JobID: "job_b", Queue: tasks.QueueSubmitDefault}
		require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
		require.NoError(t, client.Enqueue(t.Context(), submit))
		contexts := []context.Context{await(t, started), await(t, started)}

		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		require.Eventually(t, func() bool { return logs.FilterMessage("Starting graceful shutdown").Len() == 4 }, patience, time.Millisecond,
			"no family waits for another before it stops")
		require.NoError(t, client.Enqueue(t.Context(), poll("job_late")))
		for _, ctx := range contexts {
			require.NoError(t, ctx.Err(), "a handler in its paid call is not cut off")
		}
		require.Zero(t, handlersEnded.Load())
		close(release)
		await(t, stopped)

		require.EqualValues(t, 2, handlersEnded.Load())
		awaitState(t, client, poll("job_a"), orchestrator.TaskMissing)
		awaitState(t, client, submit, orchestrator.TaskMissing)
		awaitState(t, client, poll("job_late"), orchestrator.TaskPending)
	})
}

func TestShutdownPutsBackWhatTakesTooLong(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		client := queue.NewClient(connect())
		started := make(chan struct{})
		var ended atomic.Bool
		stop := serving(t, queue.ServersConfig{
			Client:          connect(),
			ShutdownTimeout: time.Millisecond,
			Handler: handlerFunc(func(ctx context.Context, _ tasks.Task) orchestrator.Outcome {
				close(started)
				<-ctx.Done()
				putBack := true
				for range 200 { // work that takes longer than the end of Run
					state, err := client.State(context.WithoutCancel(ctx), poll("job_a"))
					putBack = putBack && err == nil && state == orchestrator.TaskPending
				}
				ended.Store(putBack)
				return orchestrator.Done
			}),
		})
		require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
		await(t, started)
		stop()
		require.True(t, ended.Load(), "Run returns after the last handler, whose task was put back before its context ended")
		awaitState(t, client, poll("job_a"), orchestrator.TaskPending)
	})
}

// broken is a redis hook that makes one completion write fail: before it was
// sent, or after it was applied.
type broken struct {
	applied bool
	once    atomic.Bool
}

func (b *broken) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *broken) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *broken) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		_, bounded := ctx.Deadline()
		if !bounded || !strings.HasPrefix(cmd.Name(), "eval") {
			return next(ctx, cmd)
		}
		if b.applied {
			// The script must be known to Redis for it to be applied.
			if err := next(ctx, cmd); redis.HasErrorPrefix(err, "NOSCRIPT") {
				return err
			} else if b.once.Swap(true) {
				return err
			}
			return io.EOF
		}
		if !b.once.Swap(true) {
			return io.EOF
		}
		return next(ctx, cmd)
	}
}

func TestFailedCompletionWriteIsRepeated(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		applied bool
		outcome orchestrator.Outcome
		state   orchestrator.TaskState
	}{
		{"done, never sent", false, orchestrator.Done, orchestrator.TaskMissing},
		{"done, answer lost", true, orchestrator.Done, orchestrator.TaskMissing},
		{"retry, never sent", false, orchestrator.Retry(errors.New("busy"), time.Hour), orchestrator.TaskRetry},
		{"retry, answer lost", true, orchestrator.Retry(errors.New("busy"), time.Hour), orchestrator.TaskRetry},
		{"archive, answer lost", true, orchestrator.Archive(errors.New("refused")), orchestrator.TaskArchived},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, connect func() *redis.Client) {
				client := queue.NewClient(connect())
				core, logs := observer.New(zap.WarnLevel)
				var runs, repeats atomic.Int32
				rdb := connect()
				servers := queue.NewServers(hasty(queue.ServersConfig{
					Client: rdb,
					Logger: zap.New(core),
					Hooks:  queue.Hooks{CompletionRepeated: func() { repeats.Add(1) }},
					Handler: handlerFunc(func(context.Context, tasks.Task) orchestrator.Outcome {
						runs.Add(1)
						return tc.outcome
					}),
				}))
				rdb.AddHook(&broken{applied: tc.applied})
				stop := run(t, servers)
				require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
				require.Eventually(t, func() bool { return repeats.Load() == 1 }, patience, 5*time.Millisecond)
				stop()

				state, err := client.State(t.Context(), poll("job_a"))
				require.NoError(t, err)
				require.Equal(t, tc.state, state, "settled, and not left for the recoverer to run again")
				require.EqualValues(t, 1, runs.Load())
				require.EqualValues(t, 1, repeats.Load())
				require.Zero(t, logs.FilterMessageSnippet("Will retry syncing").Len())
			})
		})
	}
}

func TestTaskThatEndsWhileRedisIsDownRunsOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.AOF("always"))
	client := queue.NewClient(connect(t, server.Addr()))
	started, release, repeated := make(chan struct{}), make(chan struct{}), make(chan struct{}, 1000)
	var runs atomic.Int32
	stop := serving(t, queue.ServersConfig{
		Client: connect(t, server.Addr()),
		Hooks:  queue.Hooks{CompletionRepeated: func() { repeated <- struct{}{} }},
		Handler: handlerFunc(func(context.Context, tasks.Task) orchestrator.Outcome {
			runs.Add(1)
			started <- struct{}{}
			<-release
			return orchestrator.Done
		}),
	})
	require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
	await(t, started)
	server.Kill()
	close(release)
	for range 2 {
		await(t, repeated)
	}
	server.Restart()
	awaitState(t, client, poll("job_a"), orchestrator.TaskMissing)
	stop()
	require.EqualValues(t, 1, runs.Load())
}

// workerURL names the Redis of a worker process that this binary becomes.
const workerURL = "QUEUE_TEST_WORKER_URL"

// workUntilKilled takes tasks, says so, and never ends them.
func workUntilKilled(url string) {
	options, err := redis.ParseURL(url)
	if err != nil {
		panic(err)
	}
	_ = queue.NewServers(hasty(queue.ServersConfig{
		Client: redis.NewClient(options),
		Handler: handlerFunc(func(ctx context.Context, task tasks.Task) orchestrator.Outcome {
			fmt.Println(task.ID())
			<-ctx.Done()
			return orchestrator.Done
		}),
	})).Run(context.Background())
}

func TestKilledWorkerLeavesItsTaskActive(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	client := queue.NewClient(connect(t, server.Addr()))
	task := poll("job_a")
	require.NoError(t, client.Enqueue(t.Context(), task))

	worker := exec.CommandContext(t.Context(), os.Args[0])
	worker.Env = append(os.Environ(), workerURL+"="+server.URL())
	output, err := worker.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, worker.Start())
	line := make([]byte, len(task.ID()))
	_, err = io.ReadFull(output, line)
	require.NoError(t, err)
	require.Equal(t, task.ID(), string(line))
	require.NoError(t, worker.Process.Kill())
	require.Error(t, worker.Wait())

	awaitState(t, client, task, orchestrator.TaskActive)
	require.NoError(t, client.Enqueue(t.Context(), task), "the id is taken until asynq recovers it")
	require.NoError(t, client.Delete(t.Context(), task))
	awaitState(t, client, task, orchestrator.TaskActive)

	next := task
	next.Gen++
	handled := make(chan tasks.Task, 1)
	serving(t, queue.ServersConfig{Client: connect(t, server.Addr()), Handler: handlerFunc(func(_ context.Context, task tasks.Task) orchestrator.Outcome {
		handled <- task
		return orchestrator.Done
	})})
	require.NoError(t, client.Enqueue(t.Context(), next))
	require.Equal(t, next.Gen, await(t, handled).Gen, "a higher gen runs at once")
}

func await[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("it did not happen in time")
		panic("unreachable")
	}
}
