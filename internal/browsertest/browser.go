// Package browsertest drives a real Chromium in tests, and holds it to two
// things that no page of ours may do: complain on the console, and ask anything
// of another machine.
package browsertest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// Browser is a Chromium that writes down what it asks for and complains about.
type Browser struct {
	t *testing.T
	// Context is that of the page, for calls that have no method here.
	Context context.Context
	url     string

	mu         sync.Mutex
	complaints []string
	outside    []string
}

// Open starts a Chromium for the site at base. Without one the test is
// skipped, unless EASEL_BROWSER_TESTS=required.
func Open(t *testing.T, base string) *Browser {
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
	b := &Browser{t: t, url: base}
	var cancel context.CancelFunc
	b.Context, cancel = chromedp.NewContext(allocator, chromedp.WithListener(b.note))
	t.Cleanup(cancel)
	// The browser lives as long as the context of the first call.
	require.NoError(t, chromedp.Do(b.Context))
	_, err := chromedp.Call(b.Context, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	_, err = chromedp.Call(b.Context, log.Enable, cdp.Empty{})
	require.NoError(t, err)
	return b
}

// note is told of everything that the browser does.
func (b *Browser) note(event any) {
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

// Quiet fails the test if the browser complained or left this machine.
func (b *Browser) Quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.complaints)
	require.Empty(b.t, b.outside)
}

// Do carries out steps, one after the other.
func (b *Browser) Do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, time.Minute)
	defer cancel()
	require.NoError(b.t, chromedp.Do(ctx, steps...))
}

// Visit opens a page and waits until it shows the text.
func (b *Browser) Visit(path, text string) {
	b.t.Helper()
	b.Do(chromedp.Navigate(b.url + path))
	b.Says(text)
}

// Says waits until the page shows the text, over navigations too.
func (b *Browser) Says(text string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool {
		return b.Holds(fmt.Sprintf("document.body?.innerText.includes(%q) ?? false", text))
	}, time.Minute, 50*time.Millisecond, "the page never said %q", text)
}

// Holds evaluates a condition; what cannot be evaluated just now is false.
func (b *Browser) Holds(expression string) bool {
	yes, err := chromedp.Run(b.Context, chromedp.Evaluate[bool](expression))
	return err == nil && yes
}

// Shot keeps a picture where EASEL_SCREENSHOTS says, for people to look at.
func (b *Browser) Shot(name string) {
	b.t.Helper()
	dir := os.Getenv("EASEL_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.Context, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

// PressRun points at a task in asynqmon's list, which makes its buttons appear,
// and presses the one that runs it.
func (b *Browser) PressRun(id string) {
	b.t.Helper()
	short, _, _ := strings.Cut(id, ":")
	b.Do(chromedp.MouseEvent(chromedp.MouseMoved, 5, 5))
	require.Eventually(b.t, func() bool {
		return b.Holds(fmt.Sprintf(`(() => {
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

// Forgive forgets the complaints so far.
func (b *Browser) Forgive() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = nil
}
