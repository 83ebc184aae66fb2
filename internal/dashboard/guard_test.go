package dashboard_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpenDashboardAnswersToLocalNamesOnly(t *testing.T) {
	t.Parallel()
	v := open(t, config(gallery(noon), idle))
	for host, want := range map[string]int{
		"localhost:8081": 200, "127.0.0.1": 200, "127.8.8.8:1": 200, "[::1]:8081": 200, "LOCALHOST": 200,
		"evil.example": 403, "localhost.evil.example": 403, "192.168.0.7:8081": 403, "127.0.0.1.evil.example": 403,
	} {
		require.Equal(t, want, v.do("GET", "/", "", "Host", host).StatusCode, host)
	}
	require.Equal(t, http.StatusSeeOther, v.get("/login").StatusCode, "there is nothing to sign in to")
}

func TestCrossOriginRequestsAreRefused(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]func() *visit{
		"open":   func() *visit { return open(t, config(gallery(noon), idle)) },
		"locked": func() *visit { return open(t, locked(gallery(noon))) },
	} {
		v := cfg()
		for _, path := range []string{"/jobs/job_failed/retry", "/queues/api/queues/poll:pause", "/login", "/logout"} {
			require.Equal(t, http.StatusForbidden, v.do("POST", path, "{}", "Content-Type", "text/plain", "Sec-Fetch-Site", "cross-site").StatusCode, "%s %s", name, path)
			require.Equal(t, http.StatusForbidden, v.do("POST", path, "{}", "Origin", "http://evil.example").StatusCode, "%s %s", name, path)
		}
		require.Equal(t, http.StatusForbidden, v.do("DELETE", "/queues/api/queues/poll", "", "Sec-Fetch-Site", "same-site").StatusCode)
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	t.Parallel()
	v := open(t, config(gallery(noon), idle))
	for _, path := range []string{"/", "/jobs", "/jobs/job_done", "/nothing", "/assets/dashboard.css", "/healthz", "/queues/"} {
		h := v.get(path).Header
		require.Contains(t, h.Get("Content-Security-Policy"), "default-src 'none'", path)
		require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe", path)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), path)
		require.Empty(t, h.Get("Access-Control-Allow-Origin"), path)
	}
}

func TestBigFormsAreRefused(t *testing.T) {
	t.Parallel()
	e := gallery(noon)
	v := open(t, config(e, idle))
	big := url.Values{"version": {"3"}, "key": {string(make([]byte, 2<<20))}}
	require.Equal(t, http.StatusBadRequest, v.post("/jobs/job_failed/retry", big).StatusCode)
	require.Empty(t, e.called())
}
