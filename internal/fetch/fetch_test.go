package fetch

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/easel-jobs/easel/pkg/classify"
)

// exempt returns a fetcher that may call the servers.
func exempt(t *testing.T, limits Limits, servers ...*httptest.Server) *Fetcher {
	t.Helper()
	policy := Policy{}
	for _, server := range servers {
		policy.AllowOrigins = append(policy.AllowOrigins, server.URL)
	}
	return fetcher(t, policy, limits)
}

func fetcher(t *testing.T, policy Policy, limits Limits) *Fetcher {
	t.Helper()
	f := New(newGuard(t, policy), limits)
	t.Cleanup(f.Close)
	return f
}

func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

func requireClass(t *testing.T, err error, class classify.Class) *classify.Error {
	t.Helper()
	var failure *classify.Error
	require.True(t, errors.As(err, &failure), "%v", err)
	require.Equal(t, class, failure.Class, failure.Message)
	return failure
}

func TestFetchReturnsTheFile(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/file" {
			http.Redirect(w, r, "/file?signature=1", http.StatusFound)
			return
		}
		for _, name := range []string{"Referer", "Cookie", "Authorization", "Accept-Encoding"} {
			if r.Header.Get(name) != "" {
				t.Errorf("%s was sent: %q", name, r.Header.Get(name))
			}
		}
		w.Header().Set("Content-Type", "image/png")
		_, _ = io.WriteString(w, "bytes")
	})
	body, err := exempt(t, Limits{}, server).Fetch(t.Context(), server.URL+"/redirect?signature=2")
	require.NoError(t, err)
	require.Equal(t, "image/png", body.MediaType())
	require.EqualValues(t, 5, body.Size())
	data, err := io.ReadAll(body)
	require.NoError(t, err)
	require.Equal(t, "bytes", string(data))
	require.NoError(t, body.Close())
}

func TestFetchClassifiesStatuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		class  classify.Class
	}{
		{http.StatusNoContent, classify.Server},
		{http.StatusNotModified, classify.Server},
		{http.StatusUnauthorized, classify.NotFound},
		{http.StatusForbidden, classify.NotFound},
		{http.StatusNotFound, classify.NotFound},
		{http.StatusGone, classify.NotFound},
		{http.StatusTooManyRequests, classify.RateLimit},
		{http.StatusInternalServerError, classify.Server},
		{http.StatusServiceUnavailable, classify.Overloaded},
	}
	for _, tt := range tests {
		t.Run(strconv.Itoa(tt.status), func(t *testing.T) {
			t.Parallel()
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "9")
				w.WriteHeader(tt.status)
			})
			_, err := exempt(t, Limits{}, server).Fetch(t.Context(), server.URL+"/?signature=secret")
			failure := requireClass(t, err, tt.class)
			require.Equal(t, tt.status, failure.Status)
			require.Equal(t, 9*time.Second, failure.RetryAfter)
			require.NotContains(t, err.Error(), "secret")
		})
	}
}

// The servers below are really there: only the guard keeps us from them.
func TestFetchDoesNotReachOurOwnNetwork(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	inside := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	_, insidePort, err := net.SplitHostPort(inside.Listener.Addr().String())
	require.NoError(t, err)
	n, err := strconv.ParseUint(insidePort, 10, 16)
	require.NoError(t, err)
	// Everything but the address is allowed.
	open := Policy{AllowHTTP: true, Ports: []uint16{uint16(n)}}

	hosts := []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "[fd00::1]", "10.0.0.1",
		"2130706433", "0x7f000001", "127.1", "0.0.0.0",
	}
	for _, host := range hosts {
		target := "http://" + host + ":" + insidePort + "/"
		t.Run("named "+host, func(t *testing.T) {
			t.Parallel()
			_, err := fetcher(t, open, Limits{}).Fetch(t.Context(), target)
			requireRefused(t, err)
		})
		t.Run("redirected to "+host, func(t *testing.T) {
			t.Parallel()
			outside := serve(t, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, target, http.StatusFound)
			})
			policy := open
			policy.AllowOrigins = []string{outside.URL}
			_, err := fetcher(t, policy, Limits{}).Fetch(t.Context(), outside.URL)
			requireRefused(t, err)
		})
	}
	t.Cleanup(func() { require.Zero(t, reached.Load()) })
}

func TestFetchChecksTheAddressThatIsDialed(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	inside := serve(t, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	_, port, err := net.SplitHostPort(inside.Listener.Addr().String())
	require.NoError(t, err)
	n, err := strconv.ParseUint(port, 10, 16)
	require.NoError(t, err)
	policy := Policy{AllowHTTP: true, Ports: []uint16{uint16(n)}}

	for _, address := range []string{"127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fd00::1", "192.168.1.1"} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			policy := policy
			policy.Resolver = resolver(t, address)
			_, err := fetcher(t, policy, Limits{}).Fetch(t.Context(), "http://cdn.example.com:"+port+"/")
			requireRefused(t, err)
			require.NotContains(t, err.Error(), address, "what the name resolves to is not told")
		})
	}

	t.Run("resolved anew for each connection", func(t *testing.T) {
		t.Parallel()
		// A public name server may answer with a public address first and
		// with one of ours when it is asked again.
		dialed := newGuard(t, policy)
		require.NoError(t, dialed.control("tcp4", "93.184.216.34:443", nil))
		requireRefused(t, dialed.control("tcp4", "127.0.0.1:443", nil))
		requireRefused(t, dialed.control("tcp4", "93.184.216.34:22", nil))
		requireRefused(t, dialed.control("udp4", "93.184.216.34:443", nil))
	})

	t.Run("exempt origin", func(t *testing.T) {
		t.Parallel()
		outside := serve(t, func(http.ResponseWriter, *http.Request) {})
		at, err := url.Parse(outside.URL)
		require.NoError(t, err)
		// The name is exempt on that port; another name with the same
		// address is not.
		policy := Policy{
			AllowOrigins: []string{"http://provider.internal:" + at.Port()}, AllowHTTP: true,
			Resolver: resolver(t, "127.0.0.1"),
		}
		n, err := strconv.ParseUint(at.Port(), 10, 16)
		require.NoError(t, err)
		policy.Ports = []uint16{uint16(n)}
		f := fetcher(t, policy, Limits{})
		body, err := f.Fetch(t.Context(), "http://provider.internal:"+at.Port()+"/")
		require.NoError(t, err)
		require.NoError(t, body.Close())
		_, err = f.Fetch(t.Context(), "http://other.internal:"+at.Port()+"/")
		requireRefused(t, err)
	})
	t.Cleanup(func() { require.Zero(t, reached.Load()) })
}

// resolver answers every question with one address, from a name server on
// loopback.
func resolver(t *testing.T, address string) *net.Resolver {
	t.Helper()
	connection, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := connection.ReadFrom(buffer)
			if err != nil {
				return // closed
			}
			if answer, err := dnsAnswer(buffer[:n], net.ParseIP(address)); err == nil {
				_, _ = connection.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { _ = connection.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", connection.LocalAddr().String())
	}}
}

func dnsAnswer(question []byte, address net.IP) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response = true
	m.Additionals = nil
	header := dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET}
	v4, isV4 := address.To4(), address.To4() != nil
	switch m.Questions[0].Type {
	case dnsmessage.TypeA:
		if isV4 {
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte(v4)}}}
		}
	case dnsmessage.TypeAAAA:
		if !isV4 {
			m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: [16]byte(address.To16())}}}
		}
	}
	return m.Pack()
}

func TestFetchRedirects(t *testing.T) {
	t.Parallel()
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		left, _ := strconv.Atoi(r.URL.Query().Get("left"))
		if left > 0 {
			http.Redirect(w, r, "/?left="+strconv.Itoa(left-1), http.StatusFound)
		}
	})
	f := exempt(t, Limits{}, server)
	body, err := f.Fetch(t.Context(), server.URL+"/?left=5")
	require.NoError(t, err)
	require.NoError(t, body.Close())
	_, err = f.Fetch(t.Context(), server.URL+"/?left=6")
	require.Equal(t, "too_many_redirects", requireClass(t, err, classify.Server).Code)
}

func TestFetchRefusesRedirectsToOtherSchemes(t *testing.T) {
	t.Parallel()
	for _, to := range []string{"file:///etc/passwd", "http://example.com/", "https://user:hunter2@example.com/", "https://example.com:22/"} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		})
		_, err := exempt(t, Limits{}, server).Fetch(t.Context(), server.URL)
		requireRefused(t, err)
		require.NotContains(t, err.Error(), "hunter2")
	}
}

func TestFetchBounds(t *testing.T) {
	t.Parallel()

	t.Run("announced size", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1001)) })
		_, err := exempt(t, Limits{Bytes: 1000}, server).Fetch(t.Context(), server.URL)
		require.Equal(t, CodeTooLarge, requireClass(t, err, classify.Validation).Code)
	})

	t.Run("endless body", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		})
		body, err := exempt(t, Limits{Bytes: 1 << 20}, server).Fetch(t.Context(), server.URL)
		require.NoError(t, err)
		require.EqualValues(t, -1, body.Size())
		n, err := io.Copy(io.Discard, body)
		require.Equal(t, CodeTooLarge, requireClass(t, err, classify.Validation).Code)
		require.LessOrEqual(t, n, int64(1<<20))
		_ = body.Close()
	})

	t.Run("body cut short", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		})
		body, err := exempt(t, Limits{}, server).Fetch(t.Context(), server.URL)
		require.NoError(t, err)
		_, err = io.ReadAll(body)
		_ = requireClass(t, err, classify.Network)
		_ = body.Close()
	})

	t.Run("stalled body", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		})
		body, err := exempt(t, Limits{Idle: 20 * time.Millisecond}, server).Fetch(t.Context(), server.URL)
		require.NoError(t, err)
		data, err := io.ReadAll(body)
		require.Equal(t, "half", string(data))
		require.Equal(t, "download stalled", requireClass(t, err, classify.Timeout).Message)
		_ = body.Close()
	})

	t.Run("slow body", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			ticker := time.NewTicker(time.Millisecond)
			defer ticker.Stop()
			for {
				select {
				case <-r.Context().Done():
					return
				case <-ticker.C:
					_, _ = io.WriteString(w, "x")
					w.(http.Flusher).Flush()
				}
			}
		})
		body, err := exempt(t, Limits{Total: 100 * time.Millisecond}, server).Fetch(t.Context(), server.URL)
		require.NoError(t, err)
		_, err = io.ReadAll(body)
		require.Equal(t, "download took too long", requireClass(t, err, classify.Timeout).Message)
		_ = body.Close()
	})

	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		_, err := exempt(t, Limits{Header: 20 * time.Millisecond}, server).Fetch(t.Context(), server.URL)
		require.Equal(t, "server did not begin to answer in time", requireClass(t, err, classify.Timeout).Message)
	})

	t.Run("endless header", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 2*maxHeader))
		})
		_, err := exempt(t, Limits{}, server).Fetch(t.Context(), server.URL)
		_ = requireClass(t, err, classify.Network)
	})

	t.Run("compressed", func(t *testing.T) {
		t.Parallel()
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip") })
		_, err := exempt(t, Limits{}, server).Fetch(t.Context(), server.URL)
		_ = requireClass(t, err, classify.Server)
	})

	t.Run("caller gives up", func(t *testing.T) {
		t.Parallel()
		reached := make(chan struct{})
		server := serve(t, func(_ http.ResponseWriter, r *http.Request) {
			close(reached)
			<-r.Context().Done()
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-reached; cancel() }()
		_, err := exempt(t, Limits{}, server).Fetch(ctx, server.URL)
		_ = requireClass(t, err, classify.Canceled)
	})
}

func TestFetchEncrypted(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "bytes") }))
	t.Cleanup(server.Close)
	policy := Policy{AllowOrigins: []string{server.URL}}
	_, err := fetcher(t, policy, Limits{}).Fetch(t.Context(), server.URL+"/?signature=secret")
	require.Equal(t, "server's certificate is not trusted", requireClass(t, err, classify.Network).Message)
	require.NotContains(t, err.Error(), "secret")

	policy.RootCAs = x509.NewCertPool()
	policy.RootCAs.AddCert(server.Certificate())
	body, err := fetcher(t, policy, Limits{}).Fetch(t.Context(), server.URL)
	require.NoError(t, err)
	require.NoError(t, body.Close())
}

func TestFetchIgnoresTheEnvironmentsProxy(t *testing.T) {
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was used") })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	transport, ok := newGuard(t, Policy{}).Client().Transport.(*transport)
	require.True(t, ok)
	require.Nil(t, transport.guarded.Proxy)
	require.Nil(t, transport.exempt.Proxy)
}
