package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// ReportHealth implements [orchestrator.Store].
func (s *Store) ReportHealth(ctx context.Context, provider string, h orchestrator.Health) error {
	raw, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("encode health of %s: %w", provider, err)
	}
	if err := s.redis.HSet(ctx, keyHealth, provider, raw).Err(); err != nil {
		return s.failed("report health", err)
	}
	return nil
}

// Healths implements [orchestrator.Store].
func (s *Store) Healths(ctx context.Context) (map[string]orchestrator.Health, error) {
	fields, err := s.redis.HGetAll(ctx, keyHealth).Result()
	if err != nil {
		return nil, s.failed("read healths", err)
	}
	healths := make(map[string]orchestrator.Health, len(fields))
	for provider, raw := range fields {
		var h orchestrator.Health
		if err := json.Unmarshal([]byte(raw), &h); err != nil {
			return nil, fmt.Errorf("decode health of %s: %w", provider, err)
		}
		healths[provider] = h
	}
	return healths, nil
}
