package queue_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestClocksApart runs tasks on a machine whose clock is an hour ahead of the
// time that it is told, and on one that is an hour behind: everything that
// others read is in the time that they were told.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{"ahead": -time.Hour, "behind": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, func(t *testing.T, connect func() *redis.Client) {
				rdb, now := connect(), func() time.Time { return time.Now().Add(off) }
				client := queue.NewClient(connect(), queue.WithClock(now))
				due := now().Add(3 * time.Second)
				require.NoError(t, client.Enqueue(t.Context(), tasks.Task{
					Kind: tasks.KindPoll, JobID: "job_1", Step: 1, Queue: tasks.QueuePoll, Delay: 3 * time.Second,
				}))
				requireScore(t, rdb, "asynq:{poll}:scheduled", due)

				handled, answer := make(chan time.Time), make(chan struct{})
				stop := serving(t, queue.ServersConfig{Client: connect(), Now: now, Handler: handlerFunc(
					func(context.Context, tasks.Task) orchestrator.Outcome {
						handled <- now()
						<-answer
						return orchestrator.Retry(context.DeadlineExceeded, time.Minute)
					})})
				require.Greater(t, (<-handled).Sub(due), -1500*time.Millisecond, "asynq counts in whole seconds")
				requireScore(t, rdb, "asynq:{poll}:lease", now().Add(30*time.Second))
				close(answer)
				require.Eventually(t, func() bool {
					return rdb.ZCard(t.Context(), "asynq:{poll}:retry").Val() == 1
				}, patience, 10*time.Millisecond)
				requireScore(t, rdb, "asynq:{poll}:retry", now().Add(time.Minute))
				stop()
			})
		})
	}
}

// requireScore reads the time that stands beside the only task of a set.
func requireScore(t *testing.T, rdb *redis.Client, set string, want time.Time) {
	t.Helper()
	found, err := rdb.ZRangeWithScores(t.Context(), set, 0, -1).Result()
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.WithinDuration(t, want, time.Unix(int64(found[0].Score), 0), 10*time.Second)
}
