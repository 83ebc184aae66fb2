package orchestrator

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestRepeatedEvent posts one event again and again: it makes us ask once, and a
// second time only if the poll that it had asked for was lost.
func TestRepeatedEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending, pending, finished)
	id := w.accept(Entry{Draft: draft()}).ID
	w.step()
	tell := func(event string) *tasks.Job {
		require.NoError(t, w.engine.pollNow(context.Background(), w.get(id), event))
		return w.get(id)
	}
	polls := func() *queued { return w.queue.tasks[w.get(id).MainTask(0).ID()] }

	told := tell("evt_1")
	require.Equal(t, TaskPending, polls().state)
	again := tell("evt_1")
	require.Equal(t, told.Version, again.Version, "nothing new")
	polls().state, polls().due = TaskScheduled, w.now.Add(time.Hour)
	tell("evt_1")
	require.Equal(t, TaskPending, polls().state, "the poll that it had asked for was lost")

	w.step()
	require.Equal(t, TaskScheduled, polls().state)
	tell("evt_1")
	require.Equal(t, TaskScheduled, polls().state, "it was asked since")
	tell("evt_2")
	require.Equal(t, TaskPending, polls().state)
	for range 20 {
		tell("")
	}
	require.Len(t, w.get(id).Hints, 2, "events without an id cannot be told apart")
	require.Equal(t, tasks.Completed, w.run(id).State)
}

// TestNetBehindWebhooks: where a webhook is expected polls are rare, until a hint
// has come.
func TestNetBehindWebhooks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending, pending, finished)
	w.provider.webhooks = true
	w.open(func(cfg *Config) { cfg.Registry = hintedRegistry(t, w) })
	id := w.accept(Entry{Draft: draft()}).ID
	w.step()
	require.Equal(t, 10*time.Second, w.get(id).Due.Sub(w.now), "ten times the provider's first interval")
	require.NoError(t, w.engine.Hint(context.Background(), "lumen", id, id+"-1", nil, []byte(w.provider.remote[id+"-1"])))
	w.step()
	require.Equal(t, tasks.KindPoll, w.get(id).Kind)
	require.LessOrEqual(t, w.get(id).Due.Sub(w.now), 1100*time.Millisecond, "its API may be a little behind its webhook")
	require.Equal(t, tasks.Completed, w.run(id).State)

	w.open(func(cfg *Config) { cfg.PublicURL = "" })
	id = w.accept(Entry{Draft: draft()}).ID
	w.step()
	require.Less(t, w.get(id).Due.Sub(w.now), 2*time.Second, "nobody is told where to report")
}
