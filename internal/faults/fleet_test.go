package faults

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// binaries is where the programs of this tree are built, once for all tests.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "easel-faults")
	if err != nil {
		panic(err)
	}
	build := exec.Command("go", "build", "-o", dir+"/", "../../cmd/api", "../../cmd/worker")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	binaries = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// fleet is an Easel of several processes on one Redis, before one provider.
type fleet struct {
	t        *testing.T
	dir      string
	redis    *redistest.Server
	provider *sketch.Service
	config   string
	api      *client.Client
	apiURL   string
	workers  []*process
	programs string // where they are, if not in binaries
}

// settings changes the configuration of a fleet.
type settings struct {
	Options       map[string]any // of the provider
	OnUnknown     string
	SubmitTimeout time.Duration
	Retention     time.Duration
	PublicURL     string                                   // where providers post their webhooks
	Watch         func(provider http.Handler) http.Handler // stands before the provider
	Extra         string                                   // lines of the configuration: further providers, then whole sections
}

func newFleet(t *testing.T, s settings) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir(), redis: redistest.Start(t, redistest.AOF("everysec"))}
	var err error
	f.provider, err = sketch.NewService(sketch.ServiceConfig{AllowSimulate: true, NoLookup: s.OnUnknown != ""})
	require.NoError(t, err)
	var before http.Handler = f.provider
	if s.Watch != nil {
		before = s.Watch(before)
	}
	server := httptest.NewServer(before)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); _ = f.provider.Close() })

	if s.Options == nil {
		s.Options = map[string]any{}
	}
	s.Options["allow_simulate"] = true
	s.Options["lookup"] = s.OnUnknown == ""
	if s.SubmitTimeout == 0 {
		s.SubmitTimeout = 20 * time.Second
	}
	options, err := json.Marshal(s.Options)
	require.NoError(t, err)
	onUnknown := s.OnUnknown
	if onUnknown == "" {
		onUnknown = "hold"
	}
	f.config = filepath.Join(f.dir, "easel.yaml")
	require.NoError(t, os.WriteFile(f.config, fmt.Appendf(nil, `
redis: {url: %q}
data_dir: %q
api: {listen: "127.0.0.1:0", public_url: %q}
worker: {submit_timeout: %s, shutdown_timeout: %s, submit_concurrency: 64, poll_concurrency: 32}
defaults: {timeout: 5m, retry_delay: 200ms}
providers:
  - {name: sketch, use: sketch, base_url: %q, on_unknown: %s, concurrency: 64, options: %s}
%s
log: {level: info, format: json}
`, f.redis.URL(), filepath.Join(f.dir, "data"), s.PublicURL,
		s.SubmitTimeout, s.SubmitTimeout+5*time.Second, server.URL, onUnknown, options, s.Extra), 0o600))
	f.apiURL = "http://" + f.spawn("api").address(t, "api is listening")
	f.api, err = client.Dial(f.apiURL, "")
	require.NoError(t, err)
	f.awaitReady()
	return f
}

// process is one program of the fleet.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func (f *fleet) spawn(program string, env ...string) *process {
	f.t.Helper()
	p := f.launch(program, env...)
	f.t.Cleanup(func() {
		p.kill()
		if f.t.Failed() {
			f.t.Log(p.tail())
		}
	})
	return p
}

// launch starts a program that its caller ends.
func (f *fleet) launch(program string, env ...string) *process {
	f.t.Helper()
	log := filepath.Join(f.dir, fmt.Sprintf("%s-%d.log", program, time.Now().UnixNano()))
	out, err := os.Create(log)
	require.NoError(f.t, err)
	p := &process{name: program, log: log, done: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(cmp.Or(f.programs, binaries), program), "--config", f.config)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	require.NoError(f.t, p.cmd.Start())
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is the test's doing
		_ = out.Close()
	}()
	return p
}

// tail is the end of what the process has logged.
func (p *process) tail() string {
	log, _ := os.ReadFile(p.log)
	return fmt.Sprintf("%s: …%s", filepath.Base(p.log), log[max(0, len(log)-4000):])
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.done
}

// stop ends the process as a deploy does, and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	<-p.done
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// work starts workers.
func (f *fleet) work(n int, env ...string) {
	for range n {
		f.workers = append(f.workers, f.spawn("worker", env...))
	}
}

func (f *fleet) awaitReady() {
	require.Eventually(f.t, func() bool {
		response, err := http.Get(f.apiURL + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "the API does not get ready")
}

// address is where the process listens, as its log says: a port that a test
// had looked for itself might be somebody else's by now.
func (p *process) address(t *testing.T, message string) string {
	t.Helper()
	var found string
	require.Eventually(t, func() bool {
		found = p.said(message)
		return found != ""
	}, time.Minute, 20*time.Millisecond, "%s never said %q", p.name, message)
	return found
}

// said is the address that the process has named with a message, if it has.
func (p *process) said(message string) (address string) {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(log)) {
		var entry struct{ Message, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Message == message {
			address = entry.Address
		}
	}
	return address
}

// enqueue accepts jobs whose drafts make returns, and returns their ids.
func (f *fleet) enqueue(n int, draft func(i int) tasks.Draft) []string {
	f.t.Helper()
	var ids []string
	for first := 0; first < n; first += 500 {
		var drafts []tasks.Draft
		for i := first; i < min(first+500, n); i++ {
			drafts = append(drafts, draft(i))
		}
		results, err := f.api.EnqueueBatch(f.t.Context(), drafts)
		require.NoError(f.t, err)
		for _, r := range results {
			require.NotNil(f.t, r.Job, "%+v", r)
			ids = append(ids, r.Job.ID)
		}
	}
	return ids
}

// noop is a job that costs nothing to draw, with what the provider shall do.
func noop(simulate string) tasks.Draft {
	input := `{"prompt":"x"}`
	if simulate != "" {
		input = fmt.Sprintf(`{"prompt":"x","simulate":%s}`, simulate)
	}
	return tasks.Draft{FeatureType: tasks.TextToImage, Model: "sketch-noop", InputData: json.RawMessage(input)}
}

// awaitRest waits until every job is at rest and returns them.
func (f *fleet) awaitRest(ids []string, limit time.Duration) map[string]client.Job {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), limit)
	defer cancel()
	jobs := map[string]client.Job{}
	for {
		for _, id := range ids {
			if _, rests := jobs[id]; rests {
				continue
			}
			job, err := f.api.Get(ctx, id)
			if ctx.Err() == nil {
				require.NoError(f.t, err)
			}
			if err == nil && job.Status.AtRest() {
				jobs[id] = *job
			}
		}
		if len(jobs) == len(ids) {
			return jobs
		}
		select {
		case <-ctx.Done():
			for _, id := range ids {
				if _, rests := jobs[id]; !rests {
					job, _ := f.api.Get(f.t.Context(), id)
					f.t.Logf("not at rest: %+v", job)
					break
				}
			}
			require.Failf(f.t, "jobs do not come to rest", "%d of %d do", len(jobs), len(ids))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// requireBoughtOnce compares what the provider accepted with what the jobs have
// recorded: no attempt was submitted twice, and none is unknown to us.
func (f *fleet) requireBoughtOnce(jobs map[string]client.Job) {
	f.t.Helper()
	stats, err := f.provider.Stats()
	require.NoError(f.t, err)
	require.Zero(f.t, stats.Duplicates, "an attempt was submitted twice")
	recorded := 0
	for _, job := range jobs {
		for _, a := range job.Attempts {
			if a.Outcome == tasks.OutcomeAccepted {
				recorded++
			}
		}
	}
	require.Equal(f.t, stats.Accepted, recorded, "accepted submissions are recorded attempts")
}

// records opens the store, past the API.
func (f *fleet) records() *store.Store {
	f.t.Helper()
	s, err := store.Open(f.t.Context(), store.Config{URL: f.redis.URL()})
	require.NoError(f.t, err)
	f.t.Cleanup(func() { _ = s.Close() })
	return s
}

// repairs are what a worker's reconciler has mended.
func repairs(t *testing.T, address string) []string {
	var lines []string
	for line := range strings.Lines(metricsOf(t, address)) {
		if strings.HasPrefix(line, "easel_repairs_total") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

// gauge reads a number from a process's metrics.
func gauge(t *testing.T, address, name string) float64 {
	t.Helper()
	for line := range strings.Lines(metricsOf(t, address)) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			require.NoError(t, err)
			return number
		}
	}
	require.Failf(t, "no such metric", "%s", name)
	return 0
}

func metricsOf(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get("http://" + address + "/metrics")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

var patience = time.Minute
