package orchestrator

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// memoryLedger lets a doctor look through the store in memory.
type memoryLedger struct {
	*memoryStore
	held time.Time
}

func (l *memoryLedger) Audit(context.Context, func(Drift)) (int, error)     { return 0, nil }
func (l *memoryLedger) Mend(context.Context, Drift) (bool, error)           { return false, nil }
func (l *memoryLedger) Missing(context.Context, []string) ([]string, error) { return nil, nil }

func (l *memoryLedger) Owing(_ context.Context, look func([]string) error) error {
	return look(slices.Sorted(maps.Keys(l.open)))
}

func (l *memoryLedger) HoldSubmits(context.Context) (time.Time, error) {
	if l.held.IsZero() {
		l.held = l.world.now
	}
	return l.held, nil
}

func (l *memoryLedger) ReleaseSubmits(context.Context) error {
	l.held = time.Time{}
	return nil
}

// snapshot is a backup of store and queue; the provider goes on meanwhile.
type snapshot struct {
	records  map[string][]byte
	open     map[string]time.Time
	requests map[string]tasks.Request
	tasks    map[string]queued
}

func (w *world) backup() snapshot {
	s := snapshot{maps.Clone(w.store.records), maps.Clone(w.store.open), maps.Clone(w.store.requests), map[string]queued{}}
	for id, q := range w.queue.tasks {
		s.tasks[id] = *q
	}
	return s
}

func (w *world) restore(s snapshot) {
	w.store.records, w.store.open, w.store.requests = maps.Clone(s.records), maps.Clone(s.open), maps.Clone(s.requests)
	w.queue.tasks = map[string]*queued{}
	for id, q := range s.tasks {
		w.queue.tasks[id] = &q
	}
	w.open()
}

// TestAfterRestore takes a backup, lets the job go on to its end, restores the
// backup and has the doctor come: whatever was bought in between is found or
// held, and nothing is bought a second time.
func TestAfterRestore(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		script []reply // of the life that is lost
		again  []reply // what is answered after the restore, before all is done
		until  int     // steps before the backup
		finds  bool
		ends   tasks.State
		bought map[int]int // by attempt, all in all
	}{
		"queued, then bought":                   {[]reply{pending, finished}, nil, 0, true, tasks.Completed, map[int]int{1: 1}},
		"queued, then bought twice":             {[]reply{pending, broken, pending, finished}, []reply{broken}, 0, true, tasks.Completed, map[int]int{1: 1, 2: 1}},
		"queued, refused, then bought":          {[]reply{busy, pending, finished}, nil, 0, true, tasks.Completed, map[int]int{2: 1}},
		"accepted, then failed and bought anew": {[]reply{pending, broken, pending, finished}, []reply{broken}, 1, true, tasks.Completed, map[int]int{1: 1, 2: 1}},
		"queued, and nobody can be asked":       {[]reply{pending, finished}, nil, 0, false, tasks.Unresolved, map[int]int{1: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.script...)
			w.provider.finds = test.finds
			w.open()
			job := w.accept(Entry{Draft: draft()})
			for range test.until {
				w.step()
			}
			kept := w.backup()
			require.Equal(t, tasks.Completed, w.run(job.ID).State)
			require.Empty(t, w.provider.script)

			w.restore(kept)
			w.now, w.provider.script = w.now.Add(time.Minute), test.again
			ledger := &memoryLedger{memoryStore: w.store}
			doctor := &Doctor{Engine: w.engine, Ledger: ledger}
			r, err := doctor.AfterRestore(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, r.Doubted)
			require.True(t, ledger.held.IsZero(), "paid submits resume")
			again, err := doctor.AfterRestore(t.Context()) // as if it had been cut off
			require.NoError(t, err)
			require.Equal(t, 1, again.Doubted)

			ended := w.run(job.ID)
			require.Equal(t, test.ends, ended.State, "%+v", ended.Error)
			for attempt, n := range test.bought {
				require.Equal(t, n, w.paid[clientID(job.ID, attempt)], "attempt %d", attempt)
			}
			require.Len(t, w.paid, len(test.bought))
			if test.ends == tasks.Unresolved {
				require.Equal(t, "restored", ended.Error.Code)
			}
		})
	}
}

// TestAfterRestoreNothingWasBought: what the provider does not know is bought
// once no call of before can be under way any more, and not sooner.
func TestAfterRestoreNothingWasBought(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.lag = time.Minute
	job := w.accept(Entry{Draft: draft()})
	since := w.now
	r, err := (&Doctor{Engine: w.engine, Ledger: &memoryLedger{memoryStore: w.store}}).AfterRestore(t.Context())
	require.NoError(t, err)
	require.Equal(t, Restoration{Since: since, Doubted: 1, Asking: 1}, *r)
	for len(w.paid) == 0 {
		w.step()
	}
	require.GreaterOrEqual(t, w.now.Sub(since), w.engine.Timings.SubmitTimeout+w.engine.Timings.Slack+w.provider.lag)
	ended := w.run(job.ID)
	require.Equal(t, tasks.Completed, ended.State)
	require.Equal(t, map[string]int{clientID(job.ID, 1): 1}, w.paid)
	require.True(t, ended.RestoredAt.IsZero())
}

// TestAfterRestoreResolved: what an operator knows not to exist is bought, and
// the doubt is gone.
func TestAfterRestoreResolved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	w.provider.finds = false
	w.open()
	job := w.accept(Entry{Draft: draft()})
	later := w.accept(Entry{Draft: func() tasks.Draft {
		d, at := draft(), w.now.Add(time.Hour)
		d.RunAt = &at
		return d
	}()})
	r, err := (&Doctor{Engine: w.engine, Ledger: &memoryLedger{memoryStore: w.store}}).AfterRestore(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, r.Held, "a job that is not due yet cannot have been submitted")
	_, err = w.engine.Resolve(t.Context(), tasks.DefaultTenant, job.ID, Resolution{Outcome: NotCreated}, 0)
	require.NoError(t, err)
	require.Equal(t, tasks.Completed, w.run(job.ID).State)
	require.Equal(t, tasks.Completed, w.run(later.ID).State)
	require.Equal(t, 1, w.paid[clientID(job.ID, 1)])
}
