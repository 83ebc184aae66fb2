package httpapi

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCORSIsOffUnlessConfigured(t *testing.T) {
	t.Parallel()
	ask := func(method, origin string, allowed ...string) *httptest.ResponseRecorder {
		handler := New(Config{Keys: func() []Key { return []Key{{Secret: "k", Scopes: []string{ScopeJobs}}} }, CORSOrigins: allowed})
		r := httptest.NewRequest(method, "/healthz", nil)
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	require.Empty(t, ask(http.MethodGet, "https://app.example").Header().Get("Access-Control-Allow-Origin"))
	require.Empty(t, ask(http.MethodGet, "https://evil.example", "https://app.example").Header().Get("Access-Control-Allow-Origin"))

	granted := ask(http.MethodGet, "https://app.example", "https://app.example")
	require.Equal(t, http.StatusOK, granted.Code)
	require.Equal(t, "https://app.example", granted.Header().Get("Access-Control-Allow-Origin"))
	require.Empty(t, granted.Header().Get("Access-Control-Allow-Credentials"))

	preflight := ask(http.MethodOptions, "https://app.example", "https://app.example")
	require.Equal(t, http.StatusNoContent, preflight.Code)
	require.Contains(t, preflight.Header().Get("Access-Control-Allow-Headers"), "Idempotency-Key")
}

// TestCORSWithoutKeys: a page that was let in by its origin may do more than ask
// whether it may.
func TestCORSWithoutKeys(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.CORSOrigins = []string{"https://app.example/"} })
	a := r.do("POST", "/v1/jobs", sunset, "Origin: https://app.example", "Sec-Fetch-Site: cross-site")
	require.Equal(t, http.StatusAccepted, a.StatusCode, a.body)
	require.Equal(t, "https://app.example", a.Header.Get("Access-Control-Allow-Origin"))
	a = r.do("POST", "/v1/jobs", sunset, "Origin: https://evil.example", "Sec-Fetch-Site: cross-site")
	requireProblem(t, a, http.StatusForbidden, codeCrossOrigin)
	require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
}
