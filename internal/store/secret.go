package store

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// secretLength is the length in bytes of a secret that the store makes.
const secretLength = 32

// GetOrCreateSecret returns the key that signs links and tokens where none is
// configured. The first process makes it; all others find it.
func (s *Store) GetOrCreateSecret(ctx context.Context) ([]byte, error) {
	fresh := make([]byte, secretLength)
	_, _ = rand.Read(fresh) // never fails: crypto/rand ends the program instead
	if err := s.redis.SetNX(ctx, keySecret, fresh, 0).Err(); err != nil {
		return nil, s.failed("create secret", err)
	}
	// What stands there is the answer, whoever wrote it: the reply to our own
	// write may have been lost and the write repeated.
	secret, err := s.redis.Get(ctx, keySecret).Bytes()
	if err != nil {
		return nil, s.failed("read secret", err)
	}
	if len(secret) != secretLength {
		return nil, fmt.Errorf("%w: %s holds %d bytes, want %d", orchestrator.ErrUnavailable, keySecret, len(secret), secretLength)
	}
	return secret, nil
}
