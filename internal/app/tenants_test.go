package app

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	annsKey = "key-of-ann-0123456789"
	bobsKey = "key-of-bob-0123456789"
)

// TestTenantsDoNotSeeOneAnother tries every call with another tenant's id: it
// is answered as if the job did not exist.
func TestTenantsDoNotSeeOneAnother(t *testing.T) {
	t.Parallel()
	s := serveOn(t, func(c *config.Config) {
		c.API.Keys = []config.APIKey{
			{Name: "ann", Key: annsKey, Tenant: "ann", Scopes: []string{"jobs", "operate"}},
			{Name: "bob", Key: bobsKey, Tenant: "bob", Scopes: []string{"jobs", "operate"}},
		}
	})
	ann := []string{"Authorization", "Bearer " + annsKey}
	bob := []string{"Authorization", "Bearer " + bobsKey}
	const body = `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x"}}`

	created := s.do("POST", "/v1/jobs", body, append(ann, "Prefer", "wait=20", "Idempotency-Key", "same")...)
	require.Equal(t, http.StatusOK, created.status, "%s", created.body)
	job := created.job(t)
	require.Equal(t, tasks.StatusCompleted, job.Status)

	missing := "job_01JD3XK8M5Q0R7Z4N9T2V6W8YB"
	calls := []struct{ method, path, body string }{
		{"GET", "/v1/jobs/%s", ""},
		{"GET", "/v1/jobs/%s/events", ""},
		{"POST", "/v1/jobs/%s/cancel", ""},
		{"POST", "/v1/jobs/%s/retry", "{}"},
		{"POST", "/v1/jobs/%s/resolve", `{"outcome":"not_created"}`},
		{"DELETE", "/v1/jobs/%s", ""},
		{"GET", "/v1/jobs/%s/artifacts/0", ""},
	}
	for _, call := range calls {
		foreign := s.do(call.method, fmt.Sprintf(call.path, job.ID), call.body, bob...)
		absent := s.do(call.method, fmt.Sprintf(call.path, missing), call.body, bob...)
		require.Equal(t, http.StatusNotFound, foreign.status, "%s %s: %s", call.method, call.path, foreign.body)
		require.Equal(t, absent.status, foreign.status)
		require.Len(t, foreign.body, len(absent.body), "the answers differ")
		require.Equal(t, http.StatusUnauthorized, s.do(call.method, fmt.Sprintf(call.path, job.ID), call.body).status)
	}
	require.NotContains(t, string(s.do("GET", "/v1/jobs", "", bob...).body), job.ID)
	require.Contains(t, string(s.do("GET", "/v1/jobs", "", ann...).body), job.ID)
	other := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"other"}}`,
		append(bob, "Idempotency-Key", "same")...)
	require.Equal(t, http.StatusAccepted, other.status, "another tenant's idempotency key is no matter: %s", other.body)

	link := job.Result.Artifacts[0].URL
	require.Contains(t, link, "?")
	require.Equal(t, http.StatusOK, s.do("GET", link, "").status, "a signed link needs no key")
	require.Equal(t, http.StatusUnauthorized, s.do("GET", link[:len(link)-2]+"xx", "").status)
	require.NotNil(t, job.Result.Artifacts[0].ExpiresAt)
}

// TestRevokedKeyStopsWorking takes a key out of the configuration of a running
// server.
func TestRevokedKeyStopsWorking(t *testing.T) {
	t.Parallel()
	before, after := config.Default(), config.Default()
	before.API.Keys = []config.APIKey{{Key: annsKey, Tenant: "ann", Scopes: []string{"jobs"}}, {Key: bobsKey, Tenant: "bob", Scopes: []string{"jobs"}}}
	after.API.Keys = before.API.Keys[1:]
	var revoked, broken atomic.Bool
	ring := newKeyring(before, func() (*config.Config, error) {
		switch {
		case broken.Load():
			return nil, fmt.Errorf("half-written file")
		case revoked.Load():
			return after, nil
		}
		return before, nil
	}, nopLogger())
	require.Len(t, ring.current(), 2)
	revoked.Store(true)
	require.Len(t, ring.current(), 1, "at once")
	require.Equal(t, bobsKey, ring.current()[0].Secret)
	broken.Store(true)
	revoked.Store(false)
	require.Len(t, ring.current(), 1, "the last good keys stay in force")
}

func nopLogger() *zap.Logger { return zap.NewNop() }
