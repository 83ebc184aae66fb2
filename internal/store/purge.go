package store

import (
	"context"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// purgeGrace is how long whoever set a tombstone has to purge the job before
// somebody else is asked to.
const purgeGrace = time.Minute

// tombstoneScript marks a record as being purged.
//
//	KEYS  1 job  2 open  3 purge
//	ARGV  1 operation  2 id  3 expected version  4 grace
//
// It answers ok, conflict or missing.
var tombstoneScript = newScript(`
local id = ARGV[2]
local job = redis.call('HMGET', KEYS[1], 'v', 'ops', 'tomb', 'held')
if not job[1] then return {'missing', now} end
if applied(job[2], ARGV[1]) then return {'ok', now} end
if job[3] then return {'missing', now} end
if job[1] ~= ARGV[3] then return {'conflict', now} end
even_when_full(KEYS[2])
redis.call('HSET', KEYS[1], 'tomb', at(now), 'ops', remember(job[2], ARGV[1]))
hold(id, job[4], '')
redis.call('ZREM', KEYS[2], id)
redis.call('ZADD', KEYS[3], at(now + ARGV[4]), id)
redis.call('PUBLISH', CHANNEL_EVENTS, id .. ' ' .. job[1] .. ' purged')
return {'ok', now}
`)

// Tombstone implements [orchestrator.Store]. From now on every script answers
// that the job is missing, so that nothing recreates it or adds artifacts to
// it. If Purge does not follow, [Store.Expired] returns the job soon.
func (s *Store) Tombstone(ctx context.Context, job *tasks.Job) error {
	reply, err := s.run(ctx, "tombstone job", tombstoneScript,
		[]string{keyJob + job.ID, keyOpen, keyPurge},
		newOperation(), job.ID, job.Version, purgeGrace.Milliseconds())
	if err != nil {
		return err
	}
	return purged("tombstone", job.ID, reply)
}

// purgeScript removes what a job with a tombstone left.
//
//	KEYS  1 job  2 open  3 purge  4 counts
//	ARGV  1 id
//
// It answers ok, or conflict when there is no tombstone. The idempotency key
// may belong to a newer job by now.
var purgeScript = newScript(`
local id = ARGV[1]
local job = redis.call('HMGET', KEYS[1], 'v', 'tomb', 't', 'u', 'st', 'ss', 'idem')
if job[1] and not job[2] then return {'conflict', now} end
redis.call('ZREM', KEYS[2], id)
redis.call('ZREM', KEYS[3], id)
if not job[1] then return {'ok', now} end
local index = KEY_JOBS .. job[3]
redis.call('ZREM', index, id)
redis.call('ZREM', index .. ':status:' .. job[6], id)
if job[4] ~= '' then redis.call('ZREM', index .. ':user:' .. job[4], id) end
if job[7] ~= '' then
	local held = redis.call('GET', job[7])
	if held and string.match(held, '^%S+') == id then redis.call('DEL', job[7]) end
end
count(KEYS[4], job[5], -1)
redis.call('DEL', KEYS[1])
return {'ok', now}
`)

// Purge implements [orchestrator.Store]. ErrConflict when the job has no
// tombstone.
func (s *Store) Purge(ctx context.Context, id string) error {
	reply, err := s.run(ctx, "purge job", purgeScript,
		[]string{keyJob + id, keyOpen, keyPurge, keyCounts}, id)
	if err != nil {
		return err
	}
	return purged("purge", id, reply)
}

func purged(verb, id string, reply answer) error {
	switch reply.word {
	case answerOK:
		return nil
	case answerConflict:
		return fmt.Errorf("%s job %s: %w", verb, id, orchestrator.ErrConflict)
	default:
		return fmt.Errorf("%s job %s: %w", verb, id, orchestrator.ErrNotFound)
	}
}
