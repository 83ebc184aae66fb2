package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// httpRequest gives a handler the request behind its typed input, where it
// reads the body itself or a header that may come more than once.
type httpRequest struct {
	r *http.Request
	w http.ResponseWriter
}

// Resolve implements huma.Resolver.
func (q *httpRequest) Resolve(ctx huma.Context) []error {
	q.r, q.w = humago.Unwrap(ctx)
	return nil
}

// maxDepth is how deeply a body may be nested. What generation APIs take is
// nested a handful of times.
const maxDepth = 64

// readJSON reads a body that must be JSON, and makes sure that it is: one
// value, UTF-8, not nested without end. It does not say what the value is.
func (s *server) readJSON(q httpRequest, limit int64) (json.RawMessage, error) {
	if err := checkMediaType(q.r.Header); err != nil {
		return nil, err
	}
	raw, err := s.readBody(q, limit)
	if err != nil {
		return nil, err
	}
	if err := checkJSON(raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// readOptionalJSON is readJSON for calls whose body may be left out.
func (s *server) readOptionalJSON(q httpRequest, limit int64) (json.RawMessage, error) {
	if q.r.ContentLength == 0 {
		return json.RawMessage("{}"), nil
	}
	return s.readJSON(q, limit)
}

// readBody reads at most limit bytes. Once it has them all it takes off the
// deadline that [server.observe] has set, because the connection's reader goes
// on to watch for the client hanging up.
func (s *server) readBody(q httpRequest, limit int64) ([]byte, error) {
	tooLarge := newProblem(codeTooLarge, fmt.Sprintf("The body may have up to %d bytes.", limit))
	if q.r.ContentLength > limit {
		return nil, tooLarge
	}
	raw, err := io.ReadAll(&counted{r: http.MaxBytesReader(q.w, q.r.Body, limit), x: exchangeOf(q.r.Context()), room: &s.bodies})
	var exceeded *http.MaxBytesError
	switch {
	case err == nil:
		setReadDeadline(q.w, time.Time{})
		return raw, nil
	case errors.As(err, &exceeded):
		return nil, tooLarge
	case errors.Is(err, errNoMemory):
		return nil, unavailable("Too many large requests are being served.", 2, nil)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, newProblem(codeMalformed, "The body did not arrive in time.")
	default:
		return nil, newProblem(codeMalformed, "The body ended before it was complete.")
	}
}

var errNoMemory = errors.New("bodies take all the room that there is")

// counted is a body on its way whose bytes count as held until the request has
// been answered. They count as they come: a length that is only promised takes
// no room from anybody.
type counted struct {
	r    io.Reader
	x    *exchange
	room *memory
}

// Read implements [io.Reader].
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if !c.room.take(int64(n)) {
		return 0, errNoMemory
	}
	c.x.held += int64(n)
	return n, err
}

// letGo gives back the room of the request's body before the request ends.
func (s *server) letGo(ctx context.Context) {
	x := exchangeOf(ctx)
	s.bodies.give(x.held)
	x.held = 0
}

// setReadDeadline bounds how long the client may take to send what is left of
// its request.
func setReadDeadline(w http.ResponseWriter, deadline time.Time) {
	// A writer without deadlines (a test's recorder) has nothing to wait for.
	_ = http.NewResponseController(w).SetReadDeadline(deadline)
}

func checkMediaType(header http.Header) error {
	if encoding := header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return newProblem(codeUnsupportedType, "The body must not be compressed.")
	}
	mediaType, parameters, err := mime.ParseMediaType(header.Get("Content-Type"))
	charset := parameters["charset"]
	if err != nil || mediaType != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return newProblem(codeUnsupportedType, "The body must be JSON in UTF-8 and say so: Content-Type: application/json.")
	}
	return nil
}

func checkJSON(raw []byte) error {
	if len(raw) == 0 {
		return newProblem(codeMalformed, "The body is empty.")
	}
	if !utf8.Valid(raw) {
		return newProblem(codeMalformed, "The body is not UTF-8.")
	}
	if depth(raw) > maxDepth {
		return newProblem(codeMalformed, fmt.Sprintf("The body is nested more than %d times.", maxDepth))
	}
	var whole json.RawMessage
	err := json.Unmarshal(raw, &whole)
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		// The error's own text would repeat a character of the body.
		return newProblem(codeMalformed, fmt.Sprintf("The body is not JSON: it goes wrong at byte %d.", syntax.Offset))
	default:
		return newProblem(codeMalformed, "The body is not JSON.")
	}
}

// depth is how deeply brackets outside of strings are nested.
func depth(raw []byte) int {
	var level, deepest int
	var quoted, escaped bool
	for _, c := range raw {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped = c == '\\'
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			level++
			deepest = max(deepest, level)
		case c == '}' || c == ']':
			level--
		}
	}
	return deepest
}
