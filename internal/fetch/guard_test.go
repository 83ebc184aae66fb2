package fetch

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
)

func newGuard(t *testing.T, policy Policy) *Guard {
	t.Helper()
	g, err := NewGuard(policy)
	require.NoError(t, err)
	return g
}

func requireRefused(t *testing.T, err error) {
	t.Helper()
	var refusal *classify.Error
	require.True(t, errors.As(err, &refusal), "%v", err)
	require.Equal(t, classify.Validation, refusal.Class)
	require.Equal(t, CodeRefused, refusal.Code)
}

func TestCheckURL(t *testing.T) {
	t.Parallel()
	g := newGuard(t, Policy{Ports: []uint16{8443}, AllowOrigins: []string{"http://127.0.0.1:9000/v1", "https://minio.internal"}})

	allowed := []string{
		"https://example.com/hook?token=1", "https://example.com:443", "https://example.com:8443/", "https://example.com:80/",
		"https://93.184.216.34/", "https://[2606:2800:220:1::1]/", "HTTPS://EXAMPLE.COM./",
		"http://127.0.0.1:9000/other/path", "https://MINIO.internal:443/x", "https://1e100.net", "https://0xdead.example",
	}
	for _, raw := range allowed {
		t.Run(raw, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, g.CheckURL(raw))
		})
	}

	refused := map[string]string{
		"no scheme":             "example.com/hook",
		"empty":                 "",
		"unencrypted":           "http://example.com/",
		"another scheme":        "file:///etc/passwd",
		"another scheme, host":  "ftp://example.com/",
		"opaque":                "https:example.com",
		"user name":             "https://user@example.com/",
		"password":              "https://user:hunter2@example.com/",
		"user, exempt origin":   "http://user@127.0.0.1:9000/",
		"port":                  "https://example.com:22/",
		"no number":             "https://example.com:https/",
		"port of exempt origin": "http://127.0.0.1:9001/",
		"scheme of exempt":      "https://127.0.0.1:9000/",
		"loopback":              "https://127.0.0.1/",
		"loopback name":         "https://localhost/",
		"loopback name, dot":    "https://LOCALHOST./",
		"below loopback name":   "https://app.localhost/",
		"IPv6 loopback":         "https://[::1]/",
		"IPv4 in IPv6":          "https://[::ffff:127.0.0.1]/",
		"IPv4 in IPv6, hex":     "https://[::ffff:7f00:1]/",
		"NAT64":                 "https://[64:ff9b::7f00:1]/",
		"unique local":          "https://[fd00::1]/",
		"link local with zone":  "https://[fe80::1%25eth0]/",
		"cloud metadata":        "https://169.254.169.254/latest/meta-data/",
		"private":               "https://10.1.2.3/",
		"unspecified":           "https://0.0.0.0/",
		"decimal":               "https://2130706433/",
		"hexadecimal":           "https://0x7f000001/",
		"octal":                 "https://0177.0.0.1/",
		"short":                 "https://127.1/",
		"long":                  "https://example.com/" + strings.Repeat("a", maxURL),
	}
	for name, raw := range refused {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := g.CheckURL(raw)
			requireRefused(t, err)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestAllowHTTP(t *testing.T) {
	t.Parallel()
	g := newGuard(t, Policy{AllowHTTP: true})
	require.NoError(t, g.CheckURL("http://example.com/"))
	requireRefused(t, g.CheckURL("http://127.0.0.1/"))
}

func TestNewGuardRefusesWhatIsNoOrigin(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"example.com", "ftp://example.com", "http://", "://"} {
		_, err := NewGuard(Policy{AllowOrigins: []string{"https://example.com", raw}})
		require.ErrorContains(t, err, "origin 2", raw)
	}
}
