package classify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPolicyTable(t *testing.T) {
	t.Parallel()
	tests := []struct {
		class                                              Class
		retry, reroute, costs, throttle, unhealthy, alerts bool
	}{
		{Network, true, true, true, false, true, false},
		{Timeout, true, true, true, false, true, false},
		{Server, true, true, true, false, true, false},
		{RateLimit, true, true, false, true, false, false},
		{Overloaded, true, true, true, false, true, false},
		{Authentication, false, true, true, false, true, true},
		{Quota, false, true, true, false, true, true},
		{Validation, false, false, true, false, false, false},
		{ContentPolicy, false, false, true, false, false, false},
		{NotFound, false, false, true, false, false, false},
		{GenerationFailed, true, true, true, false, false, false},
		{UnknownOutcome, false, false, true, false, true, false},
		{Canceled, false, false, false, false, false, false},
		{Unknown, false, false, true, false, false, false},
	}
	require.Len(t, tests, len(policies))
	require.Len(t, Classes, len(policies))
	for _, tt := range tests {
		require.Equal(t, Policy{tt.retry, tt.reroute, tt.costs, tt.throttle, tt.unhealthy, tt.alerts}, tt.class.Policy(), tt.class)
		require.Contains(t, Classes, tt.class)
		require.NotEmpty(t, messages[tt.class], tt.class)
		require.True(t, tt.class.Valid())

		err := fmt.Errorf("submit: %w", &Error{Class: tt.class})
		require.Equal(t, tt.retry, IsTransient(err), tt.class)
		require.Equal(t, !tt.retry && tt.class != UnknownOutcome, IsPermanent(err), tt.class)
		require.Equal(t, tt.class == UnknownOutcome, IsUnknownOutcome(err), tt.class)
	}
	require.False(t, Class("tired").Valid())
	require.Equal(t, Unknown.Policy(), Class("tired").Policy())
}

func TestClassifyNil(t *testing.T) {
	t.Parallel()
	require.Equal(t, Info{}, Classify(nil))
	require.Equal(t, Info{}, ClassifySubmit(nil))
	require.False(t, IsTransient(nil))
	require.False(t, IsPermanent(nil))
	require.False(t, IsUnknownOutcome(nil))
}

func TestClassifyTyped(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  *Error
		want Class
	}{
		"class wins over code and status":   {&Error{Class: ContentPolicy, Code: "insufficient_quota", Status: 500}, ContentPolicy},
		"code wins over status":             {&Error{Code: "insufficient_quota", Status: 429}, Quota},
		"codes have no case":                {&Error{Code: "Moderation_Blocked", Status: 400}, ContentPolicy},
		"unknown code falls to status":      {&Error{Code: "whatever", Status: 429}, RateLimit},
		"status alone":                      {&Error{Status: 402}, Quota},
		"no status falls to cause":          {&Error{Cause: context.DeadlineExceeded}, Timeout},
		"useless status falls to cause":     {&Error{Status: 200, Cause: io.ErrUnexpectedEOF}, Network},
		"nothing known":                     {&Error{}, Unknown},
		"invented class falls to status":    {&Error{Class: "tired", Status: 503}, Overloaded},
		"a typed error as cause of another": {&Error{Cause: &Error{Class: Quota}}, Quota},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, Classify(fmt.Errorf("poll: %w", tt.err)).Class)
		})
	}
}

func TestClassifyKeepsWhatTheErrorSaid(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("submit job: %w", &Error{
		Class: RateLimit, Code: "slow_down", Message: "too fast", Status: 429,
		RetryAfter: 3 * time.Second, Provider: "lumen", Field: "/input_data/n", Cause: errors.New("secret cause"),
	})
	require.Equal(t, Info{
		Class: RateLimit, Retryable: true, RetryAfter: 3 * time.Second, Status: 429,
		Code: "slow_down", Message: "too fast", Field: "/input_data/n", Provider: "lumen",
	}, Classify(err))

	require.Equal(t, MaxRetryAfter, Classify(&Error{Class: RateLimit, RetryAfter: time.Hour}).RetryAfter)
	require.Zero(t, Classify(&Error{Class: RateLimit, RetryAfter: -time.Hour}).RetryAfter)
}

func TestClassifyForeign(t *testing.T) {
	t.Parallel()
	dialTimeout := &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	readTimeout := &net.OpError{Op: "read", Net: "tcp", Err: os.ErrDeadlineExceeded}
	tests := map[string]struct {
		err    error
		want   Class
		submit Class // when the same error ends a paid call
	}{
		"deadline":                {context.DeadlineExceeded, Timeout, UnknownOutcome},
		"deadline of a socket":    {readTimeout, Timeout, UnknownOutcome},
		"deadline in a url error": {&url.Error{Op: "Post", URL: "https://x", Err: context.DeadlineExceeded}, Timeout, UnknownOutcome},
		"canceled":                {context.Canceled, Canceled, UnknownOutcome},
		"dial timed out":          {&url.Error{Op: "Post", URL: "https://x", Err: dialTimeout}, Network, Network},
		"proxy refused":           {&net.OpError{Op: "proxyconnect", Err: errors.New("bad gateway")}, Network, Network},
		"refused":                 {&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, Network, Network},
		"name not found":          {&net.DNSError{Err: "no such host", Name: "x", IsNotFound: true}, Network, Network},
		"name server timed out":   {&net.DNSError{Err: "timeout", Name: "x", IsTimeout: true}, Network, Network},
		"reset":                   {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, Network, UnknownOutcome},
		"broken pipe":             {&net.OpError{Op: "write", Err: syscall.EPIPE}, Network, UnknownOutcome},
		"network unreachable":     {syscall.ENETUNREACH, Network, UnknownOutcome},
		"connect timed out":       {syscall.ETIMEDOUT, Timeout, UnknownOutcome},
		"cut off":                 {fmt.Errorf("read body: %w", io.ErrUnexpectedEOF), Network, UnknownOutcome},
		"end of file":             {&url.Error{Op: "Post", URL: "https://x", Err: io.EOF}, Network, UnknownOutcome},
		"closed":                  {net.ErrClosed, Network, UnknownOutcome},
		"unknown authority":       {x509.UnknownAuthorityError{}, Network, Network},
		"wrong host":              {x509.HostnameError{Certificate: &x509.Certificate{}, Host: "x"}, Network, Network},
		"verification":            {&tls.CertificateVerificationError{Err: errors.New("expired")}, Network, Network},
		"not TLS":                 {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, Network, Network},
		"TLS alert":               {tls.AlertError(40), Network, UnknownOutcome},
		"text: refused":           {errors.New("dial tcp: connection refused"), Network, UnknownOutcome},
		"text: timeout":           {errors.New("rpc: I/O timeout"), Timeout, UnknownOutcome},
		"text: throttled":         {errors.New("429 Too Many Requests"), RateLimit, RateLimit},
		"never guessed":           {errors.New("something failed, please try again"), Unknown, Unknown},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			info := Classify(fmt.Errorf("poll: %w", tt.err))
			require.Equal(t, tt.want, info.Class)
			require.Equal(t, tt.want.Policy().Retry, info.Retryable)
			require.Equal(t, messages[tt.want], info.Message, "the text of a foreign error is not for callers")

			submit := ClassifySubmit(fmt.Errorf("submit: %w", tt.err))
			require.Equal(t, tt.submit, submit.Class)
			require.Equal(t, tt.submit.Policy().Retry, submit.Retryable)
		})
	}
}

func TestClassifySubmitTyped(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  *Error
		want Class
	}{
		"the maker knew that nothing was sent": {&Error{Class: Network, Cause: syscall.ECONNRESET}, Network},
		"the maker knew the server":            {&Error{Class: Server, Status: 500}, Server},
		"a time-out is never safe":             {&Error{Class: Timeout}, UnknownOutcome},
		"a bare 502":                           {&Error{Status: 502}, UnknownOutcome},
		"a bare 503":                           {&Error{Status: 503}, UnknownOutcome},
		"a bare 504":                           {&Error{Status: 504}, UnknownOutcome},
		"a bare 408":                           {&Error{Status: 408}, UnknownOutcome},
		"a bare 429":                           {&Error{Status: 429}, RateLimit},
		"a bare 400":                           {&Error{Status: 400}, Validation},
		"a bare 529":                           {&Error{Status: 529}, Overloaded},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, ClassifySubmit(tt.err).Class)
		})
	}
}

// The errors that net/http really returns, rather than those we imagine.
func TestClassifyRealTransport(t *testing.T) {
	t.Parallel()
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(slow.Close)
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(cut.Close)
	secure := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(secure.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := "http://" + listener.Addr().String()
	require.NoError(t, listener.Close())

	deadline, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	t.Cleanup(cancel)
	canceled, cancelNow := context.WithCancel(t.Context())
	cancelNow()
	tests := map[string]struct {
		ctx  context.Context
		url  string
		want Class
	}{
		"no server":         {t.Context(), gone, Network},
		"no answer in time": {deadline, slow.URL, Timeout},
		"canceled":          {canceled, slow.URL, Canceled},
		"cut":               {t.Context(), cut.URL, Network},
		"untrusted":         {t.Context(), secure.URL, Network},
	}
	for name, tt := range tests {
		req, err := http.NewRequestWithContext(tt.ctx, http.MethodGet, tt.url, nil)
		require.NoError(t, err)
		response, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_ = response.Body.Close()
		}
		require.Error(t, err, name)
		require.Equal(t, tt.want, Classify(err).Class, "%s: %v", name, err)
	}
}

func TestFromStatus(t *testing.T) {
	t.Parallel()
	want := map[Class][]int{
		Validation:     {400, 405, 413, 415, 422},
		Authentication: {401, 403},
		Quota:          {402},
		NotFound:       {404, 410},
		Timeout:        {408},
		Overloaded:     {409, 425, 503, 529},
		RateLimit:      {429},
		Server:         {500, 501, 502, 504, 505, 520, 522, 524, 599},
		Unknown:        {0, 100, 200, 204, 301, 418, 499, 600},
	}
	for class, statuses := range want {
		for _, status := range statuses {
			require.Equal(t, class, FromStatus(status), "%d", status)
		}
	}
}

func TestErrorText(t *testing.T) {
	t.Parallel()
	cause := errors.New("cause")
	err := &Error{Class: Server, Provider: "lumen", Status: 500, Code: "gpu_lost", Message: "a GPU fell off", Cause: cause}
	require.Equal(t, "lumen: server (status 500) gpu_lost: a GPU fell off", err.Error())
	require.ErrorIs(t, err, cause)
	require.Equal(t, "network", (&Error{Class: Network}).Error())
}
