package store

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// tideTolerance is how far Redis may go back unnoticed: a crash with
// appendfsync everysec loses two seconds at most, and a failover with
// min-replicas-max-lag ten.
const tideTolerance = 10 * time.Second

// tide is the latest time that this process knows Redis' data to have reached. Workers
// write Redis' own time into the data with every look for overdue jobs; data
// that is older than what was seen there before is a backup, or a replica that
// had fallen far behind.
type tide struct{ millis atomic.Int64 }

// rise takes in what a reply said.
func (t *tide) rise(millis int64) {
	for {
		seen := t.millis.Load()
		if millis <= seen || t.millis.CompareAndSwap(seen, millis) {
			return
		}
	}
}

// tideScript looks whether the data went back in time, and then closes paid
// submits, before anybody does anything on the new connection.
//
//	KEYS  1 tide  2 hold  3 open  4 gaps
//	ARGV  1 what was seen
//
// Where somebody else has raised the tide since, what was seen lies in the gap
// that it was raised over: in times without a tide nobody can have seen one.
//
// It answers ok and the tide; or back and where it had gone back to. Data with
// neither a tide nor open jobs is new: nothing in it can be bought again.
var tideScript = newScript(`
local stands = tonumber(redis.call('GET', KEYS[1]) or '0')
local new = stands == 0 and redis.call('ZCARD', KEYS[3]) == 0
local seen = tonumber(ARGV[1])
local back = not new and stands + TIDE_TOLERANCE < seen
for _, gap in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do
	local from, to = string.match(gap, '^(%d+) (%d+)$')
	if from and from + TIDE_TOLERANCE < seen and seen < tonumber(to) then
		back, stands = true, tonumber(from)
	end
end
if back then
	redis.call('SET', KEYS[2], at(now), 'NX')
	return {'back', now, stands}
end
return {'ok', now, stands}
`)

// answerBack is what tideScript says of data that went back in time.
const answerBack = "back"

// watchTide has every new connection compare the data with what was seen: one
// that was restored from a backup was cut off from all its clients before. It
// must be called before anybody else uses the client.
func (s *Store) watchTide() {
	options := s.redis.Options()
	before := options.OnConnect
	options.OnConnect = func(ctx context.Context, conn *redis.Conn) error {
		if before != nil {
			if err := before(ctx, conn); err != nil {
				return err
			}
		}
		return s.checkTide(ctx, conn)
	}
}

// checkTide fails only for want of an answer: then the connection is not used.
func (s *Store) checkTide(ctx context.Context, conn *redis.Conn) error {
	seen := s.tide.millis.Load()
	if seen == 0 {
		return nil // a process that has just started has nothing to compare
	}
	keys := []string{keyTide, keyHold, keyOpen, keyGaps}
	reply, err := conn.EvalSha(ctx, tideScript.hash, keys, seen).Slice()
	if forgotten(err) {
		reply, err = conn.Eval(ctx, tideScript.source, keys, seen).Slice()
	}
	if err != nil {
		if redis.HasErrorPrefix(err, "READONLY") {
			return nil // nothing can be submitted there either
		}
		return s.failed("check tide", err)
	}
	if word, _ := reply[0].(string); word != answerBack {
		return nil
	}
	stands, _ := reply[2].(int64)
	if s.onRestored != nil {
		s.onRestored(time.UnixMilli(seen).UTC(), time.UnixMilli(stands).UTC())
	}
	s.tide.millis.CompareAndSwap(seen, 0) // said once; the next look tells how far it has come
	return nil
}

// HoldSubmits implements [orchestrator.Ledger].
func (s *Store) HoldSubmits(ctx context.Context) (time.Time, error) {
	if err := s.redis.SetNX(ctx, keyHold, strconv.FormatInt(s.Now().UnixMilli(), 10), 0).Err(); err != nil {
		return time.Time{}, s.failed("hold submits", err)
	}
	since, err := s.SubmitsHeld(ctx)
	if err == nil && since.IsZero() {
		err = s.failed("hold submits", errors.New("the hold is gone again"))
	}
	return since, err
}

// SubmitsHeld returns since when paid submits are held; zero when they are not.
func (s *Store) SubmitsHeld(ctx context.Context) (time.Time, error) {
	since, err := s.redis.Get(ctx, keyHold).Result()
	if errors.Is(err, redis.Nil) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, s.failed("read hold", err)
	}
	return timeOf(since), nil
}

// ReleaseSubmits implements [orchestrator.Ledger].
func (s *Store) ReleaseSubmits(ctx context.Context) error {
	// The gap is known now: who saw what was in it need not be told again, and
	// nor need who starts with a mark of it.
	_, err := s.redis.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, keyTide, s.Now().UnixMilli(), 0)
		pipe.Del(ctx, keyHold, keyGaps)
		return nil
	})
	if err != nil {
		return s.failed("release submits", err)
	}
	return nil
}

// Tide is how far this process knows the data to have come; zero before its
// first look for overdue jobs.
func (s *Store) Tide() time.Time {
	if millis := s.tide.millis.Load(); millis > 0 {
		return time.UnixMilli(millis).UTC()
	}
	return time.Time{}
}

// CompareTide does for a process that has just started what every new connection
// does later: where the data is older than what was seen before, paid submits are
// held, and [Config].OnRestored is told. A time that has yet to come was not
// seen; it reports false then.
func (s *Store) CompareTide(ctx context.Context, seen time.Time) (believed bool, err error) {
	if seen.After(s.Now().Add(tideTolerance)) {
		return false, nil
	}
	reply, err := s.run(ctx, "check tide", tideScript, []string{keyTide, keyHold, keyOpen, keyGaps}, seen.UnixMilli())
	if err != nil {
		return true, err
	}
	if reply.word == answerBack && s.onRestored != nil {
		s.onRestored(seen, time.UnixMilli(reply.number(0)).UTC())
	}
	return true, nil
}

// Identity names the data of this Redis. The first process makes it up; all
// others find it, and so does whoever restores a copy of the data.
func (s *Store) Identity(ctx context.Context) (string, error) {
	if err := s.redis.SetNX(ctx, keyIdentity, strings.ToLower(rand.Text()), 0).Err(); err != nil {
		return "", s.failed("name the data", err)
	}
	identity, err := s.redis.Get(ctx, keyIdentity).Result()
	if err != nil {
		return "", s.failed("read the name of the data", err)
	}
	return identity, nil
}

// TakeMark reports whether the caller is the one process that notes the tide
// elsewhere this time; for as long as that lasts no other is.
func (s *Store) TakeMark(ctx context.Context, lasts time.Duration) (bool, error) {
	mine, err := s.redis.SetNX(ctx, keyMarked, "1", lasts).Result()
	if err != nil {
		return false, s.failed("take turns to mark the tide", err)
	}
	return mine, nil
}
