package providers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// roundTrip is one request and its response, with what is needed to say what a
// failure means.
type roundTrip struct {
	client   *Client
	call     Call
	ctx      context.Context
	gate     *gate
	scrub    scrubber
	response *http.Response
}

func (c *Client) roundTrip(ctx context.Context, call Call, target *url.URL) (*roundTrip, error) {
	trip := &roundTrip{client: c, call: call, ctx: ctx, gate: &gate{ctx: ctx, guarded: call.Submit}}
	if trip.gate.check() {
		return nil, trip.failed(context.Cause(ctx))
	}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(got httptrace.GotConnInfo) { trip.gate.arrive(got.Conn) },
		// The head is complete, but still in the transport's buffer.
		WroteHeaders: trip.gate.bar,
	})
	req, secrets, err := c.request(traced, call, target)
	if err != nil {
		return nil, err
	}
	trip.scrub = scrubber{secrets: secrets, payload: call.Payload}
	call.Payload.attach(req, trip.gate)

	transport := c.requests
	switch {
	case call.Submit:
		transport = c.submits
	case !c.own(target):
		transport = c.config.Outside
	}
	// Not an http.Client: its redirects and its errors, which quote URLs, are
	// what this package is there to avoid.
	trip.response, err = transport.RoundTrip(req) //nolint:bodyclose // whoever reads the answer closes it
	if err != nil {
		return nil, trip.failed(err)
	}
	return trip, nil
}

// gate stands before the first byte of a request. For a submit it looks at the
// clock as late as it can: when the connection stands, when the head of the
// request has been written to the buffer and not yet to the connection, and
// when the body is first read, without which no provider accepts anything. A
// process that was paused past its deadline (a stopped container, a suspended
// machine) must not send when it wakes, for by then others may have decided
// that the call was not made.
type gate struct {
	ctx     context.Context
	guarded bool // a submit: it is held back once the deadline has passed

	mu     sync.Mutex
	conn   net.Conn // what the request goes out on, once there is a connection
	opened bool     // the body may have been sent
	late   bool     // it was too late to send anything
	closed bool     // whatever was not sent by now will not be
}

// check looks at the clock and reports whether it is too late to send.
func (g *gate) check() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tooLate()
}

// arrive notes the connection, and looks at the clock.
func (g *gate) arrive(conn net.Conn) {
	g.mu.Lock()
	g.conn = conn
	g.mu.Unlock()
	g.bar()
}

// bar looks at the clock, and if it is too late takes away the connection that
// the transport is about to write to: a trace cannot stop it otherwise. A
// connection of HTTP/2 is shared, so there the body alone is held back.
func (g *gate) bar() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tooLate() && g.conn != nil && !multiplexed(g.conn) {
		_ = g.conn.Close()
	}
}

func multiplexed(conn net.Conn) bool {
	secure, ok := conn.(*tls.Conn)
	return ok && secure.ConnectionState().NegotiatedProtocol == "h2"
}

func (g *gate) tooLate() bool {
	if g.guarded && !g.opened && (g.ctx.Err() != nil || passed(g.ctx, time.Now())) {
		g.late = true
	}
	return g.late
}

// open lets the request through, unless it is too late.
func (g *gate) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed || g.tooLate() {
		return ErrNotCalled
	}
	g.opened = true
	return nil
}

// close ends the call. It reports whether anything may have been sent, and
// whether it was ourselves who held it back. What was not sent will not be: the
// transport may still be about to read the body in the background when it has
// already given up.
func (g *gate) close() (opened, heldBack bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	// A dial that took until the deadline is the provider's failure.
	over := errors.Is(g.ctx.Err(), context.Canceled) || g.conn != nil && g.ctx.Err() != nil
	return g.opened, g.late || over
}

// passed compares the deadline with both clocks: the monotonic one stands still
// while a machine sleeps, the wall clock may be set back.
func passed(ctx context.Context, now time.Time) bool {
	deadline, ok := ctx.Deadline()
	if !ok {
		return false
	}
	return !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0))
}

// gatedReader opens the gate with its first read.
type gatedReader struct {
	io.Reader
	gate *gate
	once bool
}

func (r *gatedReader) Read(p []byte) (int, error) {
	if !r.once {
		if err := r.gate.open(); err != nil {
			return 0, err
		}
		r.once = true
	}
	return r.Reader.Read(p)
}

// failed is the error of a call that got no response.
func (t *roundTrip) failed(err error) *classify.Error {
	if !t.call.Submit {
		return t.interrupted(0, err)
	}
	opened, heldBack := t.gate.close()
	if opened {
		return t.lost(0, err)
	}
	failure := t.client.failure(classify.Network, 0, "", "the provider could not be reached; nothing was sent")
	failure.Cause = t.scrub.error(err)
	if heldBack {
		failure.Message = "the call was held back; the request was not sent"
		failure.Cause = errors.Join(ErrNotCalled, failure.Cause)
	}
	return failure
}

// broken is the error of a response whose body could not be read to its end.
func (t *roundTrip) broken(err error) *classify.Error {
	if t.call.Submit {
		return t.lost(t.response.StatusCode, err)
	}
	return t.interrupted(t.response.StatusCode, err)
}

// lost is the error of a submit that may have arrived.
func (t *roundTrip) lost(status int, err error) *classify.Error {
	failure := t.client.failure(classify.UnknownOutcome, status, "", "the answer was lost; the provider may have accepted the request")
	failure.Cause = t.scrub.error(err)
	return failure
}

// interrupted is the error of a call that may be made again.
func (t *roundTrip) interrupted(status int, err error) *classify.Error {
	class, message := classify.Network, "the connection to the provider failed"
	switch {
	case errors.Is(t.ctx.Err(), context.Canceled):
		class, message = classify.Canceled, "the call was canceled"
	case t.ctx.Err() != nil, classify.Classify(err).Class == classify.Timeout:
		class, message = classify.Timeout, "the provider did not answer in time"
	}
	failure := t.client.failure(class, status, "", message)
	failure.Cause = t.scrub.error(err)
	return failure
}

// refused reads the body of an answer that is no success, and closes it.
func (t *roundTrip) refused() *classify.Error {
	defer func() { _ = t.response.Body.Close() }() // what was needed has been read
	status, header := t.response.StatusCode, t.response.Header
	// A body that breaks off is no worse than one that says nothing.
	body, _ := io.ReadAll(io.LimitReader(t.response.Body, maxErrorBody))

	var said *classify.Error
	if t.client.config.DecodeError != nil {
		said = t.client.config.DecodeError(status, header, body)
	}
	failure := t.client.failure("", status, "", "")
	if said != nil {
		*failure = *said
		failure.Status, failure.Provider = status, t.client.config.Provider
		failure.Message, failure.Code = t.scrub.message(said.Message), t.scrub.code(said.Code)
	}
	failure.Class = t.client.classOf(t.call, status, said)
	if wait, ok := classify.RetryAfter(header, time.Now()); ok && failure.RetryAfter == 0 {
		failure.RetryAfter = wait
	}
	if failure.Message == "" {
		failure.Message = strings.TrimSpace(fmt.Sprintf("the provider answered with status %d %s", status, http.StatusText(status)))
	}
	return failure
}
