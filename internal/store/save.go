package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// saveScript writes a record over the version that it was made from.
//
//	KEYS  1 job  2 open  3 purge  4 counts
//	ARGV  1 operation  2 id  3 expected version  4 new version  5 schema
//	      6 record  7 lane  8 state  9 status  10 provider
//	      11 touch or empty  12 purge time or empty  13 places held
//	      14 provider that is to be called, or empty
//	      15 how early a provider's turn or opening counts, in microseconds
//	      16 for how long a turn may be taken, likewise; empty: no turn is needed
//	      17 requests of the rate, or 0  18 its interval in microseconds
//	      19… event bodies: "keep", field, body or "drop", field, ""
//
// It answers ok, and the microsecond before which the provider must not be called,
// if it is to be; conflict, schema, record, request; missing; held, when it is
// an intent, which leaves a queued job at its step, and paid submits are held; or
// closed, when the provider must not be called: it is paused, has asked us to
// stay away, or the job has no turn. The record is not written then. A turn that
// is taken is gone, and the place that the intent holds stands in its stead; one
// that comes too close to what was taken late is moved. Who does not wait for a
// provider any more leaves the line before it.
//
// A repeated operation writes its own trace once more: whoever waits for the
// append-only file on this connection needs a write on it to wait for.
var saveScript = newScript(`
local id = ARGV[2]
local job = redis.call('HMGET', KEYS[1], 'v', 'ops', 'tomb', 't', 'st', 'ss', 'held', 'pr')
if not job[1] or job[3] then return {'missing', now} end
if applied(job[2], ARGV[1]) then
	redis.call('HSET', KEYS[1], 'ops', job[2])
	return {'ok', now, micros}
end
if job[1] ~= ARGV[3] then
	local fresh = redis.call('HMGET', KEYS[1], 'sv', 'rec', 'req')
	return {'conflict', now, fresh[1], fresh[2], fresh[3]}
end
if job[5] == 'queued' and ARGV[8] == 'submitting' and redis.call('HGET', KEYS[1], 'lane') == ARGV[7]
	and redis.call('EXISTS', KEY_HOLD) == 1 then return {'held', now} end
even_when_full(KEYS[2])
local moment = micros
if ARGV[14] ~= '' then
	local gate = redis.call('HMGET', KEY_GATE .. ARGV[14], 'paused', 'until')
	local soonest = micros + ARGV[15]
	moment = math.max(moment, tonumber(gate[2] or 0) * 1000)
	if gate[1] or moment > soonest then return {'closed', now} end
	if ARGV[16] ~= '' then
		local turn = tonumber(redis.call('ZSCORE', KEY_TURNS .. ARGV[14], id) or math.huge)
		if turn > soonest or micros > turn + ARGV[16] then return {'closed', now} end
		moment = math.max(moment, turn)
		if ARGV[17] ~= '0' then
			local slots, own = KEY_SLOTS .. ARGV[14], id .. ':' .. at(turn)
			redis.call('ZREM', slots, own)
			local oldest = redis.call('ZREVRANGEBYSCORE', slots, at(moment), '-inf', 'WITHSCORES', 'LIMIT', ARGV[17] - 1, 1)[2]
			if oldest then moment = math.max(moment, tonumber(oldest) + ARGV[18]) end
			redis.call('ZADD', slots, at(moment), id .. ':' .. at(moment))
			if moment > soonest then
				redis.call('ZADD', KEY_TURNS .. ARGV[14], at(moment), id)
				return {'closed', now}
			end
		end
	end
	redis.call('ZREM', KEY_TURNS .. ARGV[14], id)
end
if job[5] == 'queued' and (ARGV[8] ~= 'queued' or ARGV[10] ~= job[8]) then
	leave(job[8], id)
	redis.call('SREM', KEY_WAITING .. job[8], id)
end
if ARGV[8] == 'queued' and (job[5] ~= 'queued' or ARGV[10] ~= job[8]) then redis.call('SADD', KEY_WAITING .. ARGV[10], id) end
redis.call('HSET', KEYS[1],
	'v', ARGV[4], 'sv', ARGV[5], 'rec', ARGV[6], 'lane', ARGV[7],
	'st', ARGV[8], 'ss', ARGV[9], 'pr', ARGV[10], 'ops', remember(job[2], ARGV[1]))
if (job[7] or '') ~= ARGV[13] then
	hold(id, job[7], ARGV[13])
	redis.call('HSET', KEYS[1], 'held', ARGV[13])
end
for i = 19, #ARGV, 3 do
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
return {'ok', now, moment}
`)

// Save implements [orchestrator.Store].
//
// After [orchestrator.ErrUnavailable] the record may or may not have been
// written: a second Save of the same job then answers a conflict whose record
// is the one of the first.
func (s *Store) Save(ctx context.Context, job *tasks.Job, bodies map[int64][]byte) (*tasks.Job, error) {
	write, err := s.newWrite(job, bodies, "", providers.Limits{})
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

func (s *Store) newWrite(job *tasks.Job, bodies map[int64][]byte, called string, limits providers.Limits) (write, error) {
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
		score(job.Touch), score(job.PurgeAt), held(job.Places), called,
	}
	w.args = append(w.args, turnArguments(limits)...)
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
	case answerClosed:
		return nil, fmt.Errorf("save job %s: %w", job.ID, orchestrator.ErrClosed)
	default:
		return nil, fmt.Errorf("save job %s: %w", job.ID, orchestrator.ErrNotFound)
	}
}

// held writes the places that a job holds, as the scripts read them.
func held(places []tasks.Place) string {
	var b strings.Builder
	for _, p := range places {
		fmt.Fprintf(&b, "%s|%d|%d ", p.ProviderID, p.Submission, p.Until.UnixMilli())
	}
	return b.String()
}
