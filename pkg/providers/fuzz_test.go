package providers

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
)

const (
	fuzzKey    = "sk-fuzz-4b1f09c7d2"
	fuzzPrompt = "a prompt that nobody else must read"
)

// canned answers every call with the same.
type canned struct {
	status int
	header http.Header
	body   []byte
}

// RoundTrip implements [http.RoundTripper].
func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{
		StatusCode: c.status, Status: strconv.Itoa(c.status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header.Clone(), Body: io.NopCloser(bytes.NewReader(c.body)), ContentLength: int64(len(c.body)), Request: r,
	}, nil
}

// FuzzAnswer has a provider answer anything to a paid call and to a read. There
// is a value or an error with a class, a paid call that is not understood is an
// unknown outcome, and no error tells the key or the prompt.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a"}`, `{"error":{"message":"` + fuzzKey + `","code":"` + fuzzPrompt + `"}}`, `<html>gateway</html>`, ``, `null`, `[1,2`,
		`{"error":"` + fuzzPrompt + `"}`, "{\"error\":{\"message\":\"\xff\\u0000\x1b[31m\"}}", `{"detail":[{"loc":["body","prompt"],"msg":"bad"}],"retry_after":1e300}`,
		`{"errors":[{"message":"https://user:pw@host/x?sig=` + fuzzKey + `"}]}`, `{"error":{"code":429,"message":{"a":1}}}`,
	} {
		for _, status := range []int{200, 202, 302, 400, 401, 429, 500, 503, 524, 999} {
			f.Add(status, "application/json", "7", []byte(seed))
		}
	}
	f.Fuzz(func(t *testing.T, status int, contentType, retryAfter string, body []byte) {
		if status < 200 || status > 999 {
			return // net/http lets no other through
		}
		c, err := NewClient(ClientConfig{
			Provider: "fuzz", BaseURL: "https://fuzz.test/v1", MaxBody: 1 << 20, DecodeError: DecodeError,
			Authorize: func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+fuzzKey) },
			Transport: canned{status, http.Header{"Content-Type": {contentType}, "Retry-After": {retryAfter}, "Location": {contentType}}, body},
		})
		require.NoError(t, err)
		for _, submit := range []bool{true, false} {
			var out map[string]any
			_, err := c.JSON(t.Context(), Call{Method: "POST", URL: "/things", Submit: submit}, map[string]any{"prompt": fuzzPrompt}, &out)
			if err == nil {
				require.Less(t, status, 300)
				require.True(t, json.Valid(body))
				continue
			}
			var failure *classify.Error
			require.ErrorAs(t, err, &failure)
			require.NotEmpty(t, failure.Class)
			require.NotEmpty(t, failure.Message)
			require.LessOrEqual(t, failure.RetryAfter, classify.MaxRetryAfter)
			if submit && status < 300 {
				require.Equal(t, classify.UnknownOutcome, failure.Class, "it was taken, and what is said cannot be read")
			}
			for _, text := range []string{err.Error(), failure.Message, failure.Code, failure.Field} {
				require.NotContains(t, text, fuzzKey)
				require.NotContains(t, text, fuzzPrompt)
				require.False(t, strings.ContainsAny(text, "\x00\x1b\r\n"), "%q", text)
			}
		}
	})
}

// FuzzFindOutputs looks for files in any answer.
func FuzzFindOutputs(f *testing.F) {
	for _, seed := range []string{
		`{"images":[{"url":"https://a/b.png"}]}`, `{"data":[{"b64_json":"iVBORw0KGgo="}]}`, `{"video":{"url":"https://a/b.mp4"}}`, `{"output":"https://a/b"}`,
		`{"output":["https://a/b",{"c":"data:image/png;base64,AAAA"}]}`, `{"output":{"a":{"b":{"c":{"d":{"e":"https://a"}}}}}}`, `{"output":null,"images":[null]}`,
		`{"data":[{"b64_json":"!"}]}`, `{"output":"file:///etc/passwd"}`, `[]`, `"https://a/b"`,
	} {
		for _, kind := range []string{"image", "video", "audio", ""} {
			f.Add([]byte(seed), kind)
		}
	}
	f.Fuzz(func(t *testing.T, answer []byte, kind string) {
		outputs, err := FindOutputs(answer, kind)
		if err != nil {
			require.Empty(t, outputs)
			return
		}
		for _, o := range outputs {
			require.True(t, (o.URL == "") != (len(o.Data) == 0), "an output is bytes or an address: %+v", o)
			if o.URL != "" {
				require.True(t, strings.HasPrefix(o.URL, "https://") || strings.HasPrefix(o.URL, "http://"), o.URL)
			}
		}
	})
}

// FuzzWebhookSignatures forges webhooks: what was not signed with the secret is
// refused, and what was is not.
func FuzzWebhookSignatures(f *testing.F) {
	now := time.Unix(1_764_000_000, 0)
	at := strconv.FormatInt(now.Unix(), 10)
	raw := []byte("a secret of webhooks")
	secret := Secret("whsec_" + base64.StdEncoding.EncodeToString(raw))
	sum := digest(raw, []byte("msg_1."+at+"."), []byte(`{"id":"a"}`))
	public, key, err := ed25519.GenerateKey(nil)
	require.NoError(f, err)
	for _, signature := range []string{
		"v1," + base64.StdEncoding.EncodeToString(sum), "v1,", "", "v2,AAAA v1,AAAA", "v1,!!", ",", "v1," + hex.EncodeToString(sum), strings.Repeat("v1,AAAA ", 100),
	} {
		f.Add("msg_1", at, signature, []byte(`{"id":"a"}`))
	}
	f.Add("", "-1", "v1,AAAA", []byte(nil))
	f.Add("msg_1", "99999999999999999999", "v1,AAAA", []byte("x"))
	f.Fuzz(func(t *testing.T, id, stamp, signature string, body []byte) {
		w := Webhook{Header: http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signature}}, Body: body, At: now}
		genuine := digest(raw, []byte(id+"."+stamp+"."), body)
		if w.VerifyStandard(secret) == nil {
			require.Contains(t, signature, base64.StdEncoding.EncodeToString(genuine), "it was forged")
		}
		require.Error(t, w.VerifyStandard("whsec_"), "no secret signs nothing")
		if w.VerifyHex(secret, signature) == nil {
			given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
			require.NoError(t, err)
			require.Equal(t, digest([]byte(secret.Reveal()), body), given)
		}
		require.Error(t, w.VerifyEd25519([]ed25519.PublicKey{public, nil, {}}, stamp, body, []byte(signature)), "it was forged")

		// The same message, signed as it should be, is let in when it is fresh.
		w.Header.Set("Webhook-Signature", signature+" v1,"+base64.StdEncoding.EncodeToString(genuine))
		seconds, err := strconv.ParseInt(stamp, 10, 64)
		fresh := err == nil && now.Sub(time.Unix(seconds, 0)).Abs() <= webhookAge
		require.Equal(t, fresh, w.VerifyStandard(secret) == nil, "%q", stamp)
		require.Equal(t, fresh, w.VerifyEd25519([]ed25519.PublicKey{public}, stamp, body, ed25519.Sign(key, body)) == nil)
		require.NoError(t, w.VerifyHex(secret, "sha256="+hex.EncodeToString(digest([]byte(secret.Reveal()), body))))

		hint, err := w.Hint(id, func(id string) bool { return id == "a" }, "id", "data.id")
		if err == nil {
			require.Equal(t, "a", hint.RemoteID)
		} else {
			require.False(t, errors.Is(err, context.Canceled))
		}
	})
}
