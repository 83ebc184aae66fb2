package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Job is a job as the API shows it.
type Job = tasks.View

// Client speaks to one Easel server. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	key       string
	http      *http.Client
	userAgent string
	retries   int
	idle      time.Duration

	// sleep waits, or returns the context's error; tests do not wait.
	sleep func(ctx context.Context, d time.Duration) error
}

const (
	defaultRetries = 4
	// defaultIdle is three heartbeats of an event stream.
	defaultIdle = 45 * time.Second
	// headerTimeout leaves room for the longest wait that a request may ask
	// the server for.
	headerTimeout = 90 * time.Second
	maxRedirects  = 5
)

// DialOption changes how a [Client] works.
type DialOption func(*Client)

// WithHTTPClient sends requests through h, which should not have a Timeout of
// its own: that would cut off [Client.Watch].
func WithHTTPClient(h *http.Client) DialOption {
	return func(c *Client) { c.http = h }
}

// WithRetries sets how often a call is repeated; 0 tries once.
func WithRetries(n int) DialOption {
	return func(c *Client) { c.retries = max(n, 0) }
}

// WithUserAgent names the program in the requests' User-Agent.
func WithUserAgent(name string) DialOption {
	return func(c *Client) { c.userAgent = name }
}

// Dial makes a client of the server at baseURL, such as
// https://easel.example.com. The key may be empty where the server needs none.
// Nothing is sent yet; the only error is a URL that cannot be one.
func Dial(baseURL, key string, options ...DialOption) (*Client, error) {
	base, err := url.Parse(strings.TrimRight(baseURL, "/"))
	switch {
	case err != nil:
		return nil, errors.New("easel: the server's address is not a URL")
	case base.Scheme != "http" && base.Scheme != "https" || base.Host == "":
		return nil, errors.New("easel: the server's address must begin with http:// or https:// and name a host")
	case base.User != nil || base.RawQuery != "" || base.Fragment != "":
		return nil, errors.New("easel: the server's address must not have a user, query or fragment; the key is given apart")
	case strings.ContainsAny(key, "\r\n"):
		return nil, errors.New("easel: the key must be one line")
	}
	c := &Client{
		base: base, key: key, http: newHTTPClient(), userAgent: "easel-go",
		retries: defaultRetries, idle: defaultIdle, sleep: sleep,
	}
	for _, option := range options {
		option(c)
	}
	return c, nil
}

func newHTTPClient() *http.Client {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	if standard, ok := http.DefaultTransport.(*http.Transport); ok {
		transport = standard.Clone()
	}
	transport.ResponseHeaderTimeout = headerTimeout
	transport.MaxIdleConnsPerHost = 32
	return &http.Client{Transport: transport, CheckRedirect: followReads}
}

// followReads refuses to follow where a redirect would turn a POST into a GET,
// and a request for work into a look at a list.
func followReads(_ *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects", maxRedirects)
	}
	if via[0].Method != http.MethodGet {
		return http.ErrUseLastResponse
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
