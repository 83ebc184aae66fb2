package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// Secret is a tenant's signing secret, as "whsec_" and base64. A tenant may
// have several: during a rotation every one of them signs.
type Secret struct {
	Tenant string
	Value  string
}

const (
	secretPrefix = "whsec_"
	// The lengths that the specification allows, in bytes.
	minSecret, maxSecret = 24, 64
)

// secrets are the keys of all tenants.
type secrets struct {
	configured map[string][][]byte
	server     [][]byte
}

// newSecrets reports everything that is wrong at once, and no value.
func newSecrets(configured []Secret, server [][]byte) (*secrets, error) {
	s := &secrets{configured: map[string][][]byte{}, server: server}
	var problems []error
	for i, secret := range configured {
		key, err := parseSecret(secret.Value)
		if err != nil {
			problems = append(problems, fmt.Errorf("webhooks.secrets[%d]: %w", i, err))
			continue
		}
		s.configured[secret.Tenant] = append(s.configured[secret.Tenant], key)
	}
	for i, key := range server {
		if len(key) == 0 {
			problems = append(problems, fmt.Errorf("server secret %d is empty", i+1))
		}
	}
	if len(server) == 0 {
		problems = append(problems, errors.New("there is no server secret to derive secrets from"))
	}
	return s, errors.Join(problems...)
}

func parseSecret(value string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(value, secretPrefix)
	if !ok {
		return nil, fmt.Errorf("must begin with %q", secretPrefix)
	}
	// The decoder's error would quote the secret.
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("must be base64 behind %q", secretPrefix)
	}
	if len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("must be %d to %d bytes long", minSecret, maxSecret)
	}
	return key, nil
}

// of returns the keys that sign for a tenant, the current one first. A tenant
// that has none configured gets one derived from each server secret.
func (s *secrets) of(tenant string) [][]byte {
	if keys := s.configured[tenant]; len(keys) > 0 {
		return keys
	}
	keys := make([][]byte, len(s.server))
	for i, secret := range s.server {
		keys[i] = derive(secret, tenant)
	}
	return keys
}

// derive is HMAC-SHA256 of "webhook:<tenant>" under the server secret.
func derive(server []byte, tenant string) []byte {
	h := hmac.New(sha256.New, server)
	h.Write([]byte("webhook:" + tenant))
	return h.Sum(nil)
}

// sign is the value of the webhook-signature header: one signature per key,
// separated by spaces.
func sign(keys [][]byte, message message) (string, error) {
	signatures := make([]string, len(keys))
	for i, key := range keys {
		signer, err := standardwebhooks.NewWebhookRaw(key)
		if err != nil {
			return "", fmt.Errorf("sign with secret %d: %w", i+1, err)
		}
		signatures[i], err = signer.Sign(message.id, message.at, message.body)
		if err != nil {
			return "", fmt.Errorf("sign with secret %d: %w", i+1, err)
		}
	}
	return strings.Join(signatures, " "), nil
}
