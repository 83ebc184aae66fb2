package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// metered is a provider that notes when each submission came and when the
// generation that it made was over. It can be told to refuse.
type metered struct {
	service *sketch.Service
	length  time.Duration // of every generation

	mu     sync.Mutex
	came   []time.Time
	ended  []time.Time
	refuse func(n int) (retryAfter string) // asked with the number of the submission
}

func newMetered(t *testing.T, length time.Duration) (*metered, string) {
	t.Helper()
	service, err := sketch.NewService(sketch.ServiceConfig{AllowSimulate: true})
	require.NoError(t, err)
	m := &metered{service: service, length: length}
	server := httptest.NewServer(m)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); _ = service.Close() })
	return m, server.URL
}

func (m *metered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && r.URL.Path == "/v1/generations" {
		now := time.Now()
		m.mu.Lock()
		m.came = append(m.came, now)
		if m.refuse != nil {
			if wait := m.refuse(len(m.came)); wait != "" {
				m.mu.Unlock()
				w.Header().Set("Retry-After", wait)
				http.Error(w, `{"error":{"code":"rate_limit","message":"slow down"}}`, http.StatusTooManyRequests)
				return
			}
		}
		m.ended = append(m.ended, now.Add(m.length))
		m.mu.Unlock()
	}
	m.service.ServeHTTP(w, r)
}

func (m *metered) submissions() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(slices.Values(m.came), time.Time.Compare)
}

// densest is the largest number of submissions in any interval of that length.
func densest(came []time.Time, interval time.Duration) (most int) {
	first := 0
	for last := range came {
		for came[last].Sub(came[first]) >= interval {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// tightest is the shortest time in which one submission more came than the rate
// allows in a second.
func tightest(came []time.Time, perSecond int) time.Duration {
	least := time.Hour
	for i := range len(came) - perSecond {
		least = min(least, came[i+perSecond].Sub(came[i]))
	}
	return least
}

// refusals is how many submissions a token bucket of that rate, which holds as
// many as it gives out in a second, would have refused: what most providers count
// by.
func refusals(came []time.Time, perSecond int) (n int) {
	tokens, last := float64(perSecond), came[0]
	for _, at := range came {
		tokens = min(float64(perSecond), tokens+at.Sub(last).Seconds()*float64(perSecond))
		last = at
		if tokens < 1 {
			n++
			continue
		}
		tokens--
	}
	return n
}

// mostInFlight is the largest number of generations at a time.
func (m *metered) mostInFlight() (most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended := slices.SortedFunc(slices.Values(m.ended), time.Time.Compare)
	over := 0
	for n, at := range slices.SortedFunc(slices.Values(m.came), time.Time.Compare) {
		for !ended[over].After(at) {
			over++
		}
		most = max(most, n+1-over)
	}
	return most
}

// limitedFleet is a fleet whose workers use one provider with limits.
func limitedFleet(t *testing.T, limits, url string) *fleet {
	return newFleet(t, settings{Extra: fmt.Sprintf(
		"  - {name: metered, use: sketch, base_url: %q, options: {allow_simulate: true}, %s}\n", url, limits)})
}

func meteredJob(length time.Duration) tasks.Draft {
	draft := noop(fmt.Sprintf(`{"sync":false,"duration_ms":%d}`, length.Milliseconds()))
	draft.ProviderID = "metered"
	day := (24 * time.Hour).Milliseconds()
	draft.TimeoutMS = &day
	return draft
}

// putOff is how often the workers have put submissions off.
func (f *fleet) putOff() (times float64) {
	for _, w := range f.workers {
		for line := range strings.Lines(metricsOf(f.t, w.address(f.t, "metrics"))) {
			if strings.HasPrefix(line, `easel_submits_put_off_total{provider="metered"}`) {
				var n float64
				_, err := fmt.Sscan(strings.Fields(line)[1], &n)
				require.NoError(f.t, err)
				times += n
			}
		}
	}
	return times
}

// TestLimitsAreKeptAndUsed runs 2,000 jobs over four workers against a provider
// with limits: they are never exceeded, nearly all of the rate is used, and
// hardly a job is put off more than once. What is sent a second apart may arrive
// closer than that on a busy machine, which is why the provider counts by a token
// bucket; that the store gives out no more in any interval is its own test.
// EASEL_TEST_SLOW_LIMITS=1 runs it at 10 submissions per second and 20 in flight,
// which takes 200 seconds, and wants 95 % of the rate used and no more than 10
// arrivals in any second: for a machine that does nothing else.
//
// It is not run beside the other tests of this package: how much of a rate is used
// depends on how punctual the workers can be.
func TestLimitsAreKeptAndUsed(t *testing.T) { //nolint:paralleltest // see above
	const jobs = 2000
	// How much is used is a matter of time, and of who else is on the machine: the
	// quick run only sees that the line does not stand still.
	rate, inFlight, least := 35, 70, 0.8
	slow := os.Getenv("EASEL_TEST_SLOW_LIMITS") != ""
	if slow {
		rate, inFlight, least = 10, 20, 0.95
	}
	provider, url := newMetered(t, time.Second)
	f := limitedFleet(t, fmt.Sprintf("rate: %d/s, max_in_flight: %d", rate, inFlight), url)
	f.work(4, "EASEL_METRICS_LISTEN=127.0.0.1:0")
	ids := f.enqueue(jobs, func(int) tasks.Draft { return meteredJob(time.Second) })
	for id, job := range f.awaitRest(ids, 5*patience) {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		require.Len(t, job.Attempts, 1)
	}
	came := provider.submissions()
	require.Len(t, came, jobs)
	took := came[jobs-1].Sub(came[0])
	// The first come at once, the others at the rate.
	used := float64(jobs-rate) / (took.Seconds() * float64(rate))
	putOff := f.putOff()
	t.Logf("%d/s: %d refusals by a token bucket, at most %d arrived in any second, %d in %v at the least; %d in flight of %d; %.1f%% of the rate used in %v; put off %.2f times per job",
		rate, refusals(came, rate), densest(came, time.Second), rate+1, tightest(came, rate).Round(time.Millisecond), provider.mostInFlight(), inFlight, 100*used, took.Round(time.Millisecond), putOff/jobs)
	require.Zero(t, refusals(came, rate))
	if slow {
		require.LessOrEqual(t, densest(came, time.Second), rate)
	}
	require.LessOrEqual(t, provider.mostInFlight(), inFlight)
	require.GreaterOrEqual(t, used, least)
	require.LessOrEqual(t, putOff/jobs, 2.0)
}

// TestInFlightIsKeptWhenWorkersDie kills a worker while all places are taken:
// none is lost, and none is given out twice.
func TestInFlightIsKeptWhenWorkersDie(t *testing.T) {
	t.Parallel()
	const inFlight = 8
	provider, url := newMetered(t, 1500*time.Millisecond)
	f := limitedFleet(t, fmt.Sprintf("max_in_flight: %d", inFlight), url)
	f.work(2, "EASEL_METRICS_LISTEN=127.0.0.1:0")
	ids := f.enqueue(100, func(int) tasks.Draft { return meteredJob(1500 * time.Millisecond) })
	require.Eventually(t, func() bool { return len(provider.submissions()) >= 2*inFlight }, patience, 10*time.Millisecond)
	f.workers[0].kill()
	f.workers = f.workers[1:]
	f.work(1, "EASEL_METRICS_LISTEN=127.0.0.1:0")
	for id, job := range f.awaitRest(ids, 3*patience) {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
	}
	t.Logf("%d in flight at most of %d, put off %.2f times per job", provider.mostInFlight(), inFlight, f.putOff()/100)
	require.LessOrEqual(t, provider.mostInFlight(), inFlight)
	require.Equal(t, inFlight, provider.mostInFlight(), "all places were used")
}

// TestRetryAfterHoldsBackAllWorkers has the provider ask once to be left alone:
// no worker calls it before that time is over.
func TestRetryAfterHoldsBackAllWorkers(t *testing.T) {
	t.Parallel()
	const refused = 20
	provider, url := newMetered(t, 100*time.Millisecond)
	provider.refuse = func(n int) string {
		if n == refused {
			return "3"
		}
		return ""
	}
	f := limitedFleet(t, "concurrency: 1", url) // so that few calls are under way when the refusal comes
	f.work(3)
	ids := f.enqueue(200, func(int) tasks.Draft { return meteredJob(100 * time.Millisecond) })
	for id, job := range f.awaitRest(ids, 2*patience) {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		require.Len(t, job.Attempts, 1, "a refusal for being too fast costs no attempt")
	}
	came := provider.submissions()
	require.Len(t, came, 201)
	var gap time.Duration
	after := 0 // calls that were under way when the refusal came
	for i := refused; i < len(came); i++ {
		if since := came[i].Sub(came[refused-1]); since < 2900*time.Millisecond {
			after++
		} else {
			gap = since
			break
		}
	}
	t.Logf("next call %v after the refusal, %d had been under way", gap, after)
	require.LessOrEqual(t, after, 2, "two other workers may have been calling already")
}

// TestPauseStopsSpending pauses a provider while three workers are busy with it:
// from the answer on nothing is bought, what is bought comes to its end, and
// after the pause everything else does, at the pace of the limits.
func TestPauseStopsSpending(t *testing.T) {
	t.Parallel()
	provider, url := newMetered(t, 400*time.Millisecond)
	f := limitedFleet(t, "rate: 50/s", url)
	f.work(3, "EASEL_METRICS_LISTEN=127.0.0.1:0")
	ids := f.enqueue(300, func(int) tasks.Draft { return meteredJob(400 * time.Millisecond) })
	require.Eventually(t, func() bool { return len(provider.submissions()) >= 60 }, patience, 5*time.Millisecond)
	paused, err := f.api.PauseProvider(t.Context(), "metered")
	require.NoError(t, err)
	at := time.Now()
	require.NotNil(t, paused.PausedSince)
	var shown client.Provider
	require.Eventually(t, func() bool {
		list, err := f.api.Providers(t.Context())
		require.NoError(t, err)
		shown = list[slices.IndexFunc(list, func(p client.Provider) bool { return p.ID == "metered" })]
		return shown.InFlight == 0
	}, patience, 50*time.Millisecond, "what is bought comes to its end")
	require.NotZero(t, shown.Waiting)
	bought := len(provider.submissions())
	after := 0
	for _, came := range provider.submissions() {
		if came.After(at.Add(50 * time.Millisecond)) {
			after++ // its intent had been written before the pause
		}
	}
	require.LessOrEqual(t, after, 3)
	putOff := f.putOff()
	time.Sleep(3 * time.Second) // the pause goes on
	require.Equal(t, bought, len(provider.submissions()))
	require.LessOrEqual(t, f.putOff()-putOff, 250.0, "the waiting are not looked at again and again")

	resumed, err := f.api.ResumeProvider(t.Context(), "metered")
	require.NoError(t, err)
	require.Nil(t, resumed.PausedSince)
	for id, job := range f.awaitRest(ids, 2*patience) {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		require.Len(t, job.Attempts, 1)
	}
	require.Zero(t, refusals(provider.submissions(), 50))
	t.Logf("%d bought before the pause, %d after its answer; put off %.2f times per job", bought, after, f.putOff()/300)
}
