package httpapi

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAdopt(t *testing.T) {
	t.Parallel()
	r := serve(t)
	a := r.do("POST", "/v1/jobs/adopt", `{"provider_id":"sketch","remote_id":"rp_1","feature_type":"text-to-image"}`)
	require.Equal(t, 202, a.StatusCode, a.body)
	id, _ := a.json(t)["id"].(string)
	require.Equal(t, "/v1/jobs/"+id, a.Header.Get("Location"))
	again := r.do("POST", "/v1/jobs/adopt", `{"provider_id":"sketch","remote_id":"rp_1","feature_type":"text-to-image"}`)
	require.Equal(t, 200, again.StatusCode, again.body)
	require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	require.Equal(t, id, again.json(t)["id"])
	for body, place := range map[string]string{
		`{"remote_id":"no such id","feature_type":"text-to-image"}`: "#/remote_id", `{"provider_id":1}`: "#/provider_id",
		`{"remoteid":"x"}`: "#/remoteid", `{"timeout_ms":"1m"}`: "#/timeout_ms",
	} {
		p := requireProblem(t, r.do("POST", "/v1/jobs/adopt", body), 422, codeInvalid)
		require.Equal(t, []string{place}, places(p), body)
	}
	requireProblem(t, r.do("POST", "/v1/jobs/adopt", ""), 415, codeUnsupportedType)
}

// TestAdoptIsForOperators keeps one tenant from reading what another has bought
// by guessing its id.
func TestAdoptIsForOperators(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys)
	body := `{"provider_id":"sketch","remote_id":"rp_1","feature_type":"text-to-image"}`
	requireProblem(t, r.do("POST", "/v1/jobs/adopt", body, acme), 403, codeForbidden)
	require.Equal(t, 202, r.do("POST", "/v1/jobs/adopt", body, operator).StatusCode)
}
