package webhook

import (
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

// FuzzSignatures signs anything: the specification's own library takes it for
// genuine, and nothing else in its place.
func FuzzSignatures(f *testing.F) {
	n, err := New(Config{Client: http.DefaultClient, ServerSecrets: [][]byte{[]byte("the server's secret, long enough")}})
	require.NoError(f, err)
	f.Add("default", "job_1.7", []byte(`{"type":"job.completed"}`))
	f.Add("", "", []byte(nil))
	f.Add("a tenant: with/odd\x00 names", "id.with.dots", []byte("\xff\x00"))
	f.Fuzz(func(t *testing.T, tenant, id string, body []byte) {
		if strings.ContainsAny(id, "\r\n\x00") {
			return // ids are ours, and stand in a header
		}
		now := time.Now()
		request, err := n.request(t.Context(), tenant, "https://example.com/hook", message{id, now, body})
		require.NoError(t, err)
		secrets := n.Secrets(tenant)
		require.NotEmpty(t, secrets)
		verifier, err := standardwebhooks.NewWebhook(secrets[0])
		require.NoError(t, err)
		if id == "" {
			return // the library wants one
		}
		require.NoError(t, verifier.Verify(body, request.Header))
		require.Error(t, verifier.Verify(append([]byte("x"), body...), request.Header))
		request.Header.Set("Webhook-Id", id+"0")
		require.Error(t, verifier.Verify(body, request.Header))
		other, err := standardwebhooks.NewWebhook(n.Secrets(tenant + "0")[0])
		require.NoError(t, err)
		request.Header.Set("Webhook-Id", id)
		require.Error(t, other.Verify(body, request.Header), "tenants have secrets of their own")
	})
}
