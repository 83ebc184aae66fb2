package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Inspector counts what lies on the queues and tidies them.
//
// It reads sizes itself, because asynq's own statistics sample tasks for their
// memory and fail altogether when one listed task is missing.
type Inspector struct {
	rdb redis.UniversalClient
}

// NewInspector returns an Inspector on rdb, which stays the caller's to close.
func NewInspector(rdb redis.UniversalClient) *Inspector { return &Inspector{rdb: rdb} }

// Stats is how full one queue is.
type Stats struct {
	Queue  string
	Paused bool
	// Size is how many tasks are in each state.
	Size map[orchestrator.TaskState]int64
	// Latency is how long the oldest pending task has waited; 0 when none is.
	Latency time.Duration
	// Processed and Failed count tasks since the queue was first used; Failed
	// ones are among the processed.
	Processed int64
	Failed    int64
}

// taskStates lists the states whose tasks asynq keeps ids of.
var taskStates = []orchestrator.TaskState{
	orchestrator.TaskPending, orchestrator.TaskActive, orchestrator.TaskScheduled,
	orchestrator.TaskRetry, orchestrator.TaskArchived, orchestrator.TaskCompleted,
}

// Stats returns the state of every queue, in the order of [tasks.Queues], in
// two round trips.
func (i *Inspector) Stats(ctx context.Context) ([]Stats, error) {
	pipe := i.rdb.Pipeline()
	now := pipe.Time(ctx)
	replies := make([]statsReply, len(tasks.Queues))
	for n, queue := range tasks.Queues {
		replies[n] = askStats(ctx, pipe, queue)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read queue sizes: %w", unavailable(err))
	}
	stats := make([]Stats, len(replies))
	for n, reply := range replies {
		stats[n] = reply.stats()
	}
	if err := i.addLatency(ctx, stats, replies, now.Val()); err != nil {
		return nil, err
	}
	return stats, nil
}

// statsReply is what Redis is about to say of one queue.
type statsReply struct {
	queue             string
	sizes             map[orchestrator.TaskState]*redis.IntCmd
	paused            *redis.IntCmd
	oldest            *redis.StringCmd
	processed, failed *redis.StringCmd
}

func askStats(ctx context.Context, pipe redis.Pipeliner, queue string) statsReply {
	reply := statsReply{
		queue:     queue,
		sizes:     make(map[orchestrator.TaskState]*redis.IntCmd, len(taskStates)),
		paused:    pipe.Exists(ctx, pausedKey(queue)),
		oldest:    pipe.LIndex(ctx, stateKey(queue, orchestrator.TaskPending), -1),
		processed: pipe.Get(ctx, queuePrefix(queue)+"processed"),
		failed:    pipe.Get(ctx, queuePrefix(queue)+"failed"),
	}
	for _, state := range taskStates {
		if listed(state) {
			reply.sizes[state] = pipe.LLen(ctx, stateKey(queue, state))
		} else {
			reply.sizes[state] = pipe.ZCard(ctx, stateKey(queue, state))
		}
	}
	return reply
}

func (r statsReply) stats() Stats {
	s := Stats{Queue: r.queue, Paused: r.paused.Val() > 0, Size: make(map[orchestrator.TaskState]int64, len(r.sizes))}
	for state, size := range r.sizes {
		s.Size[state] = size.Val()
	}
	// A counter that is not there yet reads as zero.
	s.Processed, _ = r.processed.Int64()
	s.Failed, _ = r.failed.Int64()
	return s
}

// addLatency asks since when the oldest pending tasks wait. One that was taken
// or lost meanwhile leaves its queue's latency at zero.
func (i *Inspector) addLatency(ctx context.Context, stats []Stats, replies []statsReply, now time.Time) error {
	pipe := i.rdb.Pipeline()
	since := make([]*redis.StringCmd, len(stats))
	for n, reply := range replies {
		if id := reply.oldest.Val(); id != "" {
			since[n] = pipe.HGet(ctx, taskPrefix(reply.queue)+id, "pending_since")
		}
	}
	if pipe.Len() == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read queue latency: %w", unavailable(err))
	}
	for n, cmd := range since {
		if cmd == nil {
			continue
		}
		if nanos, err := strconv.ParseInt(cmd.Val(), 10, 64); err == nil {
			stats[n].Latency = max(now.Sub(time.Unix(0, nanos)), 0)
		}
	}
	return nil
}
