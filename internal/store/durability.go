package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Durability is what must have happened to a written intent before the paid
// call that it announces may be made.
type Durability string

// The durabilities. The empty one is [DurabilityNone].
const (
	// DurabilityNone trusts Redis as it is configured.
	DurabilityNone Durability = "none"
	// DurabilityFsync waits until the intent is on the server's disk.
	DurabilityFsync Durability = "fsync"
	// DurabilityReplica waits until it is on a replica's disk too.
	DurabilityReplica Durability = "replica"
)

// confirmTimeout is how long an intent may wait for its confirmation.
const confirmTimeout = 2 * time.Second

// confirmations says how many servers must have synced: this one, and replicas.
func (d Durability) confirmations() (local, replicas int) {
	switch d {
	case DurabilityFsync:
		return 1, 0
	case DurabilityReplica:
		return 1, 1
	default:
		return 0, 0
	}
}

// checkDurability refuses what the server cannot confirm, before a job depends
// on it.
func (s *Store) checkDurability(ctx context.Context) error {
	switch s.durability {
	case "", DurabilityNone:
		return nil
	case DurabilityFsync, DurabilityReplica:
	default:
		return fmt.Errorf("redis.intent_durability is %q: want none, fsync or replica", s.durability)
	}
	err := s.redis.WaitAOF(ctx, 1, 0, time.Millisecond).Err()
	switch {
	case err == nil:
		return nil
	case strings.HasPrefix(err.Error(), "ERR unknown command"):
		return fmt.Errorf("redis.intent_durability: %s needs WAITAOF, which this server does not have: use Redis 7.2 or later, or none", s.durability)
	case redis.HasErrorPrefix(err, "ERR"):
		return fmt.Errorf("redis.intent_durability: %s is refused by the server: %w", s.durability, err)
	default:
		return s.failed("check durability", err)
	}
}

// SaveIntent is [Store.Save] for the record that announces a paid call: it
// returns once the write is as durable as the configuration demands. The same
// script looks whether the provider may be called, see [saveScript].
//
// When the write is not confirmed in time the error is
// [orchestrator.ErrUnavailable] although the record was written: job.Version
// says so, and the call must not be made.
func (s *Store) SaveIntent(ctx context.Context, job *tasks.Job, bodies map[int64][]byte, limits providers.Limits) (fresh *tasks.Job, from time.Time, err error) {
	write, err := s.newWrite(job, bodies, job.ProviderID, limits)
	if err != nil {
		return nil, time.Time{}, err
	}
	reply, unconfirmed, err := s.writeIntent(ctx, write)
	if err != nil {
		return nil, time.Time{}, err
	}
	if fresh, err := write.settle(job, reply); err != nil {
		return fresh, time.Time{}, err
	}
	if unconfirmed != nil {
		return nil, time.Time{}, fmt.Errorf("intent of job %s: %w", job.ID, unconfirmed)
	}
	return nil, time.UnixMicro(reply.number(0)).UTC(), nil
}

// writeIntent runs the script, and waits for as many copies as are demanded:
// unconfirmed says why that came to nothing.
func (s *Store) writeIntent(ctx context.Context, write write) (reply answer, unconfirmed, err error) {
	local, replicas := s.durability.confirmations()
	if local == 0 {
		reply, err := s.run(ctx, "save intent", saveScript, write.keys, write.args...)
		return reply, nil, err
	}
	sent := time.Now()
	raw, confirmed, err := s.saveAndConfirm(ctx, write, local, replicas)
	if forgotten(err) {
		if err := s.redis.ScriptLoad(ctx, saveScript.source).Err(); err != nil {
			return answer{}, nil, s.failed("load scripts", err)
		}
		raw, confirmed, err = s.saveAndConfirm(ctx, write, local, replicas)
	}
	if raw == nil {
		return answer{}, nil, s.failed("save intent", err)
	}
	reply, readErr := s.read("save intent", raw, sent)
	switch {
	case readErr != nil:
		return answer{}, nil, readErr
	case err != nil:
		return reply, s.failed("confirm", err), nil
	case len(confirmed) < 2 || confirmed[0] < int64(local) || confirmed[1] < int64(replicas):
		return reply, fmt.Errorf("%w: not confirmed (%s) within %s", orchestrator.ErrUnavailable, s.durability, confirmTimeout), nil
	}
	return reply, nil, nil
}

// saveAndConfirm sends the write and the wait for it as one pipeline: WAITAOF
// speaks of its own connection's writes, and a pipeline is repeated as a whole
// or not at all. It returns the script's reply if there was one, and the first
// error.
func (s *Store) saveAndConfirm(ctx context.Context, w write, local, replicas int) (reply []any, confirmed []int64, err error) {
	// The wait may last as long as a read may take.
	patient := s.redis.WithTimeout(confirmTimeout + readTimeout)
	pipe := patient.Pipeline()
	saved := pipe.EvalSha(ctx, saveScript.hash, w.keys, w.args...)
	waited := redis.NewIntSliceCmd(ctx, "waitaof", local, replicas, confirmTimeout.Milliseconds())
	_ = pipe.Process(ctx, waited) // in a pipeline it only queues
	_, err = pipe.Exec(ctx)
	reply, _ = saved.Slice()
	return reply, waited.Val(), err
}
