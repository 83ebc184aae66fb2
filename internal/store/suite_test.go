package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/oklog/ulid/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// fixture is a store on a Redis of its own, and a plain client to look behind it.
type fixture struct {
	*testing.T
	store *store.Store
	redis *redis.Client
}

// TestSuite is what the store promises of any server: a real one, and the
// in-process one that serves where nothing is installed.
func TestSuite(t *testing.T) {
	t.Parallel()
	servers := map[string]func(t *testing.T) string{
		"redis":     func(t *testing.T) string { return redistest.Start(t).URL() },
		"miniredis": func(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() },
	}
	for server, start := range servers {
		t.Run(server, func(t *testing.T) {
			t.Parallel()
			for _, tc := range suite {
				t.Run(tc.name, func(t *testing.T) {
					t.Parallel()
					url := start(t)
					tc.run(fixture{t, openStore(t, store.Config{URL: url}), newClient(t, url)})
				})
			}
		})
	}
}

var suite = []struct {
	name string
	run  func(fixture)
}{
	{"a record comes back as it was written", roundTrip},
	{"a save needs the version it was made from", saveNeedsVersion},
	{"one of many concurrent saves wins each version", concurrentSaves},
	{"event bodies are kept until they are dropped", bodies},
	{"a record of a newer release is left alone", newerSchema},
	{"a claim pushes the touch of the current step only", claims},
	{"touch goes ahead and never back", touches},
	{"an idempotency key makes one job", idempotencyRace},
	{"an idempotency key is free once its job is going", idempotencyFreed},
	{"an overdue job is taken once", overdueTakenOnce},
	{"an index entry without a record is dropped", orphanDropped},
	{"a tombstone ends everything", tombstoneEnds},
	{"a tombstone and saves race", tombstoneRace},
	{"a purge that was cut off is taken up", purgeTakenUp},
	{"lists answer every filter", listFilters},
	{"lists page while jobs come and move", listWhileMoving},
	{"lists are bounded", listBounded},
	{"cursors are checked", listCursors},
	{"tenants are apart", tenantsApart},
	{"a server that forgot the scripts is told again", scriptsForgotten},
	{"watchers are woken", watchersWoken},
	{"counts", counts},
	{"a circuit opens by the share of failures", circuitByShare},
	{"a circuit closes by a single probe", circuitByProbe},
	{"the secret is made once", secretMadeOnce},
	{"uploads live until they are purged", uploadsLive},
	{"the holder of an idempotency key is named", keyHolder},
	{"a rate is kept over all processes", rateKept},
	{"turns that are not taken lapse", turnsLapse},
	{"places in flight are those of the records", placesFollowRecords},
	{"the line moves in the order of coming", lineInOrder},
	{"a closed gate lets no paid call through", gatesClose},
	{"places that nobody holds are given back", placesGivenBack},
	{"a full backlog takes no more", backlogFull},
	{"indexes and counters equal reality", randomWalk},
}

func openStore(t *testing.T, cfg store.Config) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func newClient(t *testing.T, url string) *redis.Client {
	t.Helper()
	client, err := store.NewClient(url)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newJob is a job as the engine makes them, that nobody has to touch for a while.
func newJob(now time.Time) *tasks.Job {
	now = now.UTC().Truncate(time.Millisecond)
	return &tasks.Job{
		ID: "job_" + ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String(), Version: 1,
		Schema: tasks.Schema, Tenant: tasks.DefaultTenant, RequestHash: "hash",
		Request: tasks.Request{
			FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"a <sunset> & more"}`),
			UserID: "user-1", Metadata: map[string]string{"order": "42"}, Priority: tasks.PriorityDefault,
			Timeout: time.Minute,
		},
		State: tasks.Queued, Progress: tasks.Progress{Stage: tasks.StageInitializing},
		CreatedAt: now, UpdatedAt: now, Deadline: now.Add(time.Minute), ProviderID: "sketch",
		Step: 1, Kind: tasks.KindSubmit, Due: now, Touch: now.Add(time.Hour), Budget: 3,
	}
}

// create writes new jobs, changed by with.
func (f fixture) create(with ...func(*tasks.Job)) *tasks.Job {
	f.Helper()
	job := newJob(f.store.Now())
	for _, change := range with {
		change(job)
	}
	created, err := f.store.Create(f.Context(), []*tasks.Job{job}, nil)
	require.NoError(f, err)
	require.Equal(f, []orchestrator.Created{{}}, created)
	return job
}

// save writes a change of the job, which must go through.
func (f fixture) save(job *tasks.Job, change func(*tasks.Job)) {
	f.Helper()
	change(job)
	fresh, err := f.store.Save(f.Context(), job, nil)
	require.NoError(f, err)
	require.Nil(f, fresh)
}

// purge removes the job altogether.
func (f fixture) purge(job *tasks.Job) {
	f.Helper()
	require.NoError(f, f.store.Tombstone(f.Context(), job))
	require.NoError(f, f.store.Purge(f.Context(), job.ID))
}

func (f fixture) score(index, id string) time.Time {
	f.Helper()
	score, err := f.redis.ZScore(f.Context(), index, id).Result()
	if errors.Is(err, redis.Nil) {
		return time.Time{}
	}
	require.NoError(f, err)
	return time.UnixMilli(int64(score)).UTC()
}

// requireConsistent compares every index and counter with the records.
func requireConsistent(t require.TestingT, ctx context.Context, rdb *redis.Client) { //nolint:revive // the test comes first, as in require
	open, purge := map[string]bool{}, map[string]bool{}
	counts := map[string]int64{}
	lists := map[string]map[string]bool{}
	idempotency := map[string]string{}
	list := func(key, id string) {
		if lists[key] == nil {
			lists[key] = map[string]bool{}
		}
		lists[key][id] = true
	}
	keys, err := rdb.Keys(ctx, "easel:*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		id, isJob := strings.CutPrefix(key, "easel:job:")
		if !isJob {
			continue
		}
		fields, err := rdb.HGetAll(ctx, key).Result()
		require.NoError(t, err)
		var job tasks.Job
		require.NoError(t, json.Unmarshal([]byte(fields["rec"]), &job))
		require.Equal(t, id, job.ID)
		require.Equal(t, fields["v"], strconv.FormatInt(job.Version, 10))
		require.Equal(t, fields["st"], string(job.State))
		_, dead := fields["tomb"]
		if dead || !job.PurgeAt.IsZero() {
			purge[id] = true
		}
		if !dead && !job.Touch.IsZero() {
			open[id] = true
		}
		counts[string(job.State)]++
		base := "easel:jobs:" + fields["t"]
		list(base, id)
		list(base+":status:"+string(job.State.Status()), id)
		if fields["u"] != "" {
			list(base+":user:"+fields["u"], id)
		}
		if fields["idem"] != "" && !dead {
			idempotency[fields["idem"]] = id
		}
	}
	members := func(key string) map[string]bool {
		ids, err := rdb.ZRange(ctx, key, 0, -1).Result()
		require.NoError(t, err)
		set := map[string]bool{}
		for _, id := range ids {
			set[id] = true
		}
		return set
	}
	require.Equal(t, open, members("easel:open"), "open index")
	require.Equal(t, purge, members("easel:purge"), "purge index")
	for _, key := range keys {
		switch {
		case strings.HasPrefix(key, "easel:jobs:"):
			require.Equal(t, lists[key], members(key), key)
			delete(lists, key)
		case strings.HasPrefix(key, "easel:idem:"):
			held, err := rdb.Get(ctx, key).Result()
			require.NoError(t, err)
			holder, _, _ := strings.Cut(held, " ")
			if id, ok := idempotency[key]; ok {
				require.Equal(t, id, holder, key)
			}
			delete(idempotency, key)
		}
	}
	require.Empty(t, lists, "indexes that are missing")
	require.Empty(t, idempotency, "idempotency keys that are missing")
	stored, err := rdb.HGetAll(ctx, "easel:counts").Result()
	require.NoError(t, err)
	for state, text := range stored {
		n, err := strconv.ParseInt(text, 10, 64)
		require.NoError(t, err)
		require.Equal(t, counts[state], n, "count of %s", state)
		delete(counts, state)
	}
	require.Empty(t, counts, "states that are not counted")
}

func pick[T any](from []T) T { return from[rand.IntN(len(from))] }

func ids(jobs []*tasks.Job) []string {
	list := make([]string, len(jobs))
	for i, job := range jobs {
		list[i] = job.ID
	}
	return list
}

func newestFirst(jobs []*tasks.Job) []string {
	list := ids(jobs)
	slices.Sort(list)
	slices.Reverse(list)
	return list
}

func receive(t *testing.T, changed <-chan struct{}, what string, args ...any) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		require.Fail(t, "no wake-up: "+fmt.Sprintf(what, args...))
	}
}
