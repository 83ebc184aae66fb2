package store

import (
	"context"
	"slices"
	"time"
)

// touchChunk is how many jobs one script touches, so that it stays short.
const touchChunk = 500

// touchScript pushes the touch of jobs ahead, never back, and adds none.
//
//	KEYS  1 open
//	ARGV  1 lease  2… ids
//
// It answers ok.
var touchScript = newScript(`
even_when_full(KEYS[1])
for i = 2, #ARGV do
	redis.call('ZADD', KEYS[1], 'XX', 'GT', at(now + ARGV[1]), ARGV[i])
end
return {'ok', now}
`)

// Touch implements [orchestrator.Store].
func (s *Store) Touch(ctx context.Context, ids []string, lease time.Duration) error {
	for chunk := range slices.Chunk(ids, touchChunk) {
		args := make([]any, 0, len(chunk)+1)
		args = append(args, lease.Milliseconds())
		for _, id := range chunk {
			args = append(args, id)
		}
		if _, err := s.run(ctx, "touch jobs", touchScript, []string{keyOpen}, args...); err != nil {
			return err
		}
	}
	return nil
}

// takeScript takes jobs whose time has come from an index, the longest overdue
// first, and pushes their scores so that nobody else takes them meanwhile.
//
//	KEYS  1 open or purge
//	ARGV  1 how many  2 push
//
// It answers ok, ids, tide, which it raises once a second. An entry without a record is dropped. Jobs whose reply
// was lost come back after push.
var takeScript = newScript(`
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', at(now), 'LIMIT', 0, ARGV[1])
local tide = tonumber(redis.call('GET', KEY_TIDE) or '0')
local rises = now >= tide + 1000
if #ids > 0 or rises then even_when_full(KEYS[1]) end
if rises then
	if now > tide + TIDE_TOLERANCE and (tide > 0 or redis.call('ZCARD', KEYS[1]) > 0) then
		redis.call('RPUSH', KEY_GAPS, at(tide) .. ' ' .. at(now))
		redis.call('LTRIM', KEY_GAPS, -20, -1)
	end
	tide = now
	redis.call('SET', KEY_TIDE, at(now))
end
local taken = {}
for _, id in ipairs(ids) do
	if redis.call('EXISTS', KEY_JOB .. id, KEY_UPLOAD .. id) > 0 then
		redis.call('ZADD', KEYS[1], 'XX', at(now + ARGV[2]), id)
		taken[#taken + 1] = id
	else
		redis.call('ZREM', KEYS[1], id)
	end
end
return {'ok', now, taken, tide}
`)

// Overdue implements [orchestrator.Store].
func (s *Store) Overdue(ctx context.Context, n int, push time.Duration) ([]string, error) {
	return s.take(ctx, "take overdue jobs", keyOpen, n, push)
}

// Expired implements [orchestrator.Store]. It also returns jobs with a
// tombstone whose purge was cut off: they read as missing, and are to be purged
// all the same.
func (s *Store) Expired(ctx context.Context, n int, push time.Duration) ([]string, error) {
	return s.take(ctx, "take expired jobs", keyPurge, n, push)
}

func (s *Store) take(ctx context.Context, operation, index string, n int, push time.Duration) ([]string, error) {
	reply, err := s.run(ctx, operation, takeScript, []string{index}, n, push.Milliseconds())
	if err != nil {
		return nil, err
	}
	s.tide.rise(reply.number(1))
	return reply.texts(0), nil
}
