package orchestrator

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// finishedUnder runs a synchronous job to its end under a retention.
func finishedUnder(t *testing.T, r Retention) (*world, *tasks.Job) {
	w := newWorld(t, atOnce)
	w.open(func(cfg *Config) { cfg.Retention = r })
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, job.State)
	return w, job
}

func (w *world) artifactsOf(id string) (n int) {
	for key := range w.artifacts.files {
		if strings.HasPrefix(key, id+"/1/0") {
			n++
		}
	}
	return n
}

func TestPurgeKeepsArtifactsUnlessConfigured(t *testing.T) {
	t.Parallel()
	w, job := finishedUnder(t, Retention{Jobs: time.Hour})
	w.now = job.PurgeAt.Add(-time.Second)
	w.engine.purge(context.Background())
	require.Contains(t, w.store.records, job.ID, "not before its time")
	w.now = job.PurgeAt
	w.engine.purge(context.Background())
	require.NotContains(t, w.store.records, job.ID)
	require.Equal(t, 1, w.artifactsOf(job.ID))
}

func TestArtifactsExpireBeforeTheirRecord(t *testing.T) {
	t.Parallel()
	w, job := finishedUnder(t, Retention{Jobs: 2 * time.Hour, Artifacts: time.Hour})
	require.Equal(t, job.FinishedAt.Add(time.Hour), job.PurgeAt)
	w.now = job.PurgeAt
	w.engine.purge(context.Background())
	job = w.get(job.ID)
	require.Empty(t, job.Result.Artifacts)
	require.Equal(t, "artifacts_expired", job.Warnings[0].Code)
	require.Zero(t, w.artifactsOf(job.ID))
	require.Equal(t, job.FinishedAt.Add(2*time.Hour), job.PurgeAt)
	w.now = job.PurgeAt
	w.engine.purge(context.Background())
	require.NotContains(t, w.store.records, job.ID)
}

// TestWhatOwesIsNotPurged keeps a canceled job whose submission is still alive.
func TestWhatOwesIsNotPurged(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending)
	job := w.accept(Entry{Draft: draft()})
	w.step()
	_, err := w.cancel(job.ID)
	require.NoError(t, err)
	require.True(t, w.get(job.ID).PurgeAt.IsZero())
}
