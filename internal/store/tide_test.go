package store_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestTide restores data of an hour ago under processes that have seen newer
// data, and under one that has not; the latter is the first to write. All the
// same nobody may write an intent.
func TestTide(t *testing.T) {
	t.Parallel()
	url, server := serve(t, redistest.AOF("always"))
	noticed := make(chan struct{}, 8)
	open := func() fixture {
		return fixture{t, openStore(t, store.Config{URL: url, OnRestored: func(from, to time.Time) {
			require.True(t, to.Before(from))
			noticed <- struct{}{}
		}}), newClient(t, url)}
	}
	worker := open()
	job := worker.create()
	look := func(f fixture) {
		t.Helper()
		_, err := f.store.Overdue(t.Context(), 1, time.Second)
		require.NoError(t, err)
	}
	intend := func(f fixture) error {
		fresh, err := f.store.Load(t.Context(), job.ID)
		require.NoError(t, err)
		fresh.State = tasks.Submitting
		_, _, err = f.store.SaveIntent(t.Context(), fresh, nil, providers.Limits{})
		return err
	}
	hourAgo := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10)
	require.NoError(t, worker.redis.Set(t.Context(), "easel:tide", hourAgo, 0).Err())
	kept := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(kept, "aof"), os.DirFS(filepath.Join(server.Dir(), "appendonlydir"))))
	look(worker) // has seen the tide of now

	server.Kill()
	require.NoError(t, os.RemoveAll(filepath.Join(server.Dir(), "appendonlydir")))
	require.NoError(t, os.CopyFS(filepath.Join(server.Dir(), "appendonlydir"), os.DirFS(filepath.Join(kept, "aof"))))
	server.Restart()

	stranger := open() // starts after the restore, and raises the tide
	look(stranger)
	require.ErrorIs(t, intend(worker), orchestrator.ErrSubmitsHeld)
	receive(t, noticed, "the restore is noticed")
	require.ErrorIs(t, intend(stranger), orchestrator.ErrSubmitsHeld, "it holds for all")
	since, err := stranger.store.SubmitsHeld(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), since, time.Minute)
	var codes []string
	for _, w := range stranger.store.Check(t.Context()) {
		codes = append(codes, w.Code)
	}
	require.Contains(t, codes, store.WarningHeld)

	require.NoError(t, stranger.store.ReleaseSubmits(t.Context()))
	look(worker)
	server.Kill()
	server.Restart() // nothing is lost: nothing is noticed
	require.NoError(t, intend(worker))
	require.Empty(t, noticed)
}

// TestTideOfIdleTimes: that nobody was at work for long is no restore, and
// neither is a flushed server.
func TestTideOfIdleTimes(t *testing.T) {
	t.Parallel()
	url, server := serve(t, redistest.AOF("always"))
	f := fixture{t, openStore(t, store.Config{URL: url, OnRestored: func(time.Time, time.Time) { t.Error("nothing was restored") }}), newClient(t, url)}
	f.create()
	look := func() {
		t.Helper()
		_, err := f.store.Overdue(t.Context(), 1, time.Second)
		require.NoError(t, err)
	}
	hourAgo := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10)
	require.NoError(t, f.redis.Set(t.Context(), "easel:tide", hourAgo, 0).Err())
	look() // over a gap of an hour
	for range 2 {
		server.Kill()
		server.Restart()
		look()
	}
	require.NoError(t, f.redis.FlushAll(t.Context()).Err())
	server.Kill()
	server.Restart()
	look()
	since, err := f.store.SubmitsHeld(t.Context())
	require.NoError(t, err)
	require.Zero(t, since)
}

// TestTideIsComparedAtTheStart: what somebody noted elsewhere counts for a process
// that has seen nothing itself.
func TestTideIsComparedAtTheStart(t *testing.T) {
	t.Parallel()
	hourAgo := time.Now().Add(-time.Hour).Truncate(time.Millisecond).UTC()
	open := func(t *testing.T, told func(from, to time.Time)) fixture {
		url, _ := serve(t)
		return fixture{t, openStore(t, store.Config{URL: url, OnRestored: told}), newClient(t, url)}
	}
	setTide := func(f fixture, at time.Time) {
		require.NoError(f, f.redis.Set(f.Context(), "easel:tide", at.UnixMilli(), 0).Err())
	}
	compare := func(f fixture, seen time.Time) (held bool) {
		f.Helper()
		believed, err := f.store.CompareTide(f.Context(), seen)
		require.NoError(f, err)
		require.True(f, believed)
		since, err := f.store.SubmitsHeld(f.Context())
		require.NoError(f, err)
		return !since.IsZero()
	}
	t.Run("older data", func(t *testing.T) {
		t.Parallel()
		var told []time.Time
		f := open(t, func(from, to time.Time) { told = append(told, from, to) })
		f.create()
		setTide(f, hourAgo)
		seen := hourAgo.Add(30 * time.Minute)
		require.True(t, compare(f, seen))
		require.Equal(t, []time.Time{seen, hourAgo}, told)
		require.NoError(t, f.store.ReleaseSubmits(t.Context()))
		require.False(t, compare(f, seen), "the doctor has been there, and the data has come as far again")
	})
	t.Run("older data that somebody has gone on with", func(t *testing.T) {
		t.Parallel()
		f := open(t, nil)
		f.create()
		setTide(f, hourAgo)
		_, err := f.store.Overdue(t.Context(), 1, time.Second)
		require.NoError(t, err)
		require.False(t, compare(f, hourAgo.Add(5*time.Second)), "within what a crash may lose")
		require.True(t, compare(f, hourAgo.Add(30*time.Minute)))
	})
	t.Run("the same data", func(t *testing.T) {
		t.Parallel()
		f := open(t, nil)
		f.create()
		require.Zero(t, f.store.Tide(), "it has seen nothing yet")
		_, err := f.store.Overdue(t.Context(), 1, time.Second)
		require.NoError(t, err)
		require.False(t, compare(f, f.store.Tide()))
	})
	t.Run("new data", func(t *testing.T) {
		t.Parallel()
		f := open(t, nil)
		require.False(t, compare(f, f.store.Now()))
		name, err := f.store.Identity(t.Context())
		require.NoError(t, err)
		again, err := f.store.Identity(t.Context())
		require.NoError(t, err)
		require.Equal(t, name, again)
		require.NoError(t, f.redis.FlushAll(t.Context()).Err())
		other, err := f.store.Identity(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, name, other, "data that was begun anew has another name")
	})
	t.Run("a time that has yet to come", func(t *testing.T) {
		t.Parallel()
		f := open(t, nil)
		f.create()
		setTide(f, hourAgo)
		believed, err := f.store.CompareTide(t.Context(), time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.False(t, believed)
		since, err := f.store.SubmitsHeld(t.Context())
		require.NoError(t, err)
		require.Zero(t, since)
	})
	t.Run("one marks at a time", func(t *testing.T) {
		t.Parallel()
		f := open(t, nil)
		mine, err := f.store.TakeMark(t.Context(), time.Hour)
		require.NoError(t, err)
		require.True(t, mine)
		mine, err = f.store.TakeMark(t.Context(), time.Hour)
		require.NoError(t, err)
		require.False(t, mine)
	})
}
