package orchestrator

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestLineMovesOnce puts thirty jobs before a provider that takes one at a time
// and two in a second: each is put off once at most, and they come in order.
func TestLineMovesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limits = providers.Limits{Rate: providers.Rate{Requests: 2, Per: time.Second}, MaxInFlight: 1}
	w.provider.synchronous = true
	for range 30 {
		w.provider.script = append(w.provider.script, atOnce)
	}
	w.open()
	var ids []string
	for range 30 {
		ids = append(ids, w.accept(Entry{Draft: draft()}).ID)
	}
	slices.Sort(ids) // accepted in the same millisecond, and run by their ids
	started := w.now
	var last time.Time
	for _, id := range ids {
		job := w.run(id)
		require.Equal(t, tasks.Completed, job.State)
		require.False(t, job.StartedAt.Before(last), "they come in order")
		last = job.StartedAt
	}
	submits := 0
	for _, kind := range w.steps {
		if kind == tasks.KindSubmit {
			submits++
		}
	}
	require.LessOrEqual(t, submits, 2*30, "once to be put off, once to be submitted")
	require.GreaterOrEqual(t, last.Sub(started), 14*time.Second)
}

// TestPausedProviderIsNotCalled pauses a provider with a job at it and one
// before it: what is bought is polled to its end, nothing more is bought, and
// nothing is spent on waiting.
func TestPausedProviderIsNotCalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending, finished)
	bought := w.accept(Entry{Draft: draft()})
	w.step()
	require.NoError(t, w.engine.PauseProvider(context.Background(), "lumen"))
	waits := w.accept(Entry{Draft: draft()})
	for range 20 {
		if job, err := w.engine.Find(context.Background(), bought.ID); err == nil && job.State == tasks.Completed {
			break
		}
		w.step()
	}
	job, err := w.engine.Find(context.Background(), bought.ID)
	require.NoError(t, err)
	require.Equal(t, tasks.Completed, job.State, "what is bought goes on")
	require.Len(t, w.paid, 1)
	job, err = w.engine.Find(context.Background(), waits.ID)
	require.NoError(t, err)
	require.Equal(t, tasks.Queued, job.State)
	require.Zero(t, job.Spent)
	require.Empty(t, job.Attempts)
	require.True(t, job.InLine)
	require.Greater(t, w.queue.next().due.Sub(w.now), 30*time.Minute, "it is not looked at again and again")
	require.Len(t, w.paid, 1)

	require.NoError(t, w.engine.ResumeProvider(context.Background(), "lumen"))
	w.provider.script = []reply{pending, finished}
	require.Equal(t, tasks.Completed, w.run(waits.ID).State)
	require.Len(t, w.paid, 2)
	require.ErrorIs(t, w.engine.PauseProvider(context.Background(), "nobody"), ErrNoProvider)
}

// TestPauseInsideTheTurn pauses the provider between a job's turn and its intent:
// the intent is not written.
func TestPauseInsideTheTurn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	w.limits = providers.Limits{MaxInFlight: 5}
	w.open()
	job := w.accept(Entry{Draft: draft()})
	turn, err := w.store.TakeTurn(context.Background(), job, w.limits)
	require.NoError(t, err)
	require.True(t, turn.Given)
	require.NoError(t, w.engine.PauseProvider(context.Background(), "lumen"))
	_, _, err = w.store.SaveIntent(context.Background(), job.Clone(), nil, w.limits)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, w.engine.ResumeProvider(context.Background(), "lumen"))
	require.Equal(t, tasks.Completed, w.run(job.ID).State)
}

// TestStrayRefusalShutsNobodyOut: a refusal that names no time, alone among
// submissions that are taken, concerns its own job only; one that does, all.
func TestStrayRefusalShutsNobodyOut(t *testing.T) {
	t.Parallel()
	gate := func(refusal reply) Gate {
		w := newWorld(t, pending, finished, pending, finished, pending, finished, refusal)
		for range 3 {
			w.run(w.accept(Entry{Draft: draft()}).ID)
		}
		w.accept(Entry{Draft: draft()})
		w.step()
		gates, err := w.store.Gates(context.Background(), []string{"lumen"})
		require.NoError(t, err)
		return gates["lumen"]
	}
	stray := reply{err: &classify.Error{Class: classify.RateLimit, Message: "slow down"}}
	require.Zero(t, gate(stray).Until)
	require.NotZero(t, gate(throttle).Until)
}

// TestLostTaskInLine loses the task of a job that stands in line: when its turn
// comes it gets another, long before it would be looked at by itself.
func TestLostTaskInLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	require.NoError(t, w.engine.PauseProvider(context.Background(), "lumen"))
	job := w.accept(Entry{Draft: draft()})
	w.step()
	waiting, err := w.engine.Find(context.Background(), job.ID)
	require.NoError(t, err)
	require.True(t, waiting.InLine)
	clear(w.queue.tasks)
	require.NoError(t, w.engine.ResumeProvider(context.Background(), "lumen"))
	done := w.run(job.ID)
	require.Equal(t, tasks.Completed, done.State)
	require.Less(t, done.FinishedAt.Sub(job.CreatedAt), time.Minute)
}

// TestCalledUpAndCutOff cuts the power inside the paid call of a job that was
// called up long before it would have looked by itself: it is looked up as soon
// as any other.
func TestCalledUpAndCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	require.NoError(t, w.engine.PauseProvider(context.Background(), "lumen"))
	job := w.accept(Entry{Draft: draft()})
	w.step()
	require.NoError(t, w.engine.ResumeProvider(context.Background(), "lumen"))
	for w.provider.submits == 0 {
		if w.queue.next() != nil && w.queue.next().state == TaskPending {
			w.cutAt, w.cutLate = w.calls+4, true // claim, turn, intent, and the call
		}
		w.step()
	}
	require.Equal(t, tasks.Submitting, w.get(job.ID).State)
	done := w.run(job.ID)
	require.Equal(t, tasks.Completed, done.State)
	require.Less(t, done.FinishedAt.Sub(job.CreatedAt), time.Minute)
	require.Equal(t, 1, total(w.paid))
}

// TestPlacesThatNobodyHolds are given back, and those that are held are not.
func TestPlacesThatNobodyHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending, pending)
	w.limits = providers.Limits{MaxInFlight: 9}
	w.open()
	job := w.accept(Entry{Draft: draft()})
	w.step()
	w.step()
	w.store.lines.places["lumen "+job.ID+":7"] = job.ID
	w.store.lines.places["lumen job_gone:1"] = "job_gone"
	require.Equal(t, 3, w.store.lines.held("lumen"))
	w.engine.checkPlaces(context.Background())
	require.Equal(t, 1, w.store.lines.held("lumen"))
}
