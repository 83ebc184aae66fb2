package dashboard_test

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/dashboard"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func TestOverview(t *testing.T) {
	t.Parallel()
	e := gallery(noon)
	v := open(t, config(e, idle))
	page := v.get("/")
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Contains(t, page.text, "<h1>2 jobs need an answer</h1>")
	require.Contains(t, page.text, "48\u202f213")
	require.Regexp(t, `class="count red" href="/jobs\?status=unresolved"><b>2<`, page.text)
	require.Regexp(t, `class="count red" href="/jobs\?status=failed"><b>7<`, page.text)
	require.Contains(t, page.text, "in the last 24 h")
	require.Contains(t, page.text, "the key is not accepted")
	require.Contains(t, page.text, `href="/queues/queues/submit:high"`)
	require.Contains(t, page.text, `href="http://127.0.0.1:8080/docs"`)

	e.summary.Counts.Unresolved = 1
	require.Contains(t, v.get("/").text, "<h1>One job needs an answer</h1>")
	e.summary.Counts.Failed, e.summary.Counts.Unresolved = 0, 0
	page = v.get("/")
	require.Contains(t, page.text, "<h1>replicate-eu is down</h1>")
	require.NotContains(t, page.text, "count red", "nothing is red for nothing")
	e.summary.Providers[1].OK = true
	e.summary.Providers[0].PausedSince, e.summary.Providers[0].Waiting = noon.Add(-time.Hour), 23
	e.summary.Providers[1].Degraded = true
	page = v.get("/")
	require.Contains(t, page.text, "<h1>openai is paused</h1>")
	require.Contains(t, page.text, "23 in line")
	require.Contains(t, page.text, ">degraded<")
	e.summary.Providers[0].PausedSince = time.Time{}
	require.Contains(t, v.get("/").text, "<h1>All is well</h1>")

	e.summary.Checks[0] = dashboard.Check{Name: "Redis", Detail: "not reachable"}
	page = v.get("/")
	require.Contains(t, page.text, "<h1>Redis needs attention</h1>")
	require.Contains(t, page.text, "Redis: not reachable")

	e.summary, e.missing = dashboard.Overview{}, errors.New("dial redis://:hunter2@host: refused")
	page = v.get("/")
	require.Contains(t, page.text, "Some numbers are missing")
	require.NotContains(t, page.text, "hunter2")
	require.NotContains(t, page.text, "<b>0</b>", "what is not known is not zero")
}

func TestJobList(t *testing.T) {
	t.Parallel()
	e := gallery(noon)
	cfg := config(e, idle)
	cfg.Tenants = []string{"acme", "umbrella"}
	v := open(t, cfg)

	page := v.get("/jobs?status=failed&status=nonsense&provider=openai&feature=upscale&user=u&tenant=umbrella&cursor=c")
	require.Equal(t, http.StatusOK, page.StatusCode)
	require.Equal(t, orchestrator.Query{
		Tenant: "umbrella", Statuses: []tasks.Status{tasks.StatusFailed}, ProviderID: "openai",
		FeatureType: tasks.Upscale, UserID: "u", Limit: 50, Cursor: "c",
	}, e.query)
	require.Contains(t, page.text, "cursor=older")
	require.Contains(t, page.text, `src="/jobs/job_done/artifacts/0"`)
	require.Contains(t, page.text, "You exceeded your current &lt;quota&gt;.")
	require.NotContains(t, page.text, "beautiful", "prompts are shown on request only")

	v.get("/jobs?tenant=somebody-else")
	require.Equal(t, "acme", e.query.Tenant)
	require.Equal(t, http.StatusBadRequest, v.get("/jobs?cursor=bad").StatusCode)
}

func TestJobPage(t *testing.T) {
	t.Parallel()
	v := open(t, config(gallery(noon), idle))
	done := v.get("/jobs/job_done").text
	for _, want := range []string{
		"A &lt;b&gt;beautiful&lt;/b&gt; sunset", "resp_8f21", "no machine is free", "0.040 USD (estimate)", "job.completed", "HTTP 502",
		"3 h ago", "in 4 min", "1 of 3 spent", "generate 23 s", "copy 2 s", "Output that is not a file", "48.2 KB", "640 × 400",
	} {
		require.Contains(t, done, want)
	}
	require.NotContains(t, done, "/cancel", "a completed job cannot be canceled")
	require.NotContains(t, done, "/retry")

	running := v.get("/jobs/job_running").text
	require.Contains(t, running, `value="42"`)
	require.Contains(t, running, "estimate")
	require.Contains(t, running, `href="/queues/queues/poll/tasks/job_running:7:0"`)
	require.Contains(t, running, "/jobs/job_running/cancel")

	unresolved := v.get("/jobs/job_unresolved").text
	require.Contains(t, unresolved, "/jobs/job_unresolved/resolve")
	require.Contains(t, unresolved, "job_unresolved-1")
	require.Contains(t, unresolved, "Look it up again")
	require.NotContains(t, unresolved, `value="regenerate"`, "an unresolved job is never bought by a click")

	require.Contains(t, v.get("/jobs/job_failed").text, `value="regenerate"`)
	require.Equal(t, http.StatusNotFound, v.get("/jobs/job_other").StatusCode)
	require.Equal(t, http.StatusNotFound, v.get("/nothing").StatusCode)
}

func TestJobActions(t *testing.T) {
	t.Parallel()
	key := regexp.MustCompile(`name="key" value="([^"]+)"`)
	for _, test := range []struct {
		path, call string
		form       url.Values
	}{
		{"/jobs/job_running/cancel", "cancel acme/job_running at 0", url.Values{"version": {"4"}}},
		{"/jobs/job_failed/retry", `retry acme/job_failed "" at 3, keyed true`, url.Values{"version": {"3"}, "key": {"k"}}},
		{"/jobs/job_failed/retry", `retry acme/job_failed "regenerate" at 3, keyed true`, url.Values{"version": {"3"}, "key": {"k"}, "mode": {"regenerate"}}},
		{"/jobs/job_unresolved/resolve", `resolve acme/job_unresolved created "resp_1" at 5`, url.Values{"version": {"5"}, "outcome": {"created"}, "remote_id": {"resp_1"}}},
		{"/jobs/job_unresolved/resolve", `resolve acme/job_unresolved not_created "" at 5`, url.Values{"version": {"5"}, "outcome": {"not_created"}}},
	} {
		e := gallery(noon)
		v := open(t, config(e, idle))
		done := v.post(test.path, test.form)
		require.Equal(t, []string{test.call}, e.called())
		require.Equal(t, http.StatusSeeOther, done.StatusCode)
		require.Contains(t, v.get(done.Header.Get("Location")).text, `class="notice" role="status"`)
	}

	e := gallery(noon)
	e.refuse["retry"] = &orchestrator.ConflictError{Code: orchestrator.CodeUnresolved, Message: "Resolve it first."}
	e.refuse["cancel"] = errors.New("redis://:hunter2@host is down")
	e.refuse["resolve"] = orchestrator.ErrVersion
	v := open(t, config(e, idle))
	refused := v.post("/jobs/job_failed/retry", url.Values{"version": {"3"}})
	require.Equal(t, http.StatusConflict, refused.StatusCode)
	require.Contains(t, refused.text, "Resolve it first.")
	require.NotEqual(t, key.FindStringSubmatch(refused.text)[1], key.FindStringSubmatch(v.get("/jobs/job_failed").text)[1])
	broken := v.post("/jobs/job_running/cancel", url.Values{"version": {"4"}})
	require.Equal(t, http.StatusInternalServerError, broken.StatusCode)
	require.NotContains(t, broken.text, "hunter2")
	require.Equal(t, http.StatusPreconditionFailed, v.post("/jobs/job_unresolved/resolve", url.Values{"version": {"4"}}).StatusCode)
	require.Equal(t, http.StatusBadRequest, v.post("/jobs/job_failed/retry", nil).StatusCode)
	require.Equal(t, http.StatusNotFound, v.post("/jobs/job_other/retry", url.Values{"version": {"1"}}).StatusCode)
	require.Equal(t, http.StatusNotFound, v.get("/jobs/job_failed/retry").StatusCode, "reading changes nothing")
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	v := open(t, config(gallery(noon), idle))

	image := v.get("/jobs/job_done/artifacts/0")
	require.Equal(t, http.StatusOK, image.StatusCode)
	require.Equal(t, "image/png", image.Header.Get("Content-Type"))
	require.Contains(t, image.Header.Get("Content-Disposition"), "inline")
	require.Contains(t, image.Header.Get("Content-Security-Policy"), "sandbox")
	require.Equal(t, `"abc123"`, image.Header.Get("ETag"))
	part := v.do("GET", "/jobs/job_done/artifacts/0", "", "Range", "bytes=0-7")
	require.Equal(t, http.StatusPartialContent, part.StatusCode)
	require.Equal(t, "\x89PNG\r\n\x1a\n", part.text)

	page := v.get("/jobs/job_done/artifacts/1")
	require.Equal(t, "application/octet-stream", page.Header.Get("Content-Type"))
	require.Contains(t, page.Header.Get("Content-Disposition"), "attachment")

	for _, path := range []string{"/jobs/job_done/artifacts/9", "/jobs/job_done/artifacts/x", "/jobs/job_done/artifacts/-1", "/jobs/job_other/artifacts/0"} {
		require.Equal(t, http.StatusNotFound, v.get(path).StatusCode, path)
	}
}

func TestAssetsAreNotListed(t *testing.T) {
	t.Parallel()
	v := open(t, config(gallery(noon), idle))
	require.Equal(t, http.StatusNotFound, v.get("/assets/").StatusCode)
	require.Equal(t, http.StatusNotFound, v.get("/assets/fonts/").StatusCode)
	require.Equal(t, http.StatusOK, v.get("/assets/fonts/LICENSE-Roboto.txt").StatusCode)
	require.Equal(t, "font/woff2", v.get("/assets/fonts/roboto-latin.woff2").Header.Get("Content-Type"))
}

// An age is read at a glance: one unit, or two where one is too coarse.
func TestAges(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]string{
		500 * time.Millisecond: "just now", 42 * time.Second: "42 s ago", 90 * time.Second: "1 min 30 s ago",
		31 * time.Minute: "31 min ago", 26 * time.Hour: "26 h ago", 99 * time.Hour: "4 d 3 h ago", -4 * time.Minute: "in 4 min",
	} {
		e := gallery(noon)
		e.jobs = []*tasks.Job{{ID: "job_aged", State: tasks.Queued, CreatedAt: noon.Add(-age)}}
		require.Contains(t, open(t, config(e, idle)).get("/jobs").text, ">"+want+"</time>")
	}
}
