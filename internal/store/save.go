package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// saveScript writes a record over the version that it was made from.
//
//	KEYS  1 job  2 open  3 purge  4 counts
//	ARGV  1 operation  2 id  3 expected version  4 new version  5 schema
//	      6 record  7 lane  8 state  9 status  10 provider
//	      11 touch or empty  12 purge time or empty
//	      13… event bodies: "keep", field, body or "drop", field, ""
//
// It answers ok; conflict, schema, record, request; missing; or held, when it is
// an intent, which leaves a queued job at its step, and paid submits are held.
//
// A repeated operation writes its own trace once more: whoever waits for the
// append-only file on this connection needs a write on it to wait for.
var saveScript = newScript(`
local id = ARGV[2]
local job = redis.call('HMGET', KEYS[1], 'v', 'ops', 'tomb', 't', 'st', 'ss')
if not job[1] or job[3] then return {'missing', now} end
if applied(job[2], ARGV[1]) then
	redis.call('HSET', KEYS[1], 'ops', job[2])
	return {'ok', now}
end
if job[1] ~= ARGV[3] then
	local fresh = redis.call('HMGET', KEYS[1], 'sv', 'rec', 'req')
	return {'conflict', now, fresh[1], fresh[2], fresh[3]}
end
if job[5] == 'queued' and ARGV[8] == 'submitting' and redis.call('HGET', KEYS[1], 'lane') == ARGV[7]
	and redis.call('EXISTS', KEY_HOLD) == 1 then return {'held', now} end
even_when_full(KEYS[2])
redis.call('HSET', KEYS[1],
	'v', ARGV[4], 'sv', ARGV[5], 'rec', ARGV[6], 'lane', ARGV[7],
	'st', ARGV[8], 'ss', ARGV[9], 'pr', ARGV[10], 'ops', remember(job[2], ARGV[1]))
for i = 13, #ARGV, 3 do
	if ARGV[i] == 'keep' then
		redis.call('HSET', KEYS[1], ARGV[i + 1], ARGV[i + 2])
	else
		redis.call('HDEL', KEYS[1], ARGV[i + 1])
	end
end
place(KEYS[2], id, ARGV[11])
place(KEYS[3], id, ARGV[12])
if job[5] ~= ARGV[8] then
	count(KEYS[4], job[5], -1)
	count(KEYS[4], ARGV[8], 1)
end
if job[6] ~= ARGV[9] then
	local index = KEY_JOBS .. job[4] .. ':status:'
	redis.call('ZREM', index .. job[6], id)
	redis.call('ZADD', index .. ARGV[9], 0, id)
end
redis.call('PUBLISH', CHANNEL_EVENTS, id .. ' ' .. ARGV[4] .. ' ' .. ARGV[9])
return {'ok', now}
`)

// Save implements [orchestrator.Store].
//
// After [orchestrator.ErrUnavailable] the record may or may not have been
// written: a second Save of the same job then answers a conflict whose record
// is the one of the first.
func (s *Store) Save(ctx context.Context, job *tasks.Job, bodies map[int64][]byte) (*tasks.Job, error) {
	write, err := s.newWrite(job, bodies)
	if err != nil {
		return nil, err
	}
	reply, err := s.run(ctx, "save job", saveScript, write.keys, write.args...)
	if err != nil {
		return nil, err
	}
	return write.settle(job, reply)
}

// write is one call of saveScript.
type write struct {
	version int64
	at      time.Time
	keys    []string
	args    []any
}

func (s *Store) newWrite(job *tasks.Job, bodies map[int64][]byte) (write, error) {
	w := write{version: job.Version + 1, at: s.Now().Truncate(time.Millisecond)}
	written := *job
	written.Version, written.UpdatedAt = w.version, w.at
	record, err := encode(&written)
	if err != nil {
		return write{}, err
	}
	w.keys = []string{keyJob + job.ID, keyOpen, keyPurge, keyCounts}
	w.args = []any{
		newOperation(), job.ID, job.Version, w.version, tasks.Schema,
		record, lane(job.Kind, job.Step, job.Gen), string(job.State), string(job.State.Status()), job.ProviderID,
		score(job.Touch), score(job.PurgeAt),
	}
	for _, version := range slices.Sorted(maps.Keys(bodies)) {
		verb := "keep"
		if bodies[version] == nil {
			verb = "drop"
		}
		w.args = append(w.args, verb, bodyField(version), bodies[version])
	}
	return w, nil
}

// settle brings the caller's job up to what was written, or returns what stands
// there instead.
func (w write) settle(job *tasks.Job, reply answer) (*tasks.Job, error) {
	switch reply.word {
	case answerOK:
		job.Version, job.UpdatedAt, job.Schema = w.version, w.at, tasks.Schema
		return nil, nil
	case answerConflict:
		fresh, err := decode(job.ID, reply.text(0), reply.text(1), reply.text(2))
		if err != nil {
			return nil, err
		}
		return fresh, fmt.Errorf("save job %s: %w", job.ID, orchestrator.ErrConflict)
	case answerHeld:
		return nil, fmt.Errorf("save job %s: %w", job.ID, orchestrator.ErrSubmitsHeld)
	default:
		return nil, fmt.Errorf("save job %s: %w", job.ID, orchestrator.ErrNotFound)
	}
}
