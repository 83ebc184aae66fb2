package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// Client is how adapters speak HTTP. Each method makes one call: it is never
// repeated, it is bounded by its context and in its size, and its failure comes
// back as a [*classify.Error] that says whether anything can have been bought.
//
// Messages hold no URL query, no header, no credential and no body.
type Client struct {
	config   ClientConfig
	base     *url.URL
	submits  http.RoundTripper
	requests http.RoundTripper
}

// ClientConfig is what a [Client] has to know of its provider. Provider and
// BaseURL are required.
type ClientConfig struct {
	Provider string // its name in errors
	BaseURL  string
	// Authorize adds the credentials. It is called for the provider's own
	// hosts only, and what it adds is struck out of every message.
	Authorize func(*http.Request)
	// Hosts are hosts beside BaseURL's that are the provider's own, such as
	// "api.eu.example.com" or "*.example.com". They are called over https only.
	Hosts []string
	// DecodeError reads an error body. It fills in what the body says: Code,
	// Message, perhaps Field and RetryAfter, and Class where neither the code
	// nor the status tells. It answers nil when the body is not of the
	// provider's own making, such as a gateway's page.
	DecodeError func(status int, header http.Header, body []byte) *classify.Error
	// Classes says what the provider's codes mean, in lower case, where the
	// HTTP status does not say it.
	Classes map[string]classify.Class
	// DoubtServerErrors says that a 5xx leaves open what became of a submit
	// even when the provider itself says it, with whatever code. Otherwise an
	// error body of the provider's own making proves that it was asked and
	// would not.
	DoubtServerErrors bool
	// MaxBody is how much of an answer is read at most; 0 means 64 MiB.
	MaxBody int64
	// Transport carries the calls. Nil means one without a proxy that opens
	// a new connection for each submit.
	Transport http.RoundTripper
	// Proxy chooses the proxy of that transport. Nil means none: the
	// environment's is not used.
	Proxy func(*http.Request) (*url.URL, error)
	// Outside carries redirects of reads to hosts that are not the provider's
	// own, without credentials. Nil refuses them.
	Outside http.RoundTripper
}

const (
	defaultMaxBody = 64 << 20
	maxErrorBody   = 1 << 20
	maxRedirects   = 5
	connectTimeout = 10 * time.Second
)

// NewClient returns a client for one provider.
func NewClient(config ClientConfig) (*Client, error) {
	base, err := url.Parse(config.BaseURL)
	switch {
	case err != nil, base.Host == "", base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New("base_url: must be an http or https URL")
	case base.User != nil, base.RawQuery != "", base.Fragment != "":
		return nil, errors.New("base_url: must have no user, query or fragment")
	}
	if config.MaxBody <= 0 {
		config.MaxBody = defaultMaxBody
	}
	c := &Client{config: config, base: base, submits: config.Transport, requests: config.Transport}
	if config.Transport == nil {
		c.submits, c.requests = newSubmitTransport(config.Proxy), newTransport(config.Proxy)
	}
	return c, nil
}

func newTransport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	return &http.Transport{
		Proxy:               proxy,
		DialContext:         (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout: connectTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 4,                // each costs two goroutines for as long as polls go on
		IdleConnTimeout:     15 * time.Second, // a burst of submits leaves no goroutines behind for long
	}
}

// newSubmitTransport opens a connection for each call: one that was kept alive
// may be closed by the server at the very moment we write to it, which leaves
// us not knowing whether a paid request arrived. It speaks HTTP/1.1 and has a
// buffer that holds the whole head of a request, so that a request can be held
// back at the last moment; see [gate].
func newSubmitTransport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	t := newTransport(proxy)
	t.DisableKeepAlives = true
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	t.WriteBufferSize = 64 << 10
	return t
}

// Call is one request.
type Call struct {
	Method string // empty: GET, or POST when there is a payload
	// URL is a path below the base URL, or an absolute URL on a host that is
	// the provider's own.
	URL    string
	Query  url.Values
	Header http.Header
	// Payload is the request's body, nil for none.
	Payload *Payload
	// Submit marks the paid call. It is not sent once its context's deadline
	// has passed, and whatever leaves open whether the provider has taken it is
	// a classify.UnknownOutcome.
	Submit bool
	// MaxBody overrides the client's bound for this answer.
	MaxBody int64
	// Anywhere lets a read go to a host that is not the provider's own, as
	// outputs on delivery networks do: over https, without credentials, by way
	// of [ClientConfig].Outside.
	Anywhere bool
}

// Reply is a whole answer with a 2xx status.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// JSON sends in as JSON, unless it is nil, and decodes the answer into out,
// unless that is nil.
func (c *Client) JSON(ctx context.Context, call Call, in, out any) (Reply, error) {
	if in != nil {
		payload, err := JSONPayload(in)
		if err != nil {
			return Reply{}, c.invalid(err)
		}
		call.Payload = payload
	}
	call.Header = withDefault(call.Header, "Accept", "application/json")
	reply, err := c.Do(ctx, call)
	if err != nil || out == nil {
		return reply, err
	}
	if err := json.Unmarshal(reply.Body, out); err != nil {
		return reply, c.strange(call.Submit, reply.Status, "undecodable", "the answer is not the JSON that was expected")
	}
	return reply, nil
}

// Do makes the call and reads the whole answer.
func (c *Client) Do(ctx context.Context, call Call) (Reply, error) {
	trip, err := c.send(ctx, call)
	if err != nil {
		return Reply{}, err
	}
	defer func() { _ = trip.response.Body.Close() }() // what was needed has been read
	limit := c.config.MaxBody
	if call.MaxBody > 0 {
		limit = call.MaxBody
	}
	body, err := io.ReadAll(io.LimitReader(trip.response.Body, limit+1))
	if err != nil {
		return Reply{}, trip.broken(err)
	}
	if int64(len(body)) > limit {
		failure := c.strange(call.Submit, trip.response.StatusCode, "too_large", "the answer is larger than we accept")
		failure.Cause = ErrTooLarge
		return Reply{}, failure
	}
	return Reply{Status: trip.response.StatusCode, Header: trip.response.Header, Body: body}, nil
}

// Open makes the call and returns the answer's body to be read as it comes, at
// most limit bytes (0 means no limit; beyond it reads fail with [ErrTooLarge]).
// The caller closes it.
func (c *Client) Open(ctx context.Context, call Call, limit int64) (Body, error) {
	// Compressed content would hide the size, and media does not compress.
	call.Header = withDefault(call.Header, "Accept-Encoding", "identity")
	trip, err := c.send(ctx, call)
	if err != nil {
		return nil, err
	}
	return newResponseBody(trip, limit)
}

// CloseIdleConnections closes connections that are kept for further calls.
func (c *Client) CloseIdleConnections() {
	for _, transport := range []http.RoundTripper{c.submits, c.requests} {
		if closer, ok := transport.(interface{ CloseIdleConnections() }); ok {
			closer.CloseIdleConnections()
		}
	}
}

// send makes the call, follows redirects of reads, and returns a round trip
// whose response is a 2xx.
func (c *Client) send(ctx context.Context, call Call) (*roundTrip, error) {
	target, err := c.resolve(call)
	if err != nil {
		return nil, c.invalid(err)
	}
	for range maxRedirects + 1 {
		trip, err := c.roundTrip(ctx, call, target)
		if err != nil {
			return nil, err
		}
		status := trip.response.StatusCode
		if status >= 200 && status <= 299 {
			return trip, nil
		}
		if status < 300 || status > 399 {
			return nil, trip.refused()
		}
		if target, err = c.follow(call, target, trip); err != nil {
			return nil, err
		}
	}
	return nil, c.strange(call.Submit, 0, "redirected", "the answer redirects too often")
}

// follow returns where a redirect leads. Only reads are redirected: a POST that
// is sent again might be a second purchase.
func (c *Client) follow(call Call, from *url.URL, trip *roundTrip) (*url.URL, error) {
	defer func() { _ = trip.response.Body.Close() }() // what was needed has been read
	status := trip.response.StatusCode
	if method := call.method(); call.Submit || method != http.MethodGet && method != http.MethodHead {
		if call.Submit && status == http.StatusSeeOther {
			// "See Other" is an answer to something that was done.
			return nil, c.strange(true, status, "redirected", "the answer is a redirect")
		}
		return nil, c.failure(classify.Unknown, status, "redirected", "the answer is a redirect; check the base URL")
	}
	next, err := from.Parse(trip.response.Header.Get("Location"))
	if err != nil || next.Host == "" || next.User != nil || next.Scheme != "https" && next.Scheme != from.Scheme {
		return nil, c.failure(classify.Server, status, "redirected", "the answer redirects to a URL that we do not call")
	}
	if !c.own(next) && c.config.Outside == nil {
		return nil, c.failure(classify.Unknown, status, "redirected", "the answer redirects to a host that is not the provider's")
	}
	return next, nil
}

// resolve makes the URL of a call. A URL that is not the provider's own is
// refused: it came out of an answer, and our credentials would go with it.
func (c *Client) resolve(call Call) (*url.URL, error) {
	var target *url.URL
	if strings.HasPrefix(call.URL, "https://") || strings.HasPrefix(call.URL, "http://") {
		absolute, err := url.Parse(call.URL)
		if err != nil || absolute.User != nil || !c.own(absolute) && !c.outside(call, absolute) {
			return nil, errors.New("the URL is not one of the provider's own")
		}
		target = absolute
	} else {
		path, query, _ := strings.Cut(strings.TrimPrefix(call.URL, "/"), "?")
		below, err := url.Parse(strings.TrimSuffix(c.base.String(), "/") + "/" + path)
		if err != nil {
			return nil, errors.New("the path cannot be part of a URL")
		}
		below.RawQuery = query
		target = below
	}
	if len(call.Query) > 0 {
		query := target.Query()
		for key, values := range call.Query {
			query[key] = values
		}
		target.RawQuery = query.Encode()
	}
	return target, nil
}

// own reports whether the URL is on a host that may see our credentials.
func (c *Client) own(u *url.URL) bool {
	if u.Scheme == c.base.Scheme && strings.EqualFold(u.Host, c.base.Host) {
		return true
	}
	if u.Scheme != "https" || u.Port() != "" && u.Port() != "443" {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, own := range c.config.Hosts {
		if suffix, wild := strings.CutPrefix(own, "*"); host == own || wild && strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// outside reports whether the call may go to a host that is not the provider's.
func (c *Client) outside(call Call, u *url.URL) bool {
	return call.Anywhere && !call.Submit && call.method() == http.MethodGet && u.Scheme == "https" && c.config.Outside != nil
}

func (call Call) method() string {
	switch {
	case call.Method != "":
		return call.Method
	case call.Payload != nil:
		return http.MethodPost
	}
	return http.MethodGet
}

// request makes the HTTP request for one hop, and returns the credentials that
// went into it.
func (c *Client) request(ctx context.Context, call Call, target *url.URL) (*http.Request, []string, error) {
	req, err := http.NewRequestWithContext(ctx, call.method(), target.String(), nil)
	if err != nil {
		return nil, nil, c.invalid(errors.New("the request cannot be made"))
	}
	if !c.own(target) {
		// What a call says in its headers is meant for the provider.
		for _, key := range []string{"Accept", "Accept-Encoding", "Range"} {
			if value := call.Header.Get(key); value != "" {
				req.Header.Set(key, value)
			}
		}
		return req, nil, nil
	}
	var secrets []string
	if c.config.Authorize != nil {
		c.config.Authorize(req)
		secrets = credentials(req, target.Query())
	}
	maps.Copy(req.Header, call.Header)
	if call.Payload != nil {
		req.Header.Set("Content-Type", call.Payload.contentType)
	}
	if req.UserAgent() == "" {
		req.Header.Set("User-Agent", "easel")
	}
	return req, secrets, nil
}

// Strange is the error for an answer of the right form and the wrong content:
// an id that is missing, a state that nobody documented. On a submit it leaves
// open what was bought.
func (c *Client) Strange(submit bool, format string, args ...any) error {
	return c.strange(submit, 0, "unexpected_answer", fmt.Sprintf(format, args...))
}

// Failed is the failure that a provider reports of a generation in its state,
// for [Status].Failure. A code that [ClientConfig].Classes does not know means
// that the generation failed.
func (c *Client) Failed(code, message string) *classify.Error {
	class, ok := c.config.Classes[strings.ToLower(code)]
	if !ok {
		class = classify.GenerationFailed
	}
	var scrub scrubber
	if _, secrets, err := c.request(context.Background(), Call{}, c.base); err == nil {
		scrub.secrets = secrets
	}
	failure := c.failure(class, 0, scrub.code(code), scrub.message(message))
	if failure.Message == "" {
		failure.Message = "the generation failed"
	}
	return failure
}

// Refused is the error for an answer with a status of success whose body says
// that there was none, as some providers have it: what is said in it decides,
// and what the call has sent is struck out. A code that [ClientConfig].Classes
// does not know is classify.Unknown.
func (c *Client) Refused(call Call, code, message string) *classify.Error {
	class, known := c.config.Classes[strings.ToLower(code)]
	switch {
	case !known:
		class = classify.Unknown
	case call.Submit && c.config.DoubtServerErrors && class == classify.Server:
		class = classify.UnknownOutcome
	}
	failure := c.Failed(code, message)
	scrub := scrubber{payload: call.Payload}
	failure.Class, failure.Status = class, http.StatusOK
	failure.Code, failure.Message = scrub.code(failure.Code), scrub.message(failure.Message)
	return failure
}

func (c *Client) strange(submit bool, status int, code, message string) *classify.Error {
	class := classify.Server
	if submit {
		class = classify.UnknownOutcome
	}
	return c.failure(class, status, code, message)
}

// invalid is a call that we could not even make.
func (c *Client) invalid(err error) *classify.Error {
	failure := c.failure(classify.Unknown, 0, "request_not_made", err.Error())
	failure.Cause = ErrNotCalled
	return failure
}

func (c *Client) failure(class classify.Class, status int, code, message string) *classify.Error {
	return &classify.Error{Class: class, Status: status, Code: code, Message: message, Provider: c.config.Provider}
}

// withDefault returns the header with the key set, unless it says something
// else. The header that it was given stays as it was.
func withDefault(header http.Header, key, value string) http.Header {
	if header.Get(key) != "" {
		return header
	}
	header = header.Clone()
	if header == nil {
		header = http.Header{}
	}
	header.Set(key, value)
	return header
}
