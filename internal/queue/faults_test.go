package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The tests of this file show asynq's faults twice: raw, as whoever uses asynq
// as it comes meets them, and through Easel, where they must be gone. asynq
// takes a minute or two to notice a dead worker; instead of waiting that long
// they set the lease of its task back, which is what a clock does.

// rawServer runs asynq as it comes, but quick.
func rawServer(t *testing.T, rdb *redis.Client, cfg asynq.Config, handle asynq.HandlerFunc) (stop func()) {
	cfg.Queues = map[string]int{tasks.QueuePoll: 1}
	cfg.Concurrency = 4
	cfg.TaskCheckInterval, cfg.DelayedTaskCheckInterval = 20*time.Millisecond, 50*time.Millisecond
	cfg.LogLevel = asynq.FatalLevel
	server := asynq.NewServerFromRedisClient(rdb, cfg)
	require.NoError(t, server.Start(handle))
	var stopped atomic.Bool
	stop = func() {
		if !stopped.Swap(true) {
			server.Shutdown()
		}
	}
	t.Cleanup(stop)
	return stop
}

func rawEnqueue(t *testing.T, rdb *redis.Client, id string, options ...asynq.Option) error {
	return enqueueRaw(t, asynq.NewClientFromRedisClient(rdb), id, options...)
}

func enqueueRaw(t *testing.T, client *asynq.Client, id string, options ...asynq.Option) error {
	options = append([]asynq.Option{asynq.TaskID(id), asynq.Queue(tasks.QueuePoll)}, options...)
	_, err := client.EnqueueContext(t.Context(), asynq.NewTask(string(tasks.KindPoll), []byte(`{}`)), options...)
	return err
}

func rawState(t *testing.T, rdb *redis.Client, id string) string {
	info, err := asynq.NewInspectorFromRedisClient(rdb).GetTaskInfo(tasks.QueuePoll, id)
	if errors.Is(err, asynq.ErrTaskNotFound) {
		return "missing"
	}
	require.NoError(t, err)
	return info.State.String()
}

func eventually(t *testing.T, condition func() bool, says string) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, says)
}

// die leaves a task as a worker leaves it that is killed: active, with a lease
// that nobody extends.
func die(t *testing.T, rdb *redis.Client, id string) {
	moved, err := rdb.LMove(t.Context(), "asynq:{poll}:pending", "asynq:{poll}:active", "RIGHT", "LEFT").Result()
	require.NoError(t, err)
	require.Equal(t, id, moved)
	require.NoError(t, rdb.HSet(t.Context(), "asynq:{poll}:t:"+id, "state", "active").Err())
	require.NoError(t, rdb.ZAdd(t.Context(), "asynq:{poll}:lease", redis.Z{Score: float64(time.Now().Add(30 * time.Second).Unix()), Member: id}).Err())
}

// minuteLater makes a task's lease as old as it is a minute after its worker
// has died. A server that starts then recovers it at once.
func minuteLater(t *testing.T, rdb *redis.Client, id string) {
	require.NoError(t, rdb.ZAddXX(t.Context(), "asynq:{poll}:lease", redis.Z{Score: float64(time.Now().Add(-time.Minute).Unix()), Member: id}).Err())
}

// TestFault1LostCompletion loses one completion write. Raw asynq never repeats
// it, and runs the finished task again; see also
// TestFailedCompletionWriteIsRepeated.
func TestFault1LostCompletion(t *testing.T) {
	t.Parallel()
	at := redistest.Start(t).Addr()
	watch := connect(t, at)
	var runs atomic.Int32
	handle := func(context.Context, *asynq.Task) error { runs.Add(1); return nil }
	cfg := asynq.Config{RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }}

	rdb := connect(t, at)
	lost := &broken{}
	rdb.AddHook(lost)
	stop := rawServer(t, rdb, cfg, handle)
	require.NoError(t, rawEnqueue(t, watch, "raw"))
	eventually(t, func() bool { return runs.Load() == 1 && lost.once.Load() }, "it runs, and its completion is lost")
	stop()
	require.Equal(t, "active", rawState(t, watch, "raw"), "it has ended and is not settled")
	minuteLater(t, watch, "raw")
	rawServer(t, connect(t, at), cfg, handle)
	eventually(t, func() bool { return runs.Load() == 2 }, "raw asynq runs the finished task again")

	at = redistest.Start(t).Addr()
	var once atomic.Int32
	rdb = connect(t, at)
	servers := queue.NewServers(hasty(queue.ServersConfig{Client: rdb, Handler: handlerFunc(
		func(context.Context, tasks.Task) orchestrator.Outcome { once.Add(1); return orchestrator.Done })}))
	lost = &broken{}
	rdb.AddHook(lost)
	run(t, servers)
	client := queue.NewClient(connect(t, at))
	require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
	eventually(t, lost.once.Load, "its completion is lost")
	awaitState(t, client, poll("job_a"), orchestrator.TaskMissing)
	require.EqualValues(t, 1, once.Load())
}

// TestFault2DeadWorkersTask kills the worker of a task. Its id stays taken; the
// next generation of it is another id, and runs at once. How soon that is
// enqueued is measured in internal/faults.
func TestFault2DeadWorkersTask(t *testing.T) {
	t.Parallel()
	at := redistest.Start(t).Addr()
	rdb := connect(t, at)
	require.NoError(t, rawEnqueue(t, rdb, "raw"))
	die(t, rdb, "raw")
	require.ErrorIs(t, rawEnqueue(t, rdb, "raw"), asynq.ErrTaskIDConflict)
	require.Error(t, asynq.NewInspectorFromRedisClient(rdb).RunTask(tasks.QueuePoll, "raw"), "nobody can have it run")
	var ran atomic.Bool
	stop := rawServer(t, connect(t, at), asynq.Config{}, func(context.Context, *asynq.Task) error { ran.Store(true); return nil })
	require.NoError(t, rawEnqueue(t, rdb, "another"))
	eventually(t, func() bool { return rawState(t, rdb, "another") == "missing" && ran.Load() }, "a server is at work")
	require.Equal(t, "active", rawState(t, rdb, "raw"), "and leaves it alone")
	stop()

	client := queue.NewClient(rdb)
	task := poll("job_a")
	require.NoError(t, client.Enqueue(t.Context(), task))
	die(t, rdb, task.ID())
	handled := make(chan tasks.Task, 1)
	serving(t, queue.ServersConfig{Client: connect(t, at), Handler: handlerFunc(func(_ context.Context, task tasks.Task) orchestrator.Outcome {
		handled <- task
		return orchestrator.Done
	})})
	task.Gen++
	require.NoError(t, client.Enqueue(t.Context(), task))
	require.Equal(t, task.Gen, await(t, handled).Gen)
}

// TestFault3TimeoutRunsTwice lets a task's time run out while its handler goes
// on. Easel's tasks are given more time than any handler takes; what runs twice
// at once all the same is fenced by the record
// (TestTaskDeliveredTwiceAtOnce in pkg/orchestrator).
func TestFault3TimeoutRunsTwice(t *testing.T) {
	t.Parallel()
	at := redistest.Start(t).Addr()
	rdb := connect(t, at)
	release := make(chan struct{})
	var running, most atomic.Int32
	stop := rawServer(t, connect(t, at), asynq.Config{RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }},
		func(context.Context, *asynq.Task) error {
			most.Store(max(most.Load(), running.Add(1)))
			<-release
			running.Add(-1)
			return nil
		})
	require.NoError(t, rawEnqueue(t, rdb, "raw", asynq.Timeout(time.Second)))
	eventually(t, func() bool { return most.Load() >= 2 }, "raw asynq runs it a second time beside the first")
	close(release)
	stop()

	client := queue.NewClient(rdb)
	require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
	info := taskInfo(t, rdb, poll("job_a"))
	require.GreaterOrEqual(t, info.Timeout, 10*time.Minute)
	require.True(t, info.Deadline.IsZero())
}

// TestFault4LastTryIsArchived has errors that are no failure end a task whose
// tries are used up, and the recoverer end one without telling.
func TestFault4LastTryIsArchived(t *testing.T) {
	t.Parallel()
	at := redistest.Start(t).Addr()
	rdb := connect(t, at)
	busy := errors.New("busy")
	var told atomic.Int32
	cfg := asynq.Config{
		IsFailure:    func(err error) bool { return !errors.Is(err, busy) },
		ErrorHandler: asynq.ErrorHandlerFunc(func(context.Context, *asynq.Task, error) { told.Add(1) }),
	}
	stop := rawServer(t, connect(t, at), cfg, func(context.Context, *asynq.Task) error { return busy })
	require.NoError(t, rawEnqueue(t, rdb, "no failure", asynq.MaxRetry(0)))
	eventually(t, func() bool { return rawState(t, rdb, "no failure") == "archived" }, "it was nobody's failure, and is archived")
	stop()
	told.Store(0)
	require.NoError(t, rawEnqueue(t, rdb, "its worker died", asynq.MaxRetry(0)))
	die(t, rdb, "its worker died")
	minuteLater(t, rdb, "its worker died")
	stop = rawServer(t, connect(t, at), cfg, func(context.Context, *asynq.Task) error { return nil })
	eventually(t, func() bool { return rawState(t, rdb, "its worker died") == "archived" }, "its worker's death ends it")
	require.Zero(t, told.Load(), "and nobody is told")
	stop()

	client := queue.NewClient(rdb)
	require.NoError(t, client.Enqueue(t.Context(), poll("job_dead")))
	die(t, rdb, poll("job_dead").ID())
	minuteLater(t, rdb, poll("job_dead").ID())
	var tries atomic.Int32
	serving(t, queue.ServersConfig{Client: connect(t, at), Handler: handlerFunc(func(_ context.Context, task tasks.Task) orchestrator.Outcome {
		if task.JobID == "job_dead" {
			return orchestrator.Done
		}
		tries.Add(1)
		return orchestrator.Retry(orchestrator.ErrUnavailable, 0)
	})})
	awaitState(t, client, poll("job_dead"), orchestrator.TaskRetry)
	require.Zero(t, taskInfo(t, rdb, poll("job_dead")).Retried, "a crash consumes no try")
	require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
	eventually(t, func() bool { return tries.Load() > 3 }, "what is nobody's failure is tried again and again")
	require.Zero(t, taskInfo(t, rdb, poll("job_a")).Retried)
}

// TestFault5CancelIsNoEnd cancels a running task as asynq does. It comes back,
// whatever its handler has answered; the job's record decides what it does then.
func TestFault5CancelIsNoEnd(t *testing.T) {
	t.Parallel()
	at := redistest.Start(t).Addr()
	rdb := connect(t, at)
	started := make(chan struct{}, 10)
	stop := rawServer(t, connect(t, at), asynq.Config{}, func(ctx context.Context, _ *asynq.Task) error {
		started <- struct{}{}
		<-ctx.Done()
		return asynq.SkipRetry
	})
	require.NoError(t, rawEnqueue(t, rdb, "raw"))
	await(t, started)
	cancelUntil(t, rdb, "raw", func() bool { return rawState(t, rdb, "raw") == "retry" })
	stop()

	client := queue.NewClient(rdb)
	var runs atomic.Int32
	serving(t, queue.ServersConfig{Client: connect(t, at), Handler: handlerFunc(func(ctx context.Context, _ tasks.Task) orchestrator.Outcome {
		if runs.Add(1) == 1 { // the job is canceled meanwhile
			started <- struct{}{}
			<-ctx.Done()
		}
		return orchestrator.Done // its record says so
	})})
	require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
	await(t, started)
	cancelUntil(t, rdb, poll("job_a").ID(), func() bool { return rawState(t, rdb, poll("job_a").ID()) == "retry" })
	require.Zero(t, taskInfo(t, rdb, poll("job_a")).Retried, "it was nobody's failure")
	require.NoError(t, client.RunNow(t.Context(), poll("job_a")))
	awaitState(t, client, poll("job_a"), orchestrator.TaskMissing)
	require.EqualValues(t, 2, runs.Load())
}

// cancelUntil repeats the cancel: asynq's signal gets lost now and then, which is
// part of the fault.
func cancelUntil(t *testing.T, rdb *redis.Client, id string, done func() bool) {
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	eventually(t, func() bool {
		require.NoError(t, inspector.CancelProcessing(id))
		return done()
	}, "the cancel arrives")
}

// TestFault6EnqueueAnswersWrongly lets Redis hang while a task is enqueued. It
// gets to the command twice, since the client repeats it: raw asynq says that
// somebody else has taken the id.
func TestFault6EnqueueAnswersWrongly(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	impatient := func() *redis.Client {
		rdb := redis.NewClient(&redis.Options{
			Addr: server.Addr(), ReadTimeout: 200 * time.Millisecond, MaxRetries: 20, MinRetryBackoff: time.Millisecond, MaxRetryBackoff: 10 * time.Millisecond,
		})
		t.Cleanup(func() { _ = rdb.Close() })
		require.NoError(t, rdb.Ping(t.Context()).Err())
		return rdb
	}
	rdb := impatient()
	raw, client := asynq.NewClientFromRedisClient(rdb), queue.NewClient(impatient())
	require.NoError(t, enqueueRaw(t, raw, "before"), "its scripts are known")
	require.NoError(t, client.Enqueue(t.Context(), poll("job_before")))
	server.Pause()
	rawAnswer, answer := make(chan error, 1), make(chan error, 1)
	// Who gets no answer asks again.
	go func() { rawAnswer <- heard(func() error { return enqueueRaw(t, raw, "raw") }) }()
	go func() { answer <- heard(func() error { return client.Enqueue(t.Context(), poll("job_a")) }) }()
	time.Sleep(time.Second) // longer than either waits for one answer: that is the fault
	server.Resume()
	require.ErrorIs(t, await(t, rawAnswer), asynq.ErrTaskIDConflict, "raw asynq denies what it has done")
	require.NoError(t, await(t, answer), "Easel does not")
	require.Equal(t, "pending", rawState(t, rdb, "raw"))
	awaitState(t, client, poll("job_a"), orchestrator.TaskPending)
}

// heard repeats a call until Redis has answered.
func heard(call func() error) error {
	for {
		if err := call(); err == nil || errors.Is(err, asynq.ErrTaskIDConflict) {
			return err
		}
	}
}

// TestFault7FreedID enqueues a task again that is done. Its id is free: raw asynq
// runs it again. So does Easel's queue, and the job's record makes nothing of it
// (TestPassedStepDoesNothing in pkg/orchestrator).
func TestFault7FreedID(t *testing.T) {
	t.Parallel()
	at := redistest.Start(t).Addr()
	rdb := connect(t, at)
	var runs atomic.Int32
	stop := rawServer(t, connect(t, at), asynq.Config{}, func(context.Context, *asynq.Task) error { runs.Add(1); return nil })
	for n := range int32(2) {
		require.NoError(t, rawEnqueue(t, rdb, "raw"), "no conflict")
		eventually(t, func() bool { return runs.Load() == n+1 && rawState(t, rdb, "raw") == "missing" }, "it runs")
	}
	stop()

	client := queue.NewClient(rdb)
	record := map[int64]bool{} // steps that were taken
	var acted atomic.Int32
	seen := make(chan struct{}, 2)
	serving(t, queue.ServersConfig{Client: connect(t, at), Handler: handlerFunc(func(_ context.Context, task tasks.Task) orchestrator.Outcome {
		if !record[task.Step] {
			record[task.Step] = true
			acted.Add(1)
		}
		seen <- struct{}{}
		return orchestrator.Done
	})})
	for range 2 {
		require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
		await(t, seen)
		awaitState(t, client, poll("job_a"), orchestrator.TaskMissing)
	}
	require.EqualValues(t, 1, acted.Load(), "a task carries its step, so that who has taken it can tell")
}

// TestFault8Archive fills the archive beyond what asynq keeps, and runs an
// archived task: it gets one try. Easel never runs one; it makes a task of a new
// step, and keeps error and history in the record.
func TestFault8Archive(t *testing.T) {
	t.Parallel()
	at := redistest.Start(t).Addr()
	rdb := connect(t, at)
	inspector := asynq.NewInspectorFromRedisClient(rdb)
	var runs atomic.Int32
	stop := rawServer(t, connect(t, at), asynq.Config{RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 }},
		func(context.Context, *asynq.Task) error { runs.Add(1); return errors.New("busy") })
	require.NoError(t, rawEnqueue(t, rdb, "raw", asynq.MaxRetry(2)))
	eventually(t, func() bool { return rawState(t, rdb, "raw") == "archived" && runs.Load() == 3 }, "its tries are used up")
	require.NoError(t, inspector.RunTask(tasks.QueuePoll, "raw"))
	eventually(t, func() bool { return rawState(t, rdb, "raw") == "archived" && runs.Load() == 4 }, "it is given one more, not three")
	stop()

	client := queue.NewClient(rdb)
	require.NoError(t, client.Enqueue(t.Context(), poll("job_failed")))
	stop = serving(t, queue.ServersConfig{Client: connect(t, at), Handler: handlerFunc(func(context.Context, tasks.Task) orchestrator.Outcome {
		return orchestrator.Archive(errors.New("refused"))
	})})
	awaitState(t, client, poll("job_failed"), orchestrator.TaskArchived)
	stop()
	require.NoError(t, client.RunNow(t.Context(), poll("job_failed")))
	awaitState(t, client, poll("job_failed"), orchestrator.TaskArchived)
	require.ErrorIs(t, client.Enqueue(t.Context(), poll("job_failed")), orchestrator.ErrTaskTaken, "so that its gen is raised")

	const kept = 10_000
	pipe := rdb.Pipeline()
	for i := range kept + 50 {
		id := fmt.Sprintf("old-%d", i)
		pipe.HSet(t.Context(), "asynq:{poll}:t:"+id, "state", "archived", "msg", "")
		pipe.ZAdd(t.Context(), "asynq:{poll}:archived", redis.Z{Score: float64(time.Now().Unix() - 1000), Member: id})
	}
	_, err := pipe.Exec(t.Context())
	require.NoError(t, err)
	require.NoError(t, rawEnqueue(t, rdb, "one more", asynq.ProcessIn(time.Hour)))
	require.NoError(t, inspector.ArchiveTask(tasks.QueuePoll, "one more"))
	size, err := rdb.ZCard(t.Context(), "asynq:{poll}:archived").Result()
	require.NoError(t, err)
	require.Less(t, size, int64(kept+1), "raw asynq forgets the oldest without a word")
	removed, err := queue.NewInspector(rdb).TrimArchive(t.Context(), 500*time.Second)
	require.NoError(t, err)
	require.Greater(t, removed, kept-100, "Easel keeps the archive short itself, so that asynq never trims")
}

// TestFault9MissingHash deletes one task's hash, as an eviction does: asynq can
// say nothing of the queue any more.
func TestFault9MissingHash(t *testing.T) {
	t.Parallel()
	rdb := connect(t, redistest.Start(t).Addr())
	client, inspector := queue.NewClient(rdb), queue.NewInspector(rdb)
	for _, job := range []string{"job_a", "job_b"} {
		require.NoError(t, client.Enqueue(t.Context(), poll(job)))
	}
	require.NoError(t, rdb.Del(t.Context(), "asynq:{poll}:t:"+poll("job_a").ID()).Err())
	_, err := asynq.NewInspectorFromRedisClient(rdb).GetQueueInfo(tasks.QueuePoll)
	require.Error(t, err)
	require.True(t, strings.Contains(err.Error(), "nil") || strings.Contains(err.Error(), "arithmetic"), err)

	require.EqualValues(t, 2, statsOf(t, inspector, tasks.QueuePoll).Size[orchestrator.TaskPending], "Easel counts by itself")
	ghosts, err := inspector.Ghosts(t.Context())
	require.NoError(t, err)
	require.Len(t, ghosts, 1)
	removed, err := inspector.Repair(t.Context(), ghosts)
	require.NoError(t, err)
	require.Equal(t, 1, removed)
	_, err = asynq.NewInspectorFromRedisClient(rdb).GetQueueInfo(tasks.QueuePoll)
	require.NoError(t, err)
}
