package providers

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// webhookAge is how old a signed webhook may be, and how far ahead.
const webhookAge = 5 * time.Minute

// Webhook is what a provider posted, with the time at which it came.
type Webhook struct {
	Header http.Header
	Body   []byte
	At     time.Time
}

// Forged is the error for a webhook that its provider did not sign.
func Forged(message string) *classify.Error {
	return &classify.Error{Class: classify.Authentication, Code: "bad_signature", Message: message}
}

// Hint reads a webhook that has been verified, or that nobody signs: the remote
// id that stands at the first of the paths that has one.
func (w Webhook) Hint(eventID string, valid func(string) bool, paths ...string) (Hint, error) {
	var document any
	// What is no JSON names nothing either.
	_ = json.Unmarshal(w.Body, &document)
	if id := textAt(document, paths); id != "" && valid(id) {
		return Hint{RemoteID: id, EventID: eventID}, nil
	}
	return Hint{}, &classify.Error{Class: classify.Validation, Code: "bad_webhook", Message: "the webhook names no generation"}
}

// VerifyStandard checks a signature as Standard Webhooks has it
// (https://www.standardwebhooks.com): HMAC-SHA256 of id, time and body. The
// secret may have its prefix whsec_.
func (w Webhook) VerifyStandard(secret Secret) error {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret.Reveal(), "whsec_"))
	if err != nil || len(key) == 0 {
		return Forged("the secret of the webhooks is not base64")
	}
	id, at := w.Header.Get("Webhook-Id"), w.Header.Get("Webhook-Timestamp")
	if err := w.fresh(at); err != nil {
		return err
	}
	want := digest(key, []byte(id+"."+at+"."), w.Body)
	for _, signature := range strings.Fields(w.Header.Get("Webhook-Signature")) {
		version, encoded, _ := strings.Cut(signature, ",")
		given, err := base64.StdEncoding.DecodeString(encoded)
		if version == "v1" && err == nil && hmac.Equal(given, want) {
			return nil
		}
	}
	return Forged("the webhook's signature does not match")
}

// VerifyHex checks a signature that is the HMAC-SHA256 of the body in hex,
// perhaps behind "sha256=".
func (w Webhook) VerifyHex(secret Secret, signature string) error {
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	if err != nil || secret == "" || !hmac.Equal(given, digest([]byte(secret.Reveal()), w.Body)) {
		return Forged("the webhook's signature does not match")
	}
	return nil
}

// VerifyEd25519 checks a signature over a message that was made of the webhook,
// with any of the keys.
func (w Webhook) VerifyEd25519(keys []ed25519.PublicKey, at string, message, signature []byte) error {
	if err := w.fresh(at); err != nil {
		return err
	}
	for _, key := range keys {
		if len(key) == ed25519.PublicKeySize && ed25519.Verify(key, message, signature) {
			return nil
		}
	}
	return Forged("the webhook's signature does not match")
}

// fresh refuses what was signed long ago, or in the future.
func (w Webhook) fresh(at string) error {
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return Forged("the webhook has no signature")
	}
	if age := w.At.Sub(time.Unix(seconds, 0)); age > webhookAge || age < -webhookAge {
		return Forged("the webhook was signed too long ago")
	}
	return nil
}

func digest(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

const (
	// keysAge is how long fetched keys are good, keysLimit how long they are
	// where no newer ones can be had.
	keysAge   = 12 * time.Hour
	keysLimit = 24 * time.Hour
	// keysPause is how long until they are fetched again because a signature
	// does not match: anybody can send one that does not.
	keysPause = 5 * time.Minute
)

// Keys keeps what a provider's webhooks are verified with, and fetches it when
// it is first needed, when it is old, and when a signature does not match and it
// may have been changed. Make it with [NewKeys].
type Keys[K any] struct {
	fetch func(context.Context) (K, error)
	turn  chan struct{} // held by who fetches
	kept  atomic.Pointer[kept[K]]
}

type kept[K any] struct {
	keys K
	at   time.Time
}

// NewKeys returns keys that come from fetch.
func NewKeys[K any](fetch func(context.Context) (K, error)) *Keys[K] {
	return &Keys[K]{fetch: fetch, turn: make(chan struct{}, 1)}
}

// Verify asks check about the keys, and once more about new ones if it fails.
func (k *Keys[K]) Verify(ctx context.Context, now time.Time, check func(K) error) error {
	current, err := k.newer(ctx, now, keysAge)
	if err != nil {
		return err
	}
	if err = check(current.keys); err == nil {
		return nil
	}
	again, fetchErr := k.newer(ctx, now, keysPause)
	if fetchErr != nil || again == current {
		return err
	}
	return check(again.keys)
}

// newer returns keys that are not older than age.
func (k *Keys[K]) newer(ctx context.Context, now time.Time, age time.Duration) (*kept[K], error) {
	good := func() *kept[K] {
		if have := k.kept.Load(); have != nil && now.Sub(have.at) < age {
			return have
		}
		return nil
	}
	if have := good(); have != nil {
		return have, nil
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if have := good(); have != nil { // somebody else fetched meanwhile
		return have, nil
	}
	keys, err := k.fetch(ctx)
	if err != nil {
		if have := k.kept.Load(); have != nil && now.Sub(have.at) < keysLimit {
			return have, nil
		}
		return nil, err
	}
	fetched := &kept[K]{keys: keys, at: now}
	k.kept.Store(fetched)
	return fetched, nil
}
