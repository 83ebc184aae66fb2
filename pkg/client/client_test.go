package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// server is a scripted server: each request gets the next answer, the last one
// for ever.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	requests []request
	answers  []http.HandlerFunc
}

type request struct {
	method, uri, body string
	header            http.Header
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	answer := s.answers[min(len(s.requests), len(s.answers)-1)]
	s.requests = append(s.requests, request{r.Method, r.RequestURI, string(body), r.Header})
	s.mu.Unlock()
	answer(w, r)
}

func (s *server) seen() []request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// dial starts a scripted server and a client that notes its waits instead of
// waiting.
func dial(t *testing.T, answers ...http.HandlerFunc) (*Client, *server, *[]time.Duration) {
	t.Helper()
	s := &server{answers: answers}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	c, err := Dial(s.URL+"/", "key-1")
	require.NoError(t, err)
	// net/http repeats a GET by itself when a kept connection breaks, and the
	// tests count ours.
	c.transport.(*remote).http.Transport.(*http.Transport).DisableKeepAlives = true
	waits := &[]time.Duration{}
	c.transport.(*remote).sleep = func(ctx context.Context, d time.Duration) error {
		*waits = append(*waits, d)
		return ctx.Err()
	}
	return c, s, waits
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func refuse(status int, code string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(Problem{Status: status, Code: code, Detail: "why", RequestID: "req_1",
			Errors: []Fault{{Pointer: "#/input_data/prompt", Detail: "is required"}}})
	}
}

// cut breaks the connection without an answer.
func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const completed = `{"id":"job_1","status":"completed","version":7,"new_field":[1]}`

func TestDialRefuses(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "easel.example", "ftp://easel", "http://", "http://u:hunter2@easel", "http://easel?key=hunter2", "http://e%zz/hunter2"} {
		_, err := Dial(base, "k")
		require.Error(t, err, base)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := Dial("http://easel", "a\r\nX: b")
	require.Error(t, err)
}

// TestCalls holds each method to the request it makes.
func TestCalls(t *testing.T) {
	t.Parallel()
	after := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("x", 3600))
	for _, test := range []struct {
		name, answer string
		call         func(context.Context, *Client) (any, error)
		method, uri  string
		body         string
		keyed        bool
	}{
		{"enqueue", completed, func(ctx context.Context, c *Client) (any, error) {
			return c.Enqueue(ctx, tasks.Draft{FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"x"}`)})
		}, "POST", "/v1/jobs", `{"feature_type":"text-to-image","input_data":{"prompt":"x"}}`, true},
		{"batch", `{"results":[{"status":202,"job":` + completed + `},{"status":422,"error":{"code":"invalid_request","status":422}}]}`,
			func(ctx context.Context, c *Client) (any, error) {
				results, err := c.EnqueueBatch(ctx, []tasks.Draft{{FeatureType: "a", InputData: json.RawMessage(`{}`)}, {FeatureType: "b", InputData: json.RawMessage(`{}`)}})
				if err == nil && (results[0].Job.ID != "job_1" || results[1].Problem.Code != "invalid_request") {
					err = errors.New("results are wrong")
				}
				return results, err
			}, "POST", "/v1/jobs/batch", `{"jobs":[{"feature_type":"a","input_data":{}},{"feature_type":"b","input_data":{}}]}`, true},
		{"get", completed, func(ctx context.Context, c *Client) (any, error) { return c.Get(ctx, "job_1") }, "GET", "/v1/jobs/job_1", "", false},
		{"get, hostile id", completed, func(ctx context.Context, c *Client) (any, error) { return c.Get(ctx, "../providers?x=1") }, "GET", "/v1/jobs/..%2Fproviders%3Fx=1", "", false},
		{"get, dots", completed, func(ctx context.Context, c *Client) (any, error) { return c.Get(ctx, "..") }, "GET", "/v1/jobs/%00", "", false},
		{"list", `{"jobs":[` + completed + `],"next_cursor":"c2"}`, func(ctx context.Context, c *Client) (any, error) {
			page, err := c.List(ctx, Query{Statuses: []tasks.Status{"failed", "unresolved"}, UserID: "a&b", CreatedAfter: after, Limit: 5, IncludeInput: true})
			if err == nil && (len(page.Jobs) != 1 || page.NextCursor != "c2") {
				err = errors.New("page is wrong")
			}
			return page, err
		}, "GET", "/v1/jobs?created_after=2026-01-02T02%3A04%3A05Z&include=input&limit=5&status=failed&status=unresolved&user_id=a%26b", "", false},
		{"cancel", completed, func(ctx context.Context, c *Client) (any, error) { return c.Cancel(ctx, "job_1") }, "POST", "/v1/jobs/job_1/cancel", "", false},
		{"retry", completed, func(ctx context.Context, c *Client) (any, error) { return c.Retry(ctx, "job_1", Regenerate) }, "POST", "/v1/jobs/job_1/retry", `{"mode":"regenerate"}`, true},
		{"retry by default", completed, func(ctx context.Context, c *Client) (any, error) { return c.Retry(ctx, "job_1", RetryDefault) }, "POST", "/v1/jobs/job_1/retry", `{}`, true},
		{"resolve", completed, func(ctx context.Context, c *Client) (any, error) { return c.Resolve(ctx, "job_1", Created("r1")) }, "POST", "/v1/jobs/job_1/resolve", `{"outcome":"created","remote_id":"r1"}`, false},
		{"delete", "", func(ctx context.Context, c *Client) (any, error) { return nil, c.Delete(ctx, "job_1") }, "DELETE", "/v1/jobs/job_1", "", false},
		{"providers", `{"providers":[{"id":"sketch","health":{"status":"ok"}}]}`, func(ctx context.Context, c *Client) (any, error) { return c.Providers(ctx) }, "GET", "/v1/providers", "", false},
		{"features", `{"features":[{"feature_type":"upscale","providers":[{"provider_id":"x","input_schema":{}}]}]}`, func(ctx context.Context, c *Client) (any, error) { return c.Features(ctx) }, "GET", "/v1/features", "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, s, _ := dial(t, answer(http.StatusOK, test.answer))
			got, err := test.call(t.Context(), c)
			require.NoError(t, err)
			if job, ok := got.(*Job); ok {
				require.Equal(t, "job_1", job.ID)
				require.Equal(t, tasks.StatusCompleted, job.Status)
			}
			require.Len(t, s.seen(), 1)
			r := s.seen()[0]
			require.Equal(t, test.method, r.method)
			require.Equal(t, test.uri, r.uri)
			require.Equal(t, test.body, r.body)
			require.Equal(t, "Bearer key-1", r.header.Get("Authorization"))
			require.Equal(t, test.keyed, r.header.Get("Idempotency-Key") != "")
			if test.body != "" {
				require.Equal(t, "application/json", r.header.Get("Content-Type"))
			}
		})
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	c, s, _ := dial(t, answer(http.StatusOK, completed))
	_, err := c.Enqueue(t.Context(), tasks.Draft{InputData: json.RawMessage(`{}`)}, WithIdempotencyKey(`a"b\`), WithWait(30*time.Second))
	require.NoError(t, err)
	_, err = c.Cancel(t.Context(), "job_1", IfVersion(7))
	require.NoError(t, err)
	require.Equal(t, `"a\"b\\"`, s.seen()[0].header.Get("Idempotency-Key"))
	require.Equal(t, "wait=30", s.seen()[0].header.Get("Prefer"))
	require.Equal(t, `"7"`, s.seen()[1].header.Get("If-Match"))
}

// TestRepeats says what is sent again, after which wait, and that the key stays.
func TestRepeats(t *testing.T) {
	t.Parallel()
	enqueue := func(ctx context.Context, c *Client) error {
		_, err := c.Enqueue(ctx, tasks.Draft{InputData: json.RawMessage(`{}`)})
		return err
	}
	resolve := func(ctx context.Context, c *Client) error {
		_, err := c.Resolve(ctx, "job_1", NotCreated())
		return err
	}
	remove := func(ctx context.Context, c *Client) error { return c.Delete(ctx, "job_1") }
	ok := answer(http.StatusOK, completed)
	for _, test := range []struct {
		name    string
		call    func(context.Context, *Client) error
		answers []http.HandlerFunc
		tries   int
		fails   bool
	}{
		{"at once", enqueue, []http.HandlerFunc{ok}, 1, false},
		{"lost answer", enqueue, []http.HandlerFunc{cut, cut, ok}, 3, false},
		{"gateway", enqueue, []http.HandlerFunc{answer(502, "<html>"), refuse(503, "unavailable"), answer(504, ""), ok}, 4, false},
		{"throttled", enqueue, []http.HandlerFunc{refuse(429, "too_many_requests"), ok}, 2, false},
		{"used up", enqueue, []http.HandlerFunc{cut}, 5, true},
		{"own error", enqueue, []http.HandlerFunc{refuse(500, "internal_error"), ok}, 1, true},
		{"caller's mistake", enqueue, []http.HandlerFunc{refuse(422, "invalid_request"), ok}, 1, true},
		{"conflict", enqueue, []http.HandlerFunc{refuse(409, "idempotency_key_reused"), ok}, 1, true},
		{"unkeyed, lost answer", resolve, []http.HandlerFunc{cut, ok}, 1, true},
		{"unkeyed, gateway", resolve, []http.HandlerFunc{refuse(503, "unavailable"), ok}, 1, true},
		{"unkeyed, throttled", resolve, []http.HandlerFunc{refuse(429, "too_many_requests"), ok}, 2, false},
		{"deleted by the lost try", remove, []http.HandlerFunc{cut, refuse(404, "not_found")}, 2, false},
		{"never there", remove, []http.HandlerFunc{refuse(404, "not_found")}, 1, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, s, waits := dial(t, test.answers...)
			err := test.call(t.Context(), c)
			require.Equal(t, test.fails, err != nil, "%v", err)
			require.Len(t, s.seen(), test.tries)
			require.Len(t, *waits, test.tries-1)
			for _, r := range s.seen() {
				require.Equal(t, s.seen()[0].header.Get("Idempotency-Key"), r.header.Get("Idempotency-Key"))
				require.Equal(t, s.seen()[0].body, r.body)
			}
		})
	}

	t.Run("two calls, two keys", func(t *testing.T) {
		t.Parallel()
		c, s, _ := dial(t, ok)
		require.NoError(t, enqueue(t.Context(), c))
		require.NoError(t, enqueue(t.Context(), c))
		require.NotEqual(t, s.seen()[0].header.Get("Idempotency-Key"), s.seen()[1].header.Get("Idempotency-Key"))
	})
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	c, _, waits := dial(t,
		refuse(429, "too_many_requests", "Retry-After", "7"),
		refuse(503, "unavailable", "Retry-After", "Mon, 02 Jan 2026 00:00:09 GMT", "Date", "Mon, 02 Jan 2026 00:00:00 GMT"),
		refuse(503, "unavailable", "Retry-After", "soon"),
		answer(200, completed))
	_, err := c.Get(t.Context(), "job_1")
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, (*waits)[0])
	require.Equal(t, 9*time.Second, (*waits)[1])
	require.InDelta(t, time.Second, (*waits)[2], float64(500*time.Millisecond), "its own backoff")
}

func TestContextBoundsRepeats(t *testing.T) {
	t.Parallel()
	t.Run("it would end during the wait", func(t *testing.T) {
		t.Parallel()
		c, s, waits := dial(t, refuse(429, "too_many_requests", "Retry-After", "3600"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := c.Get(ctx, "job_1")
		problem, ok := errors.AsType[*Problem](err)
		require.True(t, ok, "says what is wrong, not that time is up: %v", err)
		require.Equal(t, time.Hour, problem.RetryAfter)
		require.Len(t, s.seen(), 1)
		require.Empty(t, *waits)
	})
	t.Run("it ends during the call", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		c, _, _ := dial(t, func(_ http.ResponseWriter, r *http.Request) {
			cancel()
			<-r.Context().Done()
		})
		_, err := c.Get(ctx, "job_1")
		require.ErrorIs(t, err, context.Canceled)
		require.NotErrorIs(t, err, ErrUnreachable)
	})
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	c, err := Dial("http://"+listener.Addr().String(), "", WithRetries(2))
	require.NoError(t, err)
	waits := 0
	c.transport.(*remote).sleep = func(context.Context, time.Duration) error { waits++; return nil }

	_, err = c.Resolve(t.Context(), "job_1", NotCreated())
	require.ErrorIs(t, err, ErrUnreachable)
	require.True(t, IsUnavailable(err))
	require.Equal(t, 2, waits, "what was never sent may be sent again")

	_, err = c.List(t.Context(), Query{UserID: "hunter2"})
	require.ErrorIs(t, err, ErrUnreachable)
	require.NotContains(t, err.Error(), "hunter2", "a query is not repeated")
}

func TestProblem(t *testing.T) {
	t.Parallel()
	c, _, _ := dial(t, refuse(422, "invalid_request"))
	_, err := c.Get(t.Context(), "job_1")
	require.EqualError(t, err, "easel: 422 invalid_request: #/input_data/prompt: is required")
	problem, ok := errors.AsType[*Problem](fmt.Errorf("wrapped: %w", err))
	require.True(t, ok)
	require.Equal(t, "req_1", problem.RequestID)
	require.True(t, IsInvalid(err))
	require.False(t, IsNotFound(err))

	for status, is := range map[int]func(error) bool{404: IsNotFound, 409: IsConflict, 412: IsVersionMismatch, 401: IsUnauthorized, 403: IsUnauthorized} {
		c, _, _ := dial(t, refuse(status, "x"))
		_, err := c.Get(t.Context(), "job_1")
		require.True(t, is(err), status)
	}

	c, _, _ = dial(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, "<html>proxy</html>")
	})
	_, err = c.Get(t.Context(), "job_1")
	require.EqualError(t, err, "easel: 403 http_403: Forbidden")
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	moved := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/v1/elsewhere", http.StatusFound) }
	c, s, _ := dial(t, moved, answer(200, completed))
	_, err := c.Enqueue(t.Context(), tasks.Draft{InputData: json.RawMessage(`{}`)})
	require.ErrorContains(t, err, "redirects", "a POST must not become a GET")
	require.Len(t, s.seen(), 1)

	c, s, _ = dial(t, moved, answer(200, completed))
	_, err = c.Get(t.Context(), "job_1")
	require.NoError(t, err)
	require.Len(t, s.seen(), 2)
}

func TestAll(t *testing.T) {
	t.Parallel()
	c, s, _ := dial(t,
		answer(200, `{"jobs":[{"id":"a"},{"id":"b"}],"next_cursor":"2"}`),
		answer(200, `{"jobs":[],"next_cursor":"3"}`),
		answer(200, `{"jobs":[{"id":"c"}],"next_cursor":null}`))
	var ids []string
	for job, err := range c.All(t.Context(), Query{Limit: 2}) {
		require.NoError(t, err)
		ids = append(ids, job.ID)
	}
	require.Equal(t, []string{"a", "b", "c"}, ids)
	require.Equal(t, "/v1/jobs?cursor=3&limit=2", s.seen()[2].uri)
}

func TestOpenArtifact(t *testing.T) {
	t.Parallel()
	c, s, _ := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "image/png")
		_, _ = io.WriteString(w, "bytes")
	})
	artifact, err := c.OpenArtifact(t.Context(), "job_1", 2)
	require.NoError(t, err)
	defer artifact.Close()
	raw, err := io.ReadAll(artifact)
	require.NoError(t, err)
	require.Equal(t, "bytes", string(raw))
	require.Equal(t, "image/png", artifact.MediaType)
	require.EqualValues(t, 5, artifact.Size)
	require.Equal(t, "/v1/jobs/job_1/artifacts/2", s.seen()[0].uri)
}

func TestBatchAnswersEveryRequest(t *testing.T) {
	t.Parallel()
	c, _, _ := dial(t, answer(200, `{"results":[]}`))
	_, err := c.EnqueueBatch(t.Context(), []tasks.Draft{{InputData: json.RawMessage(`{}`)}})
	require.ErrorContains(t, err, "answered 0 of 1")
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	c, _, _ := dial(t, answer(200, strings.Repeat("<html>", 10)))
	_, err := c.Get(t.Context(), "job_1")
	require.ErrorContains(t, err, "read answer")
}
