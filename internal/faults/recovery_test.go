package faults

import (
	"flag"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

var recoveryKills = flag.Int("recovery.kills", 8, "how many workers are killed to see how soon their jobs move again")

// soon is how long a job may stand still that a killed worker held outside a paid
// call, in 99 of 100 cases.
const soon = 15 * time.Second

// interruptions watches a provider for calls that break off, because their
// worker was killed, and for the next call about the same thing.
type interruptions struct {
	takes time.Duration // what each call takes, so that some are under way at any time

	mu    sync.Mutex
	since map[string]time.Time // path → when its call broke off
	stood []time.Duration      // how long each stood still
}

func (i *interruptions) watch(provider http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			provider.ServeHTTP(w, r) // the paid call
			return
		}
		i.begins(r.URL.Path)
		select {
		case <-time.After(i.takes):
			provider.ServeHTTP(w, r)
		case <-r.Context().Done():
			i.broke(r.URL.Path)
		}
	})
}

func (i *interruptions) begins(path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if since, found := i.since[path]; found {
		i.stood = append(i.stood, time.Since(since))
		delete(i.since, path)
	}
}

func (i *interruptions) broke(path string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.since[path] = time.Now()
}

// TestKilledWorkersJobsMoveAgainSoon kills worker after worker in the middle of
// polls and downloads, and measures at the provider how long each job stood
// still.
func TestKilledWorkersJobsMoveAgainSoon(t *testing.T) {
	t.Parallel()
	i := &interruptions{takes: 300 * time.Millisecond, since: map[string]time.Time{}}
	f := newFleet(t, settings{Watch: i.watch})
	f.work(4)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 3))
	var ids []string
	for range *recoveryKills {
		ids = append(ids, f.enqueue(40, func(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":3000}`) })...)
		time.Sleep(time.Duration(2500+chance.IntN(1000)) * time.Millisecond) // the pace of the kills
		n := chance.IntN(len(f.workers))
		f.workers[n].kill()
		f.workers[n] = f.spawn("worker")
	}
	jobs := f.awaitRest(ids, 2*patience)
	f.requireBoughtOnce(jobs)
	for id, job := range jobs {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		require.Len(t, job.Attempts, 1, "a crash consumes no attempt")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	require.Empty(t, i.since, "every job has moved again")
	require.GreaterOrEqual(t, len(i.stood), *recoveryKills/2, "kills hit jobs")
	slices.Sort(i.stood)
	at := func(part float64) time.Duration {
		return i.stood[int(part*float64(len(i.stood)-1))].Round(10 * time.Millisecond)
	}
	t.Logf("%d kills, %d jobs interrupted: moved again after %v at the median, %v at the 99th percentile, %v at most",
		*recoveryKills, len(i.stood), at(0.5), at(0.99), at(1))
	require.LessOrEqual(t, at(0.99), soon)
}

// TestRollingRestart replaces every worker twice under load, as deploys do, with
// jobs in every step of their lives: nothing is tried again, nothing is unknown,
// and nothing is bought twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	f.work(3)
	for _, w := range f.workers {
		w.awaitRunning(t)
	}
	var ids []string
	for round := range 6 {
		ids = append(ids, f.enqueue(60, func(i int) tasks.Draft {
			return noop([]string{
				``, `{"sync":true,"duration_ms":1200}`, `{"sync":false,"hang_ms":1500,"duration_ms":300}`,
				`{"sync":false,"duration_ms":2500}`,
			}[i%4])
		})...)
		leaving := f.workers[round%3]
		f.workers[round%3] = f.spawn("worker")
		f.workers[round%3].awaitRunning(t) // as an orchestrator of containers does
		leaving.stop()
		require.Zero(t, leaving.cmd.ProcessState.ExitCode(), "a worker that is asked to stop has not failed")
	}
	jobs := f.awaitRest(ids, 2*patience)
	f.requireBoughtOnce(jobs)
	records := f.records()
	for id := range jobs {
		job, err := records.Load(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, tasks.Completed, job.State, "%+v", job)
		require.Len(t, job.Attempts, 1, "%+v", job)
		require.Len(t, job.Submissions, 1, "%+v", job)
		require.Zero(t, job.Spent, "a deploy consumes no attempt")
		require.Zero(t, job.Crashes)
		require.Equal(t, tasks.SubmissionEnded, job.Submissions[0].State, "%+v", job)
	}
}

func (p *process) awaitRunning(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(p.tail(), "worker is running") }, patience, 20*time.Millisecond)
}
