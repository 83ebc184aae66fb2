package providertest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Double stands in for a provider's server: it answers as it is told and
// remembers what it was asked.
type Double struct {
	URL string

	mu       sync.Mutex
	answer   http.HandlerFunc
	requests []Recorded
	arrived  chan struct{}
}

// Recorded is a request that a [Double] got.
type Recorded struct {
	Method string
	Path   string
	Query  string
	Header http.Header
	Body   []byte
}

// NewDouble starts a double that answers with the handler until it is told
// otherwise. It stops with the test.
func NewDouble(t testing.TB, answer http.HandlerFunc) *Double {
	t.Helper()
	d := &Double{answer: answer, arrived: make(chan struct{}, 1000)}
	server := httptest.NewServer(d)
	d.URL = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return d
}

// Answer changes what the double answers from now on.
func (d *Double) Answer(answer http.HandlerFunc) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answer = answer
}

// Arrived gets a value for each request that was read.
func (d *Double) Arrived() <-chan struct{} { return d.arrived }

// Requests lists what the double was asked, in order.
func (d *Double) Requests() []Recorded {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]Recorded(nil), d.requests...)
}

// ServeHTTP implements [http.Handler].
func (d *Double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	d.requests = append(d.requests, Recorded{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone(), body})
	answer := d.answer
	d.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	d.arrived <- struct{}{}
	answer(w, r)
}

// Reply is an answer as a provider really gave it, kept in a file: a status
// line, header lines, an empty line and the body (RFC 9112). Lines may end in a
// line feed only. In the body {{BaseURL}} stands for the URL of the server that
// replies, {{Unix}} and {{RFC3339}} for the time.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// ReadReply reads a reply from a file.
func ReadReply(fsys fs.FS, name string) (Reply, error) {
	raw, err := fs.ReadFile(fsys, name)
	if err != nil {
		return Reply{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		return Reply{}, fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Reply{}, fmt.Errorf("%s: %w", name, err)
	}
	return Reply{Status: response.StatusCode, Header: response.Header, Body: body}, nil
}

// MustReply is [ReadReply] for tests.
func MustReply(t testing.TB, fsys fs.FS, name string) Reply {
	t.Helper()
	reply, err := ReadReply(fsys, name)
	require.NoError(t, err)
	return reply
}

// ServeHTTP sends the reply.
func (r Reply) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	for key, values := range r.Header {
		if key != "Content-Length" {
			w.Header()[key] = values
		}
	}
	w.WriteHeader(r.Status)
	_, _ = w.Write(r.bodyFor(req))
}

func (r Reply) bodyFor(req *http.Request) []byte {
	body := r.Body
	now := time.Now().UTC()
	for name, value := range map[string]string{
		"{{BaseURL}}": "http://" + req.Host,
		"{{Unix}}":    strconv.FormatInt(now.Unix(), 10),
		"{{RFC3339}}": now.Format(time.RFC3339Nano),
	} {
		body = bytes.ReplaceAll(body, []byte(name), []byte(value))
	}
	return body
}

// truncated sends the first half of the reply's body and cuts the connection.
func (r Reply) truncated(w http.ResponseWriter, req *http.Request) {
	r.half(w, req)
	panic(http.ErrAbortHandler)
}

// unfinished sends the first half of the reply's body, and no more.
func (r Reply) unfinished(w http.ResponseWriter, req *http.Request) {
	r.half(w, req)
	<-req.Context().Done()
}

func (r Reply) half(w http.ResponseWriter, req *http.Request) {
	body := r.bodyFor(req)
	w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
	w.Header().Set("Content-Length", fmt.Sprint(max(len(body), 2)))
	w.WriteHeader(r.Status)
	_, _ = w.Write(body[:len(body)/2])
	w.(http.Flusher).Flush()
}

// The ways of servers that have gone wrong.

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func cut(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// page is what a gateway in between says, never the provider.
func page(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html><body><h1>gateway</h1></body></html>")
	}
}

// endless sends a document that does not end, until the client has had enough
// or 256 MiB were sent.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	chunk := []byte(strings.Repeat("a", 1<<20))
	_, _ = io.WriteString(w, `{"id":"`)
	for range 256 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// echo answers with an error that quotes the whole request in every field that
// some provider puts its messages into.
func echo(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var said []string
		for _, values := range r.Header {
			said = append(said, values...)
		}
		said = append(said, r.URL.String(), string(body))
		quote := fmt.Sprintf("%q", strings.ToValidUTF8(strings.Join(said, " "), "?"))
		quote = strings.NewReplacer(`\x`, `\u00`, `\a`, ` `, `\v`, ` `).Replace(quote)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":{"message":%[1]s,"code":%[1]s,"type":%[1]s,"status":%[1]s},`+
			`"message":%[1]s,"detail":%[1]s,"title":%[1]s,"code":%[1]s,"name":%[1]s,"errors":[%[1]s]}`, quote)
	}
}
