package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// start runs a whole Easel on free ports, with its own data directory.
func start(t *testing.T, log *zap.Logger, change ...func(*config.Config)) *Running {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.API.Listen, cfg.Dashboard.Listen = "127.0.0.1:0", "127.0.0.1:0"
	for _, apply := range change {
		apply(cfg)
	}
	running, err := Up(context.WithoutCancel(t.Context()), cfg, UpOptions{Log: log})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, running.Close(ctx))
	})
	return running
}

// server is an Easel whose Redis and files can be looked into.
type server struct {
	t       *testing.T
	running *Running
	url     string
	redis   *redis.Client
	dir     string
}

func serveOn(t *testing.T, change ...func(*config.Config)) *server {
	t.Helper()
	return serveLogged(t, zaptest.NewLogger(t), change...)
}

// serveLogged is serveOn with a log that can be read.
func serveLogged(t *testing.T, log *zap.Logger, change ...func(*config.Config)) *server {
	t.Helper()
	db := redistest.Start(t)
	running := start(t, log, append([]func(*config.Config){func(c *config.Config) {
		c.Redis.URL = config.URL(db.URL())
		c.Providers = []config.Provider{{
			Name: "sketch", Use: "sketch", OnUnknown: "hold", Concurrency: 16,
			Options: map[string]any{"allow_simulate": true, "lookup": false, "min_duration_ms": 200, "max_duration_ms": 400},
		}}
		c.Defaults.RetryDelay = 100 * time.Millisecond
		c.API.MaxBody = 256 * 1024
	}}, change...)...)
	client := redis.NewClient(&redis.Options{Addr: db.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return &server{t: t, running: running, url: running.APIURL(), redis: client, dir: running.DataDir()}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) job(t *testing.T) tasks.View {
	t.Helper()
	var v tasks.View
	require.NoError(t, json.Unmarshal(a.body, &v), "%s", a.body)
	return v
}

func (s *server) do(method, path, body string, header ...string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	require.NoError(s.t, err)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	require.NoError(s.t, err)
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	require.NoError(s.t, err)
	return answer{response.StatusCode, response.Header, raw}
}

// submit runs a job to its rest.
func (s *server) submit(input string) tasks.View {
	s.t.Helper()
	a := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","model":"sketch-noop","input_data":`+input+`}`, "Prefer", "wait=30")
	require.Equal(s.t, http.StatusOK, a.status, "%s", a.body)
	return a.job(s.t)
}

// traces lists what Easel keeps: its Redis keys and the artifact files, but for
// what moves by itself, and is no job's.
func (s *server) traces() []string {
	s.t.Helper()
	keys, err := s.redis.Keys(context.Background(), "*").Result()
	require.NoError(s.t, err)
	var all []string
	for _, key := range keys {
		if !strings.HasPrefix(key, "asynq:servers") && !strings.HasPrefix(key, "asynq:workers") && key != "easel:marked" {
			all = append(all, key)
		}
	}
	require.NoError(s.t, filepath.WalkDir(filepath.Join(s.dir, "artifacts"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), "easel-tide-") {
			all = append(all, path)
		}
		return err
	}))
	slices.Sort(all)
	return all
}

// awaitQuiet waits until no task waits or runs: asynq puts a task away a moment
// after its job has come to rest.
func (s *server) awaitQuiet() {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		return !slices.ContainsFunc(s.traces(), func(trace string) bool {
			for _, busy := range []string{":pending", ":active", ":lease", ":scheduled", ":retry"} {
				if strings.HasPrefix(trace, "asynq:") && strings.HasSuffix(trace, busy) {
					return true
				}
			}
			return false
		})
	}, time.Minute, 20*time.Millisecond, "the queues do not become quiet")
}

func TestAPIRefusesAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := serveOn(t)
	done := s.submit(`{"prompt":"x"}`)
	require.Equal(t, tasks.StatusCompleted, done.Status, "%+v", done.Error)
	failed := s.submit(`{"prompt":"x","simulate":{"fail":"content_policy"}}`)
	unresolved := s.submit(`{"prompt":"x","simulate":{"lose_answer":true}}`)
	require.Equal(t, tasks.StatusUnresolved, unresolved.Status)
	require.Equal(t, http.StatusOK, s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x"}}`,
		"Idempotency-Key", "taken", "Prefer", "wait=30").status)

	const good = `"feature_type":"text-to-image","input_data":{"prompt":"x"}`
	job := func(id, rest string) string { return "/v1/jobs/" + id + rest }
	tests := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, pointer            string
	}{
		{"unknown field", "POST", "/v1/jobs", `{` + good + `,"promt":1}`, nil, 422, "", "#/promt"},
		{"wrong type", "POST", "/v1/jobs", `{` + good + `,"retry_attempts":"three"}`, nil, 422, "", "#/retry_attempts"},
		{"missing feature", "POST", "/v1/jobs", `{"input_data":{}}`, nil, 422, "", "#/feature_type"},
		{"missing input", "POST", "/v1/jobs", `{"feature_type":"text-to-image"}`, nil, 422, "", "#/input_data"},
		{"unknown feature", "POST", "/v1/jobs", `{"feature_type":"text-to-smell","input_data":{}}`, nil, 422, "", "#/feature_type"},
		{"unknown provider", "POST", "/v1/jobs", `{` + good + `,"provider_id":"nobody"}`, nil, 422, "", "#/provider_id"},
		{"unknown model", "POST", "/v1/jobs", `{` + good + `,"model":"nothing"}`, nil, 422, "", "#/model"},
		{"bad input", "POST", "/v1/jobs", `{"feature_type":"text-to-image","input_data":{"prompt":"x","size":"huge"}}`, nil, 422, "", "#/input_data/size"},
		{"forged file", "POST", "/v1/jobs", `{"feature_type":"text-to-image","input_data":{"prompt":"x","image":{"$file":0}}}`, nil, 422, "", "#/input_data/image"},
		{"range", "POST", "/v1/jobs", `{` + good + `,"timeout_ms":5}`, nil, 422, "", "#/timeout_ms"},
		{"priority", "POST", "/v1/jobs", `{` + good + `,"priority":"urgent"}`, nil, 422, "", "#/priority"},
		{"run_at", "POST", "/v1/jobs", `{` + good + `,"run_at":"tomorrow"}`, nil, 422, "", "#/run_at"},
		{"metadata", "POST", "/v1/jobs", `{` + good + `,"metadata":{"a":1}}`, nil, 422, "", "#/metadata/a"},
		{"private webhook", "POST", "/v1/jobs", `{` + good + `,"webhook_url":"https://127.0.0.1/"}`, nil, 422, "", "#/webhook_url"},
		{"malformed", "POST", "/v1/jobs", `{"feature_type":`, nil, 400, "", ""},
		{"trailing", "POST", "/v1/jobs", `{` + good + `}{}`, nil, 400, "", ""},
		{"empty", "POST", "/v1/jobs", ``, []string{"Content-Type", "application/json"}, 400, "", ""},
		{"content type", "POST", "/v1/jobs", `{` + good + `}`, []string{"Content-Type", "text/plain"}, 415, "", ""},
		{"too large", "POST", "/v1/jobs", `{"feature_type":"text-to-image","input_data":{"prompt":"` + strings.Repeat("x", 300<<10) + `"}}`, nil, 413, "", ""},
		{"key reused", "POST", "/v1/jobs", `{"feature_type":"text-to-image","input_data":{"prompt":"y"}}`, []string{"Idempotency-Key", "taken"}, 409, "idempotency_key_reused", ""},
		{"long key", "POST", "/v1/jobs", `{` + good + `}`, []string{"Idempotency-Key", strings.Repeat("k", 256)}, 400, "", ""},
		{"cross origin", "POST", "/v1/jobs", `{` + good + `}`, []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, "", ""},
		{"batch of none", "POST", "/v1/jobs/batch", `{"jobs":[]}`, nil, 422, "", "#/jobs"},
		{"no such job", "GET", job("job_01JD3XK8M5Q0R7Z4N9T2V6W8YB", ""), "", nil, 404, "", ""},
		{"no such route", "GET", "/v1/nothing", "", nil, 404, "", ""},
		{"method", "PUT", job(done.ID, ""), "{}", nil, 405, "", ""},
		{"limit", "GET", "/v1/jobs?limit=1000", "", nil, 422, "", ""},
		{"cursor", "GET", "/v1/jobs?cursor=forged", "", nil, 422, "", ""},
		{"status", "GET", "/v1/jobs?status=sleeping", "", nil, 422, "", ""},
		{"cancel completed", "POST", job(done.ID, "/cancel"), "", nil, 409, "job_final", ""},
		{"cancel failed", "POST", job(failed.ID, "/cancel"), "", nil, 409, "job_final", ""},
		{"retry completed", "POST", job(done.ID, "/retry"), "{}", nil, 409, "job_final", ""},
		{"retry mode", "POST", job(failed.ID, "/retry"), `{"mode":"again"}`, nil, 422, "", "#/mode"},
		{"regenerate unresolved", "POST", job(unresolved.ID, "/retry"), `{"mode":"regenerate"}`, nil, 409, "job_unresolved", ""},
		{"resolve completed", "POST", job(done.ID, "/resolve"), `{"outcome":"not_created"}`, nil, 409, "job_not_unresolved", ""},
		{"resolve outcome", "POST", job(unresolved.ID, "/resolve"), `{"outcome":"perhaps"}`, nil, 422, "", "#/outcome"},
		{"resolve id", "POST", job(unresolved.ID, "/resolve"), `{"outcome":"created","remote_id":"../etc"}`, nil, 422, "", "#/remote_id"},
		{"erase unresolved", "DELETE", job(unresolved.ID, ""), "", nil, 409, "job_unresolved", ""},
		{"another version", "POST", job(unresolved.ID, "/cancel"), "", []string{"If-Match", `"1"`}, 412, "", ""},
		{"no such artifact", "GET", job(done.ID, "/artifacts/9"), "", nil, 404, "", ""},
		{"forged webhook", "POST", "/v1/webhooks/sketch/" + unresolved.ID + "/forged", "{}", nil, 404, "", ""},
	}
	s.awaitQuiet()
	before := s.traces()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a := s.do(test.method, test.path, test.body, test.header...)
			require.Equal(t, test.status, a.status, "%s", a.body)
			require.Equal(t, "application/problem+json", a.header.Get("Content-Type"))
			var problem struct {
				Title, Detail, Code string
				Status              int
				RequestID           string `json:"request_id"`
				Errors              []struct{ Pointer, Detail string }
			}
			require.NoError(t, json.Unmarshal(a.body, &problem))
			require.Equal(t, test.status, problem.Status)
			require.NotEmpty(t, problem.Code)
			require.NotEmpty(t, problem.RequestID)
			if test.code != "" {
				require.Equal(t, test.code, problem.Code)
			}
			if test.pointer != "" {
				require.NotEmpty(t, problem.Errors, "%s", a.body)
				require.Equal(t, test.pointer, problem.Errors[0].Pointer)
				require.NotEmpty(t, problem.Errors[0].Detail)
			}
		})
	}
	require.Equal(t, before, s.traces(), "a refused request leaves nothing behind")
}

func TestAPIServesWhatItPromises(t *testing.T) {
	t.Parallel()
	s := serveOn(t)
	body := `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x","colour":"red"},"user_id":"ann","metadata":{"order":"42"}}`

	first := s.do("POST", "/v1/jobs", body, "Idempotency-Key", "k-1")
	require.Equal(t, http.StatusAccepted, first.status)
	view := first.job(t)
	require.True(t, strings.HasSuffix(first.header.Get("Location"), "/v1/jobs/"+view.ID))
	require.Equal(t, "/input_data/colour", view.Warnings[0].Pointer)

	again := s.do("POST", "/v1/jobs", body, "Idempotency-Key", `"k-1"`)
	require.Equal(t, http.StatusOK, again.status)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, view.ID, again.job(t).ID)

	waited := s.do("POST", "/v1/jobs", body, "Prefer", "wait=20")
	require.Equal(t, http.StatusOK, waited.status)
	require.Equal(t, "wait=20", waited.header.Get("Preference-Applied"))
	done := waited.job(t)
	require.Equal(t, tasks.StatusCompleted, done.Status)

	got := s.do("GET", "/v1/jobs/"+done.ID, "")
	require.Equal(t, fmt.Sprintf("%q", fmt.Sprint(done.Version)), got.header.Get("ETag"))
	require.Equal(t, http.StatusNotModified, s.do("GET", "/v1/jobs/"+done.ID, "", "If-None-Match", got.header.Get("ETag")).status)

	artifact := s.do("GET", done.Result.Artifacts[0].URL, "")
	require.Equal(t, http.StatusOK, artifact.status)
	require.Equal(t, "image/png", artifact.header.Get("Content-Type"))
	require.Equal(t, "nosniff", artifact.header.Get("X-Content-Type-Options"))
	require.EqualValues(t, done.Result.Artifacts[0].Bytes, len(artifact.body))
	part := s.do("GET", done.Result.Artifacts[0].URL, "", "Range", "bytes=1-3")
	require.Equal(t, http.StatusPartialContent, part.status)
	require.Equal(t, "PNG", string(part.body))

	batch := s.do("POST", "/v1/jobs/batch", `{"jobs":[`+body+`,{"feature_type":"nope","input_data":{}},`+body+`]}`, "Idempotency-Key", "b")
	require.Equal(t, http.StatusOK, batch.status)
	var results struct {
		Results []struct {
			Status int
			Job    *tasks.View
			Error  *struct{ Code string }
		}
	}
	require.NoError(t, json.Unmarshal(batch.body, &results))
	require.Equal(t, []int{202, 422, 202}, []int{results.Results[0].Status, results.Results[1].Status, results.Results[2].Status})

	var page struct {
		Jobs       []map[string]any
		NextCursor *string `json:"next_cursor"`
	}
	seen := map[any]bool{}
	for path := "/v1/jobs?user_id=ann&limit=2"; ; path = "/v1/jobs?user_id=ann&limit=2&cursor=" + *page.NextCursor {
		page.NextCursor = nil
		list := s.do("GET", path, "")
		require.Equal(t, http.StatusOK, list.status, "%s", list.body)
		require.NoError(t, json.Unmarshal(list.body, &page))
		for _, j := range page.Jobs {
			require.False(t, seen[j["id"]])
			require.NotContains(t, j, "input_data")
			seen[j["id"]] = true
		}
		if page.NextCursor == nil {
			break
		}
	}
	require.Len(t, seen, 4)

	events := s.do("GET", "/v1/jobs/"+done.ID+"/events", "")
	require.Equal(t, http.StatusOK, events.status)
	require.Contains(t, string(events.body), "event: job\n")
	require.Contains(t, string(events.body), fmt.Sprintf("id: %d\n", done.Version))
	require.Equal(t, http.StatusNoContent, s.do("GET", "/v1/jobs/"+done.ID+"/events", "", "Last-Event-ID", fmt.Sprint(done.Version)).status)

	slow := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x","simulate":{"sync":false,"never":true}}}`).job(t)
	canceled := s.do("POST", "/v1/jobs/"+slow.ID+"/cancel", "")
	require.Equal(t, http.StatusOK, canceled.status)
	require.Equal(t, tasks.StatusCanceled, canceled.job(t).Status)
	require.Equal(t, http.StatusOK, s.do("POST", "/v1/jobs/"+slow.ID+"/cancel", "").status)

	failed := s.submit(`{"prompt":"x","simulate":{"fail":"validation","times":1}}`)
	require.Equal(t, tasks.StatusFailed, failed.Status)
	require.Equal(t, "validation", failed.Error.Class)
	retried := s.do("POST", "/v1/jobs/"+failed.ID+"/retry", "", "Idempotency-Key", "r")
	require.Equal(t, http.StatusOK, retried.status, "%s", retried.body)
	require.Eventually(t, func() bool {
		return s.do("GET", "/v1/jobs/"+failed.ID, "").job(t).Status == tasks.StatusCompleted
	}, 30*time.Second, 50*time.Millisecond)

	unresolved := s.submit(`{"prompt":"x","simulate":{"lose_answer":true,"times":1}}`)
	require.Equal(t, tasks.StatusUnresolved, unresolved.Status)
	require.Equal(t, http.StatusOK, s.do("POST", "/v1/jobs/"+unresolved.ID+"/resolve", `{"outcome":"not_created"}`).status)
	require.Eventually(t, func() bool {
		return s.do("GET", "/v1/jobs/"+unresolved.ID, "").job(t).Status == tasks.StatusCompleted
	}, 30*time.Second, 50*time.Millisecond)

	require.Equal(t, http.StatusNoContent, s.do("DELETE", "/v1/jobs/"+done.ID, "").status)
	require.Equal(t, http.StatusNotFound, s.do("GET", "/v1/jobs/"+done.ID, "").status)
	for _, trace := range s.traces() {
		require.NotContains(t, trace, done.ID)
	}

	for _, path := range []string{"/v1/providers", "/v1/features", "/openapi.json", "/docs", "/healthz", "/readyz", "/metrics"} {
		a := s.do("GET", path, "")
		require.Equal(t, http.StatusOK, a.status, "%s", path)
		require.NotEmpty(t, a.body)
	}
	require.True(t, bytes.Contains(s.do("GET", "/metrics", "").body, []byte(`easel_jobs{status="completed"}`)))
}
