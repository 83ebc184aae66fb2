package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

func (r *remote) watch(ctx context.Context, id string) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		w := &watch{remote: r, id: id, yield: yield}
		for failures := 0; ; {
			w.heard = false
			err := w.stream(ctx)
			if w.done {
				return
			}
			if w.heard {
				failures = 0 // it worked; what broke it is not what broke the last one
			}
			failures++
			if wait, again := w.again(ctx, err, failures); !again || r.sleep(ctx, wait) != nil {
				yield(Job{}, errorOf(ctx, err))
				return
			}
		}
	}
}

// watch is one Watch over the streams that it takes.
type watch struct {
	remote  *remote
	id      string
	yield   func(Job, error) bool
	version int64         // of the job that was yielded last
	pause   time.Duration // what the server asks for between streams
	heard   bool          // whether the stream has said anything
	done    bool          // at rest, or the caller has seen enough
}

// stream opens one stream and yields what comes, until it ends.
func (w *watch) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// The server sends a heartbeat into a silent stream. Without it the
	// connection is dead, although nobody told us.
	alarm := time.AfterFunc(w.remote.idle, func() { cancel(errSilent) })
	defer alarm.Stop()

	h := http.Header{"Accept": {"text/event-stream"}}
	if w.version > 0 {
		h.Set("Last-Event-ID", strconv.FormatInt(w.version, 10))
	}
	response, err := w.remote.once(ctx, call{method: http.MethodGet, path: []string{"v1", "jobs", w.id, "events"}, header: h})
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusNoContent {
		return w.catchUp(ctx)
	}
	events := eventReader{lines: bufio.NewReader(response.Body), heard: func() {
		w.heard = true
		alarm.Reset(w.remote.idle)
	}}
	for !w.done {
		event, err := events.next()
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return fmt.Errorf("%w: event stream: %w", ErrUnreachable, err)
		}
		if event.retry > 0 {
			w.pause = event.retry
		}
		if err := w.show(event); err != nil {
			return err
		}
	}
	return nil
}

var errSilent = fmt.Errorf("%w: no heartbeat came", ErrUnreachable)

// catchUp is for a server that says there is nothing newer than what we have
// seen: it must be at rest, and is read once more in case it is not.
func (w *watch) catchUp(ctx context.Context) error {
	job, err := w.remote.get(ctx, w.id)
	if err != nil {
		return err
	}
	w.tell(job)
	if !w.done {
		return fmt.Errorf("%w: the event stream ended early", ErrUnreachable)
	}
	return nil
}

func (w *watch) show(event event) error {
	if event.name != "job" || len(event.data) == 0 {
		return nil // of a kind that this client does not know yet
	}
	var job Job
	if err := json.Unmarshal(event.data, &job); err != nil {
		return fmt.Errorf("easel: read event: %w", err)
	}
	w.tell(&job)
	return nil
}

// tell yields the job if it is news.
func (w *watch) tell(job *Job) {
	if job.Version > w.version {
		w.version = job.Version
		if !w.yield(*job, nil) {
			w.done = true
			return
		}
	}
	if job.Status.AtRest() {
		w.done = true
	}
}

// again decides whether another stream is worth a try, and when.
func (w *watch) again(ctx context.Context, err error, failures int) (time.Duration, bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	// Reading is always repeatable.
	wait, again := w.remote.again(true, err, failures)
	return max(wait, w.pause), again
}

func errorOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("easel: watch: %w", context.Cause(ctx))
	}
	return err
}

// event is one server-sent event.
type event struct {
	name  string
	data  []byte
	retry time.Duration
}

// maxEvent bounds one event: a job whose inputs were all written into it.
const maxEvent = 64 << 20

// eventReader reads an event stream, as the HTML standard describes it.
type eventReader struct {
	lines *bufio.Reader
	heard func() // called at every line, heartbeats too
}

// next reads up to the blank line that ends an event. One that was cut off is
// not an event.
func (r *eventReader) next() (event, error) {
	e := event{}
	for {
		line, err := r.line()
		if err != nil {
			return event{}, err
		}
		r.heard()
		if line == "" {
			return e, nil
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.name = value
		case "data":
			if e.data != nil {
				e.data = append(e.data, '\n')
			}
			e.data = append(e.data, value...)
		case "retry":
			if ms, err := strconv.ParseInt(value, 10, 32); err == nil && ms >= 0 {
				e.retry = time.Duration(ms) * time.Millisecond
			}
		}
		if len(e.data) > maxEvent {
			return event{}, errors.New("event is too large")
		}
	}
}

func (r *eventReader) line() (string, error) {
	var line []byte
	for {
		part, err := r.lines.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxEvent:
			return "", errors.New("line is too long")
		case err == nil:
			return strings.TrimRight(string(line), "\r\n"), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF
		default:
			return "", err
		}
	}
}
