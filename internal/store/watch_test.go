package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// serve starts a real server for a test of what only that can do.
func serve(t *testing.T, opts ...redistest.Option) (url string, server *redistest.Server) {
	server = redistest.Start(t, opts...)
	return server.URL(), server
}

// run serves the store's watches until the test ends, and returns when the
// subscription stands: it wakes every watcher.
func run(t *testing.T, s *store.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	ready, stop := s.Watch("any")
	defer stop()
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	receive(t, ready, "subscription")
}

func watchersWoken(f fixture) {
	run(f.T, f.store)
	job, other := newJob(f.store.Now()), newJob(f.store.Now())
	first, stopFirst := f.store.Watch(job.ID)
	second, stopSecond := f.store.Watch(job.ID)
	stranger, stopStranger := f.store.Watch(other.ID)
	defer stopStranger()

	_, err := f.store.Create(f.Context(), []*tasks.Job{job}, nil)
	require.NoError(f, err)
	receive(f.T, first, "creation")
	receive(f.T, second, "creation")

	f.save(job, func(j *tasks.Job) { j.State = tasks.Completed })
	receive(f.T, first, "save")
	receive(f.T, second, "save")

	stopFirst()
	stopFirst()
	require.NoError(f, f.store.Tombstone(f.Context(), job))
	receive(f.T, second, "tombstone")
	stopSecond()
	select {
	case <-first:
		require.Fail(f, "a watcher that was stopped is woken")
	case <-stranger:
		require.Fail(f, "a watcher is woken for another job")
	default:
	}

	// Values are dropped while one waits.
	lazy, stop := f.store.Watch(other.ID)
	defer stop()
	_, err = f.store.Create(f.Context(), []*tasks.Job{other}, nil)
	require.NoError(f, err)
	for range 20 {
		f.save(other, func(*tasks.Job) {})
	}
	receive(f.T, lazy, "the latest of many saves")
}

func TestWatchAcrossRestart(t *testing.T) {
	t.Parallel()
	url, server := serve(t, redistest.AOF("always"))
	s := openStore(t, store.Config{URL: url})
	f := fixture{t, s, newClient(t, url)}
	run(t, s)
	job := f.create()
	changed, stop := s.Watch(job.ID)
	defer stop()

	for range 2 {
		server.Kill()
		server.Restart()
		receive(t, changed, "events may have been missed while Redis was away")
		// The wake-up means that the new subscription stands.
		f.save(job, func(*tasks.Job) {})
		receive(t, changed, "a save after the restart")
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	url, server := serve(t)
	before := goleak.IgnoreCurrent()
	s, err := store.Open(t.Context(), store.Config{URL: url})
	require.NoError(t, err)
	for _, down := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		ready, stop := s.Watch("any")
		go func() { ended <- s.Run(ctx) }()
		receive(t, ready, "subscription")
		stop()
		if down {
			server.Kill()
		}
		cancel()
		select {
		case err := <-ended:
			require.NoError(t, err)
		case <-time.After(20 * time.Second):
			require.Fail(t, "Run does not end")
		}
	}
	require.NoError(t, s.Close())
	goleak.VerifyNone(t, before)
}
