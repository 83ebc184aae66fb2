package webhook

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
)

const (
	secretA = "whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE="
	secretB = "whsec_YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="
)

var serverSecret = []byte("the server's own secret key")

// received is one post as the receiver saw it.
type received struct {
	method string
	header http.Header
	body   []byte
}

// receiver is a webhook endpoint that answers by its handler and keeps the
// posts.
func receiver(t *testing.T, answer http.HandlerFunc) (*httptest.Server, <-chan received) {
	t.Helper()
	posts := make(chan received, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		posts <- received{r.Method, r.Header, body}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server, posts
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

func notifier(t *testing.T, cfg Config) *Notifier {
	t.Helper()
	if cfg.Client == nil {
		cfg.Client = &http.Client{Transport: &http.Transport{}}
		t.Cleanup(cfg.Client.CloseIdleConnections)
	}
	if cfg.ServerSecrets == nil {
		cfg.ServerSecrets = [][]byte{serverSecret}
	}
	n, err := New(cfg)
	require.NoError(t, err)
	return n
}

func verify(t *testing.T, secret string, post received) error {
	t.Helper()
	w, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	return w.Verify(post.body, post.header)
}

func TestDeliverPostsTheSignedBody(t *testing.T) {
	t.Parallel()
	server, posts := receiver(t, answer(http.StatusNoContent))
	n := notifier(t, Config{Secrets: []Secret{{"acme", secretA}}})
	at := time.Now()

	receipt, err := n.Deliver(t.Context(), "acme", server.URL, "job_1:7", at, []byte(`{"type":"job.completed"}`))
	require.NoError(t, err)
	require.Equal(t, orchestrator.Receipt{Status: http.StatusNoContent}, receipt)

	post := <-posts
	require.Equal(t, http.MethodPost, post.method)
	require.Equal(t, `{"type":"job.completed"}`, string(post.body))
	require.Equal(t, "application/json", post.header.Get("Content-Type"))
	require.Equal(t, "Easel-Webhooks", post.header.Get("User-Agent"))
	require.Equal(t, "job_1:7", post.header.Get("webhook-id"))
	require.Equal(t, strconv.FormatInt(at.Unix(), 10), post.header.Get("webhook-timestamp"))
	require.NoError(t, verify(t, secretA, post))
	require.Error(t, verify(t, secretB, post))
}

func TestDeliverSignsWithEverySecretOfTheTenant(t *testing.T) {
	t.Parallel()
	server, posts := receiver(t, answer(http.StatusOK))
	n := notifier(t, Config{Secrets: []Secret{{"acme", secretA}, {"other", secretB}, {"acme", secretB}}})

	_, err := n.Deliver(t.Context(), "acme", server.URL, "id", time.Now(), []byte("{}"))
	require.NoError(t, err)
	post := <-posts
	require.Len(t, strings.Fields(post.header.Get("webhook-signature")), 2)
	require.NoError(t, verify(t, secretA, post))
	require.NoError(t, verify(t, secretB, post))

	_, err = n.Deliver(t.Context(), "other", server.URL, "id", time.Now(), []byte("{}"))
	require.NoError(t, err)
	post = <-posts
	require.Error(t, verify(t, secretA, post), "another tenant's secret does not sign")
	require.NoError(t, verify(t, secretB, post))
}

func TestTenantsWithoutSecretGetADerivedOne(t *testing.T) {
	t.Parallel()
	server, posts := receiver(t, answer(http.StatusOK))
	n := notifier(t, Config{ServerSecrets: [][]byte{serverSecret, []byte("the one before it")}})

	_, err := n.Deliver(t.Context(), "acme", server.URL, "id", time.Now(), []byte("{}"))
	require.NoError(t, err)
	post := <-posts
	handedOut := n.Secrets("acme")
	require.Len(t, handedOut, 2)
	for _, secret := range handedOut {
		require.NoError(t, verify(t, secret, post))
	}
	for _, secret := range n.Secrets("other") {
		require.Error(t, verify(t, secret, post))
	}
	require.Equal(t, []string{secretA}, notifier(t, Config{Secrets: []Secret{{"acme", secretA}}}).Secrets("acme"))
}

func TestDeliverReportsHowTheReceiverAnswered(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int
		header string
		class  classify.Class
		wait   time.Duration
	}{
		{http.StatusFound, "", classify.Validation, 0},
		{http.StatusBadRequest, "", classify.Validation, 0},
		{http.StatusUnauthorized, "", classify.Authentication, 0},
		{http.StatusNotFound, "", classify.NotFound, 0},
		{http.StatusGone, "", classify.NotFound, 0},
		{http.StatusTooManyRequests, "7", classify.RateLimit, 7 * time.Second},
		{http.StatusInternalServerError, "", classify.Server, 0},
		{http.StatusServiceUnavailable, "30", classify.Overloaded, 30 * time.Second},
	}
	for _, tt := range tests {
		t.Run(strconv.Itoa(tt.status), func(t *testing.T) {
			t.Parallel()
			server, _ := receiver(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.header != "" {
					w.Header().Set("Retry-After", tt.header)
				}
				w.WriteHeader(tt.status)
			})
			receipt, err := notifier(t, Config{}).Deliver(t.Context(), "acme", server.URL, "id", time.Now(), []byte("{}"))
			require.Equal(t, orchestrator.Receipt{Status: tt.status, RetryAfter: tt.wait}, receipt)
			var failure *classify.Error
			require.ErrorAs(t, err, &failure)
			require.Equal(t, tt.class, failure.Class)
			require.Equal(t, tt.status, failure.Status)
		})
	}
}

func TestDeliverDoesNotFollowRedirects(t *testing.T) {
	t.Parallel()
	elsewhere, posts := receiver(t, answer(http.StatusOK))
	server, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	})
	receipt, err := notifier(t, Config{}).Deliver(t.Context(), "acme", server.URL, "id", time.Now(), []byte("{}"))
	require.Error(t, err)
	require.Equal(t, http.StatusTemporaryRedirect, receipt.Status)
	require.Empty(t, posts)
}

func TestDeliverDoesNotReadAnEndlessAnswer(t *testing.T) {
	t.Parallel()
	server, _ := receiver(t, func(w http.ResponseWriter, r *http.Request) {
		chunk := make([]byte, 32<<10)
		for r.Context().Err() == nil {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	receipt, err := notifier(t, Config{}).Deliver(t.Context(), "acme", server.URL, "id", time.Now(), []byte("{}"))
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, receipt.Status)
}

func TestDeliverFailures(t *testing.T) {
	t.Parallel()
	const path = "/hook/token-in-the-path"

	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		url := "http://" + listener.Addr().String() + path
		require.NoError(t, listener.Close())
		receipt, err := notifier(t, Config{}).Deliver(t.Context(), "acme", url, "id", time.Now(), []byte("{}"))
		requireClass(t, err, classify.Network)
		require.Zero(t, receipt)
		require.NotContains(t, err.Error(), "token-in-the-path")
	})

	t.Run("caller's time is over", func(t *testing.T) {
		t.Parallel()
		release := make(chan struct{})
		server, posts := receiver(t, func(http.ResponseWriter, *http.Request) { <-release })
		defer close(release)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := notifier(t, Config{}).Deliver(ctx, "acme", server.URL+path, "id", time.Now(), []byte("{}"))
			done <- err
		}()
		<-posts
		cancel()
		requireClass(t, <-done, classify.Canceled)
	})

	t.Run("no URL", func(t *testing.T) {
		t.Parallel()
		_, err := notifier(t, Config{}).Deliver(t.Context(), "acme", "http://[token-in-the-path", "id", time.Now(), nil)
		requireClass(t, err, classify.Validation)
		require.NotContains(t, err.Error(), "token-in-the-path")
	})

	t.Run("the client's guard refuses", func(t *testing.T) {
		t.Parallel()
		refusal := &classify.Error{Class: classify.Validation, Code: "url_refused"}
		client := &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, refusal })}
		_, err := notifier(t, Config{Client: client}).Deliver(t.Context(), "acme", "https://example.com", "id", time.Now(), nil)
		require.Same(t, refusal, err)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func requireClass(t *testing.T, err error, class classify.Class) {
	t.Helper()
	var failure *classify.Error
	require.True(t, errors.As(err, &failure), "%v", err)
	require.Equal(t, class, failure.Class)
}

func TestNewReportsEverySecretThatIsWrong(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Client: http.DefaultClient, Secrets: []Secret{
		{"a", "plain-secret-value"}, {"b", secretA}, {"c", "whsec_%%hush%%"}, {"d", "whsec_c2hvcnQ="},
	}})
	for _, text := range []string{"secrets[0]", "secrets[2]", "secrets[3]", "no server secret"} {
		require.ErrorContains(t, err, text)
	}
	require.NotContains(t, err.Error(), "secrets[1]")
	for _, value := range []string{"plain-secret-value", "hush", "c2hvcnQ"} {
		require.NotContains(t, err.Error(), value)
	}
	_, err = New(Config{ServerSecrets: [][]byte{serverSecret}})
	require.ErrorContains(t, err, "HTTP client")
}
