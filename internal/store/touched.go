package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// Touched implements [orchestrator.Store].
func (s *Store) Touched(ctx context.Context, id string) (time.Time, error) {
	score, err := s.redis.ZScore(ctx, keyOpen, id).Result()
	if errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, s.failed("read touch", err)
	}
	return time.UnixMilli(int64(score)), nil
}
