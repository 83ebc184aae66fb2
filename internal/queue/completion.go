package queue

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// completionPause is the wait between two tries of a completion write.
const completionPause = 300 * time.Millisecond

// completionRetry repeats the writes with which asynq settles a task.
//
// asynq hands a failed one to its syncer together with a context that is
// already cancelled, so that no repeat ever succeeds: one dropped connection
// runs a finished task a second time, a minute later. Settling writes are the
// scripts whose context has a deadline, the end of the task's lease; until then
// they are repeated here. It narrows the window to outages longer than a lease;
// the step in the job's record closes it.
type completionRetry struct {
	commandsOnly
	repeated func() // called for each repeat; may be nil
}

// ProcessHook implements [redis.Hook].
func (h completionRetry) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if err == nil || !settles(ctx, cmd) {
			return err
		}
		pause := time.NewTimer(completionPause)
		defer pause.Stop()
		repeats := 0
		for ; transient(err); repeats++ {
			select {
			case <-ctx.Done():
				return err
			case <-pause.C:
			}
			if h.repeated != nil {
				h.repeated()
			}
			err = next(ctx, cmd)
			pause.Reset(completionPause)
		}
		// Nothing to settle after a repeat: the first try had worked and only
		// its answer was lost.
		if repeats > 0 && redis.HasErrorPrefix(err, "NOT FOUND") {
			return nil
		}
		return err
	}
}

// commandsOnly is what hooks have in common that look at single commands:
// connections and pipelines pass as they are.
type commandsOnly struct{}

// DialHook implements [redis.Hook] and changes nothing.
func (commandsOnly) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements [redis.Hook] and changes nothing.
func (commandsOnly) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func settles(ctx context.Context, cmd redis.Cmder) bool {
	_, bounded := ctx.Deadline()
	return bounded && strings.HasPrefix(cmd.Name(), "eval")
}

// passing lists what Redis answers while it cannot write but soon may again.
var passing = []string{"READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "OOM", "BUSY", "NOREPLICAS", "MISCONF"}

func transient(err error) bool {
	if err == nil {
		return false
	}
	for _, prefix := range passing {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, redis.ErrPoolTimeout)
}
