package dashboard_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/hibiken/asynq"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// browser is a Chromium that writes down what it asks for and complains about.
type browser struct {
	t   *testing.T
	ctx context.Context
	url string

	mu         sync.Mutex
	complaints []string
	outside    []string
}

// openBrowser starts a Chromium for the site at base. Without one the test is
// skipped, unless EASEL_BROWSER_TESTS=required.
func openBrowser(t *testing.T, base string) *browser {
	t.Helper()
	binary := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			binary = path
			break
		}
	}
	if binary == "" {
		if os.Getenv("EASEL_BROWSER_TESTS") == "required" {
			t.Fatal("no Chromium on the PATH, but browser tests are required")
		}
		t.Skip("no Chromium on the PATH")
	}
	allocator, stop := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(binary), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1360, 900),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
	)
	t.Cleanup(stop)
	b := &browser{t: t, url: base}
	var cancel context.CancelFunc
	b.ctx, cancel = chromedp.NewContext(allocator, chromedp.WithListener(b.note))
	t.Cleanup(cancel)
	// The browser lives as long as the context of the first call.
	require.NoError(t, chromedp.Do(b.ctx))
	_, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	_, err = chromedp.Call(b.ctx, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	return b
}

// note is told of everything that the browser does.
func (b *browser) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err != nil || u.Scheme != "data" && u.Hostname() != "127.0.0.1" {
			b.outside = append(b.outside, e.Request.URL)
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.complaints = append(b.complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			for _, arg := range e.Args {
				b.complaints = append(b.complaints, string(arg.Value))
			}
		}
	case *runtime.EventExceptionThrown:
		b.complaints = append(b.complaints, e.ExceptionDetails.Text)
	}
}

// quiet fails the test if the browser complained or left this machine.
func (b *browser) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.complaints)
	require.Empty(b.t, b.outside)
}

// do carries out steps, one after the other.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

// visit opens a page and waits until it shows the text.
func (b *browser) visit(path, text string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url + path))
	b.says(text)
}

// says waits until the page shows the text, over navigations too.
func (b *browser) says(text string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return b.true(fmt.Sprintf("document.body?.innerText.includes(%q) ?? false", text))
	}, time.Minute, 50*time.Millisecond, "the page never said %q", text)
}

// true evaluates a condition; what cannot be evaluated just now is false.
func (b *browser) true(expression string) bool {
	yes, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
	return err == nil && yes
}

// shot keeps a picture where EASEL_SCREENSHOTS says, for people to look at.
func (b *browser) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("EASEL_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

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

	b := openBrowser(t, v.server.URL)
	b.do(chromedp.Navigate(b.url+"/queues/"), chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`)))
	b.shot("login")
	b.do(chromedp.SendKeys(chromedp.CSS(`input[name="username"]`), "ada"),
		chromedp.SendKeys(chromedp.CSS(`input[name="password"]`), "correct horse"), chromedp.Click(chromedp.CSS("button.primary")))
	b.says("submit:default")
	b.shot("queues")
	b.visit("/queues/queues/submit:default?status=archived", "insufficient_quota")
	b.shot("archived")
	b.quiet()

	b.pressRun(id)
	require.Eventually(t, func() bool { return slices.Contains(e.called(), "run "+id) }, time.Minute, 20*time.Millisecond)
	require.Eventually(t, func() bool { return d.state(tasks.QueueSubmitDefault, id) == 0 }, time.Minute, 20*time.Millisecond,
		"a task that was run has left the archive")
	b.quiet()

	// asynqmon writes a refusal to the console only; our script shows it.
	b.visit("/queues/queues/submit:default?status=archived", "insufficient_quota")
	b.pressRun(stale)
	b.says("The job has moved on.")
	b.shot("refused")
	b.forgive()

	for _, page := range []struct{ name, path, text string }{
		{"task", "/queues/queues/poll/tasks/job_running:7:0", "Task Info"}, {"servers", "/queues/servers", "Servers"},
		{"redis", "/queues/redis", "Redis Info"}, {"settings", "/queues/settings", "Settings"},
		{"schedulers", "/queues/schedulers", "Scheduler"}, {"pending", "/queues/queues/poll?status=pending", "poll"},
		{"scheduled", "/queues/queues/poll?status=scheduled", "job:poll"}, {"active", "/queues/queues/poll?status=active", "job:poll"},
		{"completed", "/queues/queues/poll?status=completed", "job:poll"}, {"retry", "/queues/queues/submit:default?status=retry", "something broke"},
	} {
		b.visit(page.path, page.text)
		b.shot("asynqmon-" + page.name)
		b.quiet()
	}
	b.do(chromedp.Click(chromedp.CSS(".easel-bar button")), chromedp.WaitVisible(chromedp.CSS(`input[name="password"]`)))
	b.quiet()
}

// pressRun points at a task in asynqmon's list, which makes its buttons appear,
// and presses the one that runs it.
func (b *browser) pressRun(id string) {
	b.t.Helper()
	short := id[:strings.Index(id, ":")]
	b.do(chromedp.MouseEvent(chromedp.MouseMoved, 5, 5))
	require.Eventually(b.t, func() bool {
		return b.true(fmt.Sprintf(`(() => {
			const row = [...document.querySelectorAll("tbody tr")].find(row => row.innerText.includes(%q));
			const cell = row?.querySelector("td:last-child");
			const button = cell?.querySelector('[aria-label="Run"], [title="Run"]');
			if (!button) {
				cell?.querySelector("button")?.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
				cell?.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}));
				return false;
			}
			(button.closest("button") ?? button.querySelector("button") ?? button).click();
			return true;
		})()`, short))
	}, time.Minute, 50*time.Millisecond, "no button to run %s", id)
}

// forgive forgets the complaints so far.
func (b *browser) forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = nil
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
		b := openBrowser(t, v.server.URL)
		b.do(chromedp.EmulateViewport(look.width, look.height))
		_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}},
		})
		require.NoError(t, err)
		for _, page := range []struct{ path, text string }{
			{"/", "replicate-eu"}, {"/jobs", "job_done"}, {"/jobs/job_done", "resp_8f21"}, {"/jobs/job_running", "drawing frame"},
			{"/jobs/job_unresolved", "Look it up again"}, {"/jobs/job_failed", "Generate anew"},
		} {
			b.visit(page.path, page.text)
			b.shot(look.name + strings.ReplaceAll(page.path, "/", "-"))
			require.True(t, b.true("document.documentElement.scrollWidth <= innerWidth"), "%s is wider than a %s", page.path, look.name)
		}
		b.visit("/jobs/job_unresolved", "Resolve")
		b.do(chromedp.Click(chromedp.CSS(".menu summary")), chromedp.WaitVisible(chromedp.CSS(`input[name="remote_id"]`)))
		b.shot(look.name + "-resolve")
		b.do(chromedp.SendKeys(chromedp.CSS(`input[name="remote_id"]`), "resp_77"), chromedp.Click(chromedp.CSS(".panel button")))
		b.says("Noted.")
		require.Contains(t, e.called(), `resolve acme/job_unresolved created "resp_77" at 5`)
		b.quiet()
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
	b := openBrowser(t, open(t, cfg).server.URL)
	b.visit("/jobs/job_running", "drawing frame 21")
	require.True(t, b.true("window.stayed = true"))
	mu.Lock()
	job = completed(time.Now())
	mu.Unlock()
	b.says("resp_8f21")
	require.True(t, b.true("window.stayed === true"))
	b.quiet()
}
