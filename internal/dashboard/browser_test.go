package dashboard_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/browsertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// An operator's errand: sign in, find the archived task and its error among the
// queues, and run it again.
func TestOperatorRunsAnArchivedTask(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.serve(tasks.QueueSubmitDefault, tasks.QueuePoll)
	now := time.Now()
	e := gallery(now)
	cfg := config(e, d.opt)
	cfg.Now = time.Now
	cfg.Username, cfg.Password, cfg.Secret = "ada", "correct horse", []byte(secret)
	v := open(t, cfg)

	id := d.put(tasks.QueueSubmitDefault, tasks.Task{Kind: tasks.KindSubmit, JobID: "job_failed", Step: 2}, asynq.TaskStateArchived)
	stale := d.put(tasks.QueueSubmitDefault, tasks.Task{Kind: tasks.KindSubmit, JobID: "job_done", Step: 1}, asynq.TaskStateArchived)
	e.refuse[stale] = errMoved
	d.put(tasks.QueueSubmitDefault, tasks.Task{Kind: tasks.KindSubmit, JobID: "job_r", Step: 2}, asynq.TaskStateRetry)
	d.put(tasks.QueuePoll, tasks.Task{Kind: tasks.KindPoll, JobID: "job_running", Step: 7}, asynq.TaskStateScheduled)
	d.put(tasks.QueuePoll, tasks.Task{Kind: tasks.KindPoll, JobID: "job_busy", Step: 3}, asynq.TaskStateActive)
	d.put(tasks.QueuePoll, tasks.Task{Kind: tasks.KindPoll, JobID: "job_done", Step: 6}, asynq.TaskStateCompleted)

	b := browsertest.Open(t, v.server.URL)
	b.Do(chromedp.Navigate(v.server.URL+"/queues/"), chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`)))
	b.Shot("login")
	b.Do(chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), "ada"),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), "correct horse"), chromedp.Click(chromedp.CSS("button.primary")))
	b.Says("submit:default")
	b.Shot("queues")
	b.Visit("/queues/queues/submit:default?status=archived", "insufficient_quota")
	b.Shot("archived")
	b.Quiet()

	b.PressRun(id)
	require.Eventually(t, func() bool { return slices.Contains(e.called(), "run "+id) }, time.Minute, 20*time.Millisecond)
	require.Eventually(t, func() bool { return d.state(tasks.QueueSubmitDefault, id) == 0 }, time.Minute, 20*time.Millisecond,
		"a task that was run has left the archive")
	b.Quiet()

	// asynqmon writes a refusal to the console only; our script shows it.
	b.Visit("/queues/queues/submit:default?status=archived", "insufficient_quota")
	b.PressRun(stale)
	b.Says("The job has moved on.")
	b.Shot("refused")
	b.Forgive()

	for _, page := range []struct{ name, path, text string }{
		{"task", "/queues/queues/poll/tasks/job_running:7:0", "Task Info"}, {"servers", "/queues/servers", "Servers"},
		{"redis", "/queues/redis", "Redis Info"}, {"settings", "/queues/settings", "Settings"},
		{"schedulers", "/queues/schedulers", "Scheduler"}, {"pending", "/queues/queues/poll?status=pending", "poll"},
		{"scheduled", "/queues/queues/poll?status=scheduled", "job:poll"}, {"active", "/queues/queues/poll?status=active", "job:poll"},
		{"completed", "/queues/queues/poll?status=completed", "job:poll"}, {"retry", "/queues/queues/submit:default?status=retry", "something broke"},
	} {
		b.Visit(page.path, page.text)
		b.Shot("asynqmon-" + page.name)
		b.Quiet()
	}
	b.Do(chromedp.Click(chromedp.CSS(".easel-bar button")), chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`)))
	b.Quiet()
}

// Our own pages, in light and dark, on a desk and on a phone.
func TestPagesInABrowser(t *testing.T) {
	t.Parallel()
	e := gallery(time.Now())
	cfg := config(e, idle)
	cfg.Now = time.Now
	v := open(t, cfg)
	for _, look := range []struct {
		name          string
		scheme        string
		width, height int64
	}{{"light", "light", 1360, 900}, {"dark", "dark", 1360, 900}, {"phone", "light", 400, 860}} {
		b := browsertest.Open(t, v.server.URL)
		b.Do(chromedp.EmulateViewport(look.width, look.height))
		_, err := chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}},
		})
		require.NoError(t, err)
		for _, page := range []struct{ path, text string }{
			{"/", "replicate-eu"}, {"/jobs", "job_done"}, {"/jobs/job_done", "resp_8f21"}, {"/jobs/job_running", "drawing frame"},
			{"/jobs/job_unresolved", "Look it up again"}, {"/jobs/job_failed", "Generate anew"},
		} {
			b.Visit(page.path, page.text)
			b.Shot(look.name + strings.ReplaceAll(page.path, "/", "-"))
			require.True(t, b.Holds("document.documentElement.scrollWidth <= innerWidth"), "%s is wider than a %s", page.path, look.name)
		}
		b.Visit("/jobs/job_unresolved", "Resolve")
		b.Do(chromedp.Click(chromedp.CSS(".menu summary")), chromedp.WaitVisible(chromedp.CSS(`input[name="remote_id"]`)))
		b.Shot(look.name + "-resolve")
		b.Do(chromedp.SendKeys(chromedp.CSS(`input[name="remote_id"]`), "resp_77"), chromedp.Click(chromedp.CSS(".panel button")))
		b.Says("Noted.")
		require.Contains(t, e.called(), `resolve acme/job_unresolved created "resp_77" at 5`)
		b.Quiet()
	}
}

// A page follows its job without being loaded again.
func TestJobPageFollowsItsJob(t *testing.T) {
	t.Parallel()
	e := gallery(time.Now())
	cfg := config(e, idle)
	cfg.Now = time.Now
	var mu sync.Mutex
	job := running(time.Now())
	cfg.Lookup = func(context.Context, string) (*tasks.Job, error) {
		mu.Lock()
		defer mu.Unlock()
		return job.Clone(), nil
	}
	b := browsertest.Open(t, open(t, cfg).server.URL)
	b.Visit("/jobs/job_running", "drawing frame 21")
	require.True(t, b.Holds("window.stayed = true"))
	mu.Lock()
	job = completed(time.Now())
	mu.Unlock()
	b.Says("resp_8f21")
	require.True(t, b.Holds("window.stayed === true"))
	b.Quiet()
}
