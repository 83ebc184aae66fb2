package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// gateScript closes a provider's gate, or opens it.
//
//	KEYS  1 open  2 gate
//	ARGV  1 pause, resume or away  2 milliseconds to stay away for
//
// It answers ok. It is repeatable: a pause keeps its time, and a time to stay
// away only moves ahead.
var gateScript = newScript(`
even_when_full(KEYS[1])
if ARGV[1] == 'pause' then
	redis.call('HSETNX', KEYS[2], 'paused', at(now))
elseif ARGV[1] == 'resume' then
	redis.call('HDEL', KEYS[2], 'paused')
else
	local till = now + ARGV[2]
	if till > tonumber(redis.call('HGET', KEYS[2], 'until') or 0) then
		redis.call('HSET', KEYS[2], 'until', at(till))
	end
end
return {'ok', now}
`)

// Pause implements [orchestrator.Store].
func (s *Store) Pause(ctx context.Context, provider string) error {
	return s.gate(ctx, provider, "pause", 0)
}

// Resume implements [orchestrator.Store].
func (s *Store) Resume(ctx context.Context, provider string) error {
	return s.gate(ctx, provider, "resume", 0)
}

// StayAway implements [orchestrator.Store].
func (s *Store) StayAway(ctx context.Context, provider string, wait time.Duration) error {
	return s.gate(ctx, provider, "away", wait)
}

func (s *Store) gate(ctx context.Context, provider, verb string, wait time.Duration) error {
	_, err := s.run(ctx, verb+" provider", gateScript, []string{keyOpen, keyGate + provider}, verb, wait.Milliseconds())
	return err
}

// Gates implements [orchestrator.Store].
func (s *Store) Gates(ctx context.Context, names []string) (map[string]orchestrator.Gate, error) {
	fields := make([]*redis.SliceCmd, len(names))
	waiting, places := make([]*redis.IntCmd, len(names)), make([]*redis.IntCmd, len(names))
	now := strconv.FormatInt(s.Now().UnixMilli(), 10)
	if len(names) == 0 {
		return nil, nil
	}
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, name := range names {
			fields[i] = pipe.HMGet(ctx, keyGate+name, "paused", "until")
			waiting[i] = pipe.ZCard(ctx, keyLine+name)
			places[i] = pipe.ZCount(ctx, keyPlaces+name, "("+now, "+inf")
		}
		return nil
	})
	if err != nil {
		return nil, s.failed("read gates", err)
	}
	gates := make(map[string]orchestrator.Gate, len(names))
	for i, name := range names {
		values := fields[i].Val()
		gates[name] = orchestrator.Gate{
			PausedSince: fieldTime(values[0]), Until: fieldTime(values[1]),
			Waiting: int(waiting[i].Val()), InFlight: int(places[i].Val()),
		}
	}
	return gates, nil
}

// fieldTime reads milliseconds; zero where there are none.
func fieldTime(value any) time.Time {
	text, _ := value.(string)
	millis, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(millis).UTC()
}

// releaseScript gives back a place that its job's record does not hold.
//
//	KEYS  1 places  2 job
//	ARGV  1 member  2 version of the record that was read, empty when it is missing
//
// It answers ok, or conflict when the record has moved on meanwhile.
var releaseScript = newScript(`
local version = redis.call('HGET', KEYS[2], 'v') or ''
if version ~= ARGV[2] then return {'conflict', now} end
redis.call('ZREM', KEYS[1], ARGV[1])
return {'ok', now}
`)

// SomePlaces implements [orchestrator.Store].
func (s *Store) SomePlaces(ctx context.Context, provider string, n int) ([]orchestrator.HeldPlace, error) {
	members, err := s.redis.ZRandMember(ctx, keyPlaces+provider, n).Result()
	if err != nil {
		return nil, s.failed("look at places", err)
	}
	places := make([]orchestrator.HeldPlace, 0, len(members))
	for _, member := range members {
		id, number, _ := strings.Cut(member, ":")
		submission, _ := strconv.Atoi(number) // what is no number is nobody's, and is given back
		places = append(places, orchestrator.HeldPlace{JobID: id, Submission: submission})
	}
	return places, nil
}

// GiveBack implements [orchestrator.Store].
func (s *Store) GiveBack(ctx context.Context, provider string, place orchestrator.HeldPlace, version int64) error {
	seen := ""
	if version > 0 {
		seen = strconv.FormatInt(version, 10)
	}
	_, err := s.run(ctx, "give back place", releaseScript,
		[]string{keyPlaces + provider, keyJob + place.JobID}, place.JobID+":"+strconv.Itoa(place.Submission), seen)
	return err
}
