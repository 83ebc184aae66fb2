package queue_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// verbs lists what each verb does to a task that is in some state.
var verbs = []struct {
	state    orchestrator.TaskState
	enqueue  error                  // of the same id again
	runNow   orchestrator.TaskState // where the task stands after it
	removed  orchestrator.TaskState // where it stands after Delete
	postpone time.Duration
}{
	{state: orchestrator.TaskMissing, runNow: orchestrator.TaskMissing, removed: orchestrator.TaskMissing},
	{state: orchestrator.TaskPending, runNow: orchestrator.TaskPending, removed: orchestrator.TaskMissing},
	{state: orchestrator.TaskScheduled, runNow: orchestrator.TaskPending, removed: orchestrator.TaskMissing, postpone: time.Hour},
	{state: orchestrator.TaskRetry, runNow: orchestrator.TaskPending, removed: orchestrator.TaskMissing},
	{state: orchestrator.TaskActive, runNow: orchestrator.TaskActive, removed: orchestrator.TaskActive},
	{state: orchestrator.TaskArchived, enqueue: orchestrator.ErrTaskTaken, runNow: orchestrator.TaskArchived, removed: orchestrator.TaskMissing},
	{state: orchestrator.TaskCompleted, enqueue: orchestrator.ErrTaskTaken, runNow: orchestrator.TaskCompleted, removed: orchestrator.TaskMissing},
}

// endIn is a handler that leaves each task in the state its job is named for.
func endIn(ctx context.Context, task tasks.Task) orchestrator.Outcome {
	switch orchestrator.TaskState(task.JobID) {
	case orchestrator.TaskRetry:
		return orchestrator.Retry(errors.New("provider is busy"), time.Hour)
	case orchestrator.TaskArchived:
		return orchestrator.Archive(errors.New("prompt was refused"))
	case orchestrator.TaskActive:
		<-ctx.Done()
	}
	return orchestrator.Done
}

func TestVerbsInEachState(t *testing.T) {
	t.Parallel()
	actions := []struct {
		name string
		do   func(t *testing.T, c *queue.Client, task tasks.Task)
		want func(i int) orchestrator.TaskState
	}{
		{"run now", func(t *testing.T, c *queue.Client, task tasks.Task) {
			require.NoError(t, c.RunNow(t.Context(), task))
		}, func(i int) orchestrator.TaskState { return verbs[i].runNow }},
		{"delete", func(t *testing.T, c *queue.Client, task tasks.Task) {
			require.NoError(t, c.Delete(t.Context(), task))
		}, func(i int) orchestrator.TaskState { return verbs[i].removed }},
	}
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb := connect()
		client := queue.NewClient(rdb, queue.WithRetention(time.Hour))
		inspector := asynq.NewInspectorFromRedisClient(rdb)
		require.NoError(t, client.Register(t.Context()))

		for _, action := range actions {
			// Tasks end up in their states while a worker runs, and stay in
			// them while the queue is paused.
			stop := serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(endIn), ShutdownTimeout: time.Millisecond})
			for _, v := range verbs {
				task := poll(string(v.state))
				switch v.state {
				case orchestrator.TaskMissing, orchestrator.TaskPending:
					continue
				}
				task.Delay = v.postpone
				require.NoError(t, client.Enqueue(t.Context(), task))
				awaitState(t, client, task, v.state)
			}
			require.NoError(t, inspector.PauseQueue(tasks.QueuePoll))
			require.NoError(t, client.Enqueue(t.Context(), poll(string(orchestrator.TaskPending))))

			for i, v := range verbs {
				t.Run(action.name+" "+string(v.state), func(t *testing.T) {
					task := poll(string(v.state))
					awaitState(t, client, task, v.state)
					if v.state != orchestrator.TaskMissing {
						require.ErrorIs(t, client.Enqueue(t.Context(), task), v.enqueue)
						awaitState(t, client, task, v.state)
					}
					action.do(t, client, task)
					awaitState(t, client, task, action.want(i))
				})
			}
			stop()
			require.NoError(t, rdb.FlushAll(t.Context()).Err())
		}
	})
}

func TestEnqueueWritesWhatOperatorsRead(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb := connect()
		client := queue.NewClient(rdb, queue.WithTaskTimeout(7*time.Minute))
		task := tasks.Task{
			Kind: tasks.KindSubmit, JobID: "job_a", Step: 2, Gen: 1, Trace: "00-1-2-01",
			Queue: tasks.QueueSubmitHigh, Delay: 90 * time.Second,
		}
		require.NoError(t, client.Enqueue(t.Context(), task))

		info := taskInfo(t, rdb, task)
		require.Equal(t, "job:submit", info.Type)
		require.Equal(t, "job_a:2:1", info.ID)
		require.JSONEq(t, `{"job":"job_a","step":2,"gen":1,"trace":"00-1-2-01"}`, string(info.Payload))
		require.True(t, json.Valid(info.Payload))
		require.Equal(t, 7*time.Minute, info.Timeout)
		require.True(t, info.Deadline.IsZero())
		require.Zero(t, info.Retention)
		require.Equal(t, 1000, info.MaxRetry)
		require.InDelta(t, 90, nextRun(t, rdb, task, orchestrator.TaskScheduled).Seconds(), 2)
	})
}

func TestEnqueueOnDeadRedisIsUnavailable(t *testing.T) {
	t.Parallel()
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	client := queue.NewClient(rdb)

	require.ErrorIs(t, client.Enqueue(t.Context(), poll("job_a")), orchestrator.ErrUnavailable)
	_, err := client.State(t.Context(), poll("job_a"))
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	require.ErrorIs(t, client.RunNow(t.Context(), poll("job_a")), orchestrator.ErrUnavailable)
	require.ErrorIs(t, client.Delete(t.Context(), poll("job_a")), orchestrator.ErrUnavailable)
	require.ErrorIs(t, client.Register(t.Context()), orchestrator.ErrUnavailable)
}

func TestForgottenQueuesAreAnnouncedAgain(t *testing.T) {
	t.Parallel()
	announced := func(t *testing.T, rdb *redis.Client) []string {
		queues, err := rdb.SMembers(t.Context(), "asynq:queues").Result()
		require.NoError(t, err)
		return queues
	}
	t.Run("by the client that looks", func(t *testing.T) {
		t.Parallel()
		onEach(t, func(t *testing.T, connect func() *redis.Client) {
			rdb := connect()
			client := queue.NewClient(rdb)
			require.NoError(t, client.Enqueue(t.Context(), poll("job_a")))
			require.NoError(t, rdb.Del(t.Context(), "asynq:queues").Err())

			awaitState(t, client, poll("job_a"), orchestrator.TaskPending)
			require.ElementsMatch(t, tasks.Queues, announced(t, rdb))
		})
	})
	t.Run("by the servers", func(t *testing.T) {
		t.Parallel()
		onEach(t, func(t *testing.T, connect func() *redis.Client) {
			rdb := connect()
			serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(endIn)})
			for range 2 {
				require.Eventually(t, func() bool { return len(announced(t, rdb)) == len(tasks.Queues) }, patience, 5*time.Millisecond)
				require.NoError(t, rdb.Del(t.Context(), "asynq:queues").Err())
			}
		})
	})
}
