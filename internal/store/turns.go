package store

import (
	"context"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Times of turns are microseconds, since a rate may have many in a millisecond.
const (
	// ahead is how long before its turn a job is called up: long enough that
	// its task is taken from the queue by then, and it can wait for the very
	// moment.
	ahead = 1200 * time.Millisecond
	// mostCalled bounds how many of one provider's jobs wait for their moment
	// at a time: each takes a handler.
	mostCalled = 128
	// early is how long before its moment a turn may be taken: long enough to
	// write the intent in, so that the call itself is made on time. What is sent
	// a second apart must not arrive closer than that.
	early = 30 * time.Millisecond
	// aheadOfNothing is how long a job waits in its handler for a provider
	// that has no rate, but has asked to be left alone until then.
	aheadOfNothing = 250 * time.Millisecond
)

// margin is how much longer than its name says an interval is made, because calls
// do not arrive as far apart as they are made: one of them may take so much longer
// on its way than another.
func margin(per time.Duration) time.Duration { return min(per/30, 250*time.Millisecond) }

// lateness is for how long a turn may be taken before it lapses. One that is taken
// late counts from when it was taken.
func lateness(l providers.Limits) time.Duration {
	if l.Rate.Requests == 0 {
		return 5 * time.Second
	}
	return 2 * time.Second
}

// turnArguments are what saveScript needs to let a turn be taken: how early and
// for how long it may be, and the rate. Without limits no turn is needed.
func turnArguments(l providers.Limits) []any {
	if !l.Any() {
		return []any{early.Microseconds(), "", "", ""}
	}
	return []any{early.Microseconds(), lateness(l).Microseconds(), l.Rate.Requests, interval(l.Rate).Microseconds()}
}

// interval is that of a rate, with its margin.
func interval(r providers.Rate) time.Duration { return r.Per + margin(r.Per) }

// lines is what the scripts of this file share. A provider's limits are six
// arguments, see [limitArguments].
const lines = `
-- line is what is before one provider.
local function line(name, first)
	local l = {
		name = name, slots = KEY_SLOTS .. name, places = KEY_PLACES .. name,
		line = KEY_LINE .. name, turns = KEY_TURNS .. name,
		requests = tonumber(ARGV[first]), per = tonumber(ARGV[first + 1]), most = tonumber(ARGV[first + 2]),
		ahead = tonumber(ARGV[first + 3]), late = tonumber(ARGV[first + 4]), called = tonumber(ARGV[first + 5]),
	}
	local gate = redis.call('HMGET', KEY_GATE .. name, 'paused', 'until')
	l.paused = gate[1]
	l.open = tonumber(gate[2] or 0) * 1000
	return l
end

-- lapse takes back a turn that was not taken, and its part of the rate.
local function lapse(l, id, turn)
	redis.call('ZREM', l.turns, id)
	redis.call('ZREM', l.slots, id .. ':' .. turn)
end

-- sweep puts jobs that did not come back to the head of the line, and gives
-- places back whose time is over.
local function sweep(l)
	local late = redis.call('ZRANGEBYSCORE', l.turns, '-inf', at(micros - l.late), 'WITHSCORES')
	for i = 1, #late, 2 do
		lapse(l, late[i], at(tonumber(late[i + 1])))
		redis.call('ZADD', l.line, 'NX', 0, late[i])
	end
	redis.call('ZREMRANGEBYSCORE', l.places, '-inf', at(now))
end

-- free reports whether one more may be in flight, those included that were
-- called up.
local function free(l)
	local called = redis.call('ZCARD', l.turns)
	return called < l.called and (l.most == 0 or redis.call('ZCARD', l.places) + called < l.most)
end

-- slot is the next moment that the rate allows: not before the oldest of the
-- last requests has left the interval. While others wait they are spread over
-- the interval, and a burst is only for who finds nobody there.
local function slot(l, waiting)
	local moment = math.max(micros, l.open)
	if l.requests == 0 then return moment end
	local newest = tonumber(redis.call('ZRANGE', l.slots, -1, -1, 'WITHSCORES')[2] or 0)
	if newest > micros or waiting then
		moment = math.max(moment, newest + math.floor(l.per * 3 / 4 / l.requests))
	end
	local oldest = redis.call('ZRANGE', l.slots, -l.requests, -l.requests, 'WITHSCORES')[2]
	if oldest then moment = math.max(moment, tonumber(oldest) + l.per) end
	return moment
end

-- give makes the moment the job's turn.
local function give(l, id, moment)
	redis.call('ZADD', l.turns, at(moment), id)
	if l.requests > 0 then
		redis.call('ZREMRANGEBYSCORE', l.slots, '-inf', at(micros - l.per))
		redis.call('ZADD', l.slots, at(moment), id .. ':' .. at(moment))
		redis.call('PEXPIRE', l.slots, math.ceil(2 * l.per / 1000) + 60000)
	end
end
`

// limitArguments are what the function line of the scripts reads.
func limitArguments(l providers.Limits) []any {
	soon := ahead
	switch {
	case l.Rate.Requests > 0:
		soon = min(soon, time.Duration(mostCalled)*l.Rate.Per/time.Duration(l.Rate.Requests))
	case l.MaxInFlight == 0:
		soon = aheadOfNothing
	}
	return []any{
		l.Rate.Requests, interval(l.Rate).Microseconds(), l.MaxInFlight,
		soon.Microseconds(), lateness(l).Microseconds(), mostCalled,
	}
}

// turnScript gives a job a turn at its provider, or a place in line.
//
//	KEYS  1 line
//	ARGV  1 id  2 provider  3… limits
//
// It answers turn, its microsecond; or line, how many stand before the job. Who
// has a turn gets the same again, which makes a repetition harmless. A job that
// does not wait for the provider any more gets neither.
var turnScript = newScript(lines + `
local id, l = ARGV[1], line(ARGV[2], 3)
if not waits(redis.call('HMGET', KEY_JOB .. id, 'st', 'pr', 'tomb'), l.name) then return {'line', now, 0, 0} end
even_when_full(KEYS[1])
sweep(l)
local turn = redis.call('ZSCORE', l.turns, id)
if turn and not l.paused and tonumber(turn) >= l.open then return {'turn', now, tonumber(turn)} end
if turn then
	lapse(l, id, at(tonumber(turn)))
	redis.call('ZADD', l.line, 'NX', 0, id)
end
local first = redis.call('ZRANGE', l.line, 0, 0)[1]
local standing = tonumber(redis.call('ZSCORE', l.line, id) or -1)
if not l.paused and (not first or first == id or standing == 0) and free(l) then
	local moment = slot(l, redis.call('ZCARD', l.line) > 1)
	if moment - micros <= l.ahead then
		redis.call('ZREM', l.line, id)
		give(l, id, moment)
		return {'turn', now, moment}
	end
end
redis.call('ZADD', l.line, 'NX', at(now), id)
return {'line', now, redis.call('ZRANK', l.line, id), l.paused and 1 or 0}
`)

// TakeTurn implements [orchestrator.Store].
func (s *Store) TakeTurn(ctx context.Context, job *tasks.Job, limits providers.Limits) (orchestrator.Turn, error) {
	args := append([]any{job.ID, job.ProviderID}, limitArguments(limits)...)
	reply, err := s.run(ctx, "take turn", turnScript, []string{keyLine + job.ProviderID}, args...)
	if err != nil {
		return orchestrator.Turn{}, err
	}
	if reply.word == answerTurn {
		return orchestrator.Turn{Given: true, At: time.UnixMicro(reply.number(0)).UTC().Add(-early)}, nil
	}
	return orchestrator.Turn{Before: int(reply.number(0)), Paused: reply.number(1) == 1}, nil
}

// callScript calls up those whose turn comes next.
//
//	KEYS  1 open
//	ARGV  for each provider: its name and its limits
//
// It answers ok, and for each provider a list: how many stand in line still,
// and the ids of those called up. A job that does not wait for the provider any
// more leaves the line.
var callScript = newScript(lines + `
local answers = {}
for i = 1, #ARGV, 7 do
	local l, called = line(ARGV[i], i + 1), {}
	even_when_full(KEYS[1])
	if redis.call('EXISTS', l.turns, l.places) > 0 then sweep(l) end
	local first = redis.call('ZRANGE', l.line, 0, 0)[1]
	while first and not l.paused do
		if waits(redis.call('HMGET', KEY_JOB .. first, 'st', 'pr', 'tomb'), l.name) then
			if not free(l) then break end
			local moment = slot(l, true)
			if moment - micros > l.ahead then break end
			give(l, first, moment)
			called[#called + 1] = first
		end
		redis.call('ZREM', l.line, first)
		first = redis.call('ZRANGE', l.line, 0, 0)[1]
	end
	local answer = {tostring(redis.call('ZCARD', l.line))}
	for _, id in ipairs(called) do answer[#answer + 1] = id end
	answers[#answers + 1] = answer
end
return {'ok', now, answers}
`)

// CallUp implements [orchestrator.Store].
func (s *Store) CallUp(ctx context.Context, limits map[string]providers.Limits) (called []string, waiting bool, err error) {
	if len(limits) == 0 {
		return nil, false, nil
	}
	var args []any
	for name, l := range limits {
		args = append(append(args, name), limitArguments(l)...)
	}
	reply, err := s.run(ctx, "call up", callScript, []string{keyOpen}, args...)
	if err != nil {
		return nil, false, err
	}
	for _, answer := range reply.lists(0) {
		if len(answer) > 0 {
			waiting = waiting || answer[0] != "0"
			called = append(called, answer[1:]...)
		}
	}
	return called, waiting, nil
}
