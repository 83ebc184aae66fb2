package app

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
)

// TestLinksOfWorkerWithoutKeys opens an artifact by the link that a process made
// which knows of no keys, as a worker that tells of a job, at an API that asks
// for one.
func TestLinksOfWorkerWithoutKeys(t *testing.T) {
	t.Parallel()
	s := serveOn(t)
	link := s.submit(`{"prompt":"a harbour"}`).Result.Artifacts[0]
	require.NotNil(t, link.ExpiresAt)
	require.Equal(t, http.StatusOK, s.do("GET", link.URL, "").status)

	cfg := *s.running.platform.cfg
	cfg.API.Keys = []config.APIKey{{Key: annsKey, Tenant: "ann", Scopes: []string{"jobs"}}}
	guarded, err := open(t.Context(), &cfg, zap.NewNop(), cfg.Redis.URL.Reveal())
	require.NoError(t, err)
	t.Cleanup(guarded.close)
	api := httptest.NewServer(guarded.apiHandler(cfg.API.Listen, nil))
	t.Cleanup(api.Close)
	away := &server{t: t, url: api.URL}
	require.Equal(t, http.StatusOK, away.do("GET", link.URL, "").status)
	require.Equal(t, http.StatusUnauthorized, away.do("GET", link.URL+"x", "").status)
}
