package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
)

// TestFullBacklogRefuses has as many jobs wait for a provider as may: the next is
// refused, with the limit and when to come back, and finds room when one has gone.
func TestFullBacklogRefuses(t *testing.T) {
	t.Parallel()
	s := serveOn(t, func(c *config.Config) { c.Providers[0].MaxBacklog = 2 })
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	draft := fmt.Sprintf(`{"feature_type":"text-to-image","input_data":{"prompt":"a kite"},"run_at":%q}`, later)
	first := s.do(http.MethodPost, "/v1/jobs", draft, "Idempotency-Key", "one")
	require.Equal(t, http.StatusAccepted, first.status, "%s", first.body)

	batch := s.do(http.MethodPost, "/v1/jobs/batch", `{"jobs":[`+draft+`,`+draft+`]}`)
	require.Equal(t, http.StatusOK, batch.status)
	var results struct {
		Results []struct {
			Status int
			Error  struct{ Code string }
		}
	}
	require.NoError(t, json.Unmarshal(batch.body, &results))
	require.Equal(t, http.StatusAccepted, results.Results[0].Status)
	require.Equal(t, http.StatusTooManyRequests, results.Results[1].Status, "what is one too many does not sink the rest")
	require.Equal(t, "backlog_full", results.Results[1].Error.Code)

	refused := s.do(http.MethodPost, "/v1/jobs", draft)
	require.Equal(t, http.StatusTooManyRequests, refused.status)
	var problem struct{ Code, Detail string }
	require.NoError(t, json.Unmarshal(refused.body, &problem))
	require.Equal(t, "backlog_full", problem.Code)
	require.Equal(t, "2 jobs wait for sketch, and no more than 2 may.", problem.Detail)
	seconds, err := strconv.Atoi(refused.header.Get("Retry-After"))
	require.NoError(t, err)
	require.Positive(t, seconds)

	again := s.do(http.MethodPost, "/v1/jobs", draft, "Idempotency-Key", "one")
	require.Equal(t, http.StatusOK, again.status, "what was accepted is answered with its job")

	canceled := s.do(http.MethodPost, "/v1/jobs/"+first.job(t).ID+"/cancel", "")
	require.Equal(t, http.StatusOK, canceled.status)
	require.Equal(t, http.StatusAccepted, s.do(http.MethodPost, "/v1/jobs", draft).status)
}
