package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The receiver's secret is being rotated; the third was never its own.
const (
	newSecret     = "whsec_bmV3LW5ldy1uZXctbmV3LW5ldy1uZXctbmV3LW5ldw=="
	oldSecret     = "whsec_b2xkLW9sZC1vbGQtb2xkLW9sZC1vbGQtb2xkLW9sZA=="
	foreignSecret = "whsec_Zm9yZWlnbi1mb3JlaWduLWZvcmVpZ24tZm9yZWlnbg=="
)

// post is one webhook as the receiver saw it.
type post struct {
	path   string
	id     string // the webhook-id
	job    string
	kind   string
	status tasks.Status
	at     time.Time
	signed time.Time // what the signature bears
}

// receiver is a caller's webhook endpoint. It answers by the path and by how
// often that has been called, and checks every signature.
type receiver struct {
	t      *testing.T
	answer func(w http.ResponseWriter, r *http.Request, nth int) int

	mu     sync.Mutex
	posts  []post
	counts map[string]int
	faults []string
}

func newReceiver(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, nth int) int) *receiver {
	return &receiver{t: t, answer: answer, counts: map[string]int{}}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return // the sender was killed while it wrote
	}
	var event struct {
		Type string
		Data client.Job
	}
	fault := r.verify(body, request.Header)
	if err := json.Unmarshal(body, &event); err != nil {
		fault = "the body is no event: " + err.Error()
	}
	seconds, err := strconv.ParseInt(request.Header.Get(standardwebhooks.HeaderWebhookTimestamp), 10, 64)
	if err != nil {
		fault = "the signature bears no time: " + err.Error()
	}
	r.mu.Lock()
	if fault != "" {
		r.faults = append(r.faults, request.URL.Path+": "+fault)
	}
	r.counts[request.URL.Path]++
	nth := r.counts[request.URL.Path]
	r.posts = append(r.posts, post{
		path: request.URL.Path, id: request.Header.Get("webhook-id"), job: event.Data.ID,
		kind: event.Type, status: event.Data.Status, at: time.Now(), signed: time.Unix(seconds, 0),
	})
	r.mu.Unlock()

	if status := r.answer(w, request, nth); status != 0 { // else nobody listens any more
		w.WriteHeader(status)
	}
}

// verify says what is wrong with the signature.
func (r *receiver) verify(body []byte, header http.Header) string {
	for name, secret := range map[string]string{"the new secret": newSecret, "the old secret": oldSecret} {
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return err.Error()
		}
		if err := verifier.Verify(body, header); err != nil {
			return name + " does not verify: " + err.Error()
		}
		if verifier.Verify(append(body, ' '), header) == nil {
			return name + " verifies another body"
		}
	}
	verifier, err := standardwebhooks.NewWebhook(foreignSecret)
	if err != nil {
		return err.Error()
	}
	if verifier.Verify(body, header) == nil {
		return "a foreign secret verifies"
	}
	return ""
}

// got returns what was posted to the path so far.
func (r *receiver) got(path string) []post {
	r.mu.Lock()
	defer r.mu.Unlock()
	var posts []post
	for _, p := range r.posts {
		if p.path == path {
			posts = append(posts, p)
		}
	}
	return posts
}

func (r *receiver) requireNoFaults() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	require.Empty(r.t, r.faults)
}

// delivering is the configuration of a fleet that may call these origins.
func delivering(origins ...string) settings {
	return settings{Extra: fmt.Sprintf(`webhooks:
  allow_http: true
  allow_private: ["%s"]
  secrets: [{tenant: default, secret: %q}, {tenant: default, secret: %q}]
`, strings.Join(origins, `", "`), newSecret, oldSecret)}
}

// awaitDelivery waits until the job's only delivery has come so far.
func (f *fleet) awaitDelivery(id string, far func(d tasks.DeliveryView) bool) tasks.DeliveryView {
	f.t.Helper()
	var last tasks.DeliveryView
	require.Eventually(f.t, func() bool {
		job, err := f.api.Get(f.t.Context(), id)
		if err != nil || len(job.Deliveries) != 1 {
			return false
		}
		last = job.Deliveries[0]
		return far(last)
	}, patience, 50*time.Millisecond, "the delivery of %s does not get there", id)
	return last
}

func settled(d tasks.DeliveryView) bool { return d.State != tasks.DeliveryPending }

// toldAt is a job that tells the URL of its end.
func toldAt(url, simulate string) tasks.Draft {
	draft := noop(simulate)
	draft.WebhookURL = url
	return draft
}

// firstRetry is how soon a second try may come at the earliest: five seconds,
// less a tenth to spread them, less what a task may come early.
const firstRetry = 3 * time.Second

// reservedAddress is an address where nobody answers, and nobody else can be,
// until the listener is opened: its socket is bound and does not listen yet.
func reservedAddress(t *testing.T) (address string, open func() net.Listener) {
	t.Helper()
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	file := os.NewFile(uintptr(socket), "reserved")
	t.Cleanup(func() { _ = file.Close() })
	require.NoError(t, syscall.Bind(socket, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	bound, err := syscall.Getsockname(socket)
	require.NoError(t, err)
	return fmt.Sprintf("127.0.0.1:%d", bound.(*syscall.SockaddrInet4).Port), func() net.Listener {
		require.NoError(t, syscall.Listen(socket, 128))
		listener, err := net.FileListener(file)
		require.NoError(t, err)
		return listener
	}
}

// TestWebhookReceivers tells receivers that fail in every way that the waits
// between tries allow to see.
func TestWebhookReceivers(t *testing.T) {
	t.Parallel()
	elsewhere := newReceiver(t, func(http.ResponseWriter, *http.Request, int) int { return http.StatusOK })
	away := httptest.NewServer(elsewhere)
	t.Cleanup(away.Close)
	r := newReceiver(t, func(w http.ResponseWriter, request *http.Request, nth int) int {
		switch {
		case request.URL.Path == "/flaky" && nth == 1:
			return http.StatusInternalServerError
		case request.URL.Path == "/busy" && nth == 1:
			w.Header().Set("Retry-After", "10")
			return http.StatusTooManyRequests
		case request.URL.Path == "/gone":
			return http.StatusGone
		case request.URL.Path == "/moved":
			w.Header().Set("Location", away.URL+"/moved")
			return http.StatusTemporaryRedirect
		case request.URL.Path == "/slow":
			select {
			case <-time.After(4 * time.Second): // the fault itself
			case <-request.Context().Done():
				return 0
			}
		}
		return http.StatusNoContent
	})
	here := httptest.NewServer(r)
	t.Cleanup(here.Close)
	late, open := reservedAddress(t)
	f := newFleet(t, delivering(here.URL, away.URL, "http://"+late))
	f.work(1)

	tell := func(url, simulate string) string {
		return f.enqueue(1, func(int) tasks.Draft { return toldAt(url, simulate) })[0]
	}
	down := tell("http://"+late+"/down", "")
	flaky, busy, gone := tell(here.URL+"/flaky", ""), tell(here.URL+"/busy", ""), tell(here.URL+"/gone", "")
	moved, slow := tell(here.URL+"/moved", ""), tell(here.URL+"/slow", "")
	completed := tell(here.URL+"/completed", "")
	failed := tell(here.URL+"/failed", `{"fail":"content_policy"}`)
	canceled := tell(here.URL+"/canceled", `{"sync":false,"never":true}`)
	_, err := f.api.Cancel(t.Context(), canceled)
	require.NoError(t, err)

	d := f.awaitDelivery(down, func(d tasks.DeliveryView) bool { return d.Tries == 1 })
	require.Equal(t, tasks.DeliveryPending, d.State)
	require.Nil(t, d.LastStatus)
	require.NotEmpty(t, d.LastError)
	require.NotContains(t, d.LastError, late, "a URL may hold a secret")
	listener := open()
	up := &http.Server{Handler: r, ReadHeaderTimeout: time.Minute}
	serving := make(chan error, 1)
	go func() { serving <- up.Serve(listener) }()
	t.Cleanup(func() { _ = up.Close(); require.ErrorIs(t, <-serving, http.ErrServerClosed) })

	delivered := func(id, path, kind string, tries int) []post {
		t.Helper()
		d := f.awaitDelivery(id, settled)
		require.Equal(t, tasks.DeliveryDelivered, d.State, "%s: %+v", path, d)
		require.Equal(t, tries, d.Tries, path)
		require.Equal(t, http.StatusNoContent, *d.LastStatus)
		require.NotNil(t, d.DoneAt)
		require.Equal(t, kind, d.Type)
		posts := r.got(path)
		require.NotEmpty(t, posts, path)
		for _, p := range posts {
			require.Equal(t, id, p.job)
			require.Equal(t, kind, p.kind)
			require.Equal(t, "job."+string(p.status), p.kind)
			require.NotEmpty(t, p.id)
			require.Equal(t, posts[0].id, p.id, "the id is the same at every try")
		}
		return posts
	}
	require.Len(t, delivered(completed, "/completed", "job.completed", 1), 1)
	require.Len(t, delivered(failed, "/failed", "job.failed", 1), 1)
	require.Len(t, delivered(canceled, "/canceled", "job.canceled", 1), 1)
	require.Len(t, delivered(slow, "/slow", "job.completed", 1), 1)
	require.Len(t, delivered(down, "/down", "job.completed", 2), 1, "the first try found nobody")
	again := delivered(flaky, "/flaky", "job.completed", 2)
	require.Len(t, again, 2)
	require.GreaterOrEqual(t, again[1].at.Sub(again[0].at), firstRetry)
	again = delivered(busy, "/busy", "job.completed", 2)
	require.Len(t, again, 2)
	require.GreaterOrEqual(t, again[1].at.Sub(again[0].at), 8*time.Second, "Retry-After is obeyed")

	d = f.awaitDelivery(gone, settled)
	require.Equal(t, tasks.DeliveryFailed, d.State)
	require.Equal(t, 1, d.Tries)
	require.Equal(t, http.StatusGone, *d.LastStatus)
	d = f.awaitDelivery(moved, func(d tasks.DeliveryView) bool { return d.Tries == 2 })
	require.Equal(t, tasks.DeliveryPending, d.State)
	require.Equal(t, http.StatusTemporaryRedirect, *d.LastStatus)
	require.Greater(t, time.Until(*d.NextAt), 4*time.Minute, "the waits grow")
	require.Len(t, r.got("/gone"), 1, "410 stops")
	require.Len(t, r.got("/moved"), 2)
	require.Empty(t, elsewhere.got("/moved"), "redirects are not followed")
	r.requireNoFaults()
}

// TestWebhooksOutliveTheirWorker kills a worker that is inside as many
// deliveries as it makes at a time, with more waiting behind them.
func TestWebhooksOutliveTheirWorker(t *testing.T) {
	t.Parallel()
	const jobs = 120
	open := make(chan struct{})
	r := newReceiver(t, func(_ http.ResponseWriter, request *http.Request, _ int) int {
		select {
		case <-open:
			return http.StatusOK
		case <-request.Context().Done():
			return 0
		}
	})
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	f := newFleet(t, delivering(server.URL))
	f.work(1)
	ids := f.enqueue(jobs, func(int) tasks.Draft { return toldAt(server.URL+"/hook", "") })
	f.awaitRest(ids, patience)
	require.Eventually(t, func() bool { return len(r.got("/hook")) >= 10 }, patience, 10*time.Millisecond)
	f.workers[0].kill()
	unheard := len(r.got("/hook")) // by a sender that is dead
	require.Less(t, unheard, jobs, "some have not been tried yet")
	close(open)
	f.work(1)

	for _, id := range ids {
		d := f.awaitDelivery(id, settled)
		require.Equal(t, tasks.DeliveryDelivered, d.State, "%+v", d)
	}
	posts := r.got("/hook")
	told := map[string]string{} // the webhook-id of each job
	for _, p := range posts {
		if id, again := told[p.job]; again {
			require.Equal(t, id, p.id, "a repetition can be told by its id")
		}
		told[p.job] = p.id
	}
	heard := map[string]bool{}
	for _, p := range posts[unheard:] {
		heard[p.job] = true
	}
	for _, id := range ids {
		require.True(t, heard[id], "%s was never told by a sender that lived to hear the answer", id)
	}
	r.requireNoFaults()
}
