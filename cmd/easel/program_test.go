package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// api is a fake of the HTTP API: jobs end at once, in the status that their
// input names, and have one artifact.
type api struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // method, path and body
	tokens   map[string]bool
	jobs     map[string]client.Job
	content  string // of every artifact
	path     string // what the server says of artifacts' paths
}

const pixels = "pixels"

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{tokens: map[string]bool{}, jobs: map[string]client.Job{}, content: pixels}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/jobs", a.create)
	mux.HandleFunc("GET /v1/jobs", a.list)
	mux.HandleFunc("GET /v1/jobs/{id}", a.get)
	mux.HandleFunc("GET /v1/jobs/{id}/events", a.events)
	mux.HandleFunc("GET /v1/jobs/{id}/artifacts/{n}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = io.WriteString(w, a.content)
	})
	mux.HandleFunc("POST /v1/files", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") == "text/html" {
			w.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = io.WriteString(w, `{"status":422,"code":"invalid_request","detail":"no pages"}`)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"id":"file_1","media_type":%q,"bytes":%d}`, r.Header.Get("Content-Type"), r.ContentLength)
	})
	for _, verb := range []string{"cancel", "retry", "resolve"} {
		mux.HandleFunc("POST /v1/jobs/{id}/"+verb, a.get)
	}
	mux.HandleFunc("GET /v1/providers", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"providers":[{"id":"openai","adapter":"openai","default":true,"features":[{"feature_type":"text-to-image"}],`+
			`"health":{"status":"down","reason":"key \u001b[31mrefused"}}]}`)
	})
	mux.HandleFunc("GET /v1/features", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"features":[`+
			`{"feature_type":"text-to-image","providers":[{"provider_id":"sketch","input_schema":{"required":["prompt"]}},{"provider_id":"local","input_schema":{"required":["prompt","steps"]}}]},`+
			`{"feature_type":"text-to-video","providers":[{"provider_id":"sketch"},{"provider_id":"openai"}]},`+
			`{"feature_type":"text-to-speech","providers":[{"provider_id":"sketch"},{"provider_id":"local","input_schema":{"required":["text"]}}]}]}`)
	})
	for _, verb := range []string{"pause", "resume"} {
		mux.HandleFunc("POST /v1/providers/{name}/"+verb, func(w http.ResponseWriter, r *http.Request) {
			since := "null"
			if verb == "pause" {
				since = `"2026-01-02T15:04:05Z"`
			}
			_, _ = fmt.Fprintf(w, `{"id":%q,"health":{"status":"ok"},"in_flight":3,"limits":{"max_in_flight":20},"waiting":7,"paused_since":%s}`, r.PathValue("name"), since)
		})
	}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		a.mu.Lock()
		a.requests = append(a.requests, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(body)))
		a.tokens[r.Header.Get("Authorization")] = true
		a.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) create(w http.ResponseWriter, r *http.Request) {
	var draft tasks.Draft
	_ = json.NewDecoder(r.Body).Decode(&draft)
	var input struct {
		End tasks.Status `json:"end"`
	}
	_ = json.Unmarshal(draft.InputData, &input)
	if input.End == "invalid" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, `{"code":"invalid_request","errors":[{"pointer":"#/input_data/end","detail":"is wrong"}]}`)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	job := client.Job{ID: fmt.Sprintf("job_%d", len(a.jobs)+1), Status: tasks.StatusQueued, Version: 1, FeatureType: draft.FeatureType,
		Warnings: []tasks.Warning{{Pointer: "/input_data/promt", Message: "nobody reads it"}}}
	ended := job
	ended.Status, ended.Version = input.End, 3
	if ended.Status == "" {
		ended.Status = tasks.StatusCompleted
	}
	if ended.Status == tasks.StatusCompleted {
		ended.Result = &tasks.ResultView{Artifacts: []tasks.ArtifactView{{Kind: "image", MediaType: "image/png", Bytes: 6, Path: a.path,
			SHA256: sha256Of(pixels), URL: "/v1/jobs/" + job.ID + "/artifacts/0"}}}
	} else {
		ended.Error = &tasks.FailureView{Class: "server", Code: "busy", Message: "no luck"}
	}
	a.jobs[job.ID] = ended
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(job)
}

func (a *api) job(r *http.Request) (client.Job, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	job, ok := a.jobs[r.PathValue("id")]
	return job, ok
}

func (a *api) get(w http.ResponseWriter, r *http.Request) {
	job, ok := a.job(r)
	if !ok {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"code":"not_found","detail":"There is no such job."}`)
		return
	}
	_ = json.NewEncoder(w).Encode(job)
}

func (a *api) list(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	jobs := []client.Job{}
	for _, job := range a.jobs {
		jobs = append(jobs, job)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"jobs": jobs, "next_cursor": nil})
}

func (a *api) events(w http.ResponseWriter, r *http.Request) {
	job, ok := a.job(r)
	if !ok {
		a.get(w, r)
		return
	}
	running := job
	percent := 50.0
	running.Status, running.Version, running.Result, running.Error = tasks.StatusProcessing, 2, nil, nil
	running.Progress = tasks.ProgressView{Stage: tasks.StageProcessing, Percent: &percent, Estimated: true}
	for _, state := range []client.Job{running, job} {
		raw, _ := json.Marshal(state)
		fmt.Fprintf(w, "event: job\nid: %d\ndata: %s\n\n", state.Version, raw)
	}
}

func (a *api) seen() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.requests
}

// put makes a job that is there already.
func (a *api) put(id string, status tasks.Status) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.jobs[id] = client.Job{ID: id, Status: status, Version: 3, ProviderID: "sketch", FeatureType: "text-to-image"}
}

// easel runs one command line against the API.
type easel struct {
	program
	out, err bytes.Buffer
	env      map[string]string
}

func newEasel(a *api) *easel {
	e := &easel{env: map[string]string{"EASEL_TOKEN": "token-1"}}
	if a != nil {
		e.env["EASEL_URL"] = a.URL
	}
	e.program = program{stdout: &e.out, stderr: &e.err, version: "test", lookupEnv: func(name string) (string, bool) {
		value, set := e.env[name]
		return value, set
	}}
	return e
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	nobody := "--url=http://" + listener.Addr().String()

	for _, test := range []struct {
		args   string
		code   int
		stderr string
	}{
		{"submit --feature x --input end=completed --wait", 0, ""},
		{"submit --feature x --input end=failed", 0, ""}, // accepted
		{"submit --feature x --input end=failed --wait", 1, "failed: no luck"},
		{"submit --feature x --input end=canceled --wait", 1, "canceled"},
		{"submit --feature x --input end=unresolved --wait", 3, "unresolved"},
		{"submit --feature x --input end=invalid", 2, "#/input_data/end: is wrong"},
		{"submit", 2, "--feature is required"},
		{"submit --feature x --input nonsense", 2, "must be key=value"},
		{"submit --feature x --input k=@/no/such/file", 2, "no such file"},
		{"submit --feature x --metadata =1", 2, "--metadata"},
		{"submit --feature x --run-at tomorrow", 2, "--run-at"},
		{"submit --feature x more", 2, "unknown command"},
		{"submit --feature x --no-such-flag", 2, "unknown flag"},
		{"frobnicate", 2, "unknown command"},
		{"jobs frobnicate", 2, "unknown command"},
		{"jobs list --status odd", 2, "--status"},
		{"jobs get", 2, "accepts 1 arg"},
		{"jobs get job_none", 1, "404 not_found"},
		{"jobs watch completed failed unresolved", 1, ""},
		{"jobs watch completed unresolved", 3, ""},
		{"jobs watch completed", 0, ""},
		{"jobs watch completed nothing", 1, "404"},
		{"jobs retry failed --mode again", 2, "--mode"},
		{"jobs resolve unresolved", 2, "say either"},
		{"jobs resolve unresolved --not-created --remote-id r", 2, "say either"},
		{"jobs list " + nobody, 4, "cannot be reached"},
		{"submit --feature x " + nobody, 4, "cannot be reached"},
		{"jobs list --url ftp://x", 2, "must begin with http"},
		{"config check --listen here", 2, "api.listen: must be an address"},
		{"up --log-level loud", 2, "log.level"},
		{"version", 0, ""},
		{"help", 0, ""},
		{"", 0, ""},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			for _, status := range tasks.Statuses {
				a.put(string(status), status)
			}
			e := newEasel(a)
			require.Equal(t, test.code, e.run(t.Context(), strings.Fields(test.args)), "%s%s", &e.out, &e.err)
			require.Contains(t, e.err.String(), test.stderr)
			require.NotContains(t, e.err.String(), "easel: easel:")
		})
	}
}

func TestSubmitSends(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "dot.png")
	require.NoError(t, os.WriteFile(file, []byte("\x89PNG\r\n\x1a\n"), 0o600))
	a := newAPI(t)
	e := newEasel(a)
	code := e.run(t.Context(), []string{
		"submit", "--feature", "text-to-image", "--prompt", `a <b> & "c"`,
		"--input", "seed=7", "--input", "size=512x512", "--input", "image=@" + file, "--input", `tags=["a"]`, "--input", "eq=a=b", "--input", `at="@x"`,
		"--provider", "p", "--fallback", "q,r", "--model", "m", "--user", "u", "--priority", "high", "--metadata", "order=42",
		"--webhook", "https://example.com/h", "--retry-attempts", "0", "--retry-delay", "2s", "--timeout", "1m", "--run-at", "2026-01-02T03:04:05Z",
	})
	require.Zero(t, code, "%s", &e.err)
	require.Equal(t, "job_1 queued\n", e.out.String())
	require.Contains(t, e.err.String(), "warning: /input_data/promt nobody reads it")
	require.True(t, a.tokens["Bearer token-1"])
	body, found := strings.CutPrefix(a.seen()[0], "POST /v1/jobs ")
	require.True(t, found)
	require.JSONEq(t, `{"feature_type":"text-to-image","input_data":{"prompt":"a <b> & \"c\"","seed":7,"size":"512x512",
		"image":"data:image/png;base64,iVBORw0KGgo=","tags":["a"],"eq":"a=b","at":"@x"},
		"user_id":"u","provider_id":"p","fallback_provider_ids":["q","r"],"model":"m","retry_attempts":0,"retry_delay_ms":2000,"timeout_ms":60000,
		"webhook_url":"https://example.com/h","metadata":{"order":"42"},"priority":"high","run_at":"2026-01-02T03:04:05Z"}`, body)

	e = newEasel(a)
	require.Zero(t, e.run(t.Context(), []string{"submit", "--feature", "text-to-speech", "--prompt", "hello"}))
	require.Equal(t, `POST /v1/jobs {"feature_type":"text-to-speech","input_data":{"text":"hello"}}`, a.seen()[1])
}

func TestSubmitUploads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, page := filepath.Join(dir, "dot.png"), filepath.Join(dir, "page.html")
	require.NoError(t, os.WriteFile(file, []byte("\x89PNG\r\n\x1a\n"), 0o600))
	require.NoError(t, os.WriteFile(page, []byte("<!doctype html>"), 0o600))
	a := newAPI(t)
	e := newEasel(a)
	code := e.run(t.Context(), []string{"submit", "--feature", "x", "--input", "seed=9007199254740993", "--file", "image=@" + file, "--file", "mask=" + file})
	require.Zero(t, code, "%s", &e.err)
	require.Equal(t, []string{
		"POST /v1/files \x89PNG\r\n\x1a", "POST /v1/files \x89PNG\r\n\x1a",
		`POST /v1/jobs {"feature_type":"x","input_data":{"image":{"file":"file_1"},"mask":{"file":"file_1"},"seed":9007199254740993}}`,
	}, a.seen())
	require.True(t, a.tokens["Bearer token-1"])

	for _, args := range [][]string{
		{"--file", "image"}, {"--file", "=x"}, {"--file", "image=@" + dir}, {"--file", "image=@" + filepath.Join(dir, "none")},
		{"--file", "image=" + file, "--file", "image=" + file}, {"--input", "image=1", "--file", "image=" + file},
	} {
		require.Equal(t, exitUsage, newEasel(a).run(t.Context(), append([]string{"submit", "--feature", "x"}, args...)), args)
	}
	require.Len(t, a.seen(), 3, "nothing is sent before the flags are in order")
	require.Equal(t, exitUsage, newEasel(a).run(t.Context(), []string{"submit", "--feature", "x", "--file", "image=" + page}))
	require.Len(t, a.seen(), 4, "no job without its file")
}

func TestSubmitDownloads(t *testing.T) {
	t.Parallel()
	a, dir := newAPI(t), filepath.Join(t.TempDir(), "out")
	e := newEasel(a)
	require.Zero(t, e.run(t.Context(), []string{"submit", "--feature", "x", "--out", dir, "--json"}), "%s", &e.err)
	var job client.Job
	require.NoError(t, json.Unmarshal(e.out.Bytes(), &job), "one line of JSON")
	require.Equal(t, filepath.Join(dir, "job_1-0.png"), job.Result.Artifacts[0].Path)
	raw, err := os.ReadFile(job.Result.Artifacts[0].Path)
	require.NoError(t, err)
	require.Equal(t, pixels, string(raw))

	a.content = "pix" // cut off
	e = newEasel(a)
	require.Equal(t, exitFailed, e.run(t.Context(), []string{"submit", "--feature", "x", "--out", dir}))
	require.Contains(t, e.err.String(), "not what the job produced")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 1, "half a file is no file")
}

func TestJobs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ args, request, stdout string }{
		{"jobs", "GET /v1/jobs?limit=20", "job_a  completed  text-to-image  sketch"},
		{"jobs list --status failed,unresolved --user u --feature f --provider p --limit 5", "GET /v1/jobs?feature_type=f&limit=5&provider_id=p&status=failed&status=unresolved&user_id=u", "job_a"},
		{"jobs --status failed", "GET /v1/jobs?limit=20&status=failed", "job_a"},
		{"jobs list --json", "GET /v1/jobs?limit=20", `{"id":"job_a","status":"completed"`},
		{"jobs get job_a", "GET /v1/jobs/job_a", "job_a  completed"},
		{"jobs get job_a --json", "GET /v1/jobs/job_a", `{"id":"job_a"`},
		{"jobs cancel job_a", "POST /v1/jobs/job_a/cancel", "job_a  completed"},
		{"jobs retry job_a", "POST /v1/jobs/job_a/retry {}", "job_a"},
		{"jobs retry job_a --mode regenerate", `POST /v1/jobs/job_a/retry {"mode":"regenerate"}`, "job_a"},
		{"jobs resolve job_a --not-created", `POST /v1/jobs/job_a/resolve {"outcome":"not_created"}`, "job_a"},
		{"jobs resolve job_a --remote-id r1", `POST /v1/jobs/job_a/resolve {"outcome":"created","remote_id":"r1"}`, "job_a"},
		{"jobs watch job_a", "GET /v1/jobs/job_a/events", "job_a  completed"},
		{"providers", "GET /v1/providers", "openai (default)  openai   down: key  [31mrefused  0          0        text-to-image"},
		{"providers pause openai", "POST /v1/providers/openai/pause", "paused since 2026-01-02"},
		{"providers resume openai", "POST /v1/providers/openai/resume", "ok      3/20       7"},
		{"providers --json", "GET /v1/providers", `{"id":"openai"`},
	} {
		t.Run(test.args, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.put("job_a", tasks.StatusCompleted)
			e := newEasel(a)
			require.Zero(t, e.run(t.Context(), strings.Fields(test.args)), "%s", &e.err)
			require.Equal(t, test.request, a.seen()[0])
			require.Contains(t, e.out.String(), test.stdout)
		})
	}
}

func TestWatchJSON(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.put("job_a", tasks.StatusCompleted)
	e := newEasel(a)
	require.Zero(t, e.run(t.Context(), []string{"jobs", "watch", "--json", "job_a"}))
	var versions []int64
	for line := range strings.Lines(e.out.String()) {
		var job client.Job
		require.NoError(t, json.Unmarshal([]byte(line), &job))
		versions = append(versions, job.Version)
	}
	require.Equal(t, []int64{2, 3}, versions, "every change is a line")
	require.Empty(t, e.err.String())
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	e := newEasel(nil)
	file := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(file, []byte("providers: [{name: openai, api_key: hunter2}]"), 0o600))
	require.Zero(t, e.run(t.Context(), []string{"config", "check", "--config", file}), "%s", &e.err)
	require.Contains(t, e.out.String(), "api_key: '[redacted]'")
	require.NotContains(t, e.out.String(), "hunter2")

	require.NoError(t, os.WriteFile(file, []byte("providers: [{name: openai, modells: []}]\nlog: {level: loud}"), 0o600))
	e = newEasel(nil)
	require.Equal(t, exitUsage, e.run(t.Context(), []string{"config", "check", "--config", file}))
	require.Contains(t, e.err.String(), "providers[0].modells: unknown key (did you mean models?)")
	require.Contains(t, e.err.String(), "log.level")

	require.NoError(t, os.WriteFile(file, []byte("providers: [{name: openai, api_key: k, options: {organisation: o}}, brush]"), 0o600))
	for _, command := range [][]string{{"config", "check"}, {"up"}} {
		e = newEasel(nil)
		require.Equal(t, exitUsage, e.run(t.Context(), append(command, "--config", file)), "it would not start with them either")
		require.Contains(t, e.err.String(), "organisation: is not an option")
		require.Contains(t, e.err.String(), `there is no adapter "brush"`)
	}
}

// running is a server that stands on the fake API.
type running struct {
	*api
	dir   string
	ended chan error
	once  sync.Once
}

func (r *running) APIURL() string           { return r.URL }
func (r *running) DashboardURL() string     { return "http://dashboard" }
func (r *running) DataDir() string          { return r.dir }
func (r *running) RedisDescription() string { return "in-process Redis: jobs do not survive" }
func (r *running) Wait() error              { return <-r.ended }
func (r *running) Close(context.Context) error {
	r.once.Do(func() { close(r.ended) })
	return nil
}

// onServer makes the program start the fake server, and returns what it was
// started with.
func onServer(t *testing.T, e *easel, a *api) (*running, *config.Config) {
	t.Helper()
	r, started := &running{api: a, dir: t.TempDir(), ended: make(chan error, 1)}, &config.Config{}
	e.up = func(_ context.Context, cfg *config.Config, options upOptions) (server, error) {
		*started = *cfg
		fmt.Fprintln(options.log, "a line of log")
		return r, nil
	}
	return r, started
}

func TestDemo(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(config, []byte("providers: [{name: openai, api_key: k}]"), 0o600))

	t.Run("json", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t)
		e := newEasel(a)
		r, cfg := onServer(t, e, a)
		require.Zero(t, e.run(t.Context(), []string{"demo", "--exit", "--json", "--config", config, "--data-dir", "here"}), "%s", &e.err)
		require.Equal(t, "here", cfg.DataDir)
		require.NotNil(t, cfg.Provider("sketch"), "the demo is never paid for")
		lines := strings.Split(strings.TrimSpace(e.out.String()), "\n")
		require.Len(t, lines, 3, "nothing but the finished jobs")
		features := map[tasks.Feature]bool{}
		for _, line := range lines {
			var job client.Job
			require.NoError(t, json.Unmarshal([]byte(line), &job))
			require.Equal(t, tasks.StatusCompleted, job.Status)
			require.FileExists(t, job.Result.Artifacts[0].Path)
			features[job.FeatureType] = true
		}
		require.Len(t, features, 3)
		require.Equal(t, "a line of log\n", e.err.String())
		for _, request := range a.seen() {
			if strings.HasPrefix(request, "POST") {
				require.Contains(t, request, `"provider_id":"sketch"`)
			}
		}
		require.ErrorIs(t, closed(r), errClosed, "the server was taken down")
	})

	t.Run("for people", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t)
		a.path = "/data/artifacts/picture.png"
		e := newEasel(a)
		onServer(t, e, a)
		require.Zero(t, e.run(t.Context(), []string{"demo", "--exit", "--config", config}), "%s", &e.err)
		for _, want := range []string{"in-process Redis", "/data/artifacts/picture.png", a.URL + "/docs", "http://dashboard", "curl " + a.URL + "/v1/jobs"} {
			require.Contains(t, e.out.String(), want)
		}
		for _, want := range []string{"image  completed", "video  completed", "speech  completed"} {
			require.Contains(t, e.err.String(), want)
		}
	})

	t.Run("another provider", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t)
		e := newEasel(a)
		onServer(t, e, a)
		local := filepath.Join(t.TempDir(), "easel.yaml")
		require.NoError(t, os.WriteFile(local, []byte("providers: [{name: local, use: sketch}, {name: nobody, use: sketch}, {name: openai, api_key: k}]"), 0o600))
		require.Zero(t, e.run(t.Context(), []string{"demo", "--exit", "--provider", "local", "--config", local}), "%s", &e.err)
		require.Contains(t, e.out.String(), "Skipped: image, since local wants steps for it; video, since local has no text-to-video.")
		require.Contains(t, e.out.String(), `'{"feature_type":"text-to-speech","provider_id":"local","input_data":{"text":"A harbour at dawn"}}'`)
		require.NotContains(t, e.err.String(), "image  ")
		posts := 0
		for _, request := range a.seen() {
			if strings.HasPrefix(request, "POST") {
				posts++
				require.Contains(t, request, `"provider_id":"local"`)
				require.Contains(t, request, "text-to-speech")
			}
		}
		require.Equal(t, 1, posts)

		e = newEasel(a)
		onServer(t, e, a)
		require.NotZero(t, e.run(t.Context(), []string{"demo", "--exit", "--provider", "nobody", "--config", local}))
		require.Contains(t, e.err.String(), "nothing to show: image, since nobody has no text-to-image")
	})

	t.Run("stands until it is told to stop", func(t *testing.T) {
		t.Parallel()
		a := newAPI(t)
		e := newEasel(a)
		r, _ := onServer(t, e, a)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e.stdout = whenWritten("Press Ctrl-C", &e.out, cancel)
		require.Zero(t, e.run(ctx, []string{"demo", "--config", config}), "%s", &e.err)
		require.ErrorIs(t, closed(r), errClosed)
	})
}

func TestUp(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	t.Run("until Ctrl-C", func(t *testing.T) {
		t.Parallel()
		e := newEasel(nil)
		e.env["OPENAI_API_KEY"] = "k"
		r, cfg := onServer(t, e, newAPI(t))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		e.stdout = whenWritten("Press Ctrl-C", &e.out, cancel)
		require.Zero(t, e.run(ctx, []string{"up", "--config", file, "--provider", "openai", "--listen", "127.0.0.1:1234", "--redis-url", "redis://a"}), "%s", &e.err)
		require.Contains(t, e.out.String(), r.APIURL()+"/docs")
		require.Equal(t, "127.0.0.1:1234", cfg.API.Listen)
		require.Equal(t, "redis://a", cfg.Redis.URL.Reveal())
		require.Equal(t, config.Secret("k"), cfg.Provider("openai").APIKey)
		require.NotNil(t, cfg.Provider("sketch"))
		require.ErrorIs(t, closed(r), errClosed)
	})

	t.Run("until it breaks", func(t *testing.T) {
		t.Parallel()
		e := newEasel(nil)
		r, _ := onServer(t, e, newAPI(t))
		r.ended <- errors.New("redis has ended")
		require.Equal(t, exitFailed, e.run(t.Context(), []string{"up", "--config", file}))
		require.Contains(t, e.err.String(), "easel: redis has ended")
	})

	t.Run("without the key", func(t *testing.T) {
		t.Parallel()
		e := newEasel(nil)
		require.Equal(t, exitUsage, e.run(t.Context(), []string{"up", "--config", file, "--provider", "openai"}))
		require.Contains(t, e.err.String(), "environment variable OPENAI_API_KEY is not set")
	})
}

var errClosed = errors.New("closed")

// closed reports whether the server was closed.
func closed(r *running) error {
	select {
	case _, open := <-r.ended:
		if !open {
			return errClosed
		}
	default:
	}
	return nil
}

// triggered writes through, and does something once it has seen a text.
type triggered struct {
	io.Writer
	text string
	do   func()
}

func whenWritten(text string, w io.Writer, do func()) io.Writer { return &triggered{w, text, do} }

func (w *triggered) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if strings.Contains(string(p), w.text) {
		w.do()
	}
	return n, err
}

func TestVersion(t *testing.T) {
	t.Parallel()
	e := newEasel(nil)
	require.Zero(t, e.run(t.Context(), []string{"version", "--json"}))
	require.Contains(t, e.out.String(), `"version":"test"`)
}

// TestDemoOfAProgram runs the demo for real, with a program of this machine as
// the provider.
func TestDemoOfAProgram(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(file, []byte(`
data_dir: `+t.TempDir()+`
api: {listen: "127.0.0.1:0"}
dashboard: {listen: "127.0.0.1:0"}
providers:
  - name: speaker
    use: command
    options:
      commands:
        - feature: text-to-speech
          program: /bin/sh
          arguments: ["-c", "printf 'RIFF....WAVE%s' \"$2\" >\"$1/said.wav\"", "sh", "{output}", "{text}"]
          input: [{name: text, required: true}]
`), 0o600))
	e := newEasel(nil)
	e.up = up
	require.Zero(t, e.run(t.Context(), []string{"demo", "--exit", "--provider", "speaker", "--config", file}), "%s", &e.err)
	require.Contains(t, e.out.String(), "Skipped: image, since speaker has no text-to-image; video, since speaker has no text-to-video.")
	path := regexp.MustCompile(`speech +(\S+\.wav)`).FindStringSubmatch(e.out.String())
	require.NotEmpty(t, path, "%s\n%s", &e.out, &e.err)
	sound, err := os.ReadFile(path[1])
	require.NoError(t, err)
	require.Equal(t, "RIFF....WAVEEvery job you hand me comes to rest.", string(sound))
}
