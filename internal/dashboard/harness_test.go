package dashboard_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/dashboard"
	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// startRedis runs a redis-server of the test's own and returns its address.
func startRedis(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)

	cmd := exec.Command("redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	require.Eventually(t, func() bool {
		answer, err := redisDo(addr, "PING")
		return err == nil && answer == "+PONG"
	}, 10*time.Second, 10*time.Millisecond, "redis-server did not come up")
	return addr
}

// redisDo sends one inline command and returns the first line of the answer.
func redisDo(addr, command string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

// desk is a queue with tasks in it, and asynq's view of them.
type desk struct {
	t         *testing.T
	opt       asynq.RedisClientOpt
	client    *asynq.Client
	inspector *asynq.Inspector
	release   chan struct{}
}

func newDesk(t *testing.T) *desk {
	opt := asynq.RedisClientOpt{Addr: startRedis(t)}
	d := &desk{t: t, opt: opt, client: asynq.NewClient(opt), inspector: asynq.NewInspector(opt), release: make(chan struct{})}
	t.Cleanup(func() { _ = d.client.Close(); _ = d.inspector.Close() })
	return d
}

// serve runs a worker that does with a task what its payload says.
func (d *desk) serve(queues ...string) {
	weights := map[string]int{}
	for _, q := range queues {
		weights[q] = 1
	}
	server := asynq.NewServer(d.opt, asynq.Config{
		Concurrency: 4, Queues: weights, TaskCheckInterval: 100 * time.Millisecond, LogLevel: asynq.FatalLevel,
		ShutdownTimeout: 5 * time.Second,
		RetryDelayFunc:  func(int, error, *asynq.Task) time.Duration { return time.Hour },
	})
	require.NoError(d.t, server.Start(asynq.HandlerFunc(d.handle)))
	d.t.Cleanup(func() {
		close(d.release)
		server.Shutdown()
	})
}

func (d *desk) handle(ctx context.Context, task *asynq.Task) error {
	var payload struct{ Want string }
	if err := json.Unmarshal(task.Payload(), &payload); err != nil {
		return err
	}
	switch payload.Want {
	case "archived":
		return fmt.Errorf("openai: quota (status 429) insufficient_quota: %w", asynq.SkipRetry)
	case "retry":
		return errors.New("openai: server (status 500): something broke")
	case "active":
		<-d.release
	}
	return nil
}

// put enqueues a task and waits until it stands where it should.
func (d *desk) put(queue string, task tasks.Task, want asynq.TaskState) string {
	d.t.Helper()
	payload, err := json.Marshal(map[string]any{"job": task.JobID, "step": task.Step, "want": want.String()})
	require.NoError(d.t, err)
	opts := []asynq.Option{asynq.Queue(queue), asynq.TaskID(task.ID()), asynq.MaxRetry(1000)}
	switch want {
	case asynq.TaskStateScheduled:
		opts = append(opts, asynq.ProcessIn(time.Hour))
	case asynq.TaskStateCompleted:
		opts = append(opts, asynq.Retention(time.Hour))
	}
	_, err = d.client.Enqueue(asynq.NewTask(string(task.Kind), payload), opts...)
	require.NoError(d.t, err)
	require.Eventually(d.t, func() bool { return d.state(queue, task.ID()) == want }, 20*time.Second, 20*time.Millisecond,
		"task %s never became %s", task.ID(), want)
	return task.ID()
}

// state is where asynq has the task, or 0 when it has it no more.
func (d *desk) state(queue, id string) asynq.TaskState {
	info, err := d.inspector.GetTaskInfo(queue, id)
	if err != nil {
		return 0
	}
	return info.State
}

// The engine fits as it is.
var (
	_ dashboard.Jobs     = (*orchestrator.Engine)(nil)
	_ dashboard.Operator = (*orchestrator.Engine)(nil)
)

// engine is what the dashboard calls, recorded.
type engine struct {
	mu      sync.Mutex
	calls   []string
	refuse  map[string]error // by task id or verb
	jobs    []*tasks.Job
	query   orchestrator.Query
	files   map[string][]byte
	media   map[string]string
	summary dashboard.Overview
	missing error // of Overview
}

func (e *engine) call(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf(format, args...))
}

func (e *engine) called() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]string{}, e.calls...)
}

func (e *engine) RunTask(_ context.Context, id string) (*tasks.Job, error) {
	e.call("run %s", id)
	return &tasks.Job{}, e.refuse[id]
}

func (e *engine) DropTask(_ context.Context, id string) (*tasks.Job, error) {
	e.call("drop %s", id)
	return &tasks.Job{}, e.refuse[id]
}

func (e *engine) Lookup(_ context.Context, id string) (*tasks.Job, error) {
	for _, job := range e.jobs {
		if job.ID == id {
			return job, nil
		}
	}
	return nil, orchestrator.ErrNotFound
}

func (e *engine) List(_ context.Context, query orchestrator.Query) (orchestrator.Page, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.query = query
	if query.Cursor == "bad" {
		return orchestrator.Page{}, orchestrator.ErrBadCursor
	}
	return orchestrator.Page{Jobs: e.jobs, NextCursor: "older"}, nil
}

func (e *engine) Cancel(_ context.Context, tenant, id string, version int64) (*tasks.Job, error) {
	e.call("cancel %s/%s at %d", tenant, id, version)
	return &tasks.Job{}, e.refuse["cancel"]
}

func (e *engine) Retry(_ context.Context, tenant, id string, mode orchestrator.RetryMode, key string, version int64) (*tasks.Job, bool, error) {
	e.call("retry %s/%s %q at %d, keyed %t", tenant, id, mode, version, key != "")
	return &tasks.Job{}, false, e.refuse["retry"]
}

func (e *engine) Resolve(_ context.Context, tenant, id string, r orchestrator.Resolution, version int64) (*tasks.Job, error) {
	e.call("resolve %s/%s %s %q at %d", tenant, id, r.Outcome, r.RemoteID, version)
	return &tasks.Job{}, e.refuse["resolve"]
}

type file struct{ *bytes.Reader }

func (file) Close() error       { return nil }
func (file) ModTime() time.Time { return noon }

func (e *engine) OpenArtifact(_ context.Context, _, id string, index int) (tasks.Artifact, orchestrator.ArtifactReader, error) {
	name := fmt.Sprintf("%s/%d", id, index)
	content, ok := e.files[name]
	if !ok {
		return tasks.Artifact{}, nil, orchestrator.ErrNoArtifact
	}
	return tasks.Artifact{Index: index, Key: name + ".bin", MediaType: e.media[name], SHA256: "abc123"}, file{bytes.NewReader(content)}, nil
}

func (e *engine) overview(context.Context) (dashboard.Overview, error) { return e.summary, e.missing }

// noon is when the pages are looked at.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func config(e *engine, redis asynq.RedisConnOpt) dashboard.Config {
	return dashboard.Config{
		Redis: redis, Operator: e, Jobs: e, Lookup: e.Lookup, Overview: e.overview, Loopback: true,
		Now: func() time.Time { return noon }, APIURL: "http://127.0.0.1:8080",
	}
}

// idle is a Redis that is never asked.
var idle = asynq.RedisClientOpt{Addr: "127.0.0.1:1"}

// visit is a browser that follows no redirects.
type visit struct {
	t      *testing.T
	server *httptest.Server
	client *http.Client
}

func open(t *testing.T, cfg dashboard.Config) *visit {
	t.Helper()
	handler, err := dashboard.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &visit{t, server, &http.Client{
		Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

type reply struct {
	*http.Response
	text string
}

func (v *visit) do(method, path string, body string, header ...string) reply {
	v.t.Helper()
	request, err := http.NewRequestWithContext(v.t.Context(), method, v.server.URL+path, strings.NewReader(body))
	require.NoError(v.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			request.Host = header[i+1]
		}
		request.Header.Set(header[i], header[i+1])
	}
	response, err := v.client.Do(request)
	require.NoError(v.t, err)
	defer response.Body.Close()
	var text bytes.Buffer
	_, err = text.ReadFrom(response.Body)
	require.NoError(v.t, err)
	return reply{response, text.String()}
}

func (v *visit) get(path string) reply { v.t.Helper(); return v.do("GET", path, "") }

func (v *visit) post(path string, form url.Values) reply {
	v.t.Helper()
	return v.do("POST", path, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// gallery is an engine with a job of every kind that a page tells apart.
func gallery(now time.Time) *engine {
	e := &engine{
		refuse: map[string]error{}, files: map[string][]byte{}, media: map[string]string{},
		summary: dashboard.Overview{
			Checks: []dashboard.Check{{Name: "Redis", OK: true}, {Name: "Workers", OK: true, Detail: "3 processes"}, {Name: "Storage", OK: true}},
			Counts: &dashboard.Counts{Waiting: 12, Running: 48213, Unresolved: 2, Failed: 7, FailedWithin: 24 * time.Hour},
			Providers: []dashboard.Provider{
				{Name: "openai", Adapter: "openai", OK: true, Features: []string{"text-to-image", "image-to-image", "text-to-speech"}},
				{Name: "replicate-eu", Adapter: "replicate", OK: false, Reason: "authentication: the key is not accepted", Since: now.Add(-14 * time.Minute), Features: []string{"text-to-image", "text-to-video"}},
				{Name: "sketch", Adapter: "sketch", OK: true, Features: []string{"text-to-image", "text-to-video", "text-to-speech"}},
			},
			Queues: []dashboard.Queue{
				{Name: "submit:high", Pending: 0, Active: 2}, {Name: "submit:default", Pending: 12, Active: 64, Retry: 3, Archived: 5, Latency: 2400 * time.Millisecond},
				{Name: "submit:low", Paused: true, Pending: 130, Latency: 41 * time.Minute}, {Name: "poll", Scheduled: 48211, Active: 7},
				{Name: "finalize", Active: 1}, {Name: "deliver", Retry: 2, Archived: 1},
			},
		},
	}
	e.jobs = []*tasks.Job{completed(now), running(now), unresolved(now), failed(now)}
	e.files["job_done/0"], e.media["job_done/0"] = picture(), "image/png"
	e.files["job_done/1"], e.media["job_done/1"] = []byte("<script>alert(1)</script>"), "text/html"
	return e
}

func completed(now time.Time) *tasks.Job {
	start := now.Add(-3 * time.Hour)
	return &tasks.Job{
		ID: "job_done", Version: 9, Tenant: "acme", State: tasks.Completed, ProviderID: "openai", Model: "gpt-image-1.5",
		Request: tasks.Request{
			FeatureType: tasks.TextToImage, UserID: "user-123", Metadata: map[string]string{"order": "42"},
			InputData: json.RawMessage(`{"prompt":"A <b>beautiful</b> sunset","style":"realistic"}`),
		},
		CreatedAt: start, FinishedAt: start.Add(31 * time.Second), Deadline: start.Add(10 * time.Minute), Budget: 3, Spent: 1,
		PurgeAt: now.Add(100 * time.Hour),
		Result: &tasks.Result{
			Artifacts: []tasks.Artifact{
				{Index: 0, Kind: "image", MediaType: "image/png", Bytes: 48213, Width: 640, Height: 400},
				{Index: 1, Kind: "file", MediaType: "text/html", Bytes: 25},
			},
			Output: json.RawMessage(`{"seed":7}`),
		},
		Warnings: []tasks.Warning{{Code: "unknown_input", Message: "The provider does not know this field.", Pointer: "/input_data/promt"}},
		Attempts: []tasks.Attempt{
			{Number: 1, ProviderID: "replicate-eu", Outcome: tasks.OutcomeRejected, StartedAt: start, AnsweredAt: start.Add(2100 * time.Millisecond), EndedAt: start.Add(2100 * time.Millisecond),
				Error: &tasks.Failure{Class: classify.Overloaded, Code: "busy", Message: "no machine is free", ProviderStatus: 503}},
			{Number: 2, ProviderID: "openai", Model: "gpt-image-1.5", Outcome: tasks.OutcomeAccepted, StartedAt: start.Add(4 * time.Second), AnsweredAt: start.Add(6 * time.Second), DoneAt: start.Add(29 * time.Second), EndedAt: start.Add(31 * time.Second),
				Cost: &tasks.Cost{Amount: "0.040", Currency: "USD", Basis: "estimated"}},
		},
		Submissions: []tasks.Submission{
			{Number: 1, Attempt: 1, ProviderID: "replicate-eu", State: tasks.SubmissionRejected, ClientID: "job_done-1", SentAt: start},
			{Number: 2, Attempt: 2, ProviderID: "openai", State: tasks.SubmissionAccepted, ClientID: "job_done-2", RemoteID: "resp_8f21", SentAt: start.Add(4 * time.Second), Polls: 6, Succeeded: true, Stored: true},
		},
		Outbox: []tasks.Delivery{
			{Version: 9, Type: "job.completed", State: tasks.DeliveryPending, Tries: 2, At: start.Add(31 * time.Second), NextAt: now.Add(4 * time.Minute), LastCode: 502},
		},
	}
}

func running(now time.Time) *tasks.Job {
	percent := 42.0
	return &tasks.Job{
		ID: "job_running", Version: 4, Tenant: "acme", State: tasks.Processing, ProviderID: "sketch",
		Request:   tasks.Request{FeatureType: tasks.TextToVideo, UserID: "user-7", InputData: json.RawMessage(`{"prompt":"waves"}`)},
		Progress:  tasks.Progress{Stage: tasks.StageProcessing, Percent: &percent, Estimated: true, Message: "drawing frame 21 of 50", ETA: now.Add(40 * time.Second)},
		CreatedAt: now.Add(-30 * time.Second), Deadline: now.Add(9 * time.Minute), Kind: tasks.KindPoll, Step: 7, Due: now.Add(2 * time.Second), Budget: 3,
		Attempts:    []tasks.Attempt{{Number: 1, ProviderID: "sketch", Outcome: tasks.OutcomeAccepted, StartedAt: now.Add(-29 * time.Second), AnsweredAt: now.Add(-28 * time.Second)}},
		Submissions: []tasks.Submission{{Number: 1, Attempt: 1, ProviderID: "sketch", State: tasks.SubmissionAccepted, ClientID: "job_running-1", RemoteID: "sk_1", SentAt: now.Add(-29 * time.Second), Polls: 5}},
	}
}

func unresolved(now time.Time) *tasks.Job {
	failure := &tasks.Failure{Class: classify.UnknownOutcome, Message: "the connection ended before the provider answered", ProviderID: "openai", At: now.Add(-20 * time.Minute)}
	return &tasks.Job{
		ID: "job_unresolved", Version: 5, Tenant: "acme", State: tasks.Unresolved, ProviderID: "openai", Error: failure,
		Request:   tasks.Request{FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"a fox"}`)},
		CreatedAt: now.Add(-21 * time.Minute), Deadline: now.Add(-11 * time.Minute), Budget: 3,
		Attempts:    []tasks.Attempt{{Number: 1, ProviderID: "openai", Outcome: tasks.OutcomeUnknown, StartedAt: now.Add(-21 * time.Minute), Error: failure}},
		Submissions: []tasks.Submission{{Number: 1, Attempt: 1, ProviderID: "openai", State: tasks.SubmissionUnknown, ClientID: "job_unresolved-1", SentAt: now.Add(-21 * time.Minute), Lookups: 3}},
	}
}

func failed(now time.Time) *tasks.Job {
	failure := &tasks.Failure{Class: classify.Quota, Code: "insufficient_quota", Message: "You exceeded your current <quota>.", ProviderID: "openai", ProviderStatus: 429, At: now.Add(-2 * time.Hour)}
	return &tasks.Job{
		ID: "job_failed", Version: 3, Tenant: "acme", State: tasks.Failed, ProviderID: "openai", Error: failure,
		Request:   tasks.Request{FeatureType: tasks.TextToSpeech, UserID: "user-9", InputData: json.RawMessage(`{"text":"hello"}`)},
		CreatedAt: now.Add(-2 * time.Hour), FinishedAt: now.Add(-2 * time.Hour), Deadline: now.Add(-110 * time.Minute), Budget: 3,
		Attempts:    []tasks.Attempt{{Number: 1, ProviderID: "openai", Outcome: tasks.OutcomeRejected, StartedAt: now.Add(-2 * time.Hour), EndedAt: now.Add(-2*time.Hour + time.Second), Error: failure}},
		Submissions: []tasks.Submission{{Number: 1, Attempt: 1, ProviderID: "openai", State: tasks.SubmissionRejected, ClientID: "job_failed-1", SentAt: now.Add(-2 * time.Hour)}},
	}
}

// picture draws something to look at.
func picture() []byte {
	img := image.NewRGBA(image.Rect(0, 0, 640, 400))
	for y := range 400 {
		for x := range 640 {
			c := color.RGBA{uint8(250 - y/4), uint8(190 - y/3), uint8(90 + y/4), 255}
			if dx, dy := x-430, y-190; dx*dx+dy*dy < 60*60 {
				c = color.RGBA{255, 236, 170, 255}
			}
			if y > 260+(x%160-80)*(x%160-80)/200 {
				c = color.RGBA{52, 74, 92, 255}
			}
			img.Set(x, y, c)
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		panic(err)
	}
	return out.Bytes()
}
