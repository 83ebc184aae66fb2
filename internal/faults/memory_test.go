package faults

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestRedisFull leaves Redis no memory for longer than a lease, with jobs on
// their way: new ones are refused, what providers answer is recorded all the
// same, and everything goes on once there is memory again.
func TestRedisFull(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	f.work(2)
	rdb, err := store.NewClient(f.redis.URL())
	require.NoError(t, err)
	t.Cleanup(func() { _ = rdb.Close() })
	ids := f.enqueue(120, func(i int) tasks.Draft {
		return noop([]string{``, `{"sync":false,"duration_ms":1500}`, `{"sync":false,"hang_ms":1500,"duration_ms":300}`}[i%3])
	})
	require.Eventually(t, func() bool {
		stats, err := f.provider.Stats()
		return err == nil && stats.Accepted >= 30
	}, patience, 10*time.Millisecond)
	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", "1mb").Err())

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = f.api.Enqueue(ctx, noop(""))
	requireStatus(t, err, http.StatusServiceUnavailable)
	time.Sleep(8 * time.Second) // longer than a lease: that is the fault

	require.NoError(t, rdb.ConfigSet(t.Context(), "maxmemory", "0").Err())
	jobs := f.awaitRest(ids, 2*patience)
	f.requireBoughtOnce(jobs)
	for id, job := range jobs {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		require.Len(t, job.Attempts, 1, id)
	}
}
