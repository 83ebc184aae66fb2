package providers

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
)

// The vector is a vendor's own.
const (
	vectorSecret = Secret("whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI=")
	vectorBody   = `{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}`
	vectorTime   = 1781080794
	vectorSign   = "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="
)

func vector() Webhook {
	header := http.Header{}
	header.Set("webhook-id", "9876543210")
	header.Set("webhook-timestamp", "1781080794")
	header.Set("webhook-signature", vectorSign)
	return Webhook{Header: header, Body: []byte(vectorBody), At: time.Unix(vectorTime, 0)}
}

func TestVerifyStandard(t *testing.T) {
	t.Parallel()
	require.NoError(t, vector().VerifyStandard(vectorSecret))
	require.NoError(t, vector().VerifyStandard(Secret(strings.TrimPrefix(vectorSecret.Reveal(), "whsec_"))))
	both := vector()
	both.Header.Set("webhook-signature", "v1,AAAA v2,BBBB "+vectorSign)
	require.NoError(t, both.VerifyStandard(vectorSecret), "one of several is enough while secrets change")

	for name, change := range map[string]func(*Webhook){
		"another body":      func(w *Webhook) { w.Body = []byte(strings.Replace(vectorBody, "succeeded", "failed", 1)) },
		"another id":        func(w *Webhook) { w.Header.Set("webhook-id", "1") },
		"another time":      func(w *Webhook) { w.Header.Set("webhook-timestamp", "1781080795") },
		"too old":           func(w *Webhook) { w.At = w.At.Add(webhookAge + time.Second) },
		"too new":           func(w *Webhook) { w.At = w.At.Add(-webhookAge - time.Second) },
		"no signature":      func(w *Webhook) { w.Header.Del("webhook-signature") },
		"no time":           func(w *Webhook) { w.Header.Del("webhook-timestamp") },
		"another version":   func(w *Webhook) { w.Header.Set("webhook-signature", "v2"+vectorSign[2:]) },
		"half a signature":  func(w *Webhook) { w.Header.Set("webhook-signature", vectorSign[:20]) },
		"nothing but noise": func(w *Webhook) { w.Header.Set("webhook-signature", "v1,") },
	} {
		forged := vector()
		change(&forged)
		requireForged(t, forged.VerifyStandard(vectorSecret), name)
	}
	requireForged(t, vector().VerifyStandard("whsec_b3RoZXI="), "another secret")
	requireForged(t, vector().VerifyStandard(""), "no secret")
	requireForged(t, vector().VerifyStandard("whsec_?"), "no base64")
}

func requireForged(t *testing.T, err error, what string) {
	t.Helper()
	info := classify.Classify(err)
	require.Equal(t, classify.Authentication, info.Class, what)
	require.Equal(t, "bad_signature", info.Code, what)
}

func TestVerifyHex(t *testing.T) {
	t.Parallel()
	w := vector()
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write(w.Body)
	good := hex.EncodeToString(mac.Sum(nil))
	require.NoError(t, w.VerifyHex("secret", good))
	require.NoError(t, w.VerifyHex("secret", "sha256="+good))
	requireForged(t, w.VerifyHex("other", good), "another secret")
	requireForged(t, w.VerifyHex("secret", good[:8]), "half")
	requireForged(t, w.VerifyHex("secret", ""), "none")
	empty := hmac.New(sha256.New, nil)
	empty.Write(w.Body)
	requireForged(t, w.VerifyHex("", hex.EncodeToString(empty.Sum(nil))), "no secret is no proof")
}

func TestVerifyEd25519(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	other, _, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	w, message := vector(), []byte("message")
	signature := ed25519.Sign(private, message)
	require.NoError(t, w.VerifyEd25519([]ed25519.PublicKey{other, public}, "1781080794", message, signature), "any of the keys")
	requireForged(t, w.VerifyEd25519([]ed25519.PublicKey{other, public[:5]}, "1781080794", message, signature), "another key")
	requireForged(t, w.VerifyEd25519([]ed25519.PublicKey{public}, "1781080794", message, signature[:9]), "half a signature")
	requireForged(t, w.VerifyEd25519([]ed25519.PublicKey{public}, "1781080000", message, signature), "too old")
	requireForged(t, w.VerifyEd25519(nil, "1781080794", message, signature), "no key")
}

func TestHint(t *testing.T) {
	t.Parallel()
	valid := func(id string) bool { return len(id) < 12 }
	hint, err := vector().Hint("e1", valid, "request_id", "id")
	require.NoError(t, err)
	require.Equal(t, Hint{RemoteID: "1234567890", EventID: "e1"}, hint)
	for _, body := range []string{``, `{}`, `[]`, `{"id":{}}`, `{"id":"far too long to be one"}`} {
		_, err := Webhook{Body: []byte(body)}.Hint("", valid, "id")
		require.Equal(t, classify.Validation, classify.Classify(err).Class, body)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	now, fetched, down := time.Unix(vectorTime, 0), 0, false
	keys := NewKeys(func(context.Context) (int, error) {
		if down {
			return 0, errors.New("down")
		}
		fetched++
		return fetched, nil
	})
	is := func(want int) func(int) error {
		return func(k int) error {
			if k != want {
				return Forged("no")
			}
			return nil
		}
	}
	require.NoError(t, keys.Verify(t.Context(), now, is(1)))
	require.NoError(t, keys.Verify(t.Context(), now.Add(time.Hour), is(1)), "kept")
	require.Equal(t, 1, fetched)

	requireForged(t, keys.Verify(t.Context(), now.Add(time.Minute), is(2)), "forged")
	require.Equal(t, 1, fetched, "whoever forges does not make us fetch again and again")
	require.NoError(t, keys.Verify(t.Context(), now.Add(keysPause), is(2)), "the key has been changed")
	require.Equal(t, 2, fetched)

	later := now.Add(keysPause)
	require.NoError(t, keys.Verify(t.Context(), later.Add(keysAge), is(3)), "old keys are fetched again")
	later = later.Add(keysAge)
	down = true
	require.NoError(t, keys.Verify(t.Context(), later.Add(keysAge), is(3)), "no newer ones can be had")
	require.ErrorContains(t, keys.Verify(t.Context(), later.Add(keysLimit), is(3)), "down")
}

func TestKeysAreFetchedOnce(t *testing.T) {
	t.Parallel()
	fetching, release := make(chan struct{}, 9), make(chan struct{})
	keys := NewKeys(func(context.Context) (int, error) {
		fetching <- struct{}{}
		<-release
		return 1, nil
	})
	now := time.Unix(vectorTime, 0)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			assert.NoError(t, keys.Verify(context.WithoutCancel(t.Context()), now, func(int) error { return nil }))
		})
	}
	<-fetching
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, keys.Verify(impatient, now, func(int) error { return nil }), context.Canceled)
	close(release)
	group.Wait()
	require.Empty(t, fetching)
}
