package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

func TestBatch(t *testing.T) {
	t.Parallel()
	r := serve(t)
	body := `{"jobs":[` + strings.Join([]string{
		sunset,
		`{"feature_type":"text-to-image"}`,
		`{"feature_type":"text-to-image","input_data":{},"promt":"hush"}`,
		`"hush"`,
		`{"feature_type":"text-to-image","input_data":{},"idempotency_key":"own"}`,
		`{"feature_type":"text-to-image","input_data":{},"idempotency_key":""}`,
	}, ",") + `]}`
	a := r.do("POST", "/v1/jobs/batch", body, "Idempotency-Key: all")
	require.Equal(t, 200, a.StatusCode, a.body)
	require.NotContains(t, a.body, "hush")
	results := a.json(t)["results"].([]any)
	require.Len(t, results, 6)

	want := []struct {
		status int
		place  string
	}{
		{202, ""}, {422, "#/jobs/1/input_data"}, {422, "#/jobs/2/promt"}, {422, "#/jobs/3"}, {202, ""}, {422, "#/jobs/5/idempotency_key"},
	}
	for i, w := range want {
		result := results[i].(map[string]any)
		require.EqualValues(t, w.status, result["status"], i)
		if w.place == "" {
			require.NotContains(t, result, "error")
			require.Equal(t, "queued", result["job"].(map[string]any)["status"])
			continue
		}
		p := result["error"].(map[string]any)
		require.Equal(t, []string{w.place}, places(p))
		require.Equal(t, codeInvalid, p["code"])
		require.Equal(t, a.Header.Get("X-Request-Id"), p["request_id"])
	}
	require.Equal(t, "all/0", r.engine.jobs["job_1"].IdempotencyKey)
	require.Equal(t, "own", r.engine.jobs["job_2"].IdempotencyKey)

	again := r.do("POST", "/v1/jobs/batch", body, `Idempotency-Key: "all"`).json(t)["results"].([]any)
	require.EqualValues(t, 200, again[0].(map[string]any)["status"])
	require.EqualValues(t, 200, again[4].(map[string]any)["status"])
	require.Len(t, r.engine.jobs, 2)

	other := strings.Replace(body, "sunset", "sunrise", 1)
	conflict := r.do("POST", "/v1/jobs/batch", other, "Idempotency-Key: all").json(t)["results"].([]any)[0].(map[string]any)
	require.EqualValues(t, 409, conflict["status"])
	require.Equal(t, orchestrator.CodeKeyReused, conflict["error"].(map[string]any)["code"])
}

func TestBatchRefusals(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Limits.BatchBytes = 8192 })
	many := `{"jobs":[{}` + strings.Repeat(",{}", 1000) + `]}`
	tests := []struct {
		body   string
		status int
		code   string
		place  string
	}{
		{`{}`, 422, codeInvalid, "#/jobs"},
		{`{"jobs":[]}`, 422, codeInvalid, "#/jobs"},
		{`{"jobs":{}}`, 422, codeInvalid, "#/jobs"},
		{`{"jobs":[{}],"job":1}`, 422, codeInvalid, "#/job"},
		{`[]`, 422, codeInvalid, "#"},
		{many, 422, codeInvalid, "#/jobs"},
		{`{"jobs":[`, 400, codeMalformed, ""},
		{`{"jobs":["` + strings.Repeat("x", 9000) + `"]}`, 413, codeTooLarge, ""},
	}
	for _, tt := range tests {
		p := requireProblem(t, r.do("POST", "/v1/jobs/batch", tt.body), tt.status, tt.code)
		if tt.place != "" {
			require.Contains(t, places(p), tt.place)
		}
	}
	requireProblem(t, r.do("POST", "/v1/jobs/batch", `{"jobs":[]}`, "Content-Type: text/plain"), 415, codeUnsupportedType)
	require.Empty(t, r.engine.jobs)
}

func TestBatchInAnOutage(t *testing.T) {
	t.Parallel()
	r := serve(t)
	r.engine.err = fmt.Errorf("accept: %w", orchestrator.ErrUnavailable)
	a := r.do("POST", "/v1/jobs/batch", `{"jobs":[`+sunset+`,"hush",`+sunset+`]}`)
	requireProblem(t, a, 503, codeUnavailable)
	require.Equal(t, "2", a.Header.Get("Retry-After"))
}

func TestBatchTakesAThousand(t *testing.T) {
	t.Parallel()
	r := serve(t)
	items := make([]string, 1000)
	for i := range items {
		items[i] = fmt.Sprintf(`{"feature_type":"text-to-image","input_data":{"n":%d}}`, i)
	}
	a := r.do("POST", "/v1/jobs/batch", `{"jobs":[`+strings.Join(items, ",")+`]}`)
	require.Equal(t, 200, a.StatusCode)
	results := a.json(t)["results"].([]any)
	require.Len(t, results, 1000)
	last := results[999].(map[string]any)["job"].(map[string]any)
	require.Equal(t, map[string]any{"n": 999.0}, last["input_data"])
}
