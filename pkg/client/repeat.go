package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

const defaultRetries = 4

// Backoff between tries, where nobody says how long to wait.
const (
	firstWait = 250 * time.Millisecond
	maxWait   = 10 * time.Second
)

// repeater repeats calls whose failure may pass. It is the same for both
// transports.
type repeater struct {
	retries int
	// sleep waits, or returns the context's error; tests do not wait.
	sleep func(ctx context.Context, d time.Duration) error
}

// repeat makes the call until it succeeds, its failure will not pass, or the
// tries are used up, and returns how many it took. Repeatable says that a second
// call does no harm when the first one was carried out and only its answer was
// lost.
func (r *repeater) repeat(ctx context.Context, repeatable bool, call func() error) (int, error) {
	for try := 1; ; try++ {
		err := call()
		if err == nil {
			return try, nil
		}
		wait, again := r.again(repeatable, err, try)
		if !again || endsBefore(ctx, wait) {
			return try, err
		}
		if err := r.sleep(ctx, wait); err != nil {
			return try, fmt.Errorf("easel: wait to try again: %w", err)
		}
	}
}

// again decides whether the call is repeated, and after which wait.
func (r *repeater) again(repeatable bool, err error, try int) (time.Duration, bool) {
	if try > r.retries {
		return 0, false
	}
	problem, refused := errors.AsType[*Problem](err)
	switch {
	case refused && problem.Status == http.StatusTooManyRequests:
	case refused && problem.Status == http.StatusBadGateway,
		refused && problem.Status == http.StatusServiceUnavailable,
		refused && problem.Status == http.StatusGatewayTimeout:
		if !repeatable {
			return 0, false
		}
	case errors.Is(err, ErrUnreachable):
		if !repeatable && !neverSent(err) {
			return 0, false
		}
	default:
		return 0, false
	}
	if refused && problem.RetryAfter > 0 {
		return problem.RetryAfter, true
	}
	return backoff(try), true
}

// neverSent reports whether no connection was made.
func neverSent(err error) bool {
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial"
}

// backoff doubles with every try, and is spread by a half so that many clients
// do not come back at once.
func backoff(try int) time.Duration {
	wait := min(firstWait<<min(try-1, 10), maxWait)
	return wait/2 + rand.N(wait/2+1)
}

// endsBefore reports whether the context would end during the wait, so that the
// caller is told now what is wrong, and not later that time is up.
func endsBefore(ctx context.Context, wait time.Duration) bool {
	deadline, bounded := ctx.Deadline()
	return bounded && time.Until(deadline) < wait
}
