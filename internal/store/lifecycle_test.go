package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func idempotencyRace(f fixture) {
	const callers = 40
	var winners atomic.Int64
	held := make([]orchestrator.Created, callers)
	made := make([]string, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			// Two in one call, so that they meet in one pipeline as well.
			pair := []*tasks.Job{newJob(f.store.Now()), newJob(f.store.Now())}
			for _, job := range pair {
				job.IdempotencyKey, job.RequestHash = "the key", "h-"+job.ID
			}
			created, err := f.store.Create(f.Context(), pair, nil)
			if err != nil {
				f.Error(err)
				return
			}
			if created[0].ExistingID == "" {
				winners.Add(1)
				made[i] = pair[0].ID
			}
			held[i] = created[1]
		})
	}
	wg.Wait()
	require.EqualValues(f, 1, winners.Load())
	winner := ""
	for _, id := range made {
		winner += id
	}
	for _, created := range held {
		require.Equal(f, orchestrator.Created{ExistingID: winner, ExistingHash: "h-" + winner}, created)
	}

	job := newJob(f.store.Now())
	job.IdempotencyKey, job.Tenant = "the key", "another"
	created, err := f.store.Create(f.Context(), []*tasks.Job{job}, nil)
	require.NoError(f, err)
	require.Empty(f, created[0].ExistingID, "tenants do not share keys")
	requireConsistent(f, f.Context(), f.redis)
}

func idempotencyFreed(f fixture) {
	keyed := func(j *tasks.Job) { j.IdempotencyKey = "key" }
	first := f.create(keyed)
	require.NoError(f, f.store.Tombstone(f.Context(), first))
	second := f.create(keyed)
	require.NoError(f, f.store.Purge(f.Context(), first.ID), "its key belongs to the second by now")

	third := newJob(f.store.Now())
	keyed(third)
	created, err := f.store.Create(f.Context(), []*tasks.Job{third}, nil)
	require.NoError(f, err)
	require.Equal(f, second.ID, created[0].ExistingID)

	f.purge(second)
	f.create(keyed)
	requireConsistent(f, f.Context(), f.redis)
}

func overdueTakenOnce(f fixture) {
	const jobs = 120
	past := f.store.Now().Add(-time.Minute)
	batch := make([]*tasks.Job, jobs)
	for i := range batch {
		batch[i] = newJob(f.store.Now())
		batch[i].Touch, batch[i].PurgeAt = past, past
	}
	_, err := f.store.Create(f.Context(), batch, nil)
	require.NoError(f, err)
	f.create() // not overdue

	other := openStore(f.T, store.Config{Client: f.redis})
	for name, take := range map[string]func(*store.Store) ([]string, error){
		"overdue": func(s *store.Store) ([]string, error) { return s.Overdue(f.Context(), 7, time.Hour) },
		"expired": func(s *store.Store) ([]string, error) { return s.Expired(f.Context(), 7, time.Hour) },
	} {
		var mu sync.Mutex
		taken := map[string]int{}
		var wg sync.WaitGroup
		for _, s := range []*store.Store{f.store, other, f.store, other} {
			wg.Go(func() {
				for {
					ids, err := take(s)
					if err != nil {
						f.Error(err)
						return
					}
					if len(ids) == 0 {
						return
					}
					mu.Lock()
					for _, id := range ids {
						taken[id]++
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		require.Len(f, taken, jobs, name)
		for id, times := range taken {
			require.Equal(f, 1, times, "%s %s", name, id)
		}
	}
	require.WithinDuration(f, f.store.Now().Add(time.Hour), f.score("easel:open", batch[0].ID), time.Minute)
}

func orphanDropped(f fixture) {
	job := f.create(func(j *tasks.Job) { j.Touch = f.store.Now().Add(-time.Second) })
	orphan := f.create(func(j *tasks.Job) { j.Touch = f.store.Now().Add(-time.Minute) })
	require.NoError(f, f.redis.Del(f.Context(), "easel:job:"+orphan.ID).Err())
	ids, err := f.store.Overdue(f.Context(), 10, time.Minute)
	require.NoError(f, err)
	require.Equal(f, []string{job.ID}, ids)
	require.Zero(f, f.score("easel:open", orphan.ID))
}

func tombstoneEnds(f fixture) {
	job := f.create(func(j *tasks.Job) { j.IdempotencyKey = "key" })
	stale := job.Clone()
	f.save(job, func(j *tasks.Job) { j.State = tasks.Completed })
	_, err := f.store.Save(f.Context(), job, map[int64][]byte{3: []byte("body")})
	require.NoError(f, err)

	require.ErrorIs(f, f.store.Purge(f.Context(), job.ID), orchestrator.ErrConflict, "there is no tombstone yet")
	require.ErrorIs(f, f.store.Tombstone(f.Context(), stale), orchestrator.ErrConflict)
	require.NoError(f, f.store.Tombstone(f.Context(), job))

	_, err = f.store.Load(f.Context(), job.ID)
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
	_, err = f.store.Claim(f.Context(), job.MainTask(0), time.Second)
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
	_, err = f.store.Body(f.Context(), job.ID, 3)
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
	fresh, err := f.store.Save(f.Context(), job, nil)
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
	require.Nil(f, fresh)
	require.ErrorIs(f, f.store.Tombstone(f.Context(), job), orchestrator.ErrNotFound)
	page, err := f.store.List(f.Context(), orchestrator.Query{Tenant: job.Tenant})
	require.NoError(f, err)
	require.Empty(f, page.Jobs)
	require.Empty(f, page.NextCursor)
	requireConsistent(f, f.Context(), f.redis)

	require.NoError(f, f.store.Purge(f.Context(), job.ID))
	require.NoError(f, f.store.Purge(f.Context(), job.ID), "a purge is repeatable")
	requireConsistent(f, f.Context(), f.redis)
	left, err := f.redis.Keys(f.Context(), "*"+job.ID+"*").Result()
	require.NoError(f, err)
	require.Empty(f, left)
	counts, err := f.store.Counts(f.Context())
	require.NoError(f, err)
	require.Zero(f, counts.Jobs[tasks.Completed])
}

func tombstoneRace(f fixture) {
	for range 10 {
		id := f.create().ID
		var saved, buried atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				job, err := f.store.Load(f.Context(), id)
				for err == nil {
					if i == 0 {
						if err = f.store.Tombstone(f.Context(), job); err == nil {
							buried.Store(job.Version)
							return
						}
						if errors.Is(err, orchestrator.ErrConflict) {
							job, err = f.store.Load(f.Context(), id)
						}
						continue
					}
					var fresh *tasks.Job
					fresh, err = f.store.Save(f.Context(), job, nil)
					if err == nil {
						saved.Add(1)
						if saved.Load() > 50 {
							return // let the tombstone through
						}
					} else if errors.Is(err, orchestrator.ErrConflict) {
						job, err = fresh, nil
					}
				}
				if !errors.Is(err, orchestrator.ErrNotFound) {
					f.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(f, 1+saved.Load(), buried.Load(), "nothing was written over the tombstone")
		require.NoError(f, f.store.Purge(f.Context(), id))
	}
	requireConsistent(f, f.Context(), f.redis)
}

func purgeTakenUp(f fixture) {
	job := f.create()
	require.NoError(f, f.store.Tombstone(f.Context(), job))
	grace := f.score("easel:purge", job.ID)
	require.True(f, grace.After(f.store.Now()), "who set the tombstone goes first")
	require.True(f, grace.Before(f.store.Now().Add(10*time.Minute)))

	// The purger was cut off, and its grace passes.
	require.NoError(f, f.redis.ZIncrBy(f.Context(), "easel:purge", -float64(time.Hour.Milliseconds()), job.ID).Err())
	ids, err := f.store.Expired(f.Context(), 10, time.Minute)
	require.NoError(f, err)
	require.Equal(f, []string{job.ID}, ids)
	require.NoError(f, f.store.Purge(f.Context(), job.ID))
	requireConsistent(f, f.Context(), f.redis)
}

// randomWalk does anything in any order, with jobs in any state of staleness,
// and then compares indexes and counters with the records.
func randomWalk(f fixture) {
	rapid.Check(f, func(t *rapid.T) {
		require.NoError(t, f.redis.FlushAll(f.Context()).Err())
		var held []*tasks.Job // as their holders know them, perhaps stale
		pick := func(t *rapid.T) *tasks.Job {
			if len(held) == 0 {
				t.Skip("no job yet")
			}
			return held[rapid.IntRange(0, len(held)-1).Draw(t, "job")]
		}
		shuffle := func(t *rapid.T, job *tasks.Job) {
			at := func(name string) time.Time {
				offset := rapid.IntRange(-2, 2).Draw(t, name)
				if offset == 0 {
					return time.Time{}
				}
				return f.store.Now().Add(time.Duration(offset) * time.Hour)
			}
			job.State = rapid.SampledFrom(tasks.States).Draw(t, "state")
			job.Touch, job.PurgeAt = at("touch"), at("purge")
		}
		expected := func(err error) {
			if err != nil && !errors.Is(err, orchestrator.ErrConflict) && !errors.Is(err, orchestrator.ErrNotFound) {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				job := newJob(f.store.Now())
				shuffle(t, job)
				job.Tenant = rapid.SampledFrom([]string{"default", "a:b", ""}).Draw(t, "tenant")
				job.Request.UserID = rapid.SampledFrom([]string{"", "u", "v w"}).Draw(t, "user")
				job.IdempotencyKey = rapid.SampledFrom([]string{"", "k", "l"}).Draw(t, "key")
				created, err := f.store.Create(f.Context(), []*tasks.Job{job}, nil)
				expected(err)
				if created[0].ExistingID == "" {
					held = append(held, job)
				}
			},
			"save": func(t *rapid.T) {
				job := pick(t)
				if rapid.Bool().Draw(t, "stale") {
					job = job.Clone()
				}
				shuffle(t, job)
				_, err := f.store.Save(f.Context(), job, nil)
				expected(err)
			},
			"claim": func(t *rapid.T) {
				_, err := f.store.Claim(f.Context(), pick(t).MainTask(0), time.Minute)
				expected(err)
			},
			"touch":   func(t *rapid.T) { expected(f.store.Touch(f.Context(), []string{pick(t).ID}, time.Minute)) },
			"overdue": func(t *rapid.T) { _, err := f.store.Overdue(f.Context(), 2, time.Minute); expected(err) },
			"expired": func(t *rapid.T) { _, err := f.store.Expired(f.Context(), 2, time.Minute); expected(err) },
			"bury":    func(t *rapid.T) { expected(f.store.Tombstone(f.Context(), pick(t))) },
			"purge":   func(t *rapid.T) { expected(f.store.Purge(f.Context(), pick(t).ID)) },
		})
		requireConsistent(t, f.Context(), f.redis)
	})
}
