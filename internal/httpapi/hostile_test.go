package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// dial connects to the server as somebody who does not mean well.
func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(waitLong)))
	return conn.(*net.TCPConn)
}

func (r *rig) say(conn net.Conn, text string) {
	r.t.Helper()
	_, err := io.WriteString(conn, text)
	require.NoError(r.t, err)
}

// tenants gives the API two keys of two tenants.
func tenants(c *Config) {
	c.Keys = func() []Key {
		return []Key{{Secret: "ann", Tenant: "ann", Scopes: []string{ScopeJobs}}, {Secret: "bob", Tenant: "bob", Scopes: []string{ScopeJobs}}}
	}
}

// TestStreamsAreBounded opens event streams until there is no room. One tenant
// does not get all of it, and the room comes back.
func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	r := serve(t, tenants, func(c *Config) { c.Limits.Streams = 4 })
	own := map[string]string{}
	for _, tenant := range []string{"ann", "bob"} {
		own[tenant] = r.do("POST", "/v1/jobs", sunset, "Authorization: Bearer "+tenant).json(t)["id"].(string)
	}
	watch := func(tenant string) *stream { return r.watch(own[tenant], "Authorization: Bearer "+tenant) }
	requireFull := func(tenant string) {
		t.Helper()
		a := r.do("GET", "/v1/jobs/"+own[tenant]+"/events", "", "Authorization: Bearer "+tenant)
		requireProblem(t, a, 503, codeUnavailable)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
	}
	var open []*stream
	for range 3 {
		open = append(open, watch("ann"))
	}
	require.Eventually(t, func() bool { return r.server.streams.count() == 3 }, waitLong, waitStep)
	requireFull("ann")
	other := watch("bob")
	require.Equal(t, 200, other.StatusCode, "another tenant still has room")
	requireFull("bob")
	require.Equal(t, 200, r.do("GET", "/v1/jobs/"+own["ann"], "", "Authorization: Bearer ann").StatusCode, "the job can be read all the same")
	for _, s := range append(open, other) {
		s.stop()
	}
	require.Eventually(t, func() bool { return r.server.streams.count() == 0 && r.engine.watching() == 0 }, waitLong, waitStep)
	require.Empty(t, r.server.streams.held, "nothing is remembered of who has gone")
}

// TestSlowReadersAreCutOff has clients ask and not read what comes. What they
// hold up ends.
func TestSlowReadersAreCutOff(t *testing.T) {
	t.Parallel()
	t.Run("of events", func(t *testing.T) {
		t.Parallel()
		r := serve(t)
		r.server.writeTime = 50 * time.Millisecond
		id := r.job()
		conn := r.dial()
		require.NoError(t, conn.SetReadBuffer(4<<10))
		r.say(conn, "GET /v1/jobs/"+id+"/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		require.Eventually(t, func() bool { return r.engine.watching() == 1 }, waitLong, waitStep)
		large := strings.Repeat("x", 1<<20)
		require.Eventually(t, func() bool {
			r.engine.change(id, func(job *tasks.Job) { job.Request.Metadata = map[string]string{"large": large} })
			return r.engine.watching() == 0
		}, waitLong, 5*time.Millisecond, "the stream is still held open")
		require.Eventually(t, func() bool { return r.server.streams.count() == 0 }, waitLong, waitStep)
	})
	t.Run("of an artifact", func(t *testing.T) {
		t.Parallel()
		ended := make(chan struct{})
		r := serve(t, func(c *Config) {
			c.Measure = func(next http.Handler, _ ...string) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if strings.Contains(q.URL.Path, "/artifacts/") {
						defer close(ended)
					}
					next.ServeHTTP(w, q)
				})
			}
		})
		r.server.writeTime = 50 * time.Millisecond
		id := r.job()
		r.engine.store(id, "video/mp4", make([]byte, 64<<20))
		conn := r.dial()
		require.NoError(t, conn.SetReadBuffer(4<<10))
		r.say(conn, "GET /v1/jobs/"+id+"/artifacts/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
		select {
		case <-ended:
		case <-time.After(waitLong):
			require.Fail(t, "the download is still held open")
		}
	})
}

// TestSlowHeadersAreCutOff opens connections and does not come to the point. It
// looks at the server's own bound, and at a shorter one at work.
func TestSlowHeadersAreCutOff(t *testing.T) {
	t.Parallel()
	bounds := Server(http.NotFoundHandler())
	require.LessOrEqual(t, bounds.ReadHeaderTimeout, 10*time.Second)
	require.NotZero(t, bounds.ReadHeaderTimeout)
	require.NotZero(t, bounds.IdleTimeout)
	require.LessOrEqual(t, bounds.MaxHeaderBytes, 64<<10)

	web := httptest.NewUnstartedServer(nil)
	web.Config = Server(New(Config{Jobs: newEngine(), Loopback: true}))
	web.Config.ReadHeaderTimeout = 100 * time.Millisecond
	web.Start()
	t.Cleanup(web.Close)
	r := &rig{t: t, url: web.URL}
	for _, begin := range []string{"", "GET /v1/jobs HTTP/1.1\r\n", "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-A"} {
		conn := r.dial()
		r.say(conn, begin)
		answer, err := io.ReadAll(conn)
		require.NoError(t, err, "the server hangs up")
		require.NotContains(t, string(answer), "200 OK")
	}
	conn := r.dial()
	r.say(conn, "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("x", 200<<10)+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, res.StatusCode)
}

// TestBodiesShareTheMemory sends large bodies at a time. Those for which there
// is no room are asked to come back, however long they say that they will be;
// the others are served.
func TestBodiesShareTheMemory(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Limits.BodyMemory = 10_000 })
	begin := func(bytes int) net.Conn {
		conn := r.dial()
		r.say(conn, fmt.Sprintf("POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n%s", strings.Repeat(" ", bytes)))
		return conn
	}
	promising := begin(1)
	filling := begin(9_500)
	require.Eventually(t, func() bool { return r.server.bodies.held.Load() == 9_501 }, waitLong, waitStep, "what is only promised takes no room")
	a := r.do("POST", "/v1/jobs", sunset+strings.Repeat(" ", 1000))
	requireProblem(t, a, 503, codeUnavailable)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	require.Equal(t, 202, r.do("POST", "/v1/jobs", sunset).StatusCode, "small ones go on")
	require.NoError(t, filling.Close())
	require.NoError(t, promising.Close())
	require.Eventually(t, func() bool { return r.server.bodies.held.Load() == 0 }, waitLong, waitStep, "the room comes back")
	require.Equal(t, 202, r.do("POST", "/v1/jobs", sunset+strings.Repeat(" ", 1000)).StatusCode)

	// Who waits for a job does not hold its body meanwhile.
	done := make(chan answer, 1)
	go func() { done <- r.do("POST", "/v1/jobs", sunset+strings.Repeat(" ", 9_000), "Prefer: wait=60") }()
	require.Eventually(t, func() bool { return r.engine.watching() == 1 }, waitLong, waitStep)
	require.Zero(t, r.server.bodies.held.Load())
	r.engine.move("job_3", tasks.Completed)
	require.Equal(t, 200, (<-done).StatusCode)
}
