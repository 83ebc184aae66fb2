package record

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// maxBody bounds what is kept of one answer.
const maxBody = 64 << 20

// Exchange is one call and its answer, as they were.
type Exchange struct {
	Method string
	URL    *url.URL
	Status int
	Header http.Header
	Body   []byte
}

// Recorder is a transport that keeps the answers which pass through it. It is
// safe for concurrent use.
type Recorder struct {
	base http.RoundTripper

	mu        sync.Mutex
	exchanges []Exchange
	secrets   map[string]bool
}

// NewRecorder records what base carries; nil means a transport that opens a
// connection for each call.
func NewRecorder(base http.RoundTripper) *Recorder {
	if base == nil {
		base = &http.Transport{DisableKeepAlives: true, WriteBufferSize: 64 << 10}
	}
	return &Recorder{base: base, secrets: map[string]bool{}}
}

// RoundTrip implements [http.RoundTripper].
func (r *Recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.learn(request)
	response, err := r.base.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	_ = response.Body.Close() // it was read, or is of no use
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxBody:
		return nil, fmt.Errorf("record: the answer is larger than %d bytes", maxBody)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exchanges = append(r.exchanges, Exchange{
		Method: request.Method, URL: request.URL, Status: response.StatusCode, Header: response.Header.Clone(), Body: body,
	})
	return response, nil
}

// shortestSecret keeps words such as "Bearer" from counting as credentials.
const shortestSecret = 8

// learn takes whatever a request carries beside its body for a credential: what
// it takes too much is replaced too often, which shows, and harms nobody.
func (r *Recorder) learn(request *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, values := range request.Header {
		if harmless[name] {
			continue
		}
		for _, value := range values {
			for _, word := range strings.Fields(value) {
				r.secret(word)
			}
		}
	}
	for name, values := range request.URL.Query() {
		if strings.Contains(strings.ToLower(name), "key") || strings.Contains(strings.ToLower(name), "token") {
			for _, value := range values {
				r.secret(value)
			}
		}
	}
}

func (r *Recorder) secret(text string) {
	if len(text) >= shortestSecret {
		r.secrets[text] = true
	}
}

// harmless are headers that every client sends.
var harmless = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Content-Type": true, "Content-Length": true, "User-Agent": true, "Prefer": true,
}

// take returns the exchanges since it was last called, and all secrets that were
// seen so far.
func (r *Recorder) take() (exchanges []Exchange, secrets []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	exchanges, r.exchanges = r.exchanges, nil
	for secret := range r.secrets {
		secrets = append(secrets, secret)
	}
	return exchanges, secrets
}
