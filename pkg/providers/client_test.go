package providers

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
)

const key = "sk-very-secret-0123456789"

// newTestClient speaks to a handler, in the dialect of most providers.
func newTestClient(t *testing.T, handler http.HandlerFunc, change ...func(*ClientConfig)) *Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return newClientFor(t, server.URL+"/v1", change...)
}

func newClientFor(t *testing.T, baseURL string, change ...func(*ClientConfig)) *Client {
	t.Helper()
	config := ClientConfig{
		Provider:  "lumen",
		BaseURL:   baseURL,
		Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+key) },
		Classes:   map[string]classify.Class{"no_credit": classify.Quota, "nsfw": classify.ContentPolicy},
		DecodeError: func(_ int, _ http.Header, body []byte) *classify.Error {
			var reply struct{ Code, Message string }
			if json.Unmarshal(body, &reply) != nil || reply.Message == "" {
				return nil //nolint:nilerr // a body in no known form says nothing
			}
			return &classify.Error{Code: reply.Code, Message: reply.Message}
		},
	}
	for _, f := range change {
		f(&config)
	}
	client, err := NewClient(config)
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func failureOf(t *testing.T, err error) *classify.Error {
	t.Helper()
	var failure *classify.Error
	require.ErrorAs(t, err, &failure)
	require.Equal(t, "lumen", failure.Provider)
	require.NotEmpty(t, failure.Message)
	require.NotContains(t, err.Error(), key)
	return failure
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "lumen.example", "ftp://lumen.example", "https://user:pass@lumen.example", "https://lumen.example?key=1", "://"} {
		_, err := NewClient(ClientConfig{BaseURL: bad})
		require.ErrorContains(t, err, "base_url", bad)
		require.NotContains(t, err.Error(), "pass@")
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/v1/images", r.URL.Path)
		require.Equal(t, "2", r.URL.Query().Get("page"))
		require.Equal(t, "Bearer "+key, r.Header.Get("Authorization"))
		require.Equal(t, "application/json", r.Header.Get("Content-Type"))
		require.Equal(t, "application/json", r.Header.Get("Accept"))
		require.Equal(t, "7", r.Header.Get("X-Trace"))
		body, _ := io.ReadAll(r.Body)
		require.JSONEq(t, `{"prompt":"a kite"}`, string(body))
		w.Header().Set("X-Request-Id", "r1")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"42"}`)
	})
	var out struct{ ID string }
	reply, err := client.JSON(t.Context(), Call{
		URL: "/images", Submit: true, Query: url.Values{"page": {"2"}}, Header: http.Header{"X-Trace": {"7"}},
	}, map[string]string{"prompt": "a kite"}, &out)
	require.NoError(t, err)
	require.Equal(t, "42", out.ID)
	require.Equal(t, http.StatusCreated, reply.Status)
	require.Equal(t, "r1", reply.Header.Get("X-Request-Id"))
}

func TestForm(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte{0, 1, 2, 3}, 1<<18)
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		require.Positive(t, r.ContentLength, "a form is not sent in chunks: many servers refuse those")
		require.NoError(t, r.ParseMultipartForm(4<<20))
		require.Equal(t, []string{"a \"kite\"\r\n"}, r.MultipartForm.Value["prompt"])
		file := r.MultipartForm.File["image"][0]
		require.Equal(t, "in.png", file.Filename)
		require.Equal(t, "image/png", file.Header.Get("Content-Type"))
		f, err := file.Open()
		require.NoError(t, err)
		got, err := io.ReadAll(f)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got))
		require.Equal(t, []string{"2"}, r.MultipartForm.Value["n"])
	})
	var form Form
	form.Field("prompt", "a \"kite\"\r\n")
	form.File("image", "in.png", "image/png", data)
	form.Field("n", "2")
	_, err := client.Do(t.Context(), Call{URL: "edits", Submit: true, Payload: form.Payload()})
	require.NoError(t, err)
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	const own = `{"code":"%s","message":"said so"}`
	const page = "<html><h1>nginx</h1></html>"
	tests := []struct {
		status       int
		body, code   string
		submit, read classify.Class
	}{
		{400, own, "", classify.Validation, classify.Validation},
		{400, own, "nsfw", classify.ContentPolicy, classify.ContentPolicy},
		{400, own, "NSFW", classify.ContentPolicy, classify.ContentPolicy},
		{401, own, "", classify.Authentication, classify.Authentication},
		{402, own, "", classify.Quota, classify.Quota},
		{403, page, "", classify.Authentication, classify.Authentication},
		{404, own, "", classify.NotFound, classify.NotFound},
		{408, own, "", classify.UnknownOutcome, classify.Timeout},
		{408, page, "", classify.UnknownOutcome, classify.Timeout},
		{409, own, "", classify.Overloaded, classify.Overloaded},
		{422, own, "", classify.Validation, classify.Validation},
		{429, own, "", classify.RateLimit, classify.RateLimit},
		{429, page, "", classify.RateLimit, classify.RateLimit},
		{429, own, "no_credit", classify.Quota, classify.Quota},
		{429, own, "insufficient_quota", classify.Quota, classify.Quota},
		{500, own, "", classify.Server, classify.Server},
		{500, page, "", classify.UnknownOutcome, classify.Server},
		{500, "", "", classify.UnknownOutcome, classify.Server},
		{502, page, "", classify.UnknownOutcome, classify.Server},
		{503, own, "", classify.Overloaded, classify.Overloaded},
		{503, page, "", classify.UnknownOutcome, classify.Overloaded},
		{504, page, "", classify.UnknownOutcome, classify.Server},
		{522, page, "", classify.UnknownOutcome, classify.Server},
		{529, page, "", classify.Overloaded, classify.Overloaded},
		{418, page, "", classify.Unknown, classify.Unknown},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d %s %.5s", tt.status, tt.code, tt.body), func(t *testing.T) {
			t.Parallel()
			body := tt.body
			if body == own {
				body = fmt.Sprintf(own, tt.code)
			}
			var calls atomic.Int32
			client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
				calls.Add(1)
				w.Header().Set("Retry-After", "3")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, body)
			})
			_, err := client.JSON(t.Context(), Call{URL: "x", Submit: true}, struct{}{}, nil)
			failure := failureOf(t, err)
			require.Equal(t, tt.submit, failure.Class, "submit")
			require.Equal(t, tt.status, failure.Status)
			require.Equal(t, 3*time.Second, failure.RetryAfter)
			require.NotContains(t, failure.Message, "nginx")

			_, err = client.JSON(t.Context(), Call{URL: "x"}, nil, nil)
			require.Equal(t, tt.read, failureOf(t, err).Class, "read")
			require.EqualValues(t, 2, calls.Load(), "one call each")
		})
	}
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{"html": "<html>", "empty": "", "truncated": `{"id":"4`, "wrong type": `{"id":42}`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
			var out struct{ ID string }
			_, err := client.JSON(t.Context(), Call{URL: "x", Submit: true}, struct{}{}, &out)
			require.Equal(t, classify.UnknownOutcome, failureOf(t, err).Class)
			_, err = client.JSON(t.Context(), Call{URL: "x"}, nil, &out)
			require.Equal(t, classify.Server, failureOf(t, err).Class)
		})
	}
}

func TestStrange(t *testing.T) {
	t.Parallel()
	client := newClientFor(t, "http://127.0.0.1:1")
	require.Equal(t, classify.UnknownOutcome, failureOf(t, client.Strange(true, "no id")).Class)
	require.Equal(t, classify.Server, failureOf(t, client.Strange(false, "state %q", "asleep")).Class)
}

func TestTooLarge(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 1001))
	})
	_, err := client.Do(t.Context(), Call{URL: "x", MaxBody: 1001})
	require.NoError(t, err)
	_, err = client.Do(t.Context(), Call{URL: "x", MaxBody: 1000})
	require.ErrorIs(t, err, ErrTooLarge)
	require.Equal(t, classify.Server, failureOf(t, err).Class)
	_, err = client.Do(t.Context(), Call{URL: "x", MaxBody: 1000, Submit: true})
	require.Equal(t, classify.UnknownOutcome, failureOf(t, err).Class)
}

// rawServer answers each connection with a function, below HTTP.
func rawServer(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return "http://" + listener.Addr().String()
}

func readRequest(conn net.Conn) { _, _ = conn.Read(make([]byte, 4096)) }

func TestCutOff(t *testing.T) {
	t.Parallel()
	tests := map[string]func(net.Conn){
		"after the request": readRequest,
		"within the header": func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-") },
		"within the body": func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
		},
		"within a chunk": func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{")
		},
		"with a reset":       func(c net.Conn) { readRequest(c); _ = c.(*net.TCPConn).SetLinger(0) },
		"something not HTTP": func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n") },
	}
	for name, serve := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClientFor(t, rawServer(t, serve))
			_, err := client.JSON(t.Context(), Call{URL: "x", Submit: true}, struct{}{}, nil)
			require.Equal(t, classify.UnknownOutcome, failureOf(t, err).Class)
			require.NotErrorIs(t, err, ErrNotCalled)
			_, err = client.JSON(t.Context(), Call{URL: "x"}, nil, nil)
			require.Equal(t, classify.Network, failureOf(t, err).Class)
		})
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	closed := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0)
	untrusted.StartTLS()
	t.Cleanup(untrusted.Close)
	notTLS := strings.Replace(rawServer(t, func(c net.Conn) { readRequest(c); _, _ = io.WriteString(c, "HTTP/1.1 400 Bad\r\n\r\n") }), "http:", "https:", 1)

	for name, baseURL := range map[string]string{
		"refused": closed, "untrusted": untrusted.URL, "not TLS": notTLS, "no such host": "http://nowhere.invalid",
	} {
		for _, submit := range []bool{true, false} {
			client := newClientFor(t, baseURL)
			_, err := client.JSON(t.Context(), Call{URL: "x?token=abc", Submit: submit}, struct{}{}, nil)
			failure := failureOf(t, err)
			require.Equal(t, classify.Network, failure.Class, name)
			require.NotErrorIs(t, err, ErrNotCalled, "it was tried, and that counts")
			require.NotContains(t, err.Error()+failure.Cause.Error(), "token=")
		}
	}
}

func TestDeadlineAfterSending(t *testing.T) {
	t.Parallel()
	for name, over := range map[string]struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		read classify.Class
	}{
		"deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 300*time.Millisecond)
		}, classify.Timeout},
		"cancel": {context.WithCancel, classify.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arrived := make(chan struct{}, 2)
			client := newTestClient(t, func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				arrived <- struct{}{}
				<-r.Context().Done()
			})
			call := func(submit bool) error {
				ctx, cancel := over.end(t.Context())
				defer cancel()
				go func() {
					<-arrived
					if name == "cancel" {
						cancel()
					}
				}()
				_, err := client.JSON(ctx, Call{URL: "x", Submit: submit}, struct{}{}, nil)
				return err
			}
			require.Equal(t, classify.UnknownOutcome, failureOf(t, call(true)).Class)
			require.Equal(t, over.read, failureOf(t, call(false)).Class)
		})
	}
}

func TestSlowBody(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"id":`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	for submit, want := range map[bool]classify.Class{true: classify.UnknownOutcome, false: classify.Timeout} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := client.JSON(ctx, Call{URL: "x", Submit: submit}, struct{}{}, nil)
		cancel()
		require.Equal(t, want, failureOf(t, err).Class)
	}
}

// lateContext says that its deadline has passed without being done: what a
// process sees that was paused and whose timers have not fired yet.
type lateContext struct {
	context.Context
	deadline time.Time
}

func (c *lateContext) Deadline() (time.Time, bool) { return c.deadline, true }
func (c *lateContext) expire()                     { c.deadline = time.Now().Add(-time.Second) }

func TestDeadlinePassedIsNotCalled(t *testing.T) {
	t.Parallel()
	requireHeldBack := func(t *testing.T, err error) {
		t.Helper()
		require.ErrorIs(t, err, ErrNotCalled)
		require.Equal(t, classify.Network, failureOf(t, err).Class)
	}
	send := func(ctx context.Context, client *Client) error {
		_, err := client.JSON(ctx, Call{URL: "x", Submit: true}, struct{}{}, nil)
		return err
	}
	// recording reports what each connection brought, below HTTP.
	recording := func(t *testing.T) (string, <-chan string) {
		received := make(chan string, 10)
		return rawServer(t, func(c net.Conn) {
			raw, _ := io.ReadAll(c)
			received <- string(raw)
		}), received
	}

	t.Run("before the call", func(t *testing.T) {
		t.Parallel()
		baseURL, received := recording(t)
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		requireHeldBack(t, send(canceled, newClientFor(t, baseURL)))
		requireHeldBack(t, send(&lateContext{t.Context(), time.Now().Add(-time.Millisecond)}, newClientFor(t, baseURL)))
		require.Empty(t, received)
	})

	// The pause falls into some moment of the call: the context's own timer
	// has not fired, only the clock tells.
	t.Run("while dialing", func(t *testing.T) {
		t.Parallel()
		baseURL, received := recording(t)
		ctx := &lateContext{t.Context(), time.Now().Add(time.Hour)}
		transport := newSubmitTransport(nil)
		dial := transport.DialContext
		transport.DialContext = func(dialing context.Context, network, address string) (net.Conn, error) {
			ctx.expire()
			return dial(dialing, network, address)
		}
		requireHeldBack(t, send(ctx, newClientFor(t, baseURL, func(c *ClientConfig) { c.Transport = transport })))
		require.Empty(t, <-received)
	})
	t.Run("before the head is flushed", func(t *testing.T) {
		t.Parallel()
		baseURL, received := recording(t)
		ctx := &lateContext{nil, time.Now().Add(time.Hour)}
		// This hook runs after the client's own, which finds nothing wrong.
		ctx.Context = httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			GotConn: func(httptrace.GotConnInfo) { ctx.expire() },
		})
		requireHeldBack(t, send(ctx, newClientFor(t, baseURL)))
		require.Empty(t, <-received)
	})
	t.Run("before the body is read", func(t *testing.T) {
		t.Parallel()
		baseURL, received := recording(t)
		ctx := &lateContext{t.Context(), time.Now().Add(time.Hour)}
		client := newClientFor(t, baseURL)
		client.submits = beforeBody{client.submits, ctx.expire}
		requireHeldBack(t, send(ctx, client))
		require.NotContains(t, <-received, "{}", "the provider has a head, and nothing to accept")
	})

	t.Run("reads do not care", func(t *testing.T) {
		t.Parallel()
		client := newTestClient(t, func(http.ResponseWriter, *http.Request) {})
		_, err := client.Do(&lateContext{t.Context(), time.Now().Add(-time.Second)}, Call{URL: "x"})
		require.NoError(t, err)
	})
}

// beforeBody lets the clock run out when the body is first read.
type beforeBody struct {
	next   http.RoundTripper
	expire func()
}

func (a beforeBody) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Body = &expiring{r.Body, a.expire}
	return a.next.RoundTrip(r)
}

type expiring struct {
	io.ReadCloser
	expire func()
}

func (e *expiring) Read(p []byte) (int, error) {
	e.expire()
	return e.ReadCloser.Read(p)
}

func TestClocks(t *testing.T) {
	t.Parallel()
	now := time.Now()
	ctx, cancel := context.WithDeadline(t.Context(), now.Add(time.Minute))
	t.Cleanup(cancel)
	require.False(t, passed(ctx, now))
	require.False(t, passed(t.Context(), now.Add(time.Hour)), "no deadline")
	require.True(t, passed(ctx, now.Add(time.Minute)))
	require.True(t, passed(ctx, now.Round(0).Add(2*time.Minute)), "only the wall clock went on")
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"Authorization", "X-Key", "Cookie", "Referer"} {
			require.Empty(t, r.Header.Get(name), "credentials stay with the provider")
		}
		_, _ = io.WriteString(w, "elsewhere")
	}))
	t.Cleanup(elsewhere.Close)
	var posts atomic.Int32
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/here":
			http.Redirect(w, r, "/v1/there", http.StatusFound)
		case "/v1/there":
			require.Equal(t, "Bearer "+key, r.Header.Get("Authorization"))
			_, _ = io.WriteString(w, "there")
		case "/v1/away":
			http.Redirect(w, r, elsewhere.URL+"/file?signature=1", http.StatusFound)
		case "/v1/loop":
			http.Redirect(w, r, "/v1/loop", http.StatusFound)
		case "/v1/file":
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusFound)
		default:
			posts.Add(1)
			http.Redirect(w, r, "/v1/there", statusOf(r.URL.Path))
		}
	}
	open := func(c *ClientConfig) { c.Outside = http.DefaultTransport }
	call := Call{Header: http.Header{"X-Key": {key}}}
	get := func(path string, change ...func(*ClientConfig)) (string, error) {
		call := call
		call.URL = path
		reply, err := newTestClient(t, handler, change...).Do(t.Context(), call)
		return string(reply.Body), err
	}

	body, err := get("here")
	require.NoError(t, err)
	require.Equal(t, "there", body)
	body, err = get("away", open)
	require.NoError(t, err)
	require.Equal(t, "elsewhere", body)
	_, err = get("away")
	require.ErrorContains(t, err, "not the provider's")
	require.NotContains(t, err.Error(), "signature")
	_, err = get("loop")
	require.ErrorContains(t, err, "too often")
	_, err = get("file", open)
	require.ErrorContains(t, err, "do not call")

	client := newTestClient(t, handler, open)
	for status, want := range map[int]classify.Class{
		301: classify.Unknown, 302: classify.Unknown, 303: classify.UnknownOutcome, 307: classify.Unknown, 308: classify.Unknown,
	} {
		posts.Store(0)
		_, err := client.JSON(t.Context(), Call{URL: fmt.Sprint("post/", status), Submit: true}, struct{}{}, nil)
		require.Equal(t, want, failureOf(t, err).Class, "%d", status)
		require.EqualValues(t, 1, posts.Load())
	}
}

func statusOf(path string) int {
	var status int
	_, _ = fmt.Sscanf(path, "/v1/post/%d", &status)
	return status
}

func TestOwnHosts(t *testing.T) {
	t.Parallel()
	client := newClientFor(t, "https://api.lumen.example/v1", func(c *ClientConfig) {
		c.Hosts = []string{"api.eu.lumen.example", "*.lumen.cloud"}
	})
	tests := map[string]bool{
		"https://api.lumen.example/v1/x":          true,
		"https://API.lumen.example/other":         true,
		"https://api.eu.lumen.example/x":          true,
		"https://a.b.lumen.cloud:443/x":           true,
		"http://api.lumen.example/v1/x":           false,
		"https://api.lumen.example:8443/v1/x":     false,
		"https://api.lumen.example.evil.com/x":    false,
		"https://evillumen.cloud/x":               false,
		"https://lumen.cloud/x":                   false,
		"https://user:pw@api.lumen.example/x":     false,
		"https://api.lumen.example@127.0.0.1/x":   false,
		"http://169.254.169.254/latest/meta-data": false,
	}
	for raw, want := range tests {
		_, err := client.resolve(Call{URL: raw})
		require.Equal(t, want, err == nil, raw)
	}
	_, err := client.Do(t.Context(), Call{URL: "http://169.254.169.254/latest", Submit: true})
	require.ErrorIs(t, err, ErrNotCalled)
	require.NotContains(t, err.Error(), "169.254")
}

func TestEnvironmentProxyIsNotUsed(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	require.Nil(t, newTransport(nil).Proxy)

	var proxied atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { proxied.Add(1) }))
	t.Cleanup(proxy.Close)
	address, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	client := newClientFor(t, "http://lumen.invalid", func(c *ClientConfig) { c.Proxy = http.ProxyURL(address) })
	for _, submit := range []bool{true, false} {
		_, err = client.JSON(t.Context(), Call{URL: "x", Submit: submit}, struct{}{}, nil)
		require.NoError(t, err)
	}
	require.EqualValues(t, 2, proxied.Load())
}

// A server that closes its idle connections must not leave a submit in doubt.
func TestSubmitsDoNotShareConnections(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	var connections atomic.Int32
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	client := newClientFor(t, server.URL)
	for _, transport := range []http.RoundTripper{client.submits, client.requests} {
		transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	}
	for range 3 {
		_, err := client.JSON(t.Context(), Call{URL: "x", Submit: true}, struct{}{}, nil)
		require.NoError(t, err)
	}
	require.EqualValues(t, 3, connections.Load())
	for range 3 {
		_, err := client.JSON(t.Context(), Call{URL: "x"}, nil, nil)
		require.NoError(t, err)
	}
	require.EqualValues(t, 4, connections.Load(), "reads do")
}

func TestMessagesAreScrubbed(t *testing.T) {
	t.Parallel()
	const prompt = "a very private prompt about my neighbour"
	said := strings.Join([]string{
		"Incorrect key " + key + " for", prompt, "see https://lumen.example/doc?sig=abc#x",
		"data:image/png;base64,AAAABBBB", strings.Repeat("QUJD", 60), "line\nbreak\x00",
	}, " ")
	client := newTestClient(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
		_ = json.NewEncoder(w).Encode(map[string]string{"code": key, "message": said})
	})
	var form Form
	form.Field("prompt", prompt)
	for _, call := range []func() error{
		func() error {
			_, err := client.JSON(t.Context(), Call{URL: "x", Submit: true}, map[string]any{"in": []string{prompt}}, nil)
			return err
		},
		func() error {
			_, err := client.Do(t.Context(), Call{URL: "x", Submit: true, Payload: form.Payload()})
			return err
		},
	} {
		failure := failureOf(t, call())
		require.Equal(t, classify.Authentication, failure.Class)
		require.Equal(t, redacted, failure.Code)
		require.Equal(t, "Incorrect key [redacted] for [input] see https://lumen.example/doc [data] [data] line break", failure.Message)
	}
}

func TestMessagesAreShort(t *testing.T) {
	t.Parallel()
	text := scrubber{}.message(strings.Repeat("ä ", 2000))
	require.Equal(t, maxMessage+1, len([]rune(text)))
}

func TestQueryCredentialsAreSecret(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprintf(w, `{"message":"key %s is not known"}`, r.URL.Query().Get("key"))
	}, func(c *ClientConfig) {
		c.Authorize = func(r *http.Request) { r.URL.RawQuery = "key=" + key }
	})
	_, err := client.Do(t.Context(), Call{URL: "x"})
	require.Equal(t, "key [redacted] is not known", failureOf(t, err).Message)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	client := newTestClient(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "identity", r.Header.Get("Accept-Encoding"))
		w.Header().Set("Content-Type", "video/mp4; codecs=avc1")
		switch r.URL.Path {
		case "/v1/gone":
			w.WriteHeader(http.StatusGone)
		case "/v1/cut":
			w.Header().Set("Content-Length", "99")
			_, _ = io.WriteString(w, "0123456789")
		case "/v1/chunked":
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "0123456789")
		default:
			_, _ = io.WriteString(w, "0123456789")
		}
	})
	body, err := client.Open(t.Context(), Call{URL: "file"}, 10)
	require.NoError(t, err)
	require.Equal(t, "video/mp4", body.MediaType())
	require.EqualValues(t, 10, body.Size())
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "0123456789", string(data))
	require.NoError(t, body.Close())

	_, err = client.Open(t.Context(), Call{URL: "file"}, 9)
	require.ErrorIs(t, err, ErrTooLarge, "the server said so")
	body, err = client.Open(t.Context(), Call{URL: "chunked"}, 9)
	require.NoError(t, err)
	require.EqualValues(t, -1, body.Size())
	_, err = io.ReadAll(body)
	require.ErrorIs(t, err, ErrTooLarge)
	require.NoError(t, body.Close())

	_, err = client.Open(t.Context(), Call{URL: "gone"}, 0)
	require.Equal(t, classify.NotFound, failureOf(t, err).Class)
	body, err = client.Open(t.Context(), Call{URL: "cut"}, 0)
	require.NoError(t, err)
	_, err = io.ReadAll(body)
	require.Equal(t, classify.Network, failureOf(t, err).Class)
	require.NoError(t, body.Close())
}

func TestOpenAnywhere(t *testing.T) {
	t.Parallel()
	cdn := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.Empty(t, r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, "bytes")
	}))
	t.Cleanup(cdn.Close)
	client := newClientFor(t, "https://lumen.invalid", func(c *ClientConfig) { c.Outside = cdn.Client().Transport })
	body, err := client.Open(t.Context(), Call{URL: cdn.URL + "/x", Anywhere: true}, 0)
	require.NoError(t, err)
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.Equal(t, "bytes", string(data))

	for _, call := range []Call{
		{URL: cdn.URL},
		{URL: strings.Replace(cdn.URL, "https", "http", 1), Anywhere: true},
		{URL: cdn.URL, Anywhere: true, Submit: true},
		{URL: cdn.URL, Anywhere: true, Method: http.MethodDelete},
	} {
		_, err := client.Do(t.Context(), call)
		require.ErrorContains(t, err, "not one of the provider's own")
	}
	_, err = newClientFor(t, "https://lumen.invalid").Open(t.Context(), Call{URL: cdn.URL, Anywhere: true}, 0)
	require.ErrorContains(t, err, "not one of the provider's own")
}

func TestFailed(t *testing.T) {
	t.Parallel()
	client := newClientFor(t, "https://lumen.invalid")
	require.Equal(t, classify.ContentPolicy, client.Failed("NSFW", "").Class)
	failure := client.Failed("oops", "with "+key)
	require.Equal(t, classify.GenerationFailed, failure.Class)
	require.Equal(t, "with [redacted]", failure.Message)
}

func TestNewBody(t *testing.T) {
	t.Parallel()
	body := NewBody([]byte("abc"), "audio/mpeg")
	require.EqualValues(t, 3, body.Size())
	require.Equal(t, "audio/mpeg", body.MediaType())
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "abc", string(data))
	require.NoError(t, body.Close())
}

func TestUnencodableInput(t *testing.T) {
	t.Parallel()
	client := newClientFor(t, "http://127.0.0.1:1")
	_, err := client.JSON(t.Context(), Call{URL: "x", Submit: true}, func() {}, nil)
	require.ErrorIs(t, err, ErrNotCalled)
}

// A transport that gives up must not send in the background what it has been
// told is not sent.
func TestClosedGateStaysClosed(t *testing.T) {
	t.Parallel()
	g := &gate{ctx: t.Context(), guarded: true}
	opened, heldBack := g.close()
	require.False(t, opened)
	require.False(t, heldBack)
	require.ErrorIs(t, g.open(), ErrNotCalled)
	require.False(t, errors.Is(ErrNotCalled, syscall.ECONNREFUSED))
}

func TestDoubtedServerErrors(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		doubt        bool
		status       int
		code         string
		submit, poll classify.Class
	}{
		"its own word counts": {false, 500, "no_credit", classify.Quota, classify.Quota},
		"it does not":         {true, 500, "no_credit", classify.UnknownOutcome, classify.Quota},
		"nor without a code":  {true, 503, "", classify.UnknownOutcome, classify.Overloaded},
		"a 4xx is certain":    {true, 400, "no_credit", classify.Quota, classify.Quota},
		"so is the door":      {true, 529, "", classify.Overloaded, classify.Overloaded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tt.status)
				_, _ = fmt.Fprintf(w, `{"code":%q,"message":"no"}`, tt.code)
			}))
			t.Cleanup(server.Close)
			client := newClientFor(t, server.URL, func(c *ClientConfig) { c.DoubtServerErrors = tt.doubt })
			_, err := client.JSON(t.Context(), Call{URL: "/x", Submit: true}, map[string]any{}, nil)
			require.Equal(t, tt.submit, classify.Classify(err).Class)
			_, err = client.JSON(t.Context(), Call{URL: "/x"}, nil, nil)
			require.Equal(t, tt.poll, classify.Classify(err).Class)
		})
	}
}

func TestClientOfSettings(t *testing.T) {
	t.Parallel()
	_, err := Settings{Name: "lumen", BaseURL: "ftp://x"}.Client("https://lumen.example", ClientConfig{})
	require.ErrorContains(t, err, "api_key: is missing")
	require.ErrorContains(t, err, "base_url: must be")
	client, err := Settings{Name: "lumen", APIKey: "k"}.Client("https://lumen.example", ClientConfig{})
	require.NoError(t, err)
	require.Equal(t, "https://lumen.example", client.base.String())
	require.Equal(t, "lumen", client.Failed("", "").Provider)
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const prompt = "an embarrassing secret painted on a barn door"
	payload, err := JSONPayload(map[string]any{"prompt": prompt})
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		doubt, submit bool
		code          string
		want          classify.Class
	}{
		"known":              {true, true, "NO_CREDIT", classify.Quota},
		"unknown":            {true, true, "new", classify.Unknown},
		"its trouble":        {true, true, "down", classify.UnknownOutcome},
		"its trouble, sure":  {false, true, "down", classify.Server},
		"its trouble, later": {true, false, "down", classify.Server},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := newClientFor(t, "https://lumen.example", func(c *ClientConfig) {
				c.DoubtServerErrors = tt.doubt
				c.Classes = map[string]classify.Class{"no_credit": classify.Quota, "down": classify.Server}
			})
			failure := client.Refused(Call{Submit: tt.submit, Payload: payload}, tt.code, "we do not like "+prompt+" with "+key)
			require.Equal(t, tt.want, failure.Class)
			require.Equal(t, tt.code, failure.Code)
			require.NotContains(t, failure.Message, prompt)
			require.NotContains(t, failure.Message, key)
		})
	}
}
