package store

import (
	"context"
	"strings"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// mendScript brings everything beside a record up to it.
//
//	KEYS  1 job  2 open  3 purge
//	ARGV  1 id  2 record as it was read  3 version  4 state  5 status  6 lane
//	      7 provider  8 tenant  9 "1" if it owes work  10 touch in its record
//	      11 purge time or empty  12 "1" if its next look is to be set  13 request hash
//	      14 places held  15 since when it stands in its provider's line, or empty
//
// It answers ok, or conflict when the record is not the one that was read. The
// next look is now for a job that was not in the open index.
var mendScript = newScript(`
local id = ARGV[1]
local job = redis.call('HMGET', KEYS[1], 'rec', 't', 'u', 'idem', 'tomb', 'held')
if job[1] ~= ARGV[2] then return {'conflict', now} end
even_when_full(KEYS[2])
redis.call('HSET', KEYS[1], 'v', ARGV[3], 'st', ARGV[4], 'ss', ARGV[5], 'lane', ARGV[6], 'pr', ARGV[7], 't', ARGV[8], 'held', ARGV[14])
hold(id, job[6], '')
if not job[5] then hold(id, '', ARGV[14]) end
if ARGV[4] == 'queued' and not job[5] then
	redis.call('SADD', KEY_WAITING .. ARGV[7], id)
else
	redis.call('SREM', KEY_WAITING .. ARGV[7], id)
end
if ARGV[15] ~= '' and not redis.call('ZSCORE', KEY_TURNS .. ARGV[7], id) then
	redis.call('ZADD', KEY_LINE .. ARGV[7], 'NX', ARGV[15], id)
end
if ARGV[9] == '' then
	redis.call('ZREM', KEYS[2], id)
elseif ARGV[12] == '1' then
	redis.call('ZADD', KEYS[2], ARGV[10], id)
else
	redis.call('ZADD', KEYS[2], 'NX', at(now), id)
end
if job[5] then
	redis.call('ZADD', KEYS[3], 'NX', at(now), id)
elseif ARGV[11] == '' then
	redis.call('ZREM', KEYS[3], id)
else
	redis.call('ZADD', KEYS[3], 'NX', ARGV[11], id)
end
local list = KEY_JOBS .. ARGV[8]
redis.call('ZADD', list, 0, id)
for status in string.gmatch('STATUSES', '%S+') do
	if status ~= ARGV[5] then redis.call('ZREM', list .. ':status:' .. status, id) end
end
redis.call('ZADD', list .. ':status:' .. ARGV[5], 0, id)
if job[3] and job[3] ~= '' then redis.call('ZADD', list .. ':user:' .. job[3], 0, id) end
if job[4] and job[4] ~= '' and not job[5] then redis.call('SET', job[4], id .. ' ' .. ARGV[13], 'NX') end
return {'ok', now}
`)

// Mend implements [orchestrator.Auditor].
func (s *Store) Mend(ctx context.Context, d orchestrator.Drift) (bool, error) {
	switch d.Kind {
	case orchestrator.DriftIndexStray:
		return s.mendStray(ctx, d)
	case orchestrator.DriftKeyDangling:
		return s.mendKey(ctx, d)
	case orchestrator.DriftCountsOff:
		return s.mendCounts(ctx)
	case orchestrator.DriftPlaceStray:
		return s.mendPlace(ctx, d)
	case orchestrator.DriftWaitingStray:
		return s.mendWaiting(ctx, d)
	case orchestrator.DriftLineStray:
		return s.mendLine(ctx, d)
	case orchestrator.DriftQueueItemLost, orchestrator.DriftQueueItemStray:
		return s.mendItem(ctx, d)
	case orchestrator.DriftCircuitUnreadable, orchestrator.DriftCircuitAsleep:
		return s.mendCircuit(ctx, d)
	case orchestrator.DriftRecordUnreadable, orchestrator.DriftKeyTaken:
		return false, nil
	}
	standings, err := s.standings(ctx, []string{d.JobID})
	if err != nil || len(standings) == 0 {
		return false, err
	}
	// One mending of a job settles all that is wrong with it: what another has
	// settled before counts as mended too.
	return s.mendJob(ctx, standings[0])
}

func (s *Store) mendJob(ctx context.Context, st standing) (bool, error) {
	job, err := decode(st.id, st.schema, st.record, "{}")
	if err != nil {
		return false, err
	}
	wants := expected(job, st)
	owes, wakes, since := "", "", ""
	if wants.open {
		owes = "1"
	}
	if s.sleeps(st, job) {
		wakes = "1"
	}
	if wants.inLine {
		since = score(job.UpdatedAt) // it came with this change
	}
	reply, err := s.run(ctx, "mend job", mendScript, []string{keyJob + st.id, keyOpen, keyPurge},
		st.id, st.record, wants.version, wants.state, wants.status, wants.lane, wants.provider, wants.tenant,
		owes, score(job.Touch), score(job.PurgeAt), wakes, job.RequestHash, wants.places, since)
	return reply.word == answerOK, err
}

// dropStrayScript removes an entry from an index that it does not belong in.
//
//	KEYS  1 index
//	ARGV  1 "list", "purge" or another  2 id
//
// It answers ok and how many it has removed.
var dropStrayScript = newScript(`
local id = ARGV[2]
local job = redis.call('HMGET', KEY_JOB .. id, 'v', 't', 'ss', 'u')
if ARGV[1] == 'purge' and redis.call('EXISTS', KEY_UPLOAD .. id) == 1 then return {'ok', now, 0} end
if job[1] then
	local list = KEY_JOBS .. job[2]
	if ARGV[1] ~= 'list' or KEYS[1] == list or KEYS[1] == list .. ':status:' .. job[3] or KEYS[1] == list .. ':user:' .. job[4] then
		return {'ok', now, 0}
	end
end
return {'ok', now, redis.call('ZREM', KEYS[1], id)}
`)

func (s *Store) mendStray(ctx context.Context, d orchestrator.Drift) (bool, error) {
	sort := "index"
	if strings.HasPrefix(d.Place, keyJobs) {
		sort = "list"
	} else if d.Place == keyPurge {
		sort = "purge"
	}
	reply, err := s.run(ctx, "drop stray", dropStrayScript, []string{d.Place}, sort, d.JobID)
	return reply.number(0) > 0, err
}

// dropKeyScript removes an idempotency key that points to no job that holds it.
//
//	KEYS  1 key
//
// It answers ok and how many it has removed.
var dropKeyScript = newScript(`
local held = redis.call('GET', KEYS[1])
local holder = held and string.match(held, '^%S+')
if not held or holder and redis.call('HGET', KEY_JOB .. holder, 'idem') == KEYS[1] then return {'ok', now, 0} end
return {'ok', now, redis.call('DEL', KEYS[1])}
`)

func (s *Store) mendKey(ctx context.Context, d orchestrator.Drift) (bool, error) {
	if !strings.HasPrefix(d.Place, keyIdempotency) {
		return false, nil
	}
	reply, err := s.run(ctx, "drop key", dropKeyScript, []string{d.Place})
	return reply.number(0) > 0, err
}
