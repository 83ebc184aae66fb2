package sketch_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
)

type post struct {
	header http.Header
	body   []byte
}

// mailbox receives webhooks.
func mailbox(t *testing.T) (url string, posts <-chan post) {
	t.Helper()
	inbox := make(chan post, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			inbox <- post{r.Header, body}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(server.Close)
	return server.URL, inbox
}

func next(t *testing.T, posts <-chan post) post {
	t.Helper()
	select {
	case p := <-posts:
		return p
	case <-time.After(20 * time.Second):
		require.Fail(t, "no webhook came")
		return post{}
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		simulate map[string]any
		posts    int
		genuine  bool
	}{
		{"when done", map[string]any{"duration_ms": 5}, 1, true},
		{"early", map[string]any{"duration_ms": 3600_000, "webhook": "early"}, 1, true},
		{"late", map[string]any{"duration_ms": 0, "webhook": "late", "late_by_ms": 5}, 1, true},
		{"twice", map[string]any{"duration_ms": 0, "webhook": "twice"}, 2, true},
		{"forged", map[string]any{"duration_ms": 0, "webhook": "forged"}, 1, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := local(t, func(c *sketch.Config) { c.Dir = t.TempDir() })
			url, posts := mailbox(t)
			req := request(test.simulate)
			req.WebhookURL = url
			st, err := p.Submit(t.Context(), req)
			require.NoError(t, err)
			events := map[string]bool{}
			for range test.posts {
				got := next(t, posts)
				hint, err := p.(providers.WebhookReader).ReadWebhook(t.Context(), got.header, got.body)
				if !test.genuine {
					require.Equal(t, classify.Authentication, classOf(err), "a forged webhook is not believed: %v", err)
					continue
				}
				require.NoError(t, err)
				require.Equal(t, st.RemoteID, hint.RemoteID)
				events[hint.EventID] = true
			}
			require.LessOrEqual(t, len(events), 1, "a delivery that is repeated is the same event")
		})
	}
}

// Closing drops what is not due and posts nothing more.
func TestWebhooksEndWithTheService(t *testing.T) {
	t.Parallel()
	p := local(t)
	url, posts := mailbox(t)
	req := request(map[string]any{"duration_ms": 3600_000})
	req.WebhookURL = url
	_, err := p.Submit(t.Context(), req)
	require.NoError(t, err)
	require.NoError(t, p.(io.Closer).Close())
	require.Empty(t, posts)
	_, err = p.Submit(t.Context(), req)
	require.Equal(t, classify.Network, classOf(err), "nothing is there any more, and nothing was sent: %v", err)
}

func TestReadWebhookRefuses(t *testing.T) {
	t.Parallel()
	clock := newClock()
	p := local(t, func(c *sketch.Config) { c.WebhookSecret, c.Now = "shared", clock.Now })
	url, posts := mailbox(t)
	req := request(map[string]any{"duration_ms": 0})
	req.WebhookURL = url
	_, err := p.Submit(t.Context(), req)
	require.NoError(t, err)
	got := next(t, posts)
	read := func(header http.Header, body []byte) error {
		_, err := p.(providers.WebhookReader).ReadWebhook(t.Context(), header, body)
		return err
	}
	require.NoError(t, read(got.header, got.body))
	require.Error(t, read(http.Header{}, got.body), "unsigned")
	require.Error(t, read(got.header, append([]byte(" "), got.body...)), "changed")
	clock.advance(time.Hour)
	require.Error(t, read(got.header, got.body), "old")
}
