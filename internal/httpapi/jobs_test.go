package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func TestCreateJob(t *testing.T) {
	t.Parallel()
	r := serve(t)
	a := r.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","input_data":{"prompt":"x"},"user_id":"u","metadata":{"order":"42"},"run_at":null}`)
	require.Equal(t, 202, a.StatusCode, a.body)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.Equal(t, "/v1/jobs/job_1", a.Header.Get("Location"))
	require.Equal(t, `"1"`, a.Header.Get("ETag"))
	require.Empty(t, a.Header.Get("Idempotent-Replayed"))
	require.Empty(t, a.Header.Get("Preference-Applied"))
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	job := a.json(t)
	require.Equal(t, "queued", job["status"])
	require.Equal(t, map[string]any{"order": "42"}, job["metadata"])
	require.Equal(t, map[string]any{"prompt": "x"}, job["input_data"])
	require.Nil(t, job["result"])
	require.Equal(t, tasks.DefaultTenant, r.engine.jobs["job_1"].Tenant)
}

func TestCreateJobRefusals(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Limits.JobBytes = 4096 })
	deep := strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)
	tests := []struct {
		name, body string
		headers    []string
		status     int
		code       string
		places     []string
	}{
		{"no JSON", `{"feature_type": hush`, nil, 400, codeMalformed, nil},
		{"cut off", `{"feature_type":"hush"`, nil, 400, codeMalformed, nil},
		{"trailing garbage", sunset + ` hush`, nil, 400, codeMalformed, nil},
		{"two values", sunset + sunset, nil, 400, codeMalformed, nil},
		{"raw control character", "{\"user_id\":\"hu\x01sh\"}", nil, 400, codeMalformed, nil},
		{"not UTF-8", "{\"user_id\":\"hush\xff\"}", nil, 400, codeMalformed, nil},
		{"too deep", `{"input_data":` + deep + `}`, nil, 400, codeMalformed, nil},
		{"empty", " ", nil, 400, codeMalformed, nil},
		{"no object", `["hush"]`, nil, 422, codeInvalid, []string{"#"}},
		{"null", `null`, nil, 422, codeInvalid, []string{"#"}},
		{"missing fields", `{}`, nil, 422, codeInvalid, []string{"#/feature_type", "#/input_data"}},
		{"unknown fields", `{"feature_type":"text-to-image","input_data":{},"promt":"hush","a/b~c d":"hush"}`, nil, 422, codeInvalid, []string{"#/a~1b~0c%20d", "#/promt"}},
		{"case counts", `{"Feature_Type":"hush","input_data":{}}`, nil, 422, codeInvalid, []string{"#/Feature_Type"}},
		{"wrong types", `{"feature_type":7,"input_data":"hush","user_id":[],"fallback_provider_ids":["a",1,null],"retry_attempts":"hush","retry_delay_ms":1.5,"timeout_ms":99999999999999999999,"metadata":{"k":{"hush":1}},"run_at":"hush"}`, nil, 422, codeInvalid,
			[]string{"#/feature_type", "#/input_data", "#/user_id", "#/fallback_provider_ids/1", "#/fallback_provider_ids/2", "#/retry_attempts", "#/retry_delay_ms", "#/timeout_ms", "#/metadata/k", "#/run_at"}},
		{"escaped control character", `{"feature_type":"text-to-image","input_data":{},"user_id":"hu\u0000sh"}`, nil, 422, codeInvalid, []string{"#/user_id"}},
		{"no content type", sunset, []string{"Content-Type: "}, 415, codeUnsupportedType, nil},
		{"form", sunset, []string{"Content-Type: application/x-www-form-urlencoded"}, 415, codeUnsupportedType, nil},
		{"text", sunset, []string{"Content-Type: text/plain"}, 415, codeUnsupportedType, nil},
		{"other charset", sunset, []string{"Content-Type: application/json; charset=latin1"}, 415, codeUnsupportedType, nil},
		{"compressed", sunset, []string{"Content-Encoding: gzip"}, 415, codeUnsupportedType, nil},
		{"too large", `{"input_data":{"image":"` + strings.Repeat("hush", 2000) + `"}}`, nil, 413, codeTooLarge, nil},
		{"key too long", sunset, []string{"Idempotency-Key: " + strings.Repeat("k", 256)}, 400, codeMalformed, []string{"Idempotency-Key"}},
		{"key empty", sunset, []string{`Idempotency-Key: ""`}, 400, codeMalformed, []string{"Idempotency-Key"}},
		{"key open", sunset, []string{`Idempotency-Key: "hush`}, 400, codeMalformed, []string{"Idempotency-Key"}},
		{"key twice", sunset, []string{"Idempotency-Key: hush1", "Idempotency-Key: hush2"}, 400, codeMalformed, []string{"Idempotency-Key"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := requireProblem(t, r.do("POST", "/v1/jobs", tt.body, tt.headers...), tt.status, tt.code)
			require.Equal(t, tt.places, places(p))
			require.NotContains(t, strings.ToLower(fmt.Sprint(p)), "hush", "values are not repeated")
			require.Empty(t, r.engine.jobs)
		})
	}
}

func TestCreateJobOfUnknownLength(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Limits.JobBytes = 1024 })
	// A reader of no known type is sent in chunks, without Content-Length.
	body := struct{ *strings.Reader }{strings.NewReader(`{"user_id":"` + strings.Repeat("x", 4096) + `"}`)}
	req, err := http.NewRequestWithContext(t.Context(), "POST", r.url+"/v1/jobs", body)
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	requireProblem(t, r.send(req), 413, codeTooLarge)
}

func TestIdempotency(t *testing.T) {
	t.Parallel()
	r := serve(t)
	first := r.do("POST", "/v1/jobs", sunset, "Idempotency-Key: key-1")
	require.Equal(t, 202, first.StatusCode)
	again := r.do("POST", "/v1/jobs", sunset, `Idempotency-Key: "key-1"`)
	require.Equal(t, 200, again.StatusCode, "bare and quoted are the same key")
	require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	require.Equal(t, first.json(t)["id"], again.json(t)["id"])

	other := strings.Replace(sunset, "sunset", "sunrise", 1)
	requireProblem(t, r.do("POST", "/v1/jobs", other, "Idempotency-Key: key-1"), 409, orchestrator.CodeKeyReused)

	requireProblem(t, r.do("POST", "/v1/jobs", `{}`, "Idempotency-Key: key-2"), 422, codeInvalid)
	require.Equal(t, 202, r.do("POST", "/v1/jobs", sunset, "Idempotency-Key: key-2").StatusCode, "a refused request does not use its key up")
	require.Equal(t, 202, r.do("POST", "/v1/jobs", sunset, "Idempotency-Key: "+strings.Repeat("k", 255)).StatusCode)
}

func TestPreferWait(t *testing.T) {
	t.Parallel()
	t.Run("at rest in time, though failed", func(t *testing.T) {
		t.Parallel()
		r := serve(t)
		done := make(chan answer)
		go func() { done <- r.do("POST", "/v1/jobs", sunset, "Prefer: wait=30") }()
		require.Eventually(t, func() bool { return r.engine.watching() == 1 }, waitLong, waitStep)
		r.engine.move("job_1", tasks.Processing)
		r.engine.move("job_1", tasks.Failed)
		a := <-done
		require.Equal(t, 200, a.StatusCode)
		require.Equal(t, "failed", a.json(t)["status"])
		require.Equal(t, "wait=30", a.Header.Get("Preference-Applied"))
		require.Equal(t, `"3"`, a.Header.Get("ETag"))
	})
	t.Run("time is over", func(t *testing.T) {
		t.Parallel()
		r := serve(t)
		a := r.do("POST", "/v1/jobs", sunset, "Prefer: respond-async, wait=0")
		require.Equal(t, 202, a.StatusCode)
		require.Equal(t, "wait=0", a.Header.Get("Preference-Applied"))
	})
	t.Run("a failure to wait is none of the request", func(t *testing.T) {
		t.Parallel()
		r := serve(t)
		r.engine.waitErr = orchestrator.ErrUnavailable
		a := r.do("POST", "/v1/jobs", sunset, "Prefer: wait")
		require.Equal(t, 202, a.StatusCode)
		require.Equal(t, "job_1", a.json(t)["id"])
		require.Equal(t, "wait=60", a.Header.Get("Preference-Applied"))
	})
	t.Run("no room to wait", func(t *testing.T) {
		t.Parallel()
		r := serve(t, func(c *Config) { c.Limits.Waits = 1 })
		require.True(t, r.server.waits.take("somebody"))
		a := r.do("POST", "/v1/jobs", sunset, "Prefer: wait=5")
		require.Equal(t, 202, a.StatusCode)
		require.Empty(t, a.Header.Get("Preference-Applied"))
	})
	t.Run("hanging up cancels nothing", func(t *testing.T) {
		t.Parallel()
		r := serve(t)
		req, err := http.NewRequest("POST", r.url+"/v1/jobs", strings.NewReader(sunset))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Prefer", "wait=60")
		ctx, hangUp := contextOf(t)
		failed := make(chan error)
		go func() {
			res, err := r.client.Do(req.WithContext(ctx))
			if err == nil {
				res.Body.Close()
			}
			failed <- err
		}()
		require.Eventually(t, func() bool { return r.engine.watching() == 1 }, waitLong, waitStep)
		hangUp()
		require.Error(t, <-failed)
		require.Eventually(t, func() bool { return r.engine.watching() == 0 }, waitLong, waitStep)
		require.Equal(t, "queued", r.do("GET", "/v1/jobs/job_1", "").json(t)["status"])
	})
}

func TestPreferredWait(t *testing.T) {
	t.Parallel()
	tests := []struct {
		values []string
		want   time.Duration
		asked  bool
	}{
		{nil, 0, false},
		{[]string{"respond-async"}, 0, false},
		{[]string{"wait"}, time.Minute, true},
		{[]string{"wait="}, time.Minute, true},
		{[]string{"wait=10"}, 10 * time.Second, true},
		{[]string{`Wait = "10"`}, 10 * time.Second, true},
		{[]string{"respond-async; x=1, wait=7; y=2"}, 7 * time.Second, true},
		{[]string{"handling=lenient", "wait=3"}, 3 * time.Second, true},
		{[]string{"wait=3, wait=9"}, 3 * time.Second, true},
		{[]string{"wait=61"}, time.Minute, true},
		{[]string{"wait=2147483647"}, time.Minute, true},
		{[]string{"wait=99999999999999999999"}, time.Minute, true},
		{[]string{"wait=-1"}, 0, false},
		{[]string{"wait=soon"}, 0, false},
	}
	for _, tt := range tests {
		got, asked := preferredWait(http.Header{"Prefer": tt.values})
		require.Equal(t, tt.want, got, tt.values)
		require.Equal(t, tt.asked, asked, tt.values)
	}
}

func TestGetJob(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	a := r.do("GET", "/v1/jobs/"+id, "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, `"1"`, a.Header.Get("ETag"))
	require.Equal(t, "private, no-cache", a.Header.Get("Cache-Control"))

	for _, tag := range []string{`"1"`, `W/"1"`, `"7", "1"`, `*`} {
		a = r.do("GET", "/v1/jobs/"+id, "", "If-None-Match: "+tag)
		require.Equal(t, 304, a.StatusCode, tag)
		require.Equal(t, `"1"`, a.Header.Get("ETag"))
		require.Empty(t, a.body)
	}
	r.engine.move(id, tasks.Processing)
	require.Equal(t, 200, r.do("GET", "/v1/jobs/"+id, "", `If-None-Match: "1"`).StatusCode)
	require.Equal(t, 200, r.do("HEAD", "/v1/jobs/"+id, "").StatusCode)
	requireProblem(t, r.do("GET", "/v1/jobs/job_404", ""), 404, codeNotFound)
}

func TestListJobs(t *testing.T) {
	t.Parallel()
	r := serve(t)
	for range 5 {
		r.job()
	}
	r.engine.move("job_2", tasks.Failed)
	r.engine.move("job_4", tasks.Completed)

	page := r.do("GET", "/v1/jobs?limit=3", "").json(t)
	require.Len(t, page["jobs"], 3)
	require.NotContains(t, page["jobs"].([]any)[0], "input_data")
	require.Equal(t, "job_5", page["jobs"].([]any)[0].(map[string]any)["id"])
	page = r.do("GET", "/v1/jobs?limit=3&cursor="+page["next_cursor"].(string), "").json(t)
	require.Len(t, page["jobs"], 2)
	require.Contains(t, page, "next_cursor")
	require.Nil(t, page["next_cursor"])

	page = r.do("GET", "/v1/jobs?status=failed&status=completed&include=input", "").json(t)
	require.Len(t, page["jobs"], 2)
	require.Contains(t, page["jobs"].([]any)[0], "input_data")

	require.Equal(t, 200, r.do("GET", "/v1/jobs?user_id=u&feature_type=upscale&provider_id=p&created_after=2026-01-01T00:00:00Z&created_before=2026-02-01T02:00:00%2B02:00", "").StatusCode)
	last := r.engine.queries[len(r.engine.queries)-1]
	require.Equal(t, orchestrator.Query{
		Tenant: tasks.DefaultTenant, UserID: "u", FeatureType: tasks.Upscale, ProviderID: "p", Limit: 20,
		CreatedAfter: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), CreatedBefore: last.CreatedBefore,
	}, last)
	require.True(t, last.CreatedBefore.Equal(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)))

	r2 := serve(t)
	require.JSONEq(t, `{"jobs":[],"next_cursor":null}`, r2.do("GET", "/v1/jobs", "").body)
}

func TestListJobsRefusals(t *testing.T) {
	t.Parallel()
	r := serve(t)
	for query, parameter := range map[string]string{
		"limit=0": "limit", "limit=101": "limit", "limit=hush": "limit", "status=hush": "status[0]",
		"status=failed&status=hush": "status[1]", "created_after=hush": "created_after", "cursor=hush": "cursor",
		"include=hush": "include[0]", "statsu=failed": "statsu",
	} {
		p := requireProblem(t, r.do("GET", "/v1/jobs?"+query, ""), 422, codeInvalid)
		require.Equal(t, []string{parameter}, places(p), query)
		require.NotContains(t, fmt.Sprint(p), "hush", query)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/cancel", "", `If-Match: "7"`), 412, codeVersion)
	for range 2 {
		a := r.do("POST", "/v1/jobs/"+id+"/cancel", "")
		require.Equal(t, 200, a.StatusCode)
		require.Equal(t, "canceled", a.json(t)["status"])
		require.Equal(t, `"2"`, a.Header.Get("ETag"))
	}
	other := r.job()
	r.engine.move(other, tasks.Completed)
	requireProblem(t, r.do("POST", "/v1/jobs/"+other+"/cancel", ""), 409, orchestrator.CodeJobFinal)
	requireProblem(t, r.do("POST", "/v1/jobs/job_404/cancel", ""), 404, codeNotFound)
}

func TestIfMatch(t *testing.T) {
	t.Parallel()
	for tag, status := range map[string]int{
		`"1"`: 200, `W/"1"`: 200, `1`: 200, `*`: 200, `"5", "1"`: 200,
		`"0"`: 412, `"-1"`: 412, `"2"`: 412, `"x"`: 412, `""`: 412, `"5","6"`: 412,
	} {
		r := serve(t)
		id := r.job()
		require.Equal(t, status, r.do("POST", "/v1/jobs/"+id+"/cancel", "", "If-Match: "+tag).StatusCode, tag)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/retry", ""), 409, orchestrator.CodeJobNotAtRest)
	r.engine.move(id, tasks.Failed)

	a := r.do("POST", "/v1/jobs/"+id+"/retry", "", "Idempotency-Key: again")
	require.Equal(t, 200, a.StatusCode, a.body)
	require.Equal(t, "queued", a.json(t)["status"])
	require.Empty(t, a.Header.Get("Idempotent-Replayed"))
	a = r.do("POST", "/v1/jobs/"+id+"/retry", `{"mode":"regenerate"}`, `Idempotency-Key: "again"`)
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "true", a.Header.Get("Idempotent-Replayed"))

	r.engine.move(id, tasks.Failed)
	require.Equal(t, "processing", r.do("POST", "/v1/jobs/"+id+"/retry", `{"mode":"resume"}`).json(t)["status"])
	r.engine.move(id, tasks.Unresolved)
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/retry", `{"mode":"regenerate"}`), 409, orchestrator.CodeUnresolved)

	p := requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/retry", `{"mode":"hush"}`), 422, codeInvalid)
	require.Equal(t, []string{"#/mode"}, places(p))
	p = requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/retry", `{"mod":"resume"}`), 422, codeInvalid)
	require.Equal(t, []string{"#/mod"}, places(p))
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/retry", `{`), 400, codeMalformed)
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/retry", `{}`, "Content-Type: text/plain"), 415, codeUnsupportedType)
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/retry", "", `If-Match: "1"`), 412, codeVersion)
}

func TestResolve(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/resolve", `{"outcome":"not_created"}`), 409, orchestrator.CodeNotUnresolved)
	r.engine.move(id, tasks.Unresolved)
	for body, place := range map[string]string{
		`{}`: "#/outcome", `{"outcome":"hush"}`: "#/outcome", `{"outcome":"created","remoteid":"x"}`: "#/remoteid",
		`{"outcome":"created","remote_id":1}`: "#/remote_id",
	} {
		p := requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/resolve", body), 422, codeInvalid)
		require.Equal(t, []string{place}, places(p), body)
	}
	requireProblem(t, r.do("POST", "/v1/jobs/"+id+"/resolve", ""), 415, codeUnsupportedType)
	a := r.do("POST", "/v1/jobs/"+id+"/resolve", `{"outcome":"created","remote_id":"rp_1"}`, `If-Match: "2"`)
	require.Equal(t, 200, a.StatusCode, a.body)
	require.Equal(t, "processing", a.json(t)["status"])
	require.Equal(t, "rp_1", r.engine.jobs[id].Submissions[0].RemoteID)
}

func TestDeleteJob(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	requireProblem(t, r.do("DELETE", "/v1/jobs/"+id, ""), 409, orchestrator.CodeJobNotAtRest)
	r.engine.move(id, tasks.Failed)
	requireProblem(t, r.do("DELETE", "/v1/jobs/"+id, "", `If-Match: "1"`), 412, codeVersion)
	a := r.do("DELETE", "/v1/jobs/"+id, "", `If-Match: "2"`)
	require.Equal(t, 204, a.StatusCode)
	require.Empty(t, a.body)
	requireProblem(t, r.do("GET", "/v1/jobs/"+id, ""), 404, codeNotFound)
	requireProblem(t, r.do("DELETE", "/v1/jobs/"+id, ""), 404, codeNotFound)
}

func TestEngineErrors(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial tcp: hush")
	tests := []struct {
		err        error
		status     int
		code       string
		retryAfter bool
	}{
		{fmt.Errorf("load: %w: %w", orchestrator.ErrUnavailable, secret), 503, codeUnavailable, true},
		{orchestrator.ErrNewerSchema, 503, codeUnavailable, true},
		{&orchestrator.BacklogError{Provider: "sketch", Waiting: 3, Most: 2}, 429, codeBacklog, true},
		{secret, 500, codeInternal, false},
		{&orchestrator.ConflictError{Code: "some_new_code", Message: "m"}, 409, "some_new_code", false},
	}
	for _, tt := range tests {
		r := serve(t)
		r.engine.err = tt.err
		for _, call := range []string{"GET /v1/jobs/x", "GET /v1/jobs", "POST /v1/jobs", "POST /v1/jobs/x/cancel", "DELETE /v1/jobs/x", "GET /v1/jobs/x/events", "GET /v1/providers", "GET /v1/features"} {
			method, path, _ := strings.Cut(call, " ")
			body := ""
			if call == "POST /v1/jobs" {
				body = sunset
			}
			a := r.do(method, path, body)
			requireProblem(t, a, tt.status, tt.code)
			require.Equal(t, tt.retryAfter, a.Header.Get("Retry-After") != "", call)
			require.NotContains(t, a.body, "hush")
		}
	}
}
