package sign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
)

// MinSecret is the least length of a secret in bytes.
const MinSecret = 16

// Signer signs under the first of its secrets and verifies under any.
type Signer struct {
	secrets [][]byte
}

// New returns a signer. During a rotation the new secret comes first and the
// old one after it, until everything that it signed has expired.
func New(secrets ...[]byte) (*Signer, error) {
	if len(secrets) == 0 {
		return nil, errors.New("sign: there is no secret")
	}
	s := &Signer{}
	for i, secret := range secrets {
		if len(secret) < MinSecret {
			return nil, fmt.Errorf("sign: secret %d is shorter than %d bytes", i+1, MinSecret)
		}
		s.secrets = append(s.secrets, append([]byte(nil), secret...))
	}
	return s, nil
}

// sign is the signature of the parts under the newest secret.
func (s *Signer) sign(purpose string, parts ...string) string {
	return base64.RawURLEncoding.EncodeToString(mac(s.secrets[0], purpose, parts))
}

// verify compares in constant time, with every secret.
func (s *Signer) verify(signature, purpose string, parts ...string) bool {
	given, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil {
		return false
	}
	good := false
	for _, secret := range s.secrets {
		if hmac.Equal(given, mac(secret, purpose, parts)) {
			good = true
		}
	}
	return good
}

// mac hashes every part behind its length, so that no two lists of parts read
// the same.
func mac(secret []byte, purpose string, parts []string) []byte {
	h := hmac.New(sha256.New, secret)
	for _, part := range append([]string{purpose}, parts...) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}
