package store_test

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// intend writes an intent for the job that takes a place, as the engine does.
func intend(s *store.Store, f fixture, job *tasks.Job, limits providers.Limits) error {
	_, err := intendFrom(s, f, job, limits)
	return err
}

// intendFrom is intend, and returns when the call may be made.
func intendFrom(s *store.Store, f fixture, job *tasks.Job, limits providers.Limits) (time.Time, error) {
	next := *job
	next.State = tasks.Submitting
	next.Places = []tasks.Place{{ProviderID: job.ProviderID, Submission: 1, Until: s.Now().Add(time.Hour).Truncate(time.Millisecond)}}
	_, from, err := s.SaveIntent(f.Context(), &next, nil, limits)
	if err == nil {
		*job = next
	}
	return from, err
}

// comesThrough waits for the job's turn and takes it, however often it misses
// it, and returns when it may be called.
func comesThrough(s *store.Store, f fixture, job *tasks.Job, limits providers.Limits) (time.Time, bool) {
	for f.Context().Err() == nil {
		turn, err := s.TakeTurn(f.Context(), job, limits)
		if !assert.NoError(f, err) {
			return time.Time{}, false
		}
		if !turn.Given {
			time.Sleep(10 * time.Millisecond) // stands in line
			continue
		}
		time.Sleep(turn.At.Sub(s.Now()))
		from, err := intendFrom(s, f, job, limits)
		if err == nil {
			return from, true
		}
		if !assert.ErrorIs(f, err, orchestrator.ErrClosed) {
			return time.Time{}, false
		}
	}
	return time.Time{}, false
}

// rateKept lets many jobs through over two processes and looks at every
// interval of the rate.
func rateKept(f fixture) {
	other := openStore(f.T, store.Config{Client: f.redis})
	limits := providers.Limits{Rate: providers.Rate{Requests: 10, Per: 200 * time.Millisecond}}
	var mu sync.Mutex
	var admitted []time.Time
	var jobs sync.WaitGroup
	for i := range 60 {
		job := f.create()
		s := []*store.Store{f.store, other}[i%2]
		jobs.Go(func() {
			if from, ok := comesThrough(s, f, job, limits); ok {
				mu.Lock()
				defer mu.Unlock()
				admitted = append(admitted, from)
			}
		})
	}
	done := make(chan struct{})
	var pump sync.WaitGroup
	pump.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
				_, _, err := f.store.CallUp(f.Context(), map[string]providers.Limits{"sketch": limits})
				assert.NoError(f, err)
			}
		}
	})
	jobs.Wait()
	close(done)
	pump.Wait()
	require.Len(f, admitted, 60)
	slices.SortFunc(admitted, time.Time.Compare)
	for i := range len(admitted) - 10 {
		require.GreaterOrEqual(f, admitted[i+10].Sub(admitted[i]), 206*time.Millisecond)
	}
}

func turnsLapse(f fixture) {
	limits := providers.Limits{Rate: providers.Rate{Requests: 1, Per: 100 * time.Millisecond}}
	lost, next := f.create(), f.create()
	turn, err := f.store.TakeTurn(f.Context(), lost, limits)
	require.NoError(f, err)
	require.True(f, turn.Given)
	again, err := f.store.TakeTurn(f.Context(), lost, limits)
	require.NoError(f, err)
	require.Equal(f, turn, again, "a repetition gets the same turn")
	require.ErrorIs(f, intend(f.store, f, next, limits), orchestrator.ErrClosed, "without a turn there is no call")

	time.Sleep(2100 * time.Millisecond) // longer than a turn may be taken: that is the fault
	require.ErrorIs(f, intend(f.store, f, lost, limits), orchestrator.ErrClosed, "a turn that has lapsed is none")
	called, _, err := f.store.CallUp(f.Context(), map[string]providers.Limits{"sketch": limits})
	require.NoError(f, err)
	require.Equal(f, []string{lost.ID}, called, "who lost its turn is called again")
	_, admitted := comesThrough(f.store, f, lost, limits)
	require.True(f, admitted)
	_, admitted = comesThrough(f.store, f, next, limits)
	require.True(f, admitted)
}

func placesFollowRecords(f fixture) {
	limits := providers.Limits{MaxInFlight: 2}
	first, second, third := f.create(), f.create(), f.create()
	for _, job := range []*tasks.Job{first, second} {
		_, admitted := comesThrough(f.store, f, job, limits)
		require.True(f, admitted)
	}
	turn, err := f.store.TakeTurn(f.Context(), third, limits)
	require.NoError(f, err)
	require.False(f, turn.Given, "both places are taken")

	f.save(first, func(job *tasks.Job) { job.State, job.Places = tasks.Completed, nil })
	called, waiting, err := f.store.CallUp(f.Context(), map[string]providers.Limits{"sketch": limits})
	require.NoError(f, err)
	require.Equal(f, []string{third.ID}, called)
	require.False(f, waiting)
	require.NoError(f, intend(f.store, f, third, limits))

	fourth := f.create()
	turn, err = f.store.TakeTurn(f.Context(), fourth, limits)
	require.NoError(f, err)
	require.False(f, turn.Given)
	f.save(second, func(job *tasks.Job) { job.Places[0].Until = f.store.Now().Add(-time.Second) })
	turn, err = f.store.TakeTurn(f.Context(), fourth, limits)
	require.NoError(f, err)
	require.True(f, turn.Given, "a place is given back when its time is over")

	f.purge(third)
	gates, err := f.store.Gates(f.Context(), []string{"sketch"})
	require.NoError(f, err)
	require.Equal(f, 0, gates["sketch"].InFlight, "a job that is gone holds nothing")
}

func lineInOrder(f fixture) {
	limits := providers.Limits{MaxInFlight: 1}
	holder := f.create()
	_, admitted := comesThrough(f.store, f, holder, limits)
	require.True(f, admitted)
	var line []*tasks.Job
	for i := range 4 {
		job := f.create()
		turn, err := f.store.TakeTurn(f.Context(), job, limits)
		require.NoError(f, err)
		require.Equal(f, orchestrator.Turn{Before: i}, turn)
		line = append(line, job)
		time.Sleep(2 * time.Millisecond) // the line is ordered by the millisecond of coming
	}
	f.save(line[1], func(job *tasks.Job) { job.State = tasks.Canceled })
	f.save(line[2], func(job *tasks.Job) { job.ProviderID = "other" })
	stale := *line[2]
	stale.ProviderID = "sketch" // as a handler knows the job that has not heard of it yet
	turn, err := f.store.TakeTurn(f.Context(), &stale, limits)
	require.NoError(f, err)
	require.False(f, turn.Given)
	left, err := f.redis.ZRange(f.Context(), "easel:line:sketch", 0, -1).Result()
	require.NoError(f, err)
	require.Equal(f, []string{line[0].ID, line[3].ID}, left, "who does not wait any more leaves the line, and does not come back")
	for _, want := range []*tasks.Job{line[0], line[3]} {
		f.save(holder, func(job *tasks.Job) { job.Places = nil })
		called, _, err := f.store.CallUp(f.Context(), map[string]providers.Limits{"sketch": limits})
		require.NoError(f, err)
		require.Equal(f, []string{want.ID}, called)
		require.NoError(f, intend(f.store, f, want, limits))
		holder = want
	}
}

func gatesClose(f fixture) {
	none := providers.Limits{}
	job := f.create()
	require.NoError(f, f.store.Pause(f.Context(), "sketch"))
	gates, err := f.store.Gates(f.Context(), []string{"sketch"})
	require.NoError(f, err)
	since := gates["sketch"].PausedSince
	require.WithinDuration(f, f.store.Now(), since, time.Minute)
	require.NoError(f, f.store.Pause(f.Context(), "sketch"))
	require.ErrorIs(f, intend(f.store, f, job, none), orchestrator.ErrClosed)
	turn, err := f.store.TakeTurn(f.Context(), job, none)
	require.NoError(f, err)
	require.Equal(f, orchestrator.Turn{Paused: true}, turn)
	called, waiting, err := f.store.CallUp(f.Context(), map[string]providers.Limits{"sketch": none})
	require.NoError(f, err)
	require.Empty(f, called)
	require.True(f, waiting)
	gates, err = f.store.Gates(f.Context(), []string{"sketch", "other"})
	require.NoError(f, err)
	require.Equal(f, orchestrator.Gate{PausedSince: since, Waiting: 1}, gates["sketch"])
	require.Equal(f, orchestrator.Gate{}, gates["other"])

	require.NoError(f, f.store.Resume(f.Context(), "sketch"))
	called, _, err = f.store.CallUp(f.Context(), map[string]providers.Limits{"sketch": none})
	require.NoError(f, err)
	require.Equal(f, []string{job.ID}, called)
	require.NoError(f, intend(f.store, f, job, none))

	other := f.create()
	require.NoError(f, f.store.StayAway(f.Context(), "sketch", 300*time.Millisecond))
	require.NoError(f, f.store.StayAway(f.Context(), "sketch", time.Millisecond))
	require.ErrorIs(f, intend(f.store, f, other, none), orchestrator.ErrClosed)
	require.Eventually(f, func() bool {
		err := intend(f.store, f, other, none)
		return err == nil || !errors.Is(err, orchestrator.ErrClosed)
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(f, tasks.Submitting, other.State)
}

func placesGivenBack(f fixture) {
	job := f.create()
	require.NoError(f, intend(f.store, f, job, providers.Limits{}))
	places, err := f.store.SomePlaces(f.Context(), "sketch", 10)
	require.NoError(f, err)
	require.Equal(f, []orchestrator.HeldPlace{{JobID: job.ID, Submission: 1}}, places)
	inFlight := func() int {
		gates, err := f.store.Gates(f.Context(), []string{"sketch"})
		require.NoError(f, err)
		return gates["sketch"].InFlight
	}
	require.NoError(f, f.store.GiveBack(f.Context(), "sketch", places[0], job.Version-1))
	require.Equal(f, 1, inFlight(), "the record has moved on since it was read")
	require.NoError(f, f.store.GiveBack(f.Context(), "sketch", places[0], job.Version))
	require.Zero(f, inFlight())
}

func backlogFull(f fixture) {
	most := map[string]int{"sketch": 2}
	create := func(job *tasks.Job) int {
		f.Helper()
		created, err := f.store.Create(f.Context(), []*tasks.Job{job}, most)
		require.NoError(f, err)
		return created[0].Waiting
	}
	keyed := func() *tasks.Job {
		job := newJob(f.store.Now())
		job.IdempotencyKey = "key"
		return job
	}
	first, second := keyed(), newJob(f.store.Now())
	require.Zero(f, create(first))
	require.Zero(f, create(second))
	refused := newJob(f.store.Now())
	require.Equal(f, 2, create(refused))
	_, err := f.store.Load(f.Context(), refused.ID)
	require.ErrorIs(f, err, orchestrator.ErrNotFound)
	require.Zero(f, create(keyed()), "its job was accepted before")
	elsewhere := newJob(f.store.Now())
	elsewhere.ProviderID = "other"
	require.Zero(f, create(elsewhere), "the limit is that of a provider")

	f.save(first, func(job *tasks.Job) { job.State = tasks.Submitting })
	third := newJob(f.store.Now())
	require.Zero(f, create(third), "what was submitted waits no more")
	f.save(first, func(job *tasks.Job) { job.State = tasks.Queued })
	require.Equal(f, 3, create(newJob(f.store.Now())), "what comes back is let in, and counts")
	f.save(first, func(job *tasks.Job) { job.ProviderID = "other" })
	f.save(second, func(job *tasks.Job) { job.State = tasks.Canceled })
	require.Zero(f, create(newJob(f.store.Now())))

	// What an older release has left there is found by who is refused.
	for _, id := range []string{first.ID, second.ID, "job_gone"} {
		require.NoError(f, f.redis.SAdd(f.Context(), "easel:waiting:sketch", id).Err())
	}
	f.save(third, func(job *tasks.Job) { job.State = tasks.Canceled })
	require.Equal(f, 4, create(newJob(f.store.Now())))
	require.Zero(f, create(newJob(f.store.Now())))
}
