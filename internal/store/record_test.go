package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func roundTrip(f fixture) {
	job := f.create(func(j *tasks.Job) {
		j.IdempotencyKey = "key"
		j.Submissions = []tasks.Submission{{Number: 1, State: tasks.SubmissionAccepted, RemoteID: "r"}}
	})
	loaded, err := f.store.Load(f.Context(), job.ID)
	require.NoError(f, err)
	require.Equal(f, job.Request.Metadata, loaded.Request.Metadata)
	require.JSONEq(f, string(job.Request.InputData), string(loaded.Request.InputData))
	loaded.Request.InputData = job.Request.InputData
	require.Equal(f, job, loaded)

	_, err = f.store.Load(f.Context(), "job_missing")
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
	_, err = f.store.Create(f.Context(), []*tasks.Job{job}, nil)
	require.ErrorIs(f, err, orchestrator.ErrConflict, "an id is given once")
}

func saveNeedsVersion(f fixture) {
	job := f.create()
	stale := job.Clone()
	before := f.store.Now().Truncate(time.Millisecond)
	f.save(job, func(j *tasks.Job) { j.State, j.ProviderID = tasks.Processing, "other" })
	require.EqualValues(f, 2, job.Version)
	require.False(f, job.UpdatedAt.Before(before))

	stale.Waits = 7
	fresh, err := f.store.Save(f.Context(), stale, nil)
	require.ErrorIs(f, err, orchestrator.ErrConflict)
	require.EqualValues(f, 2, fresh.Version)
	require.Equal(f, tasks.Processing, fresh.State)
	require.Equal(f, "other", fresh.ProviderID)
	require.Equal(f, job.Request.UserID, fresh.Request.UserID, "the request comes with the record")
	require.EqualValues(f, 1, stale.Version, "a save that failed changes nothing")

	stored, err := f.store.Load(f.Context(), job.ID)
	require.NoError(f, err)
	require.Zero(f, stored.Waits)
	require.Equal(f, job.UpdatedAt, stored.UpdatedAt)

	_, err = f.store.Save(f.Context(), newJob(f.store.Now()), nil)
	require.ErrorIs(f, err, orchestrator.ErrNotFound, "a missing record is not recreated")
	requireConsistent(f, f.Context(), f.redis)
}

func concurrentSaves(f fixture) {
	const workers, each = 50, 4
	id := f.create().ID
	var conflicts atomic.Int64
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			job, err := f.store.Load(f.Context(), id)
			for done := 0; done < each && err == nil; {
				job.Waits++
				var fresh *tasks.Job
				fresh, err = f.store.Save(f.Context(), job, nil)
				switch {
				case err == nil:
					done++
				case errors.Is(err, orchestrator.ErrConflict):
					conflicts.Add(1)
					job, err = fresh, nil
				}
			}
			if err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	job, err := f.store.Load(f.Context(), id)
	require.NoError(f, err)
	require.Equal(f, workers*each, job.Waits)
	require.EqualValues(f, 1+workers*each, job.Version)
	require.Positive(f, conflicts.Load(), "the workers never met")
}

func bodies(f fixture) {
	job := f.create()
	_, err := f.store.Save(f.Context(), job, map[int64][]byte{2: []byte("two"), 3: []byte("\x00three")})
	require.NoError(f, err)
	body, err := f.store.Body(f.Context(), job.ID, 3)
	require.NoError(f, err)
	require.Equal(f, []byte("\x00three"), body)

	_, err = f.store.Save(f.Context(), job, map[int64][]byte{2: nil})
	require.NoError(f, err)
	_, err = f.store.Body(f.Context(), job.ID, 2)
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
	_, err = f.store.Body(f.Context(), job.ID, 3)
	require.NoError(f, err)
}

func newerSchema(f fixture) {
	job := f.create()
	require.NoError(f, f.redis.HSet(f.Context(), "easel:job:"+job.ID, "sv", tasks.Schema+1, "rec", `{"id":17}`).Err())

	_, err := f.store.Load(f.Context(), job.ID)
	require.ErrorIs(f, err, orchestrator.ErrNewerSchema)
	touch := f.score("easel:open", job.ID)
	_, err = f.store.Claim(f.Context(), job.MainTask(0), 24*time.Hour)
	require.ErrorIs(f, err, orchestrator.ErrNewerSchema)
	require.Equal(f, touch, f.score("easel:open", job.ID), "what it owes is not ours to delay")

	job.Version = 7
	fresh, err := f.store.Save(f.Context(), job, nil)
	require.ErrorIs(f, err, orchestrator.ErrNewerSchema)
	require.Nil(f, fresh)
	raw, err := f.redis.HGet(f.Context(), "easel:job:"+job.ID, "rec").Result()
	require.NoError(f, err)
	require.Equal(f, `{"id":17}`, raw)

	other := f.create()
	page, err := f.store.List(f.Context(), orchestrator.Query{Tenant: job.Tenant})
	require.NoError(f, err)
	require.Equal(f, []string{other.ID}, ids(page.Jobs))
}

func claims(f fixture) {
	near := func(j *tasks.Job) { j.Step, j.Gen, j.Touch = 4, 2, f.store.Now().Add(time.Second) }
	for _, tc := range []struct {
		name   string
		with   func(*tasks.Job)
		task   tasks.Task
		pushed bool
	}{
		{"current", near, tasks.Task{Kind: tasks.KindSubmit, Step: 4, Gen: 2}, true},
		{"older step", near, tasks.Task{Kind: tasks.KindSubmit, Step: 3, Gen: 2}, false},
		{"older gen", near, tasks.Task{Kind: tasks.KindSubmit, Step: 4, Gen: 1}, false},
		{"idle lane", func(j *tasks.Job) { near(j); j.Kind = "" }, tasks.Task{Kind: tasks.KindSubmit, Step: 4, Gen: 2}, false},
		{"delivery", near, tasks.Task{Kind: tasks.KindDeliver, Step: 1}, true},
		{"revoke", near, tasks.Task{Kind: tasks.KindRevoke, Step: 1}, true},
	} {
		job := f.create(tc.with)
		tc.task.JobID = job.ID
		claimed, err := f.store.Claim(f.Context(), tc.task, time.Minute)
		require.NoError(f, err, tc.name)
		require.Equal(f, job.ID, claimed.ID, tc.name)
		require.Equal(f, job.Request.UserID, claimed.Request.UserID, tc.name)
		touch := f.score("easel:open", job.ID)
		if tc.pushed {
			require.WithinDuration(f, f.store.Now().Add(time.Minute), touch, 10*time.Second, tc.name)
		} else {
			require.True(f, touch.Equal(job.Touch.Truncate(time.Millisecond)), tc.name)
		}
	}

	far := f.create()
	_, err := f.store.Claim(f.Context(), far.MainTask(0), time.Second)
	require.NoError(f, err)
	require.WithinDuration(f, f.store.Now().Add(time.Second), f.score("easel:open", far.ID), 10*time.Second,
		"a claim is a lease, even where the job had been given more time")

	f.save(far, func(j *tasks.Job) { j.Touch = time.Time{} })
	_, err = f.store.Claim(f.Context(), far.MainTask(0), time.Second)
	require.NoError(f, err)
	require.Zero(f, f.score("easel:open", far.ID), "who owes nothing is not put into the index")

	_, err = f.store.Claim(f.Context(), tasks.Task{Kind: tasks.KindPoll, JobID: "job_missing"}, time.Second)
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
}

func touches(f fixture) {
	soon := f.create(func(j *tasks.Job) { j.Touch = f.store.Now() })
	late := f.create()
	idle := f.create(func(j *tasks.Job) { j.Touch = time.Time{} })
	require.NoError(f, f.store.Touch(f.Context(), []string{soon.ID, late.ID, idle.ID, "job_missing"}, time.Minute))
	require.WithinDuration(f, f.store.Now().Add(time.Minute), f.score("easel:open", soon.ID), 10*time.Second)
	require.True(f, f.score("easel:open", late.ID).Equal(late.Touch))
	requireConsistent(f, f.Context(), f.redis)

	require.NoError(f, f.store.Touch(f.Context(), nil, time.Minute))
	many := make([]string, 1201)
	for i := range many {
		many[i] = soon.ID
	}
	require.NoError(f, f.store.Touch(f.Context(), many, 2*time.Hour))
	require.True(f, f.score("easel:open", soon.ID).After(late.Touch))
}

func scriptsForgotten(f fixture) {
	forget := func() { require.NoError(f, f.redis.ScriptFlush(f.Context()).Err()) }
	jobs := []*tasks.Job{newJob(f.store.Now()), newJob(f.store.Now())}
	forget()
	_, err := f.store.Create(f.Context(), jobs, nil)
	require.NoError(f, err)
	job := jobs[0]
	for name, call := range map[string]func() error{
		"claim": func() error { _, err := f.store.Claim(f.Context(), job.MainTask(0), time.Second); return err },
		"save":  func() error { _, err := f.store.Save(f.Context(), job, nil); return err },
		"touch": func() error { return f.store.Touch(f.Context(), []string{job.ID}, time.Second) },
		"take":  func() error { _, err := f.store.Overdue(f.Context(), 1, time.Second); return err },
		"list":  func() error { _, err := f.store.List(f.Context(), orchestrator.Query{Tenant: job.Tenant}); return err },
	} {
		forget()
		require.NoError(f, call(), name)
	}
	forget()
	require.NoError(f, f.store.Tombstone(f.Context(), job))
	forget()
	require.NoError(f, f.store.Purge(f.Context(), job.ID))
	requireConsistent(f, f.Context(), f.redis)
}

func counts(f fixture) {
	got, err := f.store.Counts(f.Context())
	require.NoError(f, err)
	require.Zero(f, got.Open)
	require.Zero(f, got.OldestOverdue)
	require.Len(f, got.Jobs, len(tasks.States))

	f.create(func(j *tasks.Job) { j.Touch = f.store.Now().Add(-time.Hour) })
	job := f.create()
	f.save(job, func(j *tasks.Job) { j.State, j.Touch = tasks.Completed, time.Time{} })
	got, err = f.store.Counts(f.Context())
	require.NoError(f, err)
	require.EqualValues(f, 1, got.Open)
	require.EqualValues(f, 1, got.Jobs[tasks.Queued])
	require.EqualValues(f, 1, got.Jobs[tasks.Completed])
	require.InDelta(f, time.Hour, got.OldestOverdue, float64(time.Minute))
}

func secretMadeOnce(f fixture) {
	secrets := make([][]byte, 10)
	var wg sync.WaitGroup
	for i := range secrets {
		wg.Go(func() {
			var err error
			if secrets[i], err = f.store.GetOrCreateSecret(f.Context()); err != nil {
				f.Error(err)
			}
		})
	}
	wg.Wait()
	for _, secret := range secrets {
		require.Len(f, secret, 32)
		require.Equal(f, secrets[0], secret)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	url, server := serve(t)
	var failures atomic.Int64
	s := openStore(t, store.Config{URL: url, OnError: func(string, error) { failures.Add(1) }})
	server.Kill()
	_, err := s.Load(t.Context(), "job_1")
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	_, err = s.Overdue(t.Context(), 1, time.Second)
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	require.ErrorIs(t, s.Ping(t.Context()), orchestrator.ErrUnavailable)
	require.EqualValues(t, 3, failures.Load())
	require.Equal(t, store.WarningUnreachable, s.Check(t.Context())[0].Code)

	_, err = store.Open(t.Context(), store.Config{URL: url})
	require.ErrorIs(t, err, orchestrator.ErrUnavailable)
	server.Restart()
	require.NoError(t, s.Ping(t.Context()))
	_, err = s.Load(t.Context(), "job_1")
	require.ErrorIs(t, err, orchestrator.ErrNotFound)
	require.NotErrorIs(t, err, redis.Nil)
}
