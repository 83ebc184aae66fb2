package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// defaultIdle is three heartbeats of an event stream.
	defaultIdle = 45 * time.Second
	// headerTimeout leaves room for the longest wait that a request may ask
	// the server for.
	headerTimeout = 90 * time.Second
	maxRedirects  = 5
)

// Dial makes a client of the server at baseURL, such as
// https://easel.example.com. The key may be empty where the server needs none.
// Nothing is sent yet; the only error is a URL that cannot be one, or an option
// that is not for Dial.
func Dial(baseURL, key string, options ...OpenOption) (*Client, error) {
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
	o, err := open(byDial, options)
	if err != nil {
		return nil, err
	}
	remote := &remote{
		base: base, key: key, http: o.http, userAgent: o.userAgent, idle: defaultIdle,
		repeater: repeater{retries: o.retries, sleep: sleep},
	}
	if remote.http == nil {
		remote.http = newHTTPClient()
	}
	return newClient(remote, o), nil
}

// open takes the options in and refuses those that are for another way in.
func open(way string, options []OpenOption) (opening, error) {
	o := opening{retries: defaultRetries, userAgent: "easel-go"}
	for _, option := range options {
		option(&o)
	}
	for name, ways := range o.over {
		if !slices.Contains(ways, way) {
			return o, fmt.Errorf("%w: %s is an option of %s, not of %s", ErrUnsupported, name, strings.Join(ways, " and "), way)
		}
	}
	return o, o.config.check()
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
