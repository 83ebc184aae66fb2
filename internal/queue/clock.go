package queue

import (
	"context"
	"math"
	"time"

	"github.com/redis/go-redis/v9"
)

// clocked is the client that asynq is given: what asynq reads off the clock of
// its machine it writes down in the time of another, that of Redis.
//
// asynq compares times that different processes have written. Where one of them
// has a clock that is ahead, it forwards tasks before they are due, and takes
// the leases of all others for expired; one that is behind loses its own. Easel
// comes to no harm by either, since the record has the last word, but providers
// are polled time and again, and handlers run for nothing.
type clocked struct {
	redis.UniversalClient
	now func() time.Time
}

// onTime returns rdb with its times moved to those of now, or rdb itself when
// nobody says what time it is.
func onTime(rdb redis.UniversalClient, now func() time.Time) redis.UniversalClient {
	if now == nil {
		return rdb
	}
	return clocked{rdb, now}
}

// off is how many seconds this machine's clock is behind. It is 0 where clocks
// agree: asynq counts in seconds.
func (c clocked) off() int64 {
	// Wall clocks are compared, as they are written.
	return int64(math.Round(c.now().Round(0).Sub(time.Now().Round(0)).Seconds()))
}

// EvalSha implements [redis.Scripter].
func (c clocked) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return c.UniversalClient.EvalSha(ctx, sha, keys, moved(args, c.off())...)
}

// Eval implements [redis.Scripter].
func (c clocked) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return c.UniversalClient.Eval(ctx, script, keys, moved(args, c.off())...)
}

// ZAddXX extends leases.
func (c clocked) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	return c.UniversalClient.ZAddXX(ctx, key, movedScores(members, c.off())...)
}

// ZAdd says until when servers count as alive.
func (c clocked) ZAdd(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	return c.UniversalClient.ZAdd(ctx, key, movedScores(members, c.off())...)
}

// What asynq hands over as an integer is a time when it is one of these years:
// 2001 to 2128. Nothing else that it counts is nearly as large, save the largest
// integer there is, which is none of them.
const (
	firstSecond = int64(1e9)
	lastSecond  = int64(5e9)
)

// moved returns the arguments of a script with its times moved, in seconds or
// in nanoseconds. The caller keeps its own: it may repeat the call with them.
func moved(args []any, seconds int64) []any {
	if seconds == 0 {
		return args
	}
	result := make([]any, len(args))
	for i, arg := range args {
		result[i] = arg
		n, ok := arg.(int64)
		switch {
		case !ok:
		case n >= firstSecond && n < lastSecond:
			result[i] = n + seconds
		case n >= firstSecond*int64(time.Second) && n < lastSecond*int64(time.Second):
			result[i] = n + seconds*int64(time.Second)
		}
	}
	return result
}

func movedScores(members []redis.Z, seconds int64) []redis.Z {
	if seconds == 0 {
		return members
	}
	result := make([]redis.Z, len(members))
	for i, member := range members {
		member.Score += float64(seconds)
		result[i] = member
	}
	return result
}
