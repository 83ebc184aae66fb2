package httpapi

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

func TestProviders(t *testing.T) {
	t.Parallel()
	r := serve(t)
	a := r.do("GET", "/v1/providers", "")
	require.Equal(t, 200, a.StatusCode)
	require.JSONEq(t, `{"providers":[
		{"id":"openai","adapter":"openai","default":true,"demo":false,"synchronous":true,"webhooks":false,"files":"upload","results_kept_seconds":3600,
		 "features":[{"feature_type":"text-to-image","models":["gpt-image-1.5","gpt-image-1"]}],
		 "health":{"status":"down","reason":"authentication","since":"2026-01-02T15:04:05Z",
		   "circuits":[{"model":null,"state":"open","reason":"authentication","since":"2026-01-02T15:04:05Z","probe_at":"2026-01-02T15:04:05Z"}]},
		 "limits":{"rate":"10/s","max_in_flight":20,"concurrency":64},"in_flight":20,"waiting":7,
		 "paused_since":null,"left_alone_until":"2026-01-02T15:04:05Z"},
		{"id":"sketch","adapter":"sketch","default":false,"demo":true,"synchronous":false,"webhooks":false,"files":"","results_kept_seconds":0,
		 "features":[{"feature_type":"text-to-image","models":[]},{"feature_type":"text-to-speech","models":[]}],
		 "health":{"status":"ok","reason":"","since":null,"circuits":[]},
		 "limits":{"rate":null,"max_in_flight":null,"concurrency":0},"in_flight":0,"waiting":0,
		 "paused_since":null,"left_alone_until":null}]}`, a.body)
}

func TestPause(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys)
	requireProblem(t, r.do("POST", "/v1/providers/openai/pause", "", acme), 403, codeForbidden)
	for range 2 {
		a := r.do("POST", "/v1/providers/openai/pause", "", operator)
		require.Equal(t, 200, a.StatusCode, a.body)
		require.Equal(t, "2026-01-02T15:04:05Z", a.json(t)["paused_since"])
		require.Equal(t, "openai", a.json(t)["id"])
	}
	a := r.do("POST", "/v1/providers/openai/resume", "{}", operator, "Content-Type: application/json")
	require.Equal(t, 200, a.StatusCode, a.body)
	require.Nil(t, a.json(t)["paused_since"])
	for _, verb := range []string{"pause", "resume"} {
		requireProblem(t, r.do("POST", "/v1/providers/nobody/"+verb, "", operator), 404, codeNotFound)
	}
}

func TestFeatures(t *testing.T) {
	t.Parallel()
	r := serve(t)
	a := r.do("GET", "/v1/features", "")
	require.Equal(t, 200, a.StatusCode)
	require.JSONEq(t, `{"features":[
		{"feature_type":"text-to-image","providers":[
			{"provider_id":"openai","models":["gpt-image-1.5","gpt-image-1"],"input_schema":{"type":"object","required":["prompt"]}},
			{"provider_id":"sketch","models":[],"input_schema":{"type":"object"}}]},
		{"feature_type":"text-to-speech","providers":[{"provider_id":"sketch","models":[],"input_schema":{"type":"object"}}]}]}`, a.body)
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys)
	a := r.do("POST", "/v1/webhooks/sketch/job_1/good", "not=json", "Content-Type: text/plain", "X-Signature: s")
	require.Equal(t, 200, a.StatusCode, a.body)
	require.JSONEq(t, `{"received":true}`, a.body)
	require.Equal(t, []string{"job_1 s not=json"}, r.engine.hints)

	unknown := r.do("POST", "/v1/webhooks/sketch/job_1/bad", "{}", "X-Request-Id: same")
	requireProblem(t, unknown, 404, codeNotFound)
	require.Equal(t, unknown.body, r.do("POST", "/v1/webhooks/other/job_2/good", "{}", "X-Request-Id: same").body, "refusals look the same")
	require.Equal(t, unknown.body, r.do("POST", "/v1/webhooks/sketch", "{}", "X-Request-Id: same").body, "as if there were no route")

	requireProblem(t, r.do("POST", "/v1/webhooks/sketch/job_1/good", strings.Repeat("x", 1<<20+1)), 413, codeTooLarge)
	require.Equal(t, 200, r.do("POST", "/v1/webhooks/sketch/job_1/good", strings.Repeat("x", 1<<20)).StatusCode)

	r.engine.err = errors.New("signature does not match")
	require.Equal(t, unknown.body, r.do("POST", "/v1/webhooks/sketch/job_1/good", "{}", "X-Request-Id: same").body)
	r.engine.err = orchestrator.ErrUnavailable
	requireProblem(t, r.do("POST", "/v1/webhooks/sketch/job_1/good", "{}"), 503, codeUnavailable)
}

func TestHealth(t *testing.T) {
	t.Parallel()
	down := true
	r := serve(t, func(c *Config) {
		c.Ready = func(context.Context) error {
			if down {
				return errors.New("redis at hush:6379 is away")
			}
			return nil
		}
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write([]byte("jobs 1\n"))
		})
	})
	require.JSONEq(t, `{"status":"ok","version":"1.2.3"}`, r.do("GET", "/healthz", "").body)
	a := r.do("GET", "/readyz", "")
	requireProblem(t, a, 503, codeUnavailable)
	require.NotContains(t, a.body, "hush")
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	down = false
	require.Equal(t, 200, r.do("GET", "/readyz", "").StatusCode)
	a = r.do("GET", "/metrics", "")
	require.Equal(t, "jobs 1\n", a.body)
	require.Equal(t, "text/plain; version=0.0.4", a.Header.Get("Content-Type"))

	requireProblem(t, serve(t).do("GET", "/metrics", ""), 404, codeNotFound)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return listener
}
