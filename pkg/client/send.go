package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"
)

// call is one request, and whether it may be sent twice.
type call struct {
	method string
	path   []string // escaped when the URL is made
	query  url.Values
	header http.Header
	body   []byte
	// repeatable says that a second request does no harm when the first one
	// was carried out and only its answer was lost.
	repeatable bool
}

// Backoff between tries, where the server does not say how long to wait.
const (
	firstWait = 250 * time.Millisecond
	maxWait   = 10 * time.Second
)

// do sends the call and repeats it as the package says. It returns an answer
// with a status below 300, and how many tries it took; the caller closes it.
func (c *Client) do(ctx context.Context, call call) (*http.Response, int, error) {
	for try := 1; ; try++ {
		response, err := c.once(ctx, call)
		if err == nil {
			return response, try, nil
		}
		wait, again := c.again(call, err, try)
		if !again || endsBefore(ctx, wait) {
			return nil, try, err
		}
		if err := c.sleep(ctx, wait); err != nil {
			return nil, try, fmt.Errorf("easel: %s: %w", call.method, err)
		}
	}
}

// once sends the call one time.
func (c *Client) once(ctx context.Context, call call) (*http.Response, error) {
	request, err := c.request(ctx, call)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("easel: %s: %w", call.method, context.Cause(ctx))
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, withoutURL(err))
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		return nil, readProblem(response)
	}
	return response, nil
}

// withoutURL is what went wrong, without the URL that net/http repeats: a query
// may name a user.
func withoutURL(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return failed.Err
	}
	return err
}

func (c *Client) request(ctx context.Context, call call) (*http.Request, error) {
	target := c.base.JoinPath(escaped(call.path)...)
	target.RawQuery = call.query.Encode()
	var body io.Reader
	if call.body != nil {
		body = bytes.NewReader(call.body)
	}
	request, err := http.NewRequestWithContext(ctx, call.method, target.String(), body)
	if err != nil {
		return nil, fmt.Errorf("easel: make request: %w", err)
	}
	if call.header != nil {
		request.Header = call.header.Clone()
	}
	request.Header.Set("User-Agent", c.userAgent)
	if call.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "application/json, application/problem+json")
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	return request, nil
}

// escaped keeps an id in its place whatever it holds: "../providers" is the name
// of no job, and must not become another path. An empty one is kept as a
// segment that no job has.
func escaped(path []string) []string {
	out := make([]string, len(path))
	for i, segment := range path {
		switch segment {
		case "", ".", "..":
			out[i] = "%00"
		default:
			out[i] = url.PathEscape(segment)
		}
	}
	return out
}

// again decides whether the call is repeated, and after which wait.
func (c *Client) again(call call, err error, try int) (time.Duration, bool) {
	if try > c.retries {
		return 0, false
	}
	problem, refused := errors.AsType[*Problem](err)
	switch {
	case refused && problem.Status == http.StatusTooManyRequests:
	case refused && problem.Status == http.StatusBadGateway,
		refused && problem.Status == http.StatusServiceUnavailable,
		refused && problem.Status == http.StatusGatewayTimeout:
		if !call.repeatable {
			return 0, false
		}
	case errors.Is(err, ErrUnreachable):
		if !call.repeatable && !neverSent(err) {
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

// fetch does the call and decodes its answer.
func fetch[T any](ctx context.Context, c *Client, call call) (*T, error) {
	response, _, err := c.do(ctx, call)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	value := new(T)
	if err := json.NewDecoder(response.Body).Decode(value); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("easel: read answer: %w", err)
	}
	return value, nil
}
