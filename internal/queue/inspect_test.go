package queue_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func statsOf(t *testing.T, inspector *queue.Inspector, name string) queue.Stats {
	t.Helper()
	all, err := inspector.Stats(t.Context())
	require.NoError(t, err)
	require.Len(t, all, len(tasks.Queues))
	for i, stats := range all {
		require.Equal(t, tasks.Queues[i], stats.Queue)
		if stats.Queue == name {
			return stats
		}
	}
	t.Fatalf("no stats of %s", name)
	return queue.Stats{}
}

func TestStats(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb := connect()
		client, inspector := queue.NewClient(rdb, queue.WithRetention(time.Hour)), queue.NewInspector(rdb)
		empty := statsOf(t, inspector, tasks.QueuePoll)
		require.Zero(t, empty.Size[orchestrator.TaskPending])
		require.Zero(t, empty.Latency)
		require.False(t, empty.Paused)

		serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(endIn), ShutdownTimeout: time.Millisecond})
		for _, state := range []orchestrator.TaskState{
			orchestrator.TaskRetry, orchestrator.TaskActive, orchestrator.TaskArchived, orchestrator.TaskCompleted,
		} {
			require.NoError(t, client.Enqueue(t.Context(), poll(string(state))))
			awaitState(t, client, poll(string(state)), state)
		}
		require.NoError(t, asynq.NewInspectorFromRedisClient(rdb).PauseQueue(tasks.QueuePoll))
		later := poll("job_later")
		later.Delay = time.Hour
		for _, task := range []tasks.Task{poll("job_a"), poll("job_b"), later} {
			require.NoError(t, client.Enqueue(t.Context(), task))
		}
		since := time.Now().Add(-42 * time.Second).UnixNano()
		require.NoError(t, rdb.HSet(t.Context(), "asynq:{poll}:t:"+poll("job_a").ID(), "pending_since", since).Err())

		stats := statsOf(t, inspector, tasks.QueuePoll)
		require.Equal(t, map[orchestrator.TaskState]int64{
			orchestrator.TaskPending: 2, orchestrator.TaskActive: 1, orchestrator.TaskScheduled: 1,
			orchestrator.TaskRetry: 1, orchestrator.TaskArchived: 1, orchestrator.TaskCompleted: 1,
		}, stats.Size)
		require.True(t, stats.Paused)
		require.InDelta(t, 42, stats.Latency.Seconds(), 20)
		require.EqualValues(t, 3, stats.Processed)
		require.EqualValues(t, 2, stats.Failed)
		require.False(t, statsOf(t, inspector, tasks.QueueDeliver).Paused)
	})
}

func TestTrimArchive(t *testing.T) {
	t.Parallel()
	const old, young = 250, 3
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb := connect()
		client, inspector := queue.NewClient(rdb), queue.NewInspector(rdb)
		task := func(i int) tasks.Task { return poll(fmt.Sprintf("job_%d", i)) }
		for i := range old + young {
			require.NoError(t, client.Enqueue(t.Context(), task(i)))
		}
		_, err := asynq.NewInspectorFromRedisClient(rdb).ArchiveAllPendingTasks(tasks.QueuePoll)
		require.NoError(t, err)
		before := float64(time.Now().Add(-queue.ArchiveAge - time.Hour).Unix())
		for i := range old {
			require.NoError(t, rdb.ZAdd(t.Context(), "asynq:{poll}:archived", redis.Z{Score: before, Member: task(i).ID()}).Err())
		}
		// One is gone already, another is no longer archived.
		require.NoError(t, rdb.Del(t.Context(), "asynq:{poll}:t:"+task(0).ID()).Err())
		require.NoError(t, rdb.HSet(t.Context(), "asynq:{poll}:t:"+task(1).ID(), "state", "pending").Err())

		removed, err := inspector.TrimArchive(t.Context(), queue.ArchiveAge)
		require.NoError(t, err)
		require.Equal(t, old, removed)
		require.EqualValues(t, young, statsOf(t, inspector, tasks.QueuePoll).Size[orchestrator.TaskArchived])
		awaitState(t, client, task(1), orchestrator.TaskPending)
		for _, i := range []int{0, 2, old - 1} {
			awaitState(t, client, task(i), orchestrator.TaskMissing)
		}
		awaitState(t, client, task(old), orchestrator.TaskArchived)
	})
}

func TestGhostsAreFoundAndRemoved(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb := connect()
		client, inspector := queue.NewClient(rdb, queue.WithRetention(time.Hour)), queue.NewInspector(rdb)
		stop := serving(t, queue.ServersConfig{Client: connect(), Handler: handlerFunc(endIn)})
		for _, state := range []orchestrator.TaskState{orchestrator.TaskRetry, orchestrator.TaskArchived, orchestrator.TaskCompleted} {
			require.NoError(t, client.Enqueue(t.Context(), poll(string(state))))
			awaitState(t, client, poll(string(state)), state)
		}
		stop()
		later := poll("scheduled")
		later.Delay = time.Hour
		for _, task := range []tasks.Task{poll("pending"), later, poll("job_healthy")} {
			require.NoError(t, client.Enqueue(t.Context(), task))
		}
		// A worker died with the task, and then the task was evicted.
		require.NoError(t, rdb.LPush(t.Context(), "asynq:{poll}:active", poll("active").ID()).Err())
		require.NoError(t, rdb.ZAdd(t.Context(), "asynq:{poll}:lease", redis.Z{Score: 1, Member: poll("active").ID()}).Err())

		var want []queue.Ghost
		for _, state := range []orchestrator.TaskState{
			orchestrator.TaskPending, orchestrator.TaskActive, orchestrator.TaskScheduled,
			orchestrator.TaskRetry, orchestrator.TaskArchived, orchestrator.TaskCompleted,
		} {
			id := poll(string(state)).ID()
			require.NoError(t, rdb.Del(t.Context(), "asynq:{poll}:t:"+id).Err())
			want = append(want, queue.Ghost{Queue: tasks.QueuePoll, State: state, ID: id})
		}
		ghosts, err := inspector.Ghosts(t.Context())
		require.NoError(t, err)
		require.ElementsMatch(t, want, ghosts)

		// Between the look and the repair one of them comes back to life.
		require.NoError(t, client.Enqueue(t.Context(), later))
		removed, err := inspector.Repair(t.Context(), ghosts)
		require.NoError(t, err)
		require.Equal(t, len(want)-1, removed)
		awaitState(t, client, later, orchestrator.TaskScheduled)
		awaitState(t, client, poll("job_healthy"), orchestrator.TaskPending)
		require.Zero(t, rdb.ZCard(t.Context(), "asynq:{poll}:lease").Val())

		ghosts, err = inspector.Ghosts(t.Context())
		require.NoError(t, err)
		require.Empty(t, ghosts)
	})
}

func TestGhostsBeyondOnePortion(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, connect func() *redis.Client) {
		rdb := connect()
		inspector := queue.NewInspector(rdb)
		for i := range 1200 {
			require.NoError(t, rdb.LPush(t.Context(), "asynq:{poll}:pending", fmt.Sprintf("job_%d:1:0", i)).Err())
		}
		ghosts, err := inspector.Ghosts(t.Context())
		require.NoError(t, err)
		require.Len(t, ghosts, 1200)
	})
}

func TestParseTaskID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]tasks.Task{
		"job_01J:3:0":         {JobID: "job_01J", Step: 3},
		"job_01J:revoke-2:1":  {JobID: "job_01J", Kind: tasks.KindRevoke, Step: 2, Gen: 1},
		"job_01J:deliver-9:4": {JobID: "job_01J", Kind: tasks.KindDeliver, Step: 9, Gen: 4},
	} {
		got, err := queue.ParseTaskID(id)
		require.NoError(t, err, id)
		require.Equal(t, want, got, id)
	}
	for _, id := range []string{"", "job", "job:", "job:3", "job:3:", ":3:0", "job:x:0", "job:3:0:0", "job:dream-3:0", "job:+3:0", "job:03:0", "job:revoke-:0"} {
		_, err := queue.ParseTaskID(id)
		require.Error(t, err, id)
	}
}

func TestParseTaskIDReadsWhatTasksWrite(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		task := tasks.Task{
			Kind:  rapid.SampledFrom(tasks.Kinds).Draw(t, "kind"),
			JobID: rapid.StringMatching(`job_[0-9A-Z]{26}`).Draw(t, "job"),
			Step:  rapid.Int64Min(0).Draw(t, "step"),
			Gen:   rapid.IntMin(0).Draw(t, "gen"),
		}
		got, err := queue.ParseTaskID(task.ID())
		require.NoError(t, err)
		if task.Kind.Main() {
			task.Kind = ""
		}
		require.Equal(t, task, got)
	})
}
