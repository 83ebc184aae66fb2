package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// stream is an open event stream, read line by line.
type stream struct {
	*http.Response
	t     *testing.T
	lines *bufio.Scanner
	stop  context.CancelFunc
}

func (r *rig) watch(id string, headers ...string) *stream {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.t.Context())
	r.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", r.url+"/v1/jobs/"+id+"/events", nil)
	require.NoError(r.t, err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	res, err := r.client.Do(req)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { res.Body.Close() })
	return &stream{Response: res, t: r.t, lines: bufio.NewScanner(res.Body), stop: cancel}
}

// block reads up to the next empty line.
func (s *stream) block() []string {
	s.t.Helper()
	var lines []string
	for s.lines.Scan() {
		if s.lines.Text() == "" {
			return lines
		}
		lines = append(lines, s.lines.Text())
	}
	require.NoError(s.t, s.lines.Err())
	require.Empty(s.t, lines, "the stream ended within an event")
	return nil
}

// requireJob reads one event and holds it to a version and a status.
func (s *stream) requireJob(version, status string) {
	s.t.Helper()
	block := s.block()
	require.Len(s.t, block, 3)
	require.Equal(s.t, "event: job", block[0])
	require.Equal(s.t, "id: "+version, block[1])
	data, ok := strings.CutPrefix(block[2], "data: ")
	require.True(s.t, ok)
	var view tasks.View
	require.NoError(s.t, json.Unmarshal([]byte(data), &view))
	require.EqualValues(s.t, status, view.Status)
}

func TestEvents(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	s := r.watch(id)
	require.Equal(t, 200, s.StatusCode)
	require.Equal(t, "text/event-stream", s.Header.Get("Content-Type"))
	require.Equal(t, "no-store", s.Header.Get("Cache-Control"))
	require.Equal(t, "no", s.Header.Get("X-Accel-Buffering"))
	require.Equal(t, []string{"retry: 2000"}, s.block())
	s.requireJob("1", "queued")
	r.engine.move(id, tasks.Processing)
	s.requireJob("2", "processing")
	r.engine.move(id, tasks.Completed)
	s.requireJob("3", "completed")
	require.Nil(t, s.block(), "the stream ends with the job")
}

func TestEventsResume(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	r.engine.move(id, tasks.Processing)
	first := func(lastID string) *stream {
		s := r.watch(id, "Last-Event-ID: "+lastID)
		require.Equal(t, []string{"retry: 2000"}, s.block())
		return s
	}
	first("1").requireJob("2", "processing")
	first("99").requireJob("2", "processing") // no version of this job
	first("garbage").requireJob("2", "processing")
	s := first("2")
	r.engine.move(id, tasks.Unresolved)
	s.requireJob("3", "unresolved")
	require.Nil(t, s.block())

	first("2").requireJob("3", "unresolved") // at rest, but not seen
	done := r.watch(id, "Last-Event-ID: 3")
	require.Equal(t, 204, done.StatusCode)
	require.Equal(t, "no-store", done.Header.Get("Cache-Control"))
}

func TestEventsHeartbeat(t *testing.T) {
	t.Parallel()
	r := serve(t)
	tick := make(chan time.Time)
	stopped := make(chan struct{})
	r.server.heartbeat = func() (<-chan time.Time, func()) { return tick, func() { close(stopped) } }
	id := r.job()
	s := r.watch(id)
	s.block()
	s.requireJob("1", "queued")
	for range 2 {
		tick <- time.Time{}
		require.Equal(t, []string{": heartbeat"}, s.block())
	}
	r.engine.move(id, tasks.Failed)
	s.requireJob("2", "failed")
	require.Nil(t, s.block())
	<-stopped
}

func TestEventsOfClientsThatLeave(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Limits.Streams = 1 })
	id := r.job()
	s := r.watch(id)
	s.block()
	s.requireJob("1", "queued")
	require.Equal(t, 1, r.engine.watching())

	a := r.do("GET", "/v1/jobs/"+id+"/events", "")
	requireProblem(t, a, 503, codeUnavailable)
	require.NotEmpty(t, a.Header.Get("Retry-After"))

	s.stop()
	require.Eventually(t, func() bool { return r.engine.watching() == 0 && r.server.streams.count() == 0 }, waitLong, waitStep)
	again := r.watch(id)
	require.Equal(t, 200, again.StatusCode)
}

func TestEventsEndWithTheServer(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	server := Server(New(Config{Jobs: r.engine, Loopback: true}))
	listener := listen(t)
	served := make(chan error)
	go func() { served <- server.Serve(listener) }()
	r.url = "http://" + listener.Addr().String()
	s := r.watch(id)
	s.block()
	s.requireJob("1", "queued")
	waited := make(chan answer)
	go func() { waited <- r.do("POST", "/v1/jobs", sunset, "Prefer: wait") }()
	require.Eventually(t, func() bool { return r.engine.watching() == 2 }, waitLong, waitStep)

	require.NoError(t, server.Shutdown(t.Context()))
	require.Nil(t, s.block(), "the stream ends, and its client comes back elsewhere")
	require.Equal(t, 202, (<-waited).StatusCode)
	require.ErrorIs(t, <-served, http.ErrServerClosed)
}

func TestEventsRefusals(t *testing.T) {
	t.Parallel()
	r := serve(t)
	requireProblem(t, r.do("GET", "/v1/jobs/job_404/events", ""), 404, codeNotFound)
	id := r.job()
	s := r.watch(id)
	s.block()
	s.requireJob("1", "queued")
	r.engine.mu.Lock()
	r.engine.err = orchestrator.ErrUnavailable
	r.engine.mu.Unlock()
	r.engine.change(id, func(*tasks.Job) {})
	require.Nil(t, s.block(), "an outage ends the stream; its client comes back")
}
