package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"
)

// body is a download under way. Like any reader it is used by one goroutine.
type body struct {
	ctx      context.Context // the download's own; ends when it is given up
	end      func()
	response *http.Response
	limits   Limits
	idle     *time.Timer
	read     int64
}

// Read implements [io.Reader]. An error other than io.EOF is classified.
func (b *body) Read(p []byte) (int, error) {
	// The clock stands still between reads: a slow reader is not a slow server.
	b.idle.Reset(b.limits.Idle)
	n, err := b.response.Body.Read(p)
	b.idle.Stop()
	b.read += int64(n)
	if b.read > b.limits.Bytes {
		b.end()
		return 0, tooLarge(b.limits.Bytes)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = classifyError(b.ctx, err)
	}
	return n, err
}

// Close implements [io.Closer]. It does not wait for the rest.
func (b *body) Close() error {
	b.idle.Stop()
	b.end()
	return b.response.Body.Close()
}

// MediaType is what the server claims.
func (b *body) MediaType() string { return b.response.Header.Get("Content-Type") }

// Size is what the server claims, -1 when it does not.
func (b *body) Size() int64 { return b.response.ContentLength }
