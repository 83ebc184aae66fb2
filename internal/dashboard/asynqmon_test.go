package dashboard_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/dashboard"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func TestQueuesPageLoadsNothingFromOutside(t *testing.T) {
	t.Parallel()
	v := open(t, config(gallery(noon), idle))
	// Any path is answered with the page, whose script finds its way by itself.
	for _, path := range []string{"/queues/", "/queues/queues/submit:high", "/queues/queues/poll/tasks/job_a:1:0"} {
		page := v.get(path)
		require.Equal(t, http.StatusOK, page.StatusCode)
		for _, reference := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page.text, -1) {
			require.True(t, strings.HasPrefix(reference[1], "/") && !strings.HasPrefix(reference[1], "//"), reference[1])
		}
		policy := page.Header.Get("Content-Security-Policy")
		nonce := regexp.MustCompile(`'nonce-([^']+)'`).FindStringSubmatch(policy)[1]
		scripts := regexp.MustCompile(`<script[^>]*>`).FindAllString(page.text, -1)
		require.NotEmpty(t, scripts)
		for _, script := range scripts {
			require.Regexp(t, `src="/|nonce="`+nonce+`"`, script)
		}
		require.Contains(t, page.text, `property="csp-nonce" content="`+nonce+`"`)
		require.Contains(t, page.text, `class="easel-bar"`)
		require.NotContains(t, v.get(path).text, nonce, "a nonce is used once")
	}
	require.Equal(t, http.StatusMovedPermanently, redirected(v.get("/queues")))
	require.Contains(t, v.get("/queues/static/js/main.5adda2da.chunk.js").Header.Get("Cache-Control"), "immutable")
}

// redirected is the status of a redirect, of whichever kind that keeps.
func redirected(r reply) int {
	if r.StatusCode == http.StatusTemporaryRedirect || r.StatusCode == http.StatusPermanentRedirect {
		return http.StatusMovedPermanently
	}
	return r.StatusCode
}

func TestQueuesCanBeRead(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	shared := dashboard.SharedRedis{Client: d.opt.MakeRedisClient()}
	v := open(t, config(gallery(noon), shared))
	id := d.put("submit:high", tasks.Task{Kind: tasks.KindSubmit, JobID: "job_a", Step: 1}, asynq.TaskStateScheduled)
	_, err := d.client.Enqueue(asynq.NewTask("other", []byte{0xff, 0xfe}), asynq.Queue("poll"), asynq.TaskID("other"))
	require.NoError(t, err)

	list := v.get("/queues/api/queues/submit:high/scheduled_tasks?size=1000000&page=1")
	require.Equal(t, http.StatusOK, list.StatusCode)
	require.Equal(t, "application/json", list.Header.Get("Content-Type"))
	require.Contains(t, list.text, id)
	require.Contains(t, list.text, `{\"job\":\"job_a\"`)
	require.Contains(t, v.get("/queues/api/queues/poll/tasks/other").text, "2 bytes that are not JSON")
}

// One listed task whose hash is gone blanks asynqmon's pages; the lists are
// repaired and read again.
func TestGhostsAreRepaired(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	id := d.put(tasks.QueuePoll, tasks.Task{Kind: tasks.KindPoll, JobID: "job_a", Step: 1}, asynq.TaskStateScheduled)
	_, err := redisDo(d.opt.Addr, "DEL asynq:{poll}:t:"+id)
	require.NoError(t, err)

	cfg := config(gallery(noon), d.opt)
	blank := open(t, cfg).get("/queues/api/queues")
	require.Equal(t, http.StatusInternalServerError, blank.StatusCode, "asynq has learned to live with ghosts: drop the repair")

	repairs := 0
	cfg.RepairGhosts = func(context.Context) (int, error) {
		repairs++
		_, err := redisDo(d.opt.Addr, "ZREM asynq:{poll}:scheduled "+id)
		return 1, err
	}
	v := open(t, cfg)
	mended := v.get("/queues/api/queues")
	require.Equal(t, http.StatusOK, mended.StatusCode, mended.text)
	require.Contains(t, mended.text, `"queue":"poll"`)
	require.Equal(t, http.StatusOK, v.get("/queues/api/queues/poll/scheduled_tasks").StatusCode)
	require.Equal(t, 1, repairs)
}
