package fal

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/easel-jobs/easel/pkg/providers"
)

// keys are those that fal signs webhooks with.
type keys = []ed25519.PublicKey

// ReadWebhook implements [providers.WebhookReader]. See
// https://fal.ai/docs/model-apis/model-endpoints/webhooks.
func (p *Provider) ReadWebhook(ctx context.Context, header http.Header, body []byte) (providers.Hint, error) {
	webhook := providers.Webhook{Header: header, Body: body, At: p.now()}
	id, at := header.Get("X-Fal-Webhook-Request-Id"), header.Get("X-Fal-Webhook-Timestamp")
	signature, err := hex.DecodeString(header.Get("X-Fal-Webhook-Signature"))
	if err != nil || len(signature) == 0 {
		return providers.Hint{}, providers.Forged("the webhook has no signature")
	}
	sum := sha256.Sum256(body)
	message := strings.Join([]string{id, header.Get("X-Fal-Webhook-User-Id"), at, hex.EncodeToString(sum[:])}, "\n")
	err = p.keys.Verify(ctx, webhook.At, func(known keys) error {
		return webhook.VerifyEd25519(known, at, []byte(message), signature)
	})
	if err != nil {
		return providers.Hint{}, err
	}
	return webhook.Hint(id, p.ValidRemoteID, "request_id")
}

// fetchKeys reads fal's key set (RFC 8037).
func (p *Provider) fetchKeys(ctx context.Context) (keys, error) {
	var set struct {
		Keys []struct {
			Type  string `json:"kty"`
			Curve string `json:"crv"`
			X     string `json:"x"`
		} `json:"keys"`
	}
	if _, err := p.client.JSON(ctx, providers.Call{URL: p.options.KeysURL}, nil, &set); err != nil {
		return nil, err
	}
	var found keys
	for _, key := range set.Keys {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(key.X, "="))
		if key.Type == "OKP" && key.Curve == "Ed25519" && err == nil && len(raw) == ed25519.PublicKeySize {
			found = append(found, raw)
		}
	}
	if len(found) == 0 {
		return nil, p.client.Strange(false, "the key set has no key that we know")
	}
	return found, nil
}
