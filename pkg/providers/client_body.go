package providers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"

	"github.com/easel-jobs/easel/pkg/classify"
)

// responseBody is the body of a response that is read as it comes. What breaks
// off is classified, what does not end is cut.
type responseBody struct {
	trip  *roundTrip
	limit int64 // 0: none
	read  int64
}

func newResponseBody(trip *roundTrip, limit int64) (Body, error) {
	if size := trip.response.ContentLength; limit > 0 && size > limit {
		_ = trip.response.Body.Close()
		return nil, tooLarge(trip, limit)
	}
	return &responseBody{trip: trip, limit: limit}, nil
}

func tooLarge(trip *roundTrip, limit int64) error {
	failure := trip.client.failure(classify.Unknown, trip.response.StatusCode, "too_large",
		fmt.Sprintf("the file is larger than %d bytes", limit))
	failure.Cause = ErrTooLarge
	return failure
}

// Read implements [io.Reader].
func (b *responseBody) Read(p []byte) (int, error) {
	if b.limit > 0 && int64(len(p)) > b.limit-b.read+1 {
		p = p[:b.limit-b.read+1]
	}
	n, err := b.trip.response.Body.Read(p)
	b.read += int64(n)
	if b.limit > 0 && b.read > b.limit {
		return n, tooLarge(b.trip, b.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return n, b.trip.broken(err)
	}
	return n, err
}

// Close implements [io.Closer].
func (b *responseBody) Close() error { return b.trip.response.Body.Close() }

// MediaType implements [Body].
func (b *responseBody) MediaType() string {
	mediaType, _, err := mime.ParseMediaType(b.trip.response.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return mediaType
}

// Size implements [Body].
func (b *responseBody) Size() int64 { return b.trip.response.ContentLength }

// NewBody returns a body of bytes that are at hand.
func NewBody(data []byte, mediaType string) Body {
	return &bytesBody{Reader: bytes.NewReader(data), mediaType: mediaType}
}

type bytesBody struct {
	*bytes.Reader
	mediaType string
}

func (b *bytesBody) Close() error      { return nil }
func (b *bytesBody) MediaType() string { return b.mediaType }
