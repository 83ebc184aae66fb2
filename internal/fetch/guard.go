package fetch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

	"github.com/easel-jobs/easel/pkg/classify"
)

// CodeRefused is the code of the error for a URL that may not be called. Its
// class is classify.Validation: coming again does not help.
const CodeRefused = "url_refused"

const (
	maxURL       = 4096
	maxRedirects = 5
	maxHeader    = 64 << 10
)

// Policy says what may be called.
type Policy struct {
	// AllowHTTP permits unencrypted calls.
	AllowHTTP bool
	// Ports are permitted beside 80 and 443.
	Ports []uint16
	// AllowOrigins are exempt from every rule but the one against user names in
	// URLs: exactly these schemes, hosts and ports, such as
	// "http://127.0.0.1:9000". It is for what the operator has configured.
	AllowOrigins []string
	// Resolver looks names up; nil is the system's.
	Resolver *net.Resolver
	// RootCAs vouch for servers; nil is the system's.
	RootCAs *x509.CertPool
}

// Guard decides what may be called. It is safe for concurrent use.
type Guard struct {
	policy  Policy
	ports   []uint16
	origins map[string]bool
	address *ssrf.Guardian
}

// NewGuard returns a guard, or what is wrong with the policy.
func NewGuard(policy Policy) (*Guard, error) {
	g := &Guard{
		policy:  policy,
		ports:   append([]uint16{80, 443}, policy.Ports...),
		origins: make(map[string]bool, len(policy.AllowOrigins)),
	}
	g.address = ssrf.New(ssrf.WithPorts(g.ports...))
	for i, raw := range policy.AllowOrigins {
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fmt.Errorf("fetch: allowed origin %d is not an http or https URL", i+1)
		}
		g.origins[origin(u)] = true
	}
	return g, nil
}

// origin is the scheme, host and port of a URL, in one spelling.
func origin(u *url.URL) string {
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port(u))
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "http":
		return "80"
	default:
		return "443"
	}
}

// CheckURL refuses a URL that could never be called, by its looks alone, so that
// a caller learns of it at once. What its name resolves to is checked when it is
// dialed. The error is classified, and does not repeat the URL.
func (g *Guard) CheckURL(raw string) error {
	if len(raw) > maxURL {
		return refuse("URL is longer than %d bytes", maxURL)
	}
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error would quote the URL.
		return refuse("URL is not valid")
	}
	return g.check(u)
}

func (g *Guard) check(u *url.URL) error {
	switch {
	case u.User != nil:
		return refuse("URL must not hold a user name or password")
	case u.Hostname() == "" || u.Opaque != "":
		return refuse("URL must be absolute")
	case g.origins[origin(u)]:
		return nil
	case u.Scheme == "http" && !g.policy.AllowHTTP:
		return refuse("URL must begin with https://")
	case u.Scheme != "http" && u.Scheme != "https":
		return refuse("URL must begin with https://")
	}
	if n, err := strconv.ParseUint(port(u), 10, 16); err != nil || !slices.Contains(g.ports, uint16(n)) {
		return refuse("port of the URL is not allowed")
	}
	return g.checkHost(strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")))
}

// checkHost refuses names that mean this machine, addresses that are not public,
// and the spellings of addresses that only some resolvers understand
// ("2130706433", "0x7f.1", "127.1").
func (g *Guard) checkHost(host string) error {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return refuse("host of the URL is not public")
	}
	if address, err := netip.ParseAddr(host); err == nil {
		if g.address.SafeAddr(address) != nil {
			return refuse("host of the URL is not public")
		}
		return nil
	}
	if endsInNumber(host) {
		return refuse("host of the URL is neither a name nor an address")
	}
	return nil
}

// endsInNumber is the WHATWG URL standard's test for what must be an address.
func endsInNumber(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}

func refuse(format string, args ...any) error {
	return &classify.Error{Class: classify.Validation, Code: CodeRefused, Message: fmt.Sprintf(format, args...)}
}

// Client returns a client that calls nothing that the guard refuses, redirects
// included, and sends neither cookies nor a referrer. It has no time-out of its
// own beyond those for connecting. The caller closes its idle connections.
func (g *Guard) Client() *http.Client {
	return &http.Client{
		Transport: &transport{
			guard:   g,
			guarded: g.transport(g.control),
			exempt:  g.transport(nil),
		},
		CheckRedirect: checkRedirect,
	}
}

// checkRedirect bounds redirects. Where they lead is checked by the transport.
func checkRedirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return &classify.Error{Class: classify.Server, Code: "too_many_redirects", Message: "server redirects too often"}
	}
	// A signed URL is a secret, and would be told to the next server.
	next.Header.Del("Referer")
	return nil
}

// transport keeps the connections of exempt origins apart, so that none of them
// is ever used for a guarded call.
type transport struct {
	guard           *Guard
	guarded, exempt *http.Transport
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := t.guard.check(request.URL); err != nil {
		if request.Body != nil {
			_ = request.Body.Close()
		}
		return nil, err
	}
	if t.guard.origins[origin(request.URL)] {
		return t.exempt.RoundTrip(request)
	}
	return t.guarded.RoundTrip(request)
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] calls.
func (t *transport) CloseIdleConnections() {
	t.guarded.CloseIdleConnections()
	t.exempt.CloseIdleConnections()
}

func (g *Guard) transport(control func(network, address string, c syscall.RawConn) error) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Resolver: g.policy.Resolver, Control: control}
	return &http.Transport{
		// Proxy stays nil: a proxy from the environment would do the dialing.
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: g.policy.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    8,
		MaxResponseHeaderBytes: maxHeader,
		// The bytes and their length are to be those of the file.
		DisableCompression: true,
		ForceAttemptHTTP2:  true,
	}
}

// control runs on each address before it is connected to. The refusal does not
// name the address: callers would learn what our names resolve to.
func (g *Guard) control(network, address string, c syscall.RawConn) error {
	err := g.address.Safe(network, address, c)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ssrf.ErrProhibitedPort):
		return &classify.Error{Class: classify.Validation, Code: CodeRefused, Message: "port of the URL is not allowed", Cause: err}
	default:
		return &classify.Error{Class: classify.Validation, Code: CodeRefused, Message: "host of the URL is not public", Cause: err}
	}
}
