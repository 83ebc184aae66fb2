package store

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// createScript writes one new job.
//
//	KEYS  1 job  2 open  3 purge  4 counts  5 index of all jobs
//	      6 index of the status  7 index of the user, or empty
//	      8 idempotency key, or empty
//	ARGV  1 operation  2 id  3 version  4 schema  5 record  6 request
//	      7 request hash  8 lane  9 state  10 status  11 tenant  12 user
//	      13 feature  14 provider  15 touch or empty  16 purge time or empty
//	      17 how many jobs may wait for the provider, or 0
//
// It answers ok; exists, id, request hash; conflict when the id is taken; or
// full, how many jobs wait for the provider. Who is refused has some of those
// looked at: a release that does not know of them moves jobs on and leaves them
// there.
//
// An idempotency key is free when the job that held it is gone or going. The
// first write is one that a full Redis refuses, and with it the whole job.
var createScript = newScript(`
local id = ARGV[2]
local old = redis.call('HMGET', KEYS[1], 'v', 'ops')
if old[1] then
	if applied(old[2], ARGV[1]) then return {'ok', now} end
	return {'conflict', now}
end
if KEYS[8] ~= '' then
	local held = redis.call('GET', KEYS[8])
	if held then
		local holder, hash = string.match(held, '^(%S+) (%S*)$')
		local known = redis.call('HMGET', KEY_JOB .. holder, 'v', 'tomb')
		if known[1] and not known[2] then return {'exists', now, holder, hash} end
	end
end
local waiting = KEY_WAITING .. ARGV[14]
local most = tonumber(ARGV[17])
local many = most > 0 and ARGV[9] == 'queued' and redis.call('SCARD', waiting) or 0
if most > 0 and many >= most then
	for _, other in ipairs(redis.call('SRANDMEMBER', waiting, 20)) do
		if not waits(redis.call('HMGET', KEY_JOB .. other, 'st', 'pr', 'tomb'), ARGV[14]) then
			redis.call('SREM', waiting, other)
		end
	end
	return {'full', now, many}
end
redis.call('HSET', KEYS[1],
	'v', ARGV[3], 'sv', ARGV[4], 'rec', ARGV[5], 'req', ARGV[6], 'lane', ARGV[8],
	'st', ARGV[9], 'ss', ARGV[10], 't', ARGV[11], 'u', ARGV[12],
	'ft', ARGV[13], 'pr', ARGV[14], 'idem', KEYS[8], 'ops', remember('', ARGV[1]))
if ARGV[9] == 'queued' then redis.call('SADD', waiting, id) end
place(KEYS[2], id, ARGV[15])
place(KEYS[3], id, ARGV[16])
count(KEYS[4], ARGV[9], 1)
redis.call('ZADD', KEYS[5], 0, id)
redis.call('ZADD', KEYS[6], 0, id)
if KEYS[7] ~= '' then redis.call('ZADD', KEYS[7], 0, id) end
if KEYS[8] ~= '' then redis.call('SET', KEYS[8], id .. ' ' .. ARGV[7]) end
redis.call('PUBLISH', CHANNEL_EVENTS, id .. ' ' .. ARGV[3] .. ' ' .. ARGV[10])
return {'ok', now}
`)

// Create implements [orchestrator.Store]. Jobs of one call that share an
// idempotency key become one. On an error some of the jobs may have been
// written: they are like any other, and are finished.
func (s *Store) Create(ctx context.Context, jobs []*tasks.Job, most map[string]int) ([]orchestrator.Created, error) {
	calls := make([]createCall, len(jobs))
	for i, job := range jobs {
		call, err := newCreateCall(job, most[job.ProviderID])
		if err != nil {
			return nil, err
		}
		calls[i] = call
	}
	sent := time.Now()
	replies, err := s.createAll(ctx, calls)
	if err != nil {
		return nil, s.failed("create jobs", err)
	}
	outcomes := make([]orchestrator.Created, len(jobs))
	for i, job := range jobs {
		reply, err := s.read("create job", replies[i], sent)
		if err != nil {
			return nil, err
		}
		switch reply.word {
		case answerExists:
			outcomes[i] = orchestrator.Created{ExistingID: reply.text(0), ExistingHash: reply.text(1)}
		case answerFull:
			outcomes[i] = orchestrator.Created{Waiting: int(reply.number(0))}
		case answerConflict:
			return nil, fmt.Errorf("create job %s: id is taken: %w", job.ID, orchestrator.ErrConflict)
		default:
			job.Version, job.Schema = max(job.Version, 1), tasks.Schema
		}
	}
	return outcomes, nil
}

// createCall is one job's call of the script; repeated as it is, it is the same
// operation.
type createCall struct {
	keys []string
	args []any
}

func newCreateCall(job *tasks.Job, most int) (createCall, error) {
	written := *job
	written.Version = max(job.Version, 1)
	record, err := encode(&written)
	if err != nil {
		return createCall{}, err
	}
	request, err := encodeRequest(job)
	if err != nil {
		return createCall{}, err
	}
	status := job.State.Status()
	user := ""
	if job.Request.UserID != "" {
		user = userIndex(job.Tenant, job.Request.UserID)
	}
	return createCall{
		keys: []string{
			keyJob + job.ID, keyOpen, keyPurge, keyCounts, allIndex(job.Tenant),
			statusIndex(job.Tenant, status), user, idempotencyKey(job),
		},
		args: []any{
			newOperation(), job.ID, written.Version, tasks.Schema, record, request,
			job.RequestHash, lane(job.Kind, job.Step, job.Gen), string(job.State), string(status),
			tenantKey(job.Tenant), userKey(job.Request.UserID),
			string(job.Request.FeatureType), job.ProviderID, score(job.Touch), score(job.PurgeAt), most,
		},
	}, nil
}

// createAll makes the calls in one round trip. Where the server has forgotten
// the script the calls are made once more, which is harmless to those that
// went through.
func (s *Store) createAll(ctx context.Context, calls []createCall) ([][]any, error) {
	replies, err := s.pipeline(ctx, calls)
	if forgotten(err) {
		if err := s.redis.ScriptLoad(ctx, createScript.source).Err(); err != nil {
			return nil, err
		}
		replies, err = s.pipeline(ctx, calls)
	}
	return replies, err
}

func (s *Store) pipeline(ctx context.Context, calls []createCall) ([][]any, error) {
	commands := make([]*redis.Cmd, len(calls))
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, call := range calls {
			commands[i] = pipe.EvalSha(ctx, createScript.hash, call.keys, call.args...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	replies := make([][]any, len(calls))
	for i, command := range commands {
		if replies[i], err = command.Slice(); err != nil {
			return nil, err
		}
	}
	return replies, nil
}
