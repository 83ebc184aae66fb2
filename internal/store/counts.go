package store

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Counts is how much there is, for metrics and backlog limits.
type Counts struct {
	// Jobs is the number of records in each state, of all tenants.
	Jobs map[tasks.State]int64
	// Open is the number of jobs that owe work.
	Open int64
	// OldestOverdue is for how long the longest overdue of them has been so;
	// zero when none is.
	OldestOverdue time.Duration
}

// Counts reads the counters. It costs the same however many jobs there are.
func (s *Store) Counts(ctx context.Context) (Counts, error) {
	var (
		states *redis.MapStringStringCmd
		open   *redis.IntCmd
		oldest *redis.ZSliceCmd
	)
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		states = pipe.HGetAll(ctx, keyCounts)
		open = pipe.ZCard(ctx, keyOpen)
		oldest = pipe.ZRangeWithScores(ctx, keyOpen, 0, 0)
		return nil
	})
	if err != nil {
		return Counts{}, s.failed("count jobs", err)
	}
	counts := Counts{Jobs: make(map[tasks.State]int64, len(tasks.States)), Open: open.Val()}
	for _, state := range tasks.States {
		// A state that no job was ever in has no field, and counts zero.
		counts.Jobs[state], _ = strconv.ParseInt(states.Val()[string(state)], 10, 64)
	}
	for _, entry := range oldest.Val() {
		counts.OldestOverdue = max(0, s.Now().Sub(time.UnixMilli(int64(entry.Score))))
	}
	return counts, nil
}
