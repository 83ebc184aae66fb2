package providertest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// Webhook is what a provider posts, and how it signs it.
type Webhook struct {
	Body string
	// Sign returns the headers that a provider sends along with a body at a
	// time, nothing but those that prove where it comes from. Nil means that it
	// does not sign.
	Sign func(at time.Time, body []byte) http.Header
}

// SignStandard signs as Standard Webhooks has it.
func SignStandard(secret string) func(at time.Time, body []byte) http.Header {
	return func(at time.Time, body []byte) http.Header {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		if err != nil {
			panic(err)
		}
		id, seconds := "msg_31", strconv.FormatInt(at.Unix(), 10)
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, seconds, body)
		header := http.Header{}
		header.Set("Webhook-Id", id)
		header.Set("Webhook-Timestamp", seconds)
		header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		return header
	}
}

// sign is the headers for a body, none where nobody signs.
func (w *Webhook) sign(at time.Time, body string) http.Header {
	if w.Sign == nil {
		return http.Header{}
	}
	return w.Sign(at, []byte(body))
}

func checkWebhook(t testing.TB, a Adapter) {
	c := a.calls(t)
	reader, ok := c.provider.(providers.WebhookReader)
	if !ok || !c.polls {
		return
	}
	require.NotNil(t, a.Webhook, "Adapter.Webhook is missing")
	c.double.Answer(a.routed(t, page(http.StatusNotFound)))
	before := len(c.double.Requests())
	read := func(header http.Header, body string) (providers.Hint, error) {
		return reader.ReadWebhook(t.Context(), header, []byte(body))
	}
	now, good := time.Now(), a.Webhook.Body
	for range 2 { // it comes twice, and that is no error
		hint, err := read(a.Webhook.sign(now, good), good)
		require.NoError(t, err, "a genuine webhook")
		require.Equal(t, c.ref.RemoteID, hint.RemoteID, "it is about the generation of submit.http")
	}
	for _, body := range []string{"", "{}", "[]", "null", `"x"`, "<html>", `{"id":"../x"}`, good[:len(good)/2]} {
		_, err := read(a.Webhook.sign(now, body), body)
		require.Error(t, err, "a webhook that names no generation: %s", body)
	}
	if a.Webhook.Sign != nil {
		requireForgeriesRefused(t, a.Webhook, now, read)
	}
	require.LessOrEqual(t, len(c.double.Requests())-before, 1, "keys are fetched once, whoever knocks")
}

// requireForgeriesRefused tries everything that somebody can do who has seen a
// genuine webhook and does not have the key.
func requireForgeriesRefused(t testing.TB, w *Webhook, now time.Time, read func(http.Header, string) (providers.Hint, error)) {
	t.Helper()
	refused := func(header http.Header, body, what string) {
		t.Helper()
		_, err := read(header, body)
		require.Error(t, err, what)
		require.Equal(t, classify.Authentication, classify.Classify(err).Class, "%s: %v", what, err)
	}
	genuine := w.sign(now, w.Body)
	refused(http.Header{}, w.Body, "not signed")
	refused(genuine, w.Body+" ", "another body")
	refused(genuine, strings.Replace(w.Body, ":", ": ", 1), "another body")
	for name := range genuine {
		without, changed := genuine.Clone(), genuine.Clone()
		without.Del(name)
		refused(without, w.Body, "without "+name)
		changed.Set(name, disturbed(genuine.Get(name)))
		refused(changed, w.Body, "another "+name)
	}
	for _, at := range []time.Time{now.Add(-time.Hour), now.Add(time.Hour)} {
		if header := w.sign(at, w.Body); fmt.Sprint(header) != fmt.Sprint(genuine) { // some schemes have no time
			refused(header, w.Body, "signed an hour off")
		}
	}
}

// disturbed is the text with another last letter or digit but one.
func disturbed(text string) string {
	i := max(len(text)-4, 0)
	other := byte('7')
	if text[i] == other {
		other = '3'
	}
	return text[:i] + string(other) + text[i+1:]
}
