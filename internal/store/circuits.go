package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// When a circuit opens, and for how long.
const (
	// callWindow is how long calls are counted; the window before counts too.
	callWindow = 30 * time.Second
	// leastFailures is how many calls must have failed in the window.
	leastFailures = 5
	// openShare is the share of calls, in percent, that must have failed.
	openShare = 50
	// firstOpen is how long a circuit is open before a probe; it doubles with
	// every probe that fails, up to longestOpen.
	firstOpen   = 10 * time.Second
	longestOpen = 5 * time.Minute
	// probeLease is how long a probe may take before another is let through.
	probeLease = 30 * time.Second
)

// circuits is what the scripts of this file share: an open circuit is a field
// of the hash, "since until trips probe reason".
const circuits = `
local function read(hash, name)
	local raw = redis.call('HGET', hash, name)
	if not raw then return nil end
	local since, till, trips, probe, reason = string.match(raw, '^(%d+) (%d+) (%d+) (%d+) (.*)$')
	return {since = tonumber(since), till = tonumber(till), trips = tonumber(trips), probe = tonumber(probe), reason = reason}
end

local function write(hash, name, c)
	redis.call('HSET', hash, name, table.concat({at(c.since), at(c.till), at(c.trips), at(c.probe), c.reason}, ' '))
end
`

// reportScript counts calls, and opens or closes the circuit.
//
//	KEYS  1 open  2 circuits  3 calls
//	ARGV  1 circuit  2 calls that went well  3 that did not  4 reason
//	      5 "1" to open at once  6 when the calls had begun
//	      7 window  8 least failures  9 share in percent  10 first and  11 longest time open
//
// It answers ok. Calls that had begun before the circuit opened say nothing
// about it.
var reportScript = newScript(circuits + `
even_when_full(KEYS[1])
local c = read(KEYS[2], ARGV[1])
local well, bad = tonumber(ARGV[2]), tonumber(ARGV[3])
if c then
	if tonumber(ARGV[6]) < c.since then return {'ok', now} end
	if bad == 0 then
		redis.call('HDEL', KEYS[2], ARGV[1])
		redis.call('DEL', KEYS[3])
	elseif now >= c.till then
		c.till = now + math.min(tonumber(ARGV[10]) * 2 ^ math.min(c.trips, 20), tonumber(ARGV[11]))
		c.trips, c.probe, c.reason = c.trips + 1, 0, ARGV[4]
		write(KEYS[2], ARGV[1], c)
	end
	return {'ok', now}
end
local window = math.floor(now / ARGV[7])
local counts = redis.call('HMGET', KEYS[3], 'window', 'well', 'bad', 'well before', 'bad before')
for i = 1, 5 do counts[i] = tonumber(counts[i] or 0) end
if counts[1] == window - 1 then
	counts = {window, 0, 0, counts[2], counts[3]}
elseif counts[1] ~= window then
	counts = {window, 0, 0, 0, 0}
end
counts[2], counts[3] = counts[2] + well, counts[3] + bad
local all_bad = counts[3] + counts[5]
local all = all_bad + counts[2] + counts[4]
if bad > 0 and (ARGV[5] == '1' or all_bad >= tonumber(ARGV[8]) and all_bad * 100 >= all * ARGV[9]) then
	write(KEYS[2], ARGV[1], {since = now, till = now + ARGV[10], trips = 1, probe = 0, reason = ARGV[4]})
	redis.call('DEL', KEYS[3])
	return {'ok', now}
end
redis.call('HSET', KEYS[3], 'window', counts[1], 'well', counts[2], 'bad', counts[3], 'well before', counts[4], 'bad before', counts[5])
redis.call('PEXPIRE', KEYS[3], 2 * ARGV[7])
return {'ok', now}
`)

// circuitName stands for a circuit in keys; names of providers have no spaces.
func circuitName(k orchestrator.CircuitKey) string { return k.Provider + " " + k.Model }

// ReportCalls implements [orchestrator.Store].
func (s *Store) ReportCalls(ctx context.Context, key orchestrator.CircuitKey, r orchestrator.CallReport) error {
	trip, began := "", int64(0)
	if r.Trip {
		trip = "1"
	}
	if !r.Began.IsZero() {
		began = r.Began.UnixMilli()
	}
	_, err := s.run(ctx, "report calls", reportScript,
		[]string{keyOpen, keyCircuits, keyCalls + circuitName(key)},
		circuitName(key), r.Well, r.Bad, r.Reason, trip, began,
		callWindow.Milliseconds(), leastFailures, openShare, firstOpen.Milliseconds(), longestOpen.Milliseconds())
	return err
}

// probeScript lets one call through an open circuit whose time is over.
//
//	KEYS  1 open  2 circuits
//	ARGV  1 circuit  2 lease
//
// It answers ok when the call may be made: the circuit is closed, or this is the
// probe; else closed.
var probeScript = newScript(circuits + `
even_when_full(KEYS[1])
local c = read(KEYS[2], ARGV[1])
if not c then return {'ok', now} end
if now < c.till or now < c.probe then return {'closed', now} end
c.probe = now + ARGV[2]
write(KEYS[2], ARGV[1], c)
return {'ok', now}
`)

// TakeProbe implements [orchestrator.Store].
func (s *Store) TakeProbe(ctx context.Context, key orchestrator.CircuitKey) (bool, error) {
	reply, err := s.run(ctx, "take probe", probeScript, []string{keyOpen, keyCircuits}, circuitName(key), probeLease.Milliseconds())
	return err == nil && reply.word == answerOK, err
}

// Circuits implements [orchestrator.Store].
func (s *Store) Circuits(ctx context.Context) (map[orchestrator.CircuitKey]orchestrator.Circuit, error) {
	fields, err := s.redis.HGetAll(ctx, keyCircuits).Result()
	if err != nil {
		return nil, s.failed("read circuits", err)
	}
	found := make(map[orchestrator.CircuitKey]orchestrator.Circuit, len(fields))
	for name, raw := range fields {
		provider, model, _ := strings.Cut(name, " ")
		parts := strings.SplitN(raw, " ", 5)
		if len(parts) < 5 {
			return nil, fmt.Errorf("circuit of %s cannot be read", provider)
		}
		found[orchestrator.CircuitKey{Provider: provider, Model: model}] = orchestrator.Circuit{
			Since: fieldTime(parts[0]), ProbeAt: fieldTime(parts[1]), Reason: parts[4],
		}
	}
	return found, nil
}

// ForgetCircuits implements [orchestrator.Store].
func (s *Store) ForgetCircuits(ctx context.Context, provider string) error {
	names, err := s.redis.HKeys(ctx, keyCircuits).Result()
	if err != nil {
		return s.failed("read circuits", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, provider+" ") })
	if len(names) == 0 {
		return nil
	}
	if err := s.redis.HDel(ctx, keyCircuits, names...).Err(); err != nil {
		return s.failed("forget circuits", err)
	}
	return nil
}
