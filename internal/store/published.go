package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// Publish writes what a process that knows only this Redis must know of the
// installation: its settings (nil leaves them as they are) and its providers,
// each under its name. The store does not look into either.
func (s *Store) Publish(ctx context.Context, installation []byte, providers map[string][]byte) error {
	pipe := s.redis.TxPipeline()
	if installation != nil {
		pipe.Set(ctx, keyInstallation, installation, 0)
	}
	for name, raw := range providers {
		pipe.HSet(ctx, keyProviders, name, raw)
	}
	if pipe.Len() == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return s.failed("publish the installation", err)
	}
	return nil
}

// Published returns what was published last. Both are empty where nobody has.
func (s *Store) Published(ctx context.Context) (installation []byte, providers map[string][]byte, err error) {
	pipe := s.redis.TxPipeline()
	settings := pipe.Get(ctx, keyInstallation)
	fields := pipe.HGetAll(ctx, keyProviders)
	if _, err := pipe.Exec(ctx); err != nil && !isNil(err) {
		return nil, nil, s.failed("read the installation", err)
	}
	installation, err = settings.Bytes()
	if err != nil && !isNil(err) {
		return nil, nil, s.failed("read the installation", err)
	}
	providers = map[string][]byte{}
	for name, raw := range fields.Val() {
		providers[name] = []byte(raw)
	}
	return installation, providers, nil
}

// isNil reports whether Redis answered that there is nothing.
func isNil(err error) bool { return errors.Is(err, redis.Nil) }
