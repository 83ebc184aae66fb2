package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	acme     = "Authorization: Bearer acme-key"
	globex   = "Authorization: Bearer globex-key"
	operator = "Authorization: Bearer operator-key"
)

func withKeys(c *Config) {
	c.Loopback = false
	hashed := sha256.Sum256([]byte("globex-key"))
	keys := []Key{
		{Name: "acme", Secret: "acme-key", Tenant: "acme", Scopes: []string{ScopeJobs}},
		{Name: "globex", Secret: "sha256:" + hex.EncodeToString(hashed[:]), Tenant: "globex", Scopes: []string{ScopeJobs}},
		{Name: "operator", Secret: "operator-key", Tenant: "acme", Scopes: []string{ScopeOperate}},
		{Name: "broken", Secret: "sha256:nonsense", Tenant: "acme", Scopes: []string{ScopeJobs}},
		{Name: "empty", Tenant: "acme", Scopes: []string{ScopeJobs}},
	}
	c.Keys = func() []Key { return keys }
}

func TestKeys(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys)
	tests := []struct {
		name, header, challenge string
		status                  int
	}{
		{"none", "X-Nothing: x", `Bearer realm="easel"`, 401},
		{"wrong", "Authorization: Bearer hush", `Bearer realm="easel", error="invalid_token"`, 401},
		{"empty", "Authorization: Bearer ", `Bearer realm="easel"`, 401},
		{"other scheme", "Authorization: Basic acme-key", `Bearer realm="easel"`, 401},
		{"the digest itself", "Authorization: Bearer sha256:nonsense", `Bearer realm="easel", error="invalid_token"`, 401},
		{"good", acme, "", 200},
		{"scheme in lower case", "Authorization: bearer acme-key", "", 200},
		{"stored as a digest", globex, "", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := r.do("GET", "/v1/jobs", "", tt.header)
			require.Equal(t, tt.status, a.StatusCode)
			require.Equal(t, tt.challenge, a.Header.Get("WWW-Authenticate"))
			require.NotContains(t, a.body, "hush")
			if tt.status == 401 {
				requireProblem(t, a, 401, codeUnauthorized)
			}
		})
	}
}

func TestEveryCallNeedsAKey(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys, func(c *Config) { c.Metrics = http.NotFoundHandler() })
	for _, call := range [][2]string{
		{"POST", "/v1/jobs"}, {"POST", "/v1/jobs/batch"}, {"GET", "/v1/jobs"}, {"GET", "/v1/jobs/x"}, {"GET", "/v1/jobs/x/events"},
		{"POST", "/v1/jobs/x/cancel"}, {"POST", "/v1/jobs/x/retry"}, {"POST", "/v1/jobs/x/resolve"}, {"DELETE", "/v1/jobs/x"},
		{"GET", "/v1/jobs/x/artifacts/0"}, {"GET", "/v1/providers"}, {"GET", "/v1/features"}, {"GET", "/metrics"},
		{"POST", "/v1/providers/x/pause"}, {"POST", "/v1/providers/x/resume"},
	} {
		// The refusal comes before the body is looked at.
		requireProblem(t, r.do(call[0], call[1], "not even JSON"), 401, codeUnauthorized)
	}
	for _, path := range []string{"/healthz", "/readyz", "/docs", "/openapi.json", "/"} {
		require.Equal(t, 200, r.do("GET", path, "").StatusCode, path)
	}
}

func TestTenants(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys)
	id := r.job(acme, "Idempotency-Key: k")
	require.Equal(t, "acme", r.engine.jobs[id].Tenant)
	require.NotEqual(t, id, r.job(globex, "Idempotency-Key: k"), "keys of tenants do not meet")
	for _, call := range [][2]string{
		{"GET", ""}, {"GET", "/events"}, {"POST", "/cancel"}, {"POST", "/retry"}, {"DELETE", ""}, {"GET", "/artifacts/0"},
	} {
		requireProblem(t, r.do(call[0], "/v1/jobs/"+id+call[1], "", globex), 404, codeNotFound)
	}
	require.Len(t, r.do("GET", "/v1/jobs", "", globex).json(t)["jobs"], 1)
}

func TestScopes(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys, func(c *Config) {
		c.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("jobs 1\n")) })
	})
	id := r.job(acme)
	r.engine.move(id, tasks.Unresolved)
	a := r.do("POST", "/v1/jobs/"+id+"/resolve", `{"outcome":"not_created"}`, acme)
	requireProblem(t, a, 403, codeForbidden)
	require.Contains(t, a.Header.Get("WWW-Authenticate"), "insufficient_scope")
	require.Equal(t, 200, r.do("POST", "/v1/jobs/"+id+"/resolve", `{"outcome":"not_created"}`, operator).StatusCode)
	requireProblem(t, r.do("GET", "/v1/jobs", "", operator), 403, codeForbidden)
	requireProblem(t, r.do("GET", "/metrics", "", acme), 403, codeForbidden)
	require.Equal(t, "jobs 1\n", r.do("GET", "/metrics", "", operator).body)
}

func TestRevokedKey(t *testing.T) {
	t.Parallel()
	var keys atomic.Pointer[[]Key]
	keys.Store(&[]Key{{Secret: "acme-key", Scopes: []string{ScopeJobs}}, {Secret: "other", Scopes: []string{ScopeJobs}}})
	r := serve(t, func(c *Config) { c.Keys = func() []Key { return *keys.Load() } })
	require.Equal(t, tasks.DefaultTenant, r.engine.jobs[r.job(acme)].Tenant)
	keys.Store(&[]Key{{Secret: "other", Scopes: []string{ScopeJobs}}})
	requireProblem(t, r.do("GET", "/v1/jobs", "", acme), 401, codeUnauthorized)
}

func TestNoKeysBeyondLoopback(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Loopback = false })
	requireProblem(t, r.do("GET", "/v1/jobs", ""), 401, codeUnauthorized)
}

func TestWrongKeysAreSlowedDown(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	r := serve(t, withKeys, func(c *Config) { c.Now = func() time.Time { return epoch.Add(time.Duration(now.Load())) } })
	wrong := func() answer { return r.do("GET", "/v1/jobs", "", "Authorization: Bearer wrong") }
	for range failureLimit {
		requireProblem(t, wrong(), 401, codeUnauthorized)
	}
	a := wrong()
	requireProblem(t, a, 429, codeTooMany)
	require.Equal(t, "61", a.Header.Get("Retry-After"))
	require.Equal(t, 200, r.do("GET", "/v1/jobs", "", acme).StatusCode, "a good key is not locked out by bad ones")
	requireProblem(t, r.do("GET", "/v1/jobs", ""), 401, codeUnauthorized)
	now.Store(int64(failureWindow))
	requireProblem(t, wrong(), 401, codeUnauthorized)
}

func TestFailuresAreBounded(t *testing.T) {
	t.Parallel()
	f := newFailures(func() time.Time { return epoch })
	for i := range failureHosts + 10 {
		f.note(string(rune(i)))
	}
	require.LessOrEqual(t, len(f.hosts), failureHosts)
	require.Equal(t, "2001:db8:1:2::/64", network("2001:db8:1:2:3:4:5:6"))
	require.Equal(t, "2001:db8:1:2::/64", network("2001:db8:1:2::9"))
	require.Equal(t, "192.0.2.1", network("192.0.2.1"))
}

func TestLoopbackGuards(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.PublicURL = "https://easel.example.com/" })
	tests := []struct {
		name, method, body string
		headers            []string
		status             int
		code               string
	}{
		{"localhost", "GET", "", []string{"Host: localhost:8080"}, 200, ""},
		{"a name below localhost", "GET", "", []string{"Host: easel.localhost"}, 200, ""},
		{"another loopback address", "GET", "", []string{"Host: 127.8.8.8"}, 200, ""},
		{"IPv6", "GET", "", []string{"Host: [::1]:8080"}, 200, ""},
		{"the public host", "GET", "", []string{"Host: easel.example.com"}, 200, ""},
		{"a rebound name", "GET", "", []string{"Host: evil.example"}, 403, codeHostNotAllowed},
		{"a name that begins well", "GET", "", []string{"Host: localhost.evil.example"}, 403, codeHostNotAllowed},
		{"another machine", "GET", "", []string{"Host: 192.0.2.1"}, 403, codeHostNotAllowed},
		{"the same page", "POST", sunset, []string{"Sec-Fetch-Site: same-origin"}, 202, ""},
		{"another page", "POST", sunset, []string{"Sec-Fetch-Site: cross-site"}, 403, codeCrossOrigin},
		{"another port", "POST", sunset, []string{"Sec-Fetch-Site: same-site"}, 403, codeCrossOrigin},
		{"an old browser", "POST", sunset, []string{"Origin: https://evil.example"}, 403, codeCrossOrigin},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := r.do(tt.method, "/v1/jobs", tt.body, tt.headers...)
			require.Equal(t, tt.status, a.StatusCode, a.body)
			if tt.code != "" {
				require.Equal(t, tt.code, a.json(t)["code"])
				require.Equal(t, "https://easel.example.com/docs#"+tt.code, a.json(t)["type"])
			}
			require.Empty(t, a.Header.Get("Access-Control-Allow-Origin"))
		})
	}
	require.Equal(t, 200, r.do("GET", "/healthz", "", "Host: 192.0.2.1").StatusCode)
	keyed := serve(t, withKeys)
	require.Equal(t, 200, keyed.do("GET", "/v1/jobs", "", acme, "Host: anything.example").StatusCode)
	require.Equal(t, 202, keyed.do("POST", "/v1/jobs", sunset, acme, "Sec-Fetch-Site: cross-site").StatusCode)
}
