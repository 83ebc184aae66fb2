package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
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

// do sends the call and repeats it as the package says. It returns an answer
// with a status below 300, and how many tries it took; the caller closes it.
func (r *remote) do(ctx context.Context, call call) (response *http.Response, tries int, err error) {
	tries, err = r.repeat(ctx, call.repeatable, func() (err error) {
		response, err = r.once(ctx, call) //nolint:bodyclose // the caller closes it
		return err
	})
	return response, tries, err
}

// once sends the call one time.
func (r *remote) once(ctx context.Context, call call) (*http.Response, error) {
	request, err := r.request(ctx, call)
	if err != nil {
		return nil, err
	}
	response, err := r.http.Do(request)
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

func (r *remote) request(ctx context.Context, call call) (*http.Request, error) {
	target := r.base.JoinPath(escaped(call.path)...)
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
	request.Header.Set("User-Agent", r.userAgent)
	if call.body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if request.Header.Get("Accept") == "" {
		request.Header.Set("Accept", "application/json, application/problem+json")
	}
	if r.key != "" {
		request.Header.Set("Authorization", "Bearer "+r.key)
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

// fetch does the call and decodes its answer.
func fetch[T any](ctx context.Context, r *remote, call call) (*T, error) {
	response, _, err := r.do(ctx, call)
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
