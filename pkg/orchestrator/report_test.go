package orchestrator

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// only is the one job of the world.
func (w *world) only() *tasks.Job {
	for id := range w.store.records {
		job, err := w.store.Load(context.Background(), id)
		require.NoError(w.t, err)
		return job
	}
	return nil
}

// TestProgressOfARunningCall sees what a provider that answers at once tells
// meanwhile: it moves forward only, and takes nothing from the lease.
func TestProgressOfARunningCall(t *testing.T) {
	t.Parallel()
	at := func(p float64) *float64 { return &p }
	answer := atOnce
	answer.before = func(w *world) {
		tell := func(p *float64) tasks.Progress {
			require.True(w.t, w.provider.report(context.Background(), p, "running"))
			return w.only().Progress
		}
		require.Nil(w.t, tell(nil).Percent, "not known is not nothing")
		require.InDelta(w.t, 12, *tell(at(12.7)).Percent, 0)
		version := w.only().Version
		require.InDelta(w.t, 12, *tell(at(12.9)).Percent, 0)
		require.InDelta(w.t, 12, *tell(at(3)).Percent, 0)
		require.Equal(w.t, version, w.only().Version, "what is no news is not written")
		require.Equal(w.t, tasks.StageProcessing, w.only().Progress.Stage)
		require.False(w.t, w.only().Touch.After(w.now.Add(w.engine.Timings.Lease)), "whoever dies now is missed soon")

		w.store.down = true
		require.True(w.t, w.provider.report(context.Background(), at(50), "running"), "nobody who can be asked has said no")
		w.store.down = false
	}
	w := newWorld(t, answer)
	w.provider.synchronous = true
	done := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, done.State)
	require.True(t, w.provider.report(context.Background(), at(99), "late"), "it is over")
	require.Equal(t, done.Version, w.only().Version, "what comes late changes nothing")
}

// TestCancelReachesARunningCall tells a provider that can stop that nobody
// wants the generation any more.
func TestCancelReachesARunningCall(t *testing.T) {
	t.Parallel()
	answer := reply{err: &classify.Error{Class: classify.Canceled, Message: "ended"}}
	answer.before = func(w *world) {
		_, err := w.cancel(w.only().ID)
		require.NoError(w.t, err)
		require.False(w.t, w.provider.report(context.Background(), nil, "running"))
	}
	w := newWorld(t, answer)
	done := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Canceled, done.State)
	require.Equal(t, tasks.SubmissionRejected, done.Submissions[0].State)
	require.False(t, done.HasOpen())
	require.Zero(t, total(w.paid))

	// One whose time is over is still wanted: its result is attached late.
	answer = atOnce
	answer.before = func(w *world) {
		w.now = w.now.Add(2 * time.Hour)
		w.engine.pass(context.Background())
		require.True(w.t, w.provider.report(context.Background(), nil, "running"))
	}
	w = newWorld(t, answer)
	done = w.run(w.accept(Entry{Draft: draft()}).ID)
	require.NotNil(t, done.Result)
}
