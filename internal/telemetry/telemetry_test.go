package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/telemetry"
	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// scrape returns the samples that Prometheus would read.
func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	return w.Body.String()
}

func newJob() *tasks.Job {
	return &tasks.Job{
		ID: "job_1", Tenant: "acme", ProviderID: "sketch", State: tasks.Failed,
		Request: tasks.Request{FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"hunter2"}`), UserID: "hunter2"},
		Error:   &tasks.Failure{Class: classify.Server, Code: "busy", Message: "m"},
	}
}

func TestObserver(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger, err := telemetry.NewLogger(&log, "debug", "json")
	require.NoError(t, err)
	metrics := telemetry.NewMetrics("1.2.3")
	o, job := telemetry.NewObserver(metrics, logger), newJob()

	o.JobAccepted(job)
	o.JobRested(job)
	o.ProviderCalled("sketch", "submit", "", time.Second)
	o.ProviderCalled("sketch", "submit", classify.RateLimit, time.Second)
	o.StageTook("queue", job, -time.Second)
	o.Repaired("lost_task", job)
	o.PutBack("newer_schema")
	o.Delivered(job, 204, nil)
	o.Delivered(job, 0, &url.Error{Op: "Post", URL: "https://hooks.example/?token=hunter2", Err: errors.New("refused")})
	o.Alert("sketch", &tasks.Failure{Class: classify.Quota, Message: "money is out"})
	o.Failed("enqueue job:submit", "job_1", fmt.Errorf("create: %w", orchestrator.ErrUnavailable))

	samples := scrape(t, metrics)
	for _, want := range []string{
		`easel_jobs_accepted_total{feature="text-to-image",provider="sketch"} 1`,
		`easel_jobs_rested_total{class="server",feature="text-to-image",provider="sketch",status="failed"} 1`,
		`easel_provider_calls_total{call="submit",class="ok",provider="sketch"} 1`,
		`easel_provider_calls_total{call="submit",class="rate_limit",provider="sketch"} 1`,
		`easel_provider_call_duration_seconds_count{call="submit",provider="sketch"} 2`,
		`easel_stage_duration_seconds_sum{feature="text-to-image",provider="sketch",stage="queue"} 0`,
		`easel_repairs_total{what="lost_task"} 1`,
		`easel_tasks_put_back_total{reason="newer_schema"} 1`,
		`easel_webhook_deliveries_total{status="2xx"} 1`,
		`easel_webhook_deliveries_total{status="none"} 1`,
		`easel_alerts_total{class="quota",provider="sketch"} 1`,
		`easel_errors_total{doing="enqueue job:submit"} 1`,
		`easel_redis_errors_total 1`,
		`easel_build_info{go=`,
		`version="1.2.3"`,
		`go_goroutines`,
	} {
		require.Contains(t, samples, want)
	}

	require.NotContains(t, log.String(), "hunter2", "what belongs to the caller is not logged")
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Len(t, lines, 10, "every event but the stage is told once")
	for _, line := range lines {
		require.True(t, json.Valid([]byte(line)), line)
	}
	require.Contains(t, log.String(), `"message":"job came to rest"`)
	require.Contains(t, log.String(), `"error":"Post: refused"`)
}

func TestGauges(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("test")
	broken := false
	m.WatchQueues(func(ctx context.Context) ([]telemetry.Queue, error) {
		_, bounded := ctx.Deadline()
		require.True(t, bounded, "a scrape must not hang")
		if broken {
			return nil, errors.New("redis is down")
		}
		return []telemetry.Queue{{Name: "poll", States: map[string]int{"pending": 3}, OldestAge: 90 * time.Second, Paused: true}}, nil
	})
	m.WatchProviders(func(context.Context) ([]telemetry.Provider, error) {
		return []telemetry.Provider{{Name: "lumen", InFlight: 3, Waiting: 7, Paused: true, Open: map[string]bool{"": false, "lux": true}}}, nil
	})
	m.WatchJobs(func(context.Context) (map[tasks.Status]int64, error) {
		return map[tasks.Status]int64{tasks.StatusQueued: 7}, nil
	})
	samples := scrape(t, m)
	require.Contains(t, samples, `easel_queue_tasks{queue="poll",state="pending"} 3`)
	require.Contains(t, samples, `easel_queue_oldest_age_seconds{queue="poll"} 90`)
	require.Contains(t, samples, `easel_queue_paused{queue="poll"} 1`)
	require.Contains(t, samples, `easel_jobs{status="queued"} 7`)
	require.Contains(t, samples, `easel_provider_in_flight{provider="lumen"} 3`)
	require.Contains(t, samples, `easel_provider_waiting{provider="lumen"} 7`)
	require.Contains(t, samples, `easel_provider_paused{provider="lumen"} 1`)
	require.Contains(t, samples, `easel_provider_circuit_open{model="",provider="lumen"} 0`)
	require.Contains(t, samples, `easel_provider_circuit_open{model="lux",provider="lumen"} 1`)
	require.Contains(t, samples, `easel_jobs{status="unresolved"} 0`, "a zero, not a gap")

	broken = true
	scrape(t, m) // counts the failure
	samples = scrape(t, m)
	require.NotContains(t, samples, "easel_queue_tasks{")
	require.Regexp(t, `easel_scrape_errors_total\{source="queues"\} [12]`, samples)
	require.Contains(t, samples, `easel_jobs{status="queued"} 7`, "the rest is still served")
}

func TestMiddleware(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics("test")
	routes := []string{"GET /v1/jobs/{id}", "POST /v1/jobs", "GET /v1/jobs/{id}/events"}
	handler := m.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/events"):
			w.Header().Set("Content-Type", "text/event-stream")
			require.NoError(t, http.NewResponseController(w).Flush(), "streams can still be flushed")
		case r.Method == http.MethodPost:
			w.WriteHeader(http.StatusAccepted)
		case r.URL.Path == "/panic":
			panic(http.ErrAbortHandler)
		}
	}), routes...)
	serve := func(method, path string) {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
	}
	serve("GET", "/v1/jobs/job_1")
	serve("GET", "/v1/jobs/job_2")
	serve("GET", "/v1/jobs/job_2/events")
	serve("POST", "/v1/jobs")
	serve("GET", "/wp-admin.php")
	serve("FROBNICATE", "/x")
	require.Panics(t, func() { serve("GET", "/panic") })

	samples := scrape(t, m)
	require.Contains(t, samples, `easel_http_requests_total{method="GET",route="/v1/jobs/{id}",status="200"} 2`)
	require.Contains(t, samples, `easel_http_requests_total{method="POST",route="/v1/jobs",status="202"} 1`)
	require.Contains(t, samples, `easel_http_requests_total{method="GET",route="other",status="200"} 1`)
	require.Contains(t, samples, `easel_http_requests_total{method="GET",route="other",status="500"} 1`)
	require.Contains(t, samples, `easel_http_requests_total{method="OTHER",route="other",status="200"} 1`)
	require.Contains(t, samples, `easel_http_requests_total{method="GET",route="/v1/jobs/{id}/events",status="200"} 1`)
	require.NotContains(t, samples, `easel_http_request_duration_seconds_count{method="GET",route="/v1/jobs/{id}/events"}`)
	require.Contains(t, samples, `easel_http_requests_in_flight 0`)
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logger, err := telemetry.NewLogger(&log, "warn", "console")
	require.NoError(t, err)
	logger.Info("quiet")
	for range 1000 {
		logger.Warn("loud", zap.Int("n", 1))
	}
	require.Equal(t, 1000, strings.Count(log.String(), "loud"), "nothing is sampled away")
	require.NotContains(t, log.String(), "quiet")

	_, err = telemetry.NewLogger(&log, "loud", "json")
	require.Error(t, err)
	_, err = telemetry.NewLogger(&log, "info", "xml")
	require.Error(t, err)
}
