package store_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// pages follows a query to its end.
func (f fixture) pages(query orchestrator.Query) (jobs []*tasks.Job, pages int) {
	f.Helper()
	for {
		page, err := f.store.List(f.Context(), query)
		require.NoError(f, err)
		pages++
		jobs = append(jobs, page.Jobs...)
		if page.NextCursor == "" {
			return jobs, pages
		}
		require.NotEqual(f, query.Cursor, page.NextCursor, "a page must lead on")
		query.Cursor = page.NextCursor
	}
}

// populate makes n jobs of every sort, one per second from start.
func (f fixture) populate(n int, start time.Time) []*tasks.Job {
	f.Helper()
	jobs := make([]*tasks.Job, n)
	for i := range jobs {
		job := newJob(start.Add(time.Duration(i) * time.Second))
		job.State = tasks.States[i%len(tasks.States)]
		job.Request.UserID = []string{"", "ann", "bob"}[i%3]
		job.Request.FeatureType = []tasks.Feature{tasks.TextToImage, tasks.Upscale}[i/2%2]
		job.ProviderID = []string{"sketch", "openai"}[i/3%2]
		jobs[i] = job
	}
	for part := range slices.Chunk(jobs, 500) {
		_, err := f.store.Create(f.Context(), part, nil)
		require.NoError(f, err)
	}
	return jobs
}

func listFilters(f fixture) {
	const n = 90
	start := f.store.Now().Add(-time.Hour).Truncate(time.Second)
	jobs := f.populate(n, start)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	queries := map[string]orchestrator.Query{
		"all":                {},
		"user":               {UserID: "ann"},
		"nobody":             {UserID: "eve"},
		"status":             {Statuses: []tasks.Status{tasks.StatusQueued}},
		"two states":         {Statuses: []tasks.Status{tasks.StatusProcessing}}, // submitting and processing
		"statuses":           {Statuses: []tasks.Status{tasks.StatusFailed, tasks.StatusProcessing, tasks.StatusFailed}},
		"unknown status":     {Statuses: []tasks.Status{"dreaming"}},
		"user, status":       {UserID: "bob", Statuses: []tasks.Status{tasks.StatusFailed}},
		"user, statuses":     {UserID: "bob", Statuses: []tasks.Status{tasks.StatusFailed, tasks.StatusQueued}},
		"feature":            {FeatureType: tasks.Upscale},
		"provider":           {ProviderID: "openai"},
		"status, provider":   {Statuses: []tasks.Status{tasks.StatusQueued}, ProviderID: "openai"},
		"after":              {CreatedAfter: at(40)},
		"before":             {CreatedBefore: at(40)},
		"before, uneven":     {CreatedBefore: at(40).Add(time.Microsecond)},
		"between":            {CreatedAfter: at(10), CreatedBefore: at(20), FeatureType: tasks.Upscale},
		"empty range":        {CreatedAfter: at(20), CreatedBefore: at(10)},
		"before everything":  {CreatedBefore: time.Unix(-5, 0)},
		"after everything":   {CreatedAfter: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"everything at once": {UserID: "ann", Statuses: []tasks.Status{tasks.StatusQueued, tasks.StatusFailed}, FeatureType: tasks.TextToImage, ProviderID: "sketch", CreatedAfter: at(3), CreatedBefore: at(80)},
	}
	for name, query := range queries {
		query.Tenant = tasks.DefaultTenant
		want := newestFirst(slices.Collect(func(yield func(*tasks.Job) bool) {
			for _, job := range jobs {
				if matches(query, job) && !yield(job) {
					return
				}
			}
		}))
		for _, limit := range []int{0, 1, 7, 100, 5000} {
			query.Limit = limit
			got, _ := f.pages(query)
			require.Equal(f, want, ids(got), "%s, limit %d", name, limit)
		}
	}

	page, err := f.store.List(f.Context(), orchestrator.Query{Tenant: tasks.DefaultTenant})
	require.NoError(f, err)
	require.Len(f, page.Jobs, 20)
	require.NotEmpty(f, page.Jobs[0].Request.InputData)
	page, err = f.store.List(f.Context(), orchestrator.Query{Tenant: tasks.DefaultTenant, Limit: n})
	require.NoError(f, err)
	require.Empty(f, page.NextCursor, "a last page that is full says that it is the last")
}

func matches(q orchestrator.Query, job *tasks.Job) bool {
	return (q.UserID == "" || q.UserID == job.Request.UserID) &&
		(len(q.Statuses) == 0 || slices.Contains(q.Statuses, job.State.Status())) &&
		(q.FeatureType == "" || q.FeatureType == job.Request.FeatureType) &&
		(q.ProviderID == "" || q.ProviderID == job.ProviderID) &&
		(q.CreatedAfter.IsZero() || !job.CreatedAt.Before(q.CreatedAfter)) &&
		(q.CreatedBefore.IsZero() || job.CreatedAt.Before(q.CreatedBefore))
}

func listWhileMoving(f fixture) {
	jobs := f.populate(120, f.store.Now().Add(-time.Hour))
	live := []tasks.Status{tasks.StatusQueued, tasks.StatusProcessing}
	var want []*tasks.Job
	for _, job := range jobs {
		if slices.Contains(live, job.State.Status()) {
			want = append(want, job)
		}
	}
	done := make(chan struct{})
	var movers sync.WaitGroup
	movers.Go(func() { // jobs move between two statuses that are both asked for
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			job := want[i%len(want)]
			job.State = pick([]tasks.State{tasks.Queued, tasks.Submitting, tasks.Processing})
			if _, err := f.store.Save(f.Context(), job, nil); err != nil {
				f.Error(err)
				return
			}
		}
	})
	movers.Go(func() { // and new ones come, and others go
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			job := newJob(f.store.Now())
			if _, err := f.store.Create(f.Context(), []*tasks.Job{job}, nil); err != nil {
				f.Error(err)
				return
			}
			if i%2 == 0 {
				if err := f.store.Tombstone(f.Context(), job); err != nil {
					f.Error(err)
					return
				}
			}
		}
	})
	wanted := newestFirst(want)
	for round := range 10 {
		got, _ := f.pages(orchestrator.Query{
			Tenant: tasks.DefaultTenant, Statuses: live, Limit: 1 + 3*round, CreatedBefore: f.store.Now().Add(-time.Minute),
		})
		require.Equal(f, wanted, ids(got), "a job that was there all along is listed once")

		seen := map[string]bool{}
		everything, _ := f.pages(orchestrator.Query{Tenant: tasks.DefaultTenant, Limit: 100})
		for _, job := range everything {
			require.False(f, seen[job.ID], "twice: %s", job.ID)
			seen[job.ID] = true
		}
		for _, job := range jobs {
			require.True(f, seen[job.ID], "missing: %s", job.ID)
		}
	}
	close(done)
	movers.Wait()
	requireConsistent(f, f.Context(), f.redis)
}

func listBounded(f fixture) {
	const n = 2300
	jobs := f.populate(n, f.store.Now().Add(-time.Hour))
	f.save(jobs[0], func(j *tasks.Job) { j.ProviderID = "rare" })

	query := orchestrator.Query{Tenant: tasks.DefaultTenant, ProviderID: "rare"}
	page, err := f.store.List(f.Context(), query)
	require.NoError(f, err)
	require.Empty(f, page.Jobs, "the job is too far for one page")
	require.NotEmpty(f, page.NextCursor, "but there is more")

	found, pages := f.pages(query)
	require.Equal(f, []string{jobs[0].ID}, ids(found))
	require.Equal(f, 3, pages, "a page looks at about a thousand records")
}

func listCursors(f fixture) {
	f.populate(5, f.store.Now())
	encode := base64.RawURLEncoding.EncodeToString
	for _, cursor := range []string{"!", "Zm9v", encode([]byte("2:job_1")), encode([]byte("1:")), encode([]byte("1:job_\x00")), encode([]byte("1:user_1"))} {
		_, err := f.store.List(f.Context(), orchestrator.Query{Tenant: tasks.DefaultTenant, Cursor: cursor})
		require.ErrorIs(f, err, orchestrator.ErrBadCursor, cursor)
	}
	page, err := f.store.List(f.Context(), orchestrator.Query{Tenant: tasks.DefaultTenant, Limit: 2})
	require.NoError(f, err)
	other, err := f.store.List(f.Context(), orchestrator.Query{Tenant: "other", Cursor: page.NextCursor})
	require.NoError(f, err)
	require.Empty(f, other.Jobs, "another tenant's cursor opens nothing")
}

func tenantsApart(f fixture) {
	made := map[string]string{}
	for i, tenant := range []string{"a", "a:status:queued", "a:user:x", "ä b/%3A*?[x]", "", "A"} {
		job := f.create(func(j *tasks.Job) {
			j.Tenant, j.IdempotencyKey, j.RequestHash = tenant, "key", fmt.Sprint(i)
		})
		made[tenant] = job.ID
	}
	for tenant, id := range made {
		for _, query := range []orchestrator.Query{{}, {UserID: "user-1"}, {Statuses: []tasks.Status{tasks.StatusQueued}}} {
			query.Tenant = tenant
			got, _ := f.pages(query)
			require.Equal(f, []string{id}, ids(got), tenant)
			require.Equal(f, tenant, got[0].Tenant)
		}
	}
	requireConsistent(f, f.Context(), f.redis)
}
