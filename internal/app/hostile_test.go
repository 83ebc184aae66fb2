package app

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/fetch"
	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// painter is a provider that speaks OpenAI's image API and answers each prompt
// with what is put down for it.
type painter struct {
	url     string
	answers map[string]string // the only element of "data", by prompt
	moved   string            // where /moved redirects to
	hits    atomic.Int32      // on /moved
}

func newPainter(t *testing.T) *painter {
	p := &painter{answers: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /images/", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Prompt string }
		_ = json.NewDecoder(r.Body).Decode(&body) // an empty prompt has no answer
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"created":1764000000,"output_format":"png","data":[%s]}`, p.answers[body.Prompt])
	})
	mux.HandleFunc("GET /own.png", func(w http.ResponseWriter, _ *http.Request) {
		data, _ := base64.StdEncoding.DecodeString(pixel)
		_, _ = w.Write(data)
	})
	mux.HandleFunc("GET /moved.png", func(w http.ResponseWriter, r *http.Request) {
		p.hits.Add(1)
		http.Redirect(w, r, p.moved, http.StatusFound)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	p.url = server.URL
	return p
}

// beside configures the painter beside the other providers.
func (p *painter) beside(c *config.Config) {
	c.API.MaxBody = 32 * config.Mebibyte
	c.Providers = append(c.Providers, config.Provider{
		Name: "painter", Use: "openai", BaseURL: p.url, OnUnknown: "hold", Concurrency: 16,
	})
}

// paint runs a job at the painter to its rest, for at most some seconds.
func (s *server) paint(prompt string) tasks.View {
	s.t.Helper()
	a := s.do("POST", "/v1/jobs", fmt.Sprintf(
		`{"feature_type":"text-to-image","provider_id":"painter","timeout_ms":6000,"input_data":{"prompt":%q}}`, prompt), "Prefer", "wait=40")
	require.Equal(s.t, http.StatusOK, a.status, "%s", a.body)
	return a.job(s.t)
}

func TestHostileWebhookURLs(t *testing.T) {
	t.Parallel()
	s := serveOn(t)
	s.submit(`{"prompt":"x"}`) // the queues exist from here on
	s.awaitQuiet()
	before := s.traces()
	for name, url := range map[string]string{
		"plain http":        "http://example.com/hook",
		"user name":         "https://user@example.com/hook",
		"user and password": "https://user:password@example.com/hook",
		"port":              "https://example.com:6379/hook",
		"port zero":         "https://example.com:0/hook",
		"other scheme":      "gopher://example.com/hook",
		"file":              "file:///etc/passwd",
		"no scheme":         "//example.com/hook",
		"no host":           "https:///hook",
		"opaque":            "https:example.com",
		"loopback":          "https://127.0.0.1/hook",
		"all of loopback":   "https://127.9.9.9/hook",
		"loopback by name":  "https://localhost/hook",
		"by name, dotted":   "https://LOCALHOST./hook",
		"by a subdomain":    "https://redis.localhost/hook",
		"unspecified":       "https://0.0.0.0/hook",
		"private 10":        "https://10.0.0.1/hook",
		"private 172":       "https://172.16.0.1/hook",
		"private 192":       "https://192.168.1.1/hook",
		"shared":            "https://100.64.0.1/hook",
		"metadata":          "https://169.254.169.254/latest/meta-data/",
		"multicast":         "https://224.0.0.1/hook",
		"broadcast":         "https://255.255.255.255/hook",
		"decimal":           "https://2130706433/hook",
		"hexadecimal":       "https://0x7f000001/hook",
		"octal":             "https://0177.0.0.1/hook",
		"short":             "https://127.1/hook",
		"IPv6 loopback":     "https://[::1]/hook",
		"IPv6 unspecified":  "https://[::]/hook",
		"IPv6 local":        "https://[fd00:ec2::254]/hook",
		"IPv6 link-local":   "https://[fe80::1]/hook",
		"IPv6 with a zone":  "https://[fe80::1%25eth0]/hook",
		"IPv6 mapped":       "https://[::ffff:127.0.0.1]/hook",
		"IPv6 mapped, hex":  "https://[::ffff:a9fe:a9fe]/hook",
		"IPv6 translated":   "https://[64:ff9b::a9fe:a9fe]/hook",
		"IPv6 6to4":         "https://[2002:7f00:1::]/hook",
		"a line break":      "https://example.com/\r\nHost: evil",
		"endless":           "https://example.com/" + strings.Repeat("x", 5000),
	} {
		draft, err := json.Marshal(map[string]any{
			"feature_type": "text-to-image", "model": "sketch-noop", "input_data": map[string]any{"prompt": "x"}, "webhook_url": url,
		})
		require.NoError(t, err)
		a := s.do("POST", "/v1/jobs", string(draft))
		require.Equal(t, http.StatusUnprocessableEntity, a.status, "%s: %s", name, a.body)
		require.Contains(t, string(a.body), `"#/webhook_url"`, name)
		require.NotContains(t, string(a.body), "password@", name)
	}
	require.Equal(t, before, s.traces())
	a := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x"},"webhook_url":"https://example.com/hook"}`)
	require.Equal(t, http.StatusAccepted, a.status, "a public URL is let in: %s", a.body)
}

// TestWebhookToAProvidersAddress is refused: that the operator lets a provider be
// called in our own network is no leave for callers to have posts sent there.
func TestWebhookToAProvidersAddress(t *testing.T) {
	t.Parallel()
	p := newPainter(t)
	s := serveOn(t, p.beside)
	a := s.do("POST", "/v1/jobs", fmt.Sprintf(
		`{"feature_type":"text-to-image","provider_id":"sketch","input_data":{"prompt":"x"},"webhook_url":%q}`, p.url+"/images/generations"))
	require.Equal(t, http.StatusUnprocessableEntity, a.status, "%s", a.body)
	require.Contains(t, string(a.body), `"#/webhook_url"`)
}

// TestWebhookNameThatMeansThisMachine is refused when it is dialed: its looks
// say nothing.
func TestWebhookNameThatMeansThisMachine(t *testing.T) {
	t.Parallel()
	name, err := os.Hostname()
	require.NoError(t, err)
	addresses, err := net.DefaultResolver.LookupHost(t.Context(), name)
	if err != nil || name == "localhost" {
		t.Skip("this machine's own name does not resolve")
	}
	for _, address := range addresses {
		if ip := net.ParseIP(address); !ip.IsLoopback() && !ip.IsPrivate() {
			t.Skip("this machine's own name resolves to a public address")
		}
	}
	s := serveOn(t)
	a := s.do("POST", "/v1/jobs", fmt.Sprintf(
		`{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x"},"webhook_url":"https://%s/hook"}`, name))
	require.Equal(t, http.StatusAccepted, a.status, "%s", a.body)
	var delivery tasks.DeliveryView
	require.Eventually(t, func() bool {
		job := s.do("GET", "/v1/jobs/"+a.job(t).ID, "").job(t)
		if len(job.Deliveries) == 1 {
			delivery = job.Deliveries[0]
		}
		return delivery.Tries > 0
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, "host of the URL is not public", delivery.LastError)
}

// TestHostileOutputs has a provider answer with what would hurt us or whoever
// opens the result.
func TestHostileOutputs(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(internal.Close)
	p := newPainter(t)
	p.moved = internal.URL + "/secret.png"
	inline := func(text string) string {
		return fmt.Sprintf(`{"b64_json":%q}`, base64.StdEncoding.EncodeToString([]byte(text)))
	}
	const script = `<svg xmlns="http://www.w3.org/2000/svg"><script>fetch("/v1/jobs")</script></svg>`
	p.answers = map[string]string{
		"a picture":      fmt.Sprintf(`{"b64_json":%q}`, pixel),
		"one of its own": fmt.Sprintf(`{"url":%q}`, p.url+"/own.png"),
		"SVG":            inline(script),
		"SVG, declared":  inline(`<?xml version="1.0"?>` + script),
		"a page":         inline(`<!doctype html><html><script>fetch("/v1/jobs")</script></html>`),
		"inside":         fmt.Sprintf(`{"url":%q}`, internal.URL+"/secret.png"),
		"metadata":       `{"url":"http://169.254.169.254/latest/meta-data/"}`,
		"mapped":         `{"url":"https://[::ffff:169.254.169.254]/latest/meta-data/"}`,
		"decimal":        `{"url":"https://2130706433/"}`,
		"a file":         `{"url":"file:///etc/passwd"}`,
		"moved inside":   fmt.Sprintf(`{"url":%q}`, p.url+"/moved.png"),
	}
	s := serveOn(t, p.beside)

	for _, prompt := range []string{"a picture", "one of its own"} {
		job := s.paint(prompt)
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", prompt, job.Error)
		a := s.do("GET", job.Result.Artifacts[0].URL, "")
		require.Equal(t, "image/png", a.header.Get("Content-Type"))
		require.True(t, strings.HasPrefix(a.header.Get("Content-Disposition"), "inline"))
	}
	for _, prompt := range []string{"SVG", "SVG, declared"} {
		job := s.paint(prompt)
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", prompt, job.Error)
		a := s.do("GET", job.Result.Artifacts[0].URL, "")
		require.Equal(t, http.StatusOK, a.status)
		require.Equal(t, "image/svg+xml", a.header.Get("Content-Type"), prompt)
		require.True(t, strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment"), a.header.Get("Content-Disposition"))
		require.Equal(t, "nosniff", a.header.Get("X-Content-Type-Options"))
		require.Equal(t, "sandbox; default-src 'none'", a.header.Get("Content-Security-Policy"))
		require.Equal(t, "same-origin", a.header.Get("Cross-Origin-Resource-Policy"))
	}
	var running sync.WaitGroup
	for _, prompt := range []string{"a page", "inside", "metadata", "mapped", "decimal", "a file", "moved inside"} {
		running.Go(func() {
			job, want := s.paint(prompt), tasks.StatusFailed
			if prompt == "a file" {
				want = tasks.StatusUnresolved // an answer without a file in it: nobody can say what was bought
			}
			if job.Status != want || job.Result != nil {
				t.Errorf("%s: the job is %s: %+v", prompt, job.Status, job.Result)
			}
		})
	}
	running.Wait()
	require.NotZero(t, p.hits.Load(), "the redirect was looked at")
	require.Zero(t, reached.Load(), "nothing inside was called")
}

func TestHostileCallersOfALocalServer(t *testing.T) {
	t.Parallel()
	s := serveOn(t)
	s.submit(`{"prompt":"x"}`) // the queues exist from here on
	s.awaitQuiet()
	before := s.traces()
	call := func(host string, header ...string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/jobs",
			strings.NewReader(`{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x"}}`))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		request.Host = host
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}
	own := strings.TrimPrefix(s.url, "http://")
	for name, attack := range map[string]struct {
		host   string
		header []string
		code   string
	}{
		"another site":         {own, []string{"Origin", "https://evil.example"}, "cross_origin_request"},
		"another site's fetch": {own, []string{"Sec-Fetch-Site", "cross-site"}, "cross_origin_request"},
		"a sibling site":       {own, []string{"Sec-Fetch-Site", "same-site", "Origin", "http://localhost:1"}, "cross_origin_request"},
		"a sandboxed frame":    {own, []string{"Origin", "null"}, "cross_origin_request"},
		"a name bound to us":   {"evil.example", nil, "host_not_allowed"},
		"a name like ours":     {"localhost.evil.example", nil, "host_not_allowed"},
		"an address like ours": {"127.0.0.1.evil.example:80", nil, "host_not_allowed"},
		"a private address":    {"192.168.0.1", nil, "host_not_allowed"},
		"both":                 {"evil.example", []string{"Origin", "http://evil.example"}, "host_not_allowed"},
	} {
		status, body := call(attack.host, attack.header...)
		require.Equal(t, http.StatusForbidden, status, "%s: %s", name, body)
		require.Contains(t, body, attack.code, name)
	}
	require.Equal(t, before, s.traces())
	status, body := call(own, "Origin", s.url, "Sec-Fetch-Site", "same-origin")
	require.Equal(t, http.StatusAccepted, status, body)
}

// allocation is the most that may be allocated, all in all, for a small request
// that would be large once it is unpacked: a picture of it would take gigabytes.
const allocation = 64 << 20

// TestHostileBodies is not parallel: it looks at what the process allocates.
func TestHostileBodies(t *testing.T) {
	s := serveOn(t, newPainter(t).beside)
	ready := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","provider_id":"sketch","model":"sketch-noop","input_data":{"prompt":"x"}}`, "Prefer", "wait=30")
	require.Equal(t, http.StatusOK, ready.status, "%s", ready.body) // the queues exist from here on
	picture := func(data []byte) string {
		return fmt.Sprintf(`{"feature_type":"image-to-image","provider_id":"painter","input_data":{"prompt":"x","image":"data:image/png;base64,%s"}}`,
			base64.StdEncoding.EncodeToString(data))
	}
	prompt := func(text string) string {
		return `{"feature_type":"text-to-image","model":"sketch-noop","provider_id":"sketch","input_data":{"prompt":"` + text + `"}}`
	}
	with := func(field string) string {
		return `{"feature_type":"text-to-image","input_data":{"prompt":"x"},` + field + `}`
	}
	var metadata strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&metadata, `,"k%d":"v"`, i)
	}
	const small = 8 << 10
	bomb, large := blankPNG(50_000, 50_000, 0), blankPNG(10_000, 10_000, 10_000)
	require.Less(t, len(bomb), small)
	require.Less(t, len(large), 4*small)
	for _, test := range []struct {
		name, body string
		status     int
		says       string
	}{
		{"a bomb", picture(bomb), 422, `"#/input_data/image"`},
		{"a hundred megapixels", picture(large), 422, `"#/input_data/image"`},
		{"no picture", picture([]byte("\x89PNG\r\n\x1a\n....")), 422, `"#/input_data/image"`},
		{"a page for a picture", picture([]byte("<!doctype html><html></html>")), 422, `"#/input_data/image"`},
		{"deep lists", with(`"metadata":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), 400, "nested"},
		{"deep objects", `{"feature_type":"text-to-image","input_data":` + strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000) + "}", 400, "nested"},
		{"deep and unfinished", strings.Repeat("[", 1_000_000), 400, "nested"},
		{"metadata", with(`"metadata":{"k":"v"` + metadata.String() + `}`), 422, `"#/metadata"`},
		{"a metadata key", with(`"metadata":{"a\u0000b":"v"}`), 422, `"#/metadata"`},
		{"a control character", with(`"user_id":"a\u0007b"`), 422, `"#/user_id"`},
		{"a line break", with(`"user_id":"a\nb"`), 422, `"#/user_id"`},
		{"a raw control character", with("\"user_id\":\"a\x07b\""), 400, ""},
		{"no UTF-8", with("\"user_id\":\"a\xffb\""), 400, "UTF-8"},
		{"a long prompt", prompt(strings.Repeat("x ", 5<<20)), 422, `"#/input_data/prompt"`},
		{"a longer body", prompt(strings.Repeat("x", 33<<20)), 413, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.awaitQuiet()
			before := s.traces()
			var start, end runtime.MemStats
			runtime.ReadMemStats(&start)
			a := s.do("POST", "/v1/jobs", test.body)
			runtime.ReadMemStats(&end)
			require.Equal(t, test.status, a.status, "%.300s", a.body)
			require.Contains(t, string(a.body), test.says)
			require.Less(t, len(a.body), 4<<10, "the answer does not repeat the body")
			if len(test.body) < 1<<20 {
				require.Less(t, end.TotalAlloc-start.TotalAlloc, uint64(allocation))
			}
			require.Equal(t, before, s.traces())
		})
	}
}

// blankPNG is a PNG that declares its size and holds so many rows of it.
func blankPNG(width, height uint32, rows int) []byte {
	var out bytes.Buffer
	out.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		_ = binary.Write(&out, binary.BigEndian, uint32(len(data))) // a buffer takes everything
		body := append([]byte(kind), data...)
		out.Write(body)
		_ = binary.Write(&out, binary.BigEndian, crc32.ChecksumIEEE(body))
	}
	header := binary.BigEndian.AppendUint32(nil, width)
	header = binary.BigEndian.AppendUint32(header, height)
	chunk("IHDR", append(header, 1, 0, 0, 0, 0)) // one bit of gray
	var pixels bytes.Buffer
	z := zlib.NewWriter(&pixels)
	row := make([]byte, 1+(width+7)/8)
	for range rows {
		_, _ = z.Write(row)
	}
	_ = z.Close()
	chunk("IDAT", pixels.Bytes())
	chunk("IEND", nil)
	return out.Bytes()
}

// TestThousandEventStreams opens many streams on a job that does not move. The
// server goes on serving, and keeps nothing of them once they have ended. It is
// not parallel: it counts goroutines.
func TestThousandEventStreams(t *testing.T) {
	const streams = 1500
	s := serveOn(t)
	job := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","model":"sketch-noop","input_data":{"prompt":"x","simulate":{"sync":false,"never":true}}}`).job(t)
	transport := &http.Transport{MaxConnsPerHost: 0}
	t.Cleanup(transport.CloseIdleConnections)
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	before := runtime.NumGoroutine()

	var opened, ended sync.WaitGroup
	var refused, told atomic.Int32
	gate := make(chan struct{}, 64)
	for range streams {
		opened.Add(1)
		gate <- struct{}{}
		ended.Go(func() {
			once := sync.OnceFunc(func() { <-gate; opened.Done() })
			defer once()
			request, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/jobs/"+job.ID+"/events", nil)
			response, err := transport.RoundTrip(request)
			if err != nil {
				refused.Add(1)
				return
			}
			defer response.Body.Close()
			lines := bufio.NewScanner(response.Body)
			for lines.Scan() {
				if strings.HasPrefix(lines.Text(), "event: job") {
					once()
				}
				if strings.Contains(lines.Text(), `"status":"canceled"`) {
					told.Add(1)
				}
			}
		})
	}
	opened.Wait()
	require.Zero(t, refused.Load())
	require.Greater(t, runtime.NumGoroutine(), before+streams, "they are all open")
	require.Equal(t, http.StatusOK, s.do("GET", "/v1/jobs/"+job.ID, "").status)
	require.Equal(t, tasks.StatusCompleted, s.submit(`{"prompt":"x"}`).Status, "jobs go on beside them")
	require.Equal(t, http.StatusOK, s.do("POST", "/v1/jobs/"+job.ID+"/cancel", "").status)
	ended.Wait() // the job is at rest: every stream ends by itself
	require.EqualValues(t, streams, told.Load(), "everybody is told how it ended")
	transport.CloseIdleConnections()
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+100 }, 30*time.Second, 50*time.Millisecond)
}

// TestGuardSpeaksOfNoURL holds refusals to their promise: a URL may hold a
// secret.
func TestGuardSpeaksOfNoURL(t *testing.T) {
	t.Parallel()
	guard, err := fetch.NewGuard(fetch.Policy{})
	require.NoError(t, err)
	for _, url := range []string{"https://127.0.0.1/token-1234", "https://%zz/token-1234", "http://example.com/token-1234"} {
		err := guard.CheckURL(url)
		require.Equal(t, classify.Validation, classify.Classify(err).Class)
		require.NotContains(t, err.Error(), "token-1234")
	}
}
