package faults

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// How much chaos; `make chaos` runs the whole of it.
var (
	chaosJobs = flag.Int("chaos.jobs", 600, "jobs of the chaos run")
	chaosFor  = flag.Duration("chaos.for", 40*time.Second, "how long processes, Redis and connections are broken")
	chaosSeed = flag.Uint64("chaos.seed", 0, "seed of what is broken when, and of the jobs; 0 is chosen by the clock")
)

const (
	chaosWorkers = 4
	chaosAPIs    = 2
	redisKills   = 5
)

// chaos is a fleet that never stands still, and what it is asked to do.
type chaos struct {
	*fleet
	seed   uint64
	length time.Duration // of the faults
	chance *rand.Rand

	front, toRedis *link
	providers      map[string]*sketch.Service
	toProviders    map[string]*link
	receiver       *receiver
	receiverURL    string
	processes      []*process // the workers, then the APIs

	kills, pauses, restarts, hangs int
	last                           string // the job that came to rest at last

	errands sync.WaitGroup // callers at work
	mu      sync.Mutex
	asked   []*request // what was accepted
	trouble []error    // what callers were refused and should not have been
}

// TestChaos runs mixed jobs while one process is killed every second, Redis five
// times, workers and Redis hang, and connections are cut all the time. Then it looks at every job, at
// the queues, and at what the providers would bill.
func TestChaos(t *testing.T) {
	t.Parallel()
	seed := *chaosSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d: repeat with -chaos.seed=%d", seed, seed)
	c := newChaos(t, seed)
	for i := range chaosWorkers + chaosAPIs {
		c.processes = append(c.processes, c.launch(programOf(i)))
	}
	c.awaitAPIs()
	c.length = *chaosFor
	c.callers(*chaosJobs, c.length)
	c.rage(c.length)
	c.errands.Wait()
	require.Empty(t, c.trouble, "callers were refused")
	c.account()
}

// places are the providers of the run: one that can be asked what became of a
// submission, one that cannot, one where the operator chose to submit again, and
// one that answers with the result and cannot be asked.
var places = []struct {
	name, onUnknown, mode string
	lookup                bool
}{
	{"asked", "hold", "", true},
	{"blind", "hold", "", false},
	{"again", "resubmit", "", false},
	{"atonce", "hold", "sync", false},
}

// newChaos prepares a fleet whose processes, the workers first, are the caller's
// to launch.
func newChaos(t *testing.T, seed uint64) *chaos {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), redis: redistest.Start(t, redistest.AOF("always"))}
	c := &chaos{
		fleet: f, seed: seed, chance: rand.New(rand.NewPCG(seed, 1)),
		front: newLink(t), toRedis: newLink(t, f.redis.Addr()),
		providers: map[string]*sketch.Service{}, toProviders: map[string]*link{},
	}
	c.receiver = newReceiver(t, c.hear)
	hooks := httptest.NewServer(c.receiver)
	t.Cleanup(func() { hooks.CloseClientConnections(); hooks.Close() })
	c.receiverURL = hooks.URL
	c.config = filepath.Join(c.dir, "easel.yaml")
	require.NoError(t, os.WriteFile(c.config, []byte(c.configuration()), 0o600))
	f.apiURL = "http://" + c.front.address()
	var err error
	c.api, err = client.Dial(f.apiURL, "")
	require.NoError(t, err)
	t.Cleanup(func() {
		for _, p := range c.processes {
			p.kill()
			if t.Failed() {
				t.Log(p.tail())
			}
		}
	})
	return c
}

func programOf(i int) string {
	if i < chaosWorkers {
		return "worker"
	}
	return "api"
}

func (c *chaos) configuration() string {
	listed := ""
	for _, place := range places {
		service, err := sketch.NewService(sketch.ServiceConfig{AllowSimulate: true, Mode: place.mode, NoLookup: !place.lookup})
		require.NoError(c.t, err)
		server := httptest.NewServer(service)
		c.t.Cleanup(func() { server.CloseClientConnections(); server.Close(); _ = service.Close() })
		way := newLink(c.t, server.Listener.Addr().String())
		c.providers[place.name], c.toProviders[place.name] = service, way
		listed += fmt.Sprintf("  - {name: %s, use: sketch, base_url: %q, on_unknown: %s, concurrency: 64, "+
			"options: {allow_simulate: true, lookup: %v, mode: %q}}\n",
			place.name, "http://"+way.address(), place.onUnknown, place.lookup, place.mode)
	}
	return fmt.Sprintf(`
redis: {url: "redis://%s/0"}
data_dir: %q
api: {listen: "127.0.0.1:0", public_url: "http://%s"}
worker: {submit_timeout: 8s, shutdown_timeout: 13s, submit_concurrency: 64, poll_concurrency: 32}
defaults: {timeout: 15m, retry_attempts: 15, retry_delay: 200ms}
providers:
%s
webhooks:
  allow_http: true
  allow_private: [%q]
  secrets: [{tenant: default, secret: %q}, {tenant: default, secret: %q}]
log: {level: info, format: json}
`, c.toRedis.address(), filepath.Join(c.dir, "data"), c.front.address(), listed, c.receiverURL, newSecret, oldSecret)
}

// hear answers webhooks: some of them badly at first.
func (c *chaos) hear(_ http.ResponseWriter, r *http.Request, nth int) int {
	if nth == 1 && r.URL.Query().Get("mood") == "bad" {
		return http.StatusBadGateway
	}
	return http.StatusNoContent
}

// leadToAPIs makes the front lead to the APIs that listen.
func (c *chaos) leadToAPIs() {
	var addresses []string
	for _, p := range c.processes[chaosWorkers:] {
		if address := p.said("api is listening"); address != "" && !p.ended() {
			addresses = append(addresses, address)
		}
	}
	c.front.lead(addresses...)
}

func (c *chaos) awaitAPIs() {
	require.Eventually(c.t, func() bool {
		c.leadToAPIs()
		return len(*c.front.backends.Load()) == chaosAPIs
	}, patience, 100*time.Millisecond)
	c.awaitReady()
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// rage breaks things until the time is over, and mends what it has broken.
func (c *chaos) rage(length time.Duration) {
	began := time.Now()
	second, redis := time.Duration(0), length/(redisKills+1)
	var paused *process
	var wake time.Time
	for {
		now := time.Since(began)
		if now >= length && c.restarts == redisKills {
			break
		}
		if now >= second {
			second += time.Second
			c.killOne()
			if paused == nil && c.chance.IntN(15) == 0 {
				paused, wake = c.processes[c.chance.IntN(chaosWorkers)], time.Now().Add(10*time.Second)
				paused.signal(syscall.SIGSTOP)
				c.pauses++
			}
		}
		if paused != nil && time.Now().After(wake) {
			paused.signal(syscall.SIGCONT)
			paused = nil
		}
		if c.restarts < redisKills && now >= redis {
			redis += length / (redisKills + 1)
			c.redis.Kill()
			time.Sleep(time.Duration(c.chance.Int64N(int64(2 * time.Second)))) // the outage
			c.redis.Restart()
			if c.restarts++; c.restarts%2 == 0 {
				c.redis.Pause()
				time.Sleep(time.Duration(2+c.chance.IntN(5)) * time.Second) // longer than any of its clients waits
				c.redis.Resume()
				c.hangs++
			}
		}
		c.cutSome()
		c.leadToAPIs()
		time.Sleep(100 * time.Millisecond) // the pace of the faults
	}
	if paused != nil {
		paused.signal(syscall.SIGCONT)
	}
	require.Equal(c.t, redisKills, c.restarts)
	c.awaitAPIs()
}

// killOne kills one process and starts another in its place.
func (c *chaos) killOne() {
	i := c.chance.IntN(len(c.processes))
	c.processes[i].kill()
	_ = os.Remove(c.processes[i].log)
	c.processes[i] = c.launch(programOf(i))
	c.kills++
}

// cutSome cuts connections, or swallows their next answers.
func (c *chaos) cutSome() {
	if c.chance.IntN(3) == 0 {
		c.toRedis.breakSome(c.chance, 1+c.chance.IntN(2), c.chance.IntN(2) == 0)
	}
	if c.chance.IntN(5) == 0 {
		place := places[c.chance.IntN(len(places))]
		c.toProviders[place.name].breakSome(c.chance, 1, c.chance.IntN(2) == 0)
	}
	if c.chance.IntN(20) == 0 {
		c.front.breakSome(c.chance, 1, c.chance.IntN(2) == 0)
	}
}

// callers ask for jobs, spread over the time of the faults, and see to their own
// errands: cancels and retries.
func (c *chaos) callers(n int, length time.Duration) {
	const batch = 10
	began := time.Now()
	work := make(chan []*request)
	c.errands.Go(func() {
		defer close(work)
		for first := 0; first < n; first += batch {
			// The last are asked for while things still break.
			time.Sleep(time.Until(began.Add(length * time.Duration(first) / time.Duration(n) * 9 / 10)))
			var requests []*request
			for i := first; i < min(first+batch, n); i++ {
				requests = append(requests, c.request(i))
			}
			work <- requests
		}
	})
	for range 16 {
		c.errands.Go(func() {
			for requests := range work {
				c.ask(requests)
			}
		})
	}
}

// ask insists until the batch is accepted: the same key makes the same jobs.
func (c *chaos) ask(requests []*request) {
	drafts := make([]tasks.Draft, len(requests))
	for i, r := range requests {
		drafts[i] = r.draft
	}
	key := client.WithIdempotencyKey("batch-" + strconv.Itoa(requests[0].n))
	var results []client.BatchResult
	err := c.insist(func(ctx context.Context) (err error) {
		results, err = c.api.EnqueueBatch(ctx, drafts, key)
		if err == nil {
			for _, r := range results {
				if r.Problem != nil {
					return r.Problem
				}
			}
		}
		return err
	})
	if err != nil {
		c.complain(fmt.Errorf("accept: %w", err))
		return
	}
	for i := range requests {
		requests[i].id = results[i].Job.ID
		if errand := requests[i].errand; errand != nil {
			c.errands.Go(func() { c.complain(errand(c, requests[i])) })
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, requests...)
}

// insist repeats a call until it is answered: the API is away now and then.
func (c *chaos) insist(call func(ctx context.Context) error) error {
	for try := 0; ; try++ {
		ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
		err := call(ctx)
		cancel()
		var problem *client.Problem
		refused := errors.As(err, &problem) && problem.Status < http.StatusInternalServerError && problem.Status != http.StatusTooManyRequests
		if err == nil || refused || try > 200 || c.t.Context().Err() != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond) // the client has backed off already
	}
}

func (c *chaos) complain(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = append(c.trouble, err)
}
