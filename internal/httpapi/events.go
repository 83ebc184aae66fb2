package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// heartbeatInterval is how long an event stream may be silent, so that proxies
// do not take it for dead.
const heartbeatInterval = 15 * time.Second

// every returns a ticker's channel, and what stops it.
func every(d time.Duration) func() (<-chan time.Time, func()) {
	return func() (<-chan time.Time, func()) {
		ticker := time.NewTicker(d)
		return ticker.C, ticker.Stop
	}
}

type watchInput struct {
	httpRequest
	ID          string `path:"id" doc:"The job"`
	LastEventID string `header:"Last-Event-ID" doc:"The last version that was seen; the stream begins after it. EventSource sends it by itself"`
}

// watchJob streams a job's states as server-sent events. A client that has seen
// the last of a job at rest gets 204, which tells EventSource not to come back.
func (s *server) watchJob(ctx context.Context, in *watchInput) (*huma.StreamResponse, error) {
	job, err := s.Jobs.Get(ctx, exchangeOf(ctx).tenant, in.ID)
	if err != nil {
		return nil, problem(err)
	}
	after := lastVersion(in.LastEventID)
	if job.State.AtRest() && after == job.Version {
		return &huma.StreamResponse{Body: func(huma.Context) { in.w.WriteHeader(http.StatusNoContent) }}, nil
	}
	if after > job.Version {
		after = 0 // not a version of this job: begin anew
	}
	return &huma.StreamResponse{Body: func(huma.Context) {
		if !s.streams.take(job.Tenant) {
			s.writeProblem(in.w, in.r, unavailable("Too many event streams are open.", 5, nil))
			return
		}
		defer s.streams.give(job.Tenant)
		s.stream(in.w, in.r, job.Tenant, in.ID, after)
	}}, nil
}

// lastVersion reads Last-Event-ID. What is not a version of ours counts as
// having seen nothing.
func lastVersion(id string) int64 {
	version, err := strconv.ParseInt(strings.TrimSpace(id), 10, 64)
	if err != nil || version < 0 {
		return 0
	}
	return version
}

// change is what a watch yields.
type change struct {
	job *tasks.Job
	err error
}

// stream writes events until the job is at rest, the client hangs up or the
// server shuts down. The goroutine that watches the job ends before it returns.
func (s *server) stream(w http.ResponseWriter, r *http.Request, tenant, id string, after int64) {
	ctx, cancel := context.WithCancel(r.Context())
	changes := make(chan change)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() {
		defer close(changes)
		for job, err := range s.Jobs.Watch(ctx, tenant, id, after) {
			select {
			case changes <- change{job, err}:
			case <-ctx.Done():
				return
			}
		}
	})

	tick, stop := s.heartbeat()
	defer stop()
	out := eventWriter{w: w, controller: http.NewResponseController(w)}
	if out.open() != nil {
		return
	}
	for {
		var err error
		select {
		case c, open := <-changes:
			if !open {
				return
			}
			if c.err != nil {
				s.endStream(ctx, c.err)
				return
			}
			err = out.job(s.view(r, c.job))
		case <-tick:
			err = out.heartbeat()
		case <-drainContext(ctx).Done():
			return
		case <-ctx.Done():
			return
		}
		if err != nil {
			return // the client has gone, or reads too slowly
		}
	}
}

// endStream notes why a stream ends early. The client comes back by itself, and
// is told then.
func (s *server) endStream(ctx context.Context, err error) {
	if ctx.Err() == nil && !errors.Is(err, orchestrator.ErrNotFound) {
		exchangeOf(ctx).cause = err
	}
}

// eventWriter writes server-sent events, each at once.
type eventWriter struct {
	w          http.ResponseWriter
	controller *http.ResponseController
}

func (e eventWriter) open() error {
	header := e.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	e.w.WriteHeader(http.StatusOK)
	return e.send("retry: 2000\n\n")
}

// job writes a state of the job. JSON has no line breaks of its own, so that
// one data line holds it.
func (e eventWriter) job(view tasks.View) error {
	var b strings.Builder
	b.WriteString("event: job\nid: " + strconv.FormatInt(view.Version, 10) + "\ndata: ")
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(view); err != nil { // ends the line
		return err
	}
	b.WriteString("\n")
	return e.send(b.String())
}

func (e eventWriter) heartbeat() error { return e.send(": heartbeat\n\n") }

func (e eventWriter) send(text string) error {
	if _, err := io.WriteString(e.w, text); err != nil {
		return err
	}
	return e.controller.Flush()
}
