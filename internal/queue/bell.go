package queue

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// asynq looks at empty queues every now and then, and a task that has just come
// waits for that look: half of it on average, at every step of a job. Here each
// queue has a bell. Who makes a task pending rings it, in the same round trip;
// who finds all queues of a family empty waits at their bells, without asking
// Redis again and again.
//
// A bell is a list: one ring wakes one worker, however many wait. Nothing
// depends on it. A ring that is lost, or that an older release did not give, is
// made up for by the look that follows after TaskCheckInterval anyway; one too
// many costs a look.
//
// asynq offers no place for this, so that it is done where its scripts pass: in a
// hook on its Redis client, which knows them by their keys.

const (
	// rings is how many rings of a bell are kept that nobody has heard: as many
	// workers can be woken at once.
	rings = 32
	// ringing is how long a ring is kept. A later worker looks by itself.
	ringing = 10 * time.Second
	// listening bounds one wait in Redis, which cannot be broken off: a worker
	// that is to stop waits for it.
	listening = 500 * time.Millisecond
	// glance is what asynq waits between two looks, all the waiting being done
	// at the bells. It must not be zero.
	glance = time.Millisecond
)

func bellKey(queue string) string { return queuePrefix(queue) + "bell" }

// ringScript adds a ring to a bell.
//
// KEYS[1] bell · ARGV[1] rings kept · ARGV[2] milliseconds that they are kept
const ringScript = `redis.call("LPUSH", KEYS[1], "") redis.call("LTRIM", KEYS[1], 0, ARGV[1] - 1) return redis.call("PEXPIRE", KEYS[1], ARGV[2])`

func ring(ctx context.Context, rdb redis.Scripter, queue string) *redis.Cmd {
	return rdb.Eval(ctx, ringScript, []string{bellKey(queue)}, rings, ringing.Milliseconds())
}

// ringer is a hook that rings for each task that asynq makes pending.
type ringer struct {
	commandsOnly
	rdb redis.UniversalClient
}

// ProcessHook implements [redis.Hook].
func (h ringer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		queue, does := touched(cmd)
		switch does {
		case fills:
			return h.ringToo(ctx, cmd, queue)
		case forwards:
			err := next(ctx, cmd)
			if moved, ok := cmd.(*redis.Cmd); ok && err == nil {
				if n, _ := moved.Int(); n > 0 {
					// Who does not hear it looks soon, too.
					_ = ring(ctx, h.rdb, queue).Err()
				}
			}
			return err
		default:
			return next(ctx, cmd)
		}
	}
}

// ringToo sends the command with the ring behind it, and answers for the
// command alone.
func (h ringer) ringToo(ctx context.Context, cmd redis.Cmder, queue string) error {
	pipe := h.rdb.Pipeline()
	_ = pipe.Process(ctx, cmd) // only queues it
	ring(ctx, pipe, queue)
	_, _ = pipe.Exec(ctx) // each command holds its own error
	return cmd.Err()
}

// listener is a hook that holds the answer "nothing there" back until a bell of
// the family rings. Each family has one goroutine that looks, and so one wait at
// a time.
type listener struct {
	commandsOnly
	rdb      redis.UniversalClient
	look     time.Duration // without a ring
	families map[string]*quiet
	stopping chan struct{}
}

// quiet is a family whose queues are being found empty, one after the other.
type quiet struct {
	bells []string
	empty int
}

func newListener(rdb redis.UniversalClient, look time.Duration, all []family) *listener {
	l := &listener{rdb: rdb, look: look, families: map[string]*quiet{}, stopping: make(chan struct{})}
	for _, f := range all {
		q := &quiet{}
		for queue := range f.queues {
			q.bells = append(q.bells, bellKey(queue))
			l.families[queue] = q
		}
		slices.Sort(q.bells)
	}
	return l
}

// stop ends every wait, now and later.
func (l *listener) stop() { close(l.stopping) }

// ProcessHook implements [redis.Hook].
func (l *listener) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		queue, does := touched(cmd)
		if does != takes || l.families[queue] == nil {
			return next(ctx, cmd)
		}
		err := next(ctx, cmd)
		family := l.families[queue]
		if !errors.Is(err, redis.Nil) {
			family.empty = 0
			return err
		}
		family.empty++
		if family.empty == len(family.bells) {
			family.empty = 0
			l.listen(ctx, family.bells)
		}
		return err
	}
}

// listen returns when a bell has rung, when it is time to look in any case, and
// when the servers stop. A Redis that cannot be listened to is looked at.
func (l *listener) listen(ctx context.Context, bells []string) {
	command := []any{"BLPOP"}
	for _, bell := range bells {
		command = append(command, bell)
	}
	end := time.Now().Add(l.look)
	for wait := l.look; wait > 0; wait = time.Until(end) {
		// No time at all would be for ever.
		err := l.rdb.Do(ctx, append(command, max(min(wait, listening), time.Millisecond).Seconds())...).Err()
		if err == nil {
			return
		}
		if !errors.Is(err, redis.Nil) {
			select {
			case <-l.stopping:
			case <-time.After(time.Until(end)):
			}
			return
		}
		select {
		case <-l.stopping:
			return
		default:
		}
	}
}

// What a command of asynq does to a queue's pending tasks.
type effect int

const (
	nothing  effect = iota
	takes           // one of them, if there is one
	fills           // adds one
	forwards        // adds those that are due
)

// touched says what a command does, and to which queue. asynq's scripts are
// known by their keys: a pending list and what stands beside it.
func touched(cmd redis.Cmder) (queue string, does effect) {
	keys := scriptKeys(cmd)
	i := slices.IndexFunc(keys, func(key string) bool { return strings.HasSuffix(key, pendingSuffix) })
	if i < 0 {
		return "", nothing
	}
	queue, ours := queueOfPending(keys[i])
	switch {
	case !ours:
		return "", nothing
	case i == 0 && len(keys) == 4 && keys[1] == pausedKey(queue):
		return queue, takes
	case i == 1 && (keys[0] == stateKey(queue, orchestrator.TaskScheduled) || keys[0] == stateKey(queue, orchestrator.TaskRetry)):
		return queue, forwards
	case slices.ContainsFunc(keys, func(key string) bool { return strings.HasPrefix(key, taskPrefix(queue)) }):
		return queue, fills
	}
	return "", nothing
}

const pendingSuffix = ":pending"

func queueOfPending(key string) (queue string, ours bool) {
	for _, queue := range tasks.Queues {
		if key == stateKey(queue, orchestrator.TaskPending) {
			return queue, true
		}
	}
	return "", false
}

// scriptKeys are the keys of a script's call; other commands have none.
func scriptKeys(cmd redis.Cmder) []string {
	args := cmd.Args()
	if !strings.HasPrefix(cmd.Name(), "eval") || len(args) < 4 {
		return nil
	}
	count, _ := args[2].(int)
	keys := make([]string, 0, count)
	for _, arg := range args[3:min(3+count, len(args))] {
		key, _ := arg.(string)
		keys = append(keys, key)
	}
	return keys
}
