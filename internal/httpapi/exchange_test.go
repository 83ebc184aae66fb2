package httpapi

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, cancel
}

func logged(c *Config) *observer.ObservedLogs {
	core, logs := observer.New(zapcore.DebugLevel)
	c.Logger = zap.New(core)
	return logs
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	r := serve(t)
	require.Equal(t, "abc-1:2/3", r.do("GET", "/healthz", "", "X-Request-Id: abc-1:2/3").Header.Get("X-Request-Id"))
	for _, bad := range []string{"", "a b", "a\"b", "ä", strings.Repeat("x", 129)} {
		id := r.do("GET", "/healthz", "", "X-Request-Id: "+bad).Header.Get("X-Request-Id")
		require.NotEqual(t, bad, id)
		require.NotEmpty(t, id)
	}
}

func TestPanicIsAProblem(t *testing.T) {
	t.Parallel()
	var logs *observer.ObservedLogs
	r := serve(t, func(c *Config) { logs = logged(c) })
	r.engine.panics = true
	a := r.do("POST", "/v1/jobs", sunset)
	requireProblem(t, a, 500, codeInternal)
	require.NotContains(t, a.body, "fake engine")
	require.Equal(t, 1, logs.FilterMessage("panic while serving a request").Len())
	require.Equal(t, 200, r.do("GET", "/healthz", "").StatusCode)
}

func TestAccessLogKeepsSecrets(t *testing.T) {
	t.Parallel()
	var logs *observer.ObservedLogs
	r := serve(t, func(c *Config) {
		logs = logged(c)
		c.Keys = func() []Key {
			return []Key{{Name: "backend", Secret: "hush-key", Tenant: "acme", Scopes: []string{ScopeJobs}}}
		}
	})
	key := "Authorization: Bearer hush-key"
	r.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","input_data":{"prompt":"hush-prompt"},"promt":"hush-value"}`, key)
	r.do("GET", "/v1/jobs?cursor=hush-cursor", "", key)
	r.do("GET", "/v1/jobs/job_1/artifacts/0?signature=hush-signature", "", key)
	r.do("POST", "/v1/webhooks/sketch/job_1/hush-token", `{"a":"hush-body"}`)
	r.do("GET", "/v1/webhooks/sketch/job_1/hush-token", "")
	r.do("GET", "/v1/jobs/hush-path/to/nowhere", "")
	r.engine.err = errors.New("redis fell over")
	r.do("GET", "/v1/jobs", "", key)

	// The client has its answer before the server writes its line.
	require.Eventually(t, func() bool { return logs.FilterMessage("request").Len() == 7 }, waitLong, waitStep)
	var failed, named int
	for _, entry := range logs.All() {
		fields := entry.ContextMap()
		for name, value := range fields {
			if text, ok := value.(string); ok {
				require.NotContains(t, text, "hush", name)
			}
		}
		if fields["error"] != nil {
			failed++
			require.Equal(t, zapcore.ErrorLevel, entry.Level)
			require.Equal(t, "redis fell over", fields["error"])
			require.EqualValues(t, 500, fields["status"])
		}
		if fields["key"] == "backend" && fields["tenant"] == "acme" {
			named++
		}
	}
	require.Equal(t, 1, failed)
	require.Equal(t, 4, named)
	require.Equal(t, 1, logs.FilterField(zap.String("route", "POST /v1/webhooks/{provider}/{job}/{token}")).Len())
}
