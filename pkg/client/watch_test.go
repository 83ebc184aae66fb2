package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// stream answers with an event stream that then ends.
func stream(parts ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, strings.Join(parts, ""))
	}
}

func jobEvent(version int, status tasks.Status) string {
	return fmt.Sprintf("event: job\nid: %d\ndata: {\"id\":\"job_1\",\"version\":%d,\"status\":%q}\n\n", version, version, status)
}

func watched(t *testing.T, c *Client) (versions []int64, err error) {
	t.Helper()
	for job, failed := range c.Watch(t.Context(), "job_1") {
		if failed != nil {
			err = failed
			continue
		}
		versions = append(versions, job.Version)
	}
	return versions, err
}

func TestWatch(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		answers  []http.HandlerFunc
		versions []int64
		resumed  []string // Last-Event-ID of each stream
		problem  string
	}{
		{"to its rest", []http.HandlerFunc{stream("retry: 2000\n\n", jobEvent(1, "queued"), ": heartbeat\n\n", jobEvent(3, "completed"))},
			[]int64{1, 3}, []string{""}, ""},
		{"unresolved is rest", []http.HandlerFunc{stream(jobEvent(2, "unresolved"))}, []int64{2}, []string{""}, ""},
		{"resumed where it broke", []http.HandlerFunc{stream(jobEvent(1, "queued")), cut, stream(jobEvent(2, "processing")), stream(jobEvent(4, "failed"))},
			[]int64{1, 2, 4}, []string{"", "1", "1", "2"}, ""},
		{"nothing old again", []http.HandlerFunc{stream(jobEvent(3, "queued")), stream(jobEvent(2, "queued"), jobEvent(3, "queued"), jobEvent(4, "canceled"))},
			[]int64{3, 4}, []string{"", "3"}, ""},
		{"cut in an event", []http.HandlerFunc{stream(jobEvent(1, "queued"), "event: job\ndata: {\"id\":\"jo"), stream(jobEvent(2, "completed"))},
			[]int64{1, 2}, []string{"", "1"}, ""},
		{"nothing newer", []http.HandlerFunc{stream(jobEvent(6, "processing")), answer(204, ""), answer(200, completed)},
			[]int64{6, 7}, []string{"", "6", ""}, ""},
		{"other events and lines", []http.HandlerFunc{stream("event: news\ndata: [1]\n\n", "data: {\"version\":9}\n\n", "odd\n\n", strings.ReplaceAll(jobEvent(1, "completed"), "\n", "\r\n"))},
			[]int64{1}, []string{""}, ""},
		{"data in two lines", []http.HandlerFunc{stream("event:job\ndata:{\"version\":5,\ndata: \"status\":\"failed\"}\n\n")}, []int64{5}, []string{""}, ""},
		{"not found", []http.HandlerFunc{refuse(404, "not_found")}, nil, []string{""}, "404 not_found"},
		{"garbage", []http.HandlerFunc{stream("event: job\ndata: {{{\n\n")}, nil, []string{""}, "read event"},
		{"never comes back", []http.HandlerFunc{stream(jobEvent(1, "queued")), cut}, []int64{1}, []string{"", "1", "1", "1", "1"}, "cannot be reached"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, s, _ := dial(t, test.answers...)
			versions, err := watched(t, c)
			if test.problem == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.problem)
			}
			require.Equal(t, test.versions, versions)
			var resumed []string
			for _, r := range s.seen() {
				resumed = append(resumed, r.header.Get("Last-Event-ID"))
			}
			require.Equal(t, test.resumed, resumed)
		})
	}
}

// TestWatchLongSilentJob breaks a stream more often than there are tries: each
// one worked, so that none counts against the next.
func TestWatchLongSilentJob(t *testing.T) {
	t.Parallel()
	answers := []http.HandlerFunc{stream(jobEvent(1, "processing"))}
	for range 3 * defaultRetries {
		answers = append(answers, stream(": heartbeat\n\n"))
	}
	c, s, waits := dial(t, append(answers, stream("retry: 2000\n\n", jobEvent(2, "processing")), stream(jobEvent(3, "completed")))...)
	versions, err := watched(t, c)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 3}, versions)
	require.Len(t, s.seen(), len(answers)+2)
	require.Equal(t, 2*time.Second, (*waits)[len(*waits)-1], "the server's own retry time is obeyed")
}

func TestWatchNoticesSilence(t *testing.T) {
	t.Parallel()
	hang := func(w http.ResponseWriter, r *http.Request) {
		stream(jobEvent(1, "processing"))(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	c, s, _ := dial(t, hang, stream(jobEvent(2, "completed")))
	c.transport.(*remote).idle = 20 * time.Millisecond
	versions, err := watched(t, c)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2}, versions)
	require.Len(t, s.seen(), 2)
}

func TestWatchEndsWithItsCaller(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	endless := func(w http.ResponseWriter, r *http.Request) {
		stream(jobEvent(1, "queued"))(w, r)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}
	t.Run("who breaks off", func(t *testing.T) {
		c, _, _ := dial(t, endless)
		for _, err := range c.Watch(t.Context(), "job_1") {
			require.NoError(t, err)
			break
		}
		<-gone
	})
	t.Run("whose context ends", func(t *testing.T) {
		gone = make(chan struct{})
		c, _, _ := dial(t, endless)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var last error
		for _, err := range c.Watch(ctx, "job_1") {
			last = err
			cancel()
		}
		require.ErrorIs(t, last, context.Canceled)
		<-gone
	})
}

func TestWait(t *testing.T) {
	t.Parallel()
	c, _, _ := dial(t, stream(jobEvent(1, "queued")), stream(jobEvent(5, "failed")))
	job, err := c.Wait(t.Context(), "job_1")
	require.NoError(t, err, "a job that failed is not a call that failed")
	require.Equal(t, tasks.StatusFailed, job.Status)
}
