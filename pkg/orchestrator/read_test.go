package orchestrator

import (
	"context"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// fadingStore is away for the next few reads.
type fadingStore struct {
	Store
	away    int
	changed chan struct{}
}

func (s *fadingStore) Load(ctx context.Context, id string) (*tasks.Job, error) {
	if s.away > 0 {
		s.away--
		return nil, ErrUnavailable
	}
	return s.Store.Load(ctx, id)
}

func (s *fadingStore) Watch(string) (<-chan struct{}, func()) { return s.changed, func() {} }

// TestWatchOutlastsAnOutage: a store that is away when the job comes to rest
// takes nobody's stream away, and no caller's wait.
func TestWatchOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	store := &fadingStore{Store: w.store, changed: make(chan struct{}, 1)}
	w.open(func(cfg *Config) { cfg.Store = store })
	id := w.accept(Entry{Draft: draft()}).ID

	next, stop := iter.Pull2(w.engine.Watch(t.Context(), tasks.DefaultTenant, id, 0))
	defer stop()
	job, err, _ := next()
	require.NoError(t, err)
	require.Equal(t, tasks.Queued, job.State)

	w.run(id)
	store.away = 1
	store.changed <- struct{}{}
	job, err, _ = next()
	require.NoError(t, err)
	require.Equal(t, tasks.Completed, job.State)

	store.away = 1
	for _, err := range w.engine.Watch(t.Context(), tasks.DefaultTenant, id, 0) {
		require.ErrorIs(t, err, ErrUnavailable, "who has seen nothing is told at once")
	}
	require.Zero(t, store.away)
}
