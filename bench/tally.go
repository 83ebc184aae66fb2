package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// stage is a part of a job's way.
type stage string

// The stages, in their order. Background is what belongs to no job: looks at
// empty queues, heartbeats, the reconciler.
const (
	stageAccept     stage = "accept"
	stageSubmit     stage = "submit"
	stagePoll       stage = "poll"
	stageFinalize   stage = "finalize"
	stageDeliver    stage = "deliver"
	stageWork       stage = "work" // all that the handler of raw asynq does
	stageBackground stage = "background"
)

var stageOrder = []stage{stageAccept, stageSubmit, stagePoll, stageFinalize, stageDeliver, stageWork, stageBackground}

// stageOfQueue says whose tasks wait there.
var stageOfQueue = map[string]stage{
	tasks.QueueSubmitHigh: stageSubmit, tasks.QueueSubmitDefault: stageSubmit, tasks.QueueSubmitLow: stageSubmit,
	tasks.QueuePoll: stagePoll, tasks.QueueFinalize: stageFinalize, tasks.QueueDeliver: stageDeliver, rawQueue: stageWork,
}

type stageKey struct{}

// inStage marks what is done with the context as part of a stage.
func inStage(ctx context.Context, s stage) context.Context {
	return context.WithValue(ctx, stageKey{}, s)
}

// markKind marks the context of a task's handler.
func markKind(ctx context.Context, kind tasks.Kind) context.Context {
	return inStage(ctx, stageOfQueue[kind.Queue(tasks.PriorityDefault)])
}

// trip is one kind of round trip to Redis.
type trip struct {
	stage   stage
	command string // as Redis knows it
	caller  string // who asked for it
}

// tally counts round trips to Redis. It stands as a hook on every client of the
// side that is measured.
type tally struct {
	mu      sync.Mutex
	counts  map[trip]int
	changed chan struct{} // closed and replaced with every count
}

func newTally() *tally { return &tally{counts: map[trip]int{}, changed: make(chan struct{})} }

// ProcessHook implements [redis.Hook].
func (t *tally) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		made := newTrip(ctx, cmd)
		if made.caller == callerDequeue && errors.Is(err, redis.Nil) {
			made.stage = stageBackground // the queue was empty
		}
		t.add(made)
		return err
	}
}

// ProcessPipelineHook implements [redis.Hook]: a pipeline is one round trip.
func (t *tally) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		if len(cmds) > 0 {
			t.add(newTrip(ctx, cmds[0]))
		}
		return err
	}
}

// DialHook implements [redis.Hook] and changes nothing.
func (t *tally) DialHook(next redis.DialHook) redis.DialHook { return next }

func (t *tally) add(made trip) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[made]++
	close(t.changed)
	t.changed = make(chan struct{})
}

// take returns what was counted, and begins anew.
func (t *tally) take() map[trip]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := t.counts
	t.counts = map[trip]int{}
	return counts
}

// await returns when a caller has made n trips in a stage since the last take.
func (t *tally) await(ctx context.Context, s stage, caller string, n int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		made, changed := t.made(s, caller)
		if made >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d tasks of %s have ended: %w", made, n, s, ctx.Err())
		}
	}
}

func (t *tally) made(s stage, caller string) (int, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for made, count := range t.counts {
		if made.stage == s && made.caller == caller {
			n += count
		}
	}
	return n, t.changed
}

// newTrip says what a command is made for: what its context is marked with, or
// else, where asynq serves a task, whose queue it names.
func newTrip(ctx context.Context, cmd redis.Cmder) trip {
	made := trip{stageBackground, cmd.Name(), caller()}
	if slices.Contains(handshake, made.command) || slices.Contains(cmd.Args(), any(tide)) {
		return made
	}
	if s, ok := ctx.Value(stageKey{}).(stage); ok {
		made.stage = s
	} else if slices.Contains(servesJob, made.caller) {
		made.stage = stageOfKeys(cmd.Args())
	}
	return made
}

// stageOfKeys finds the first key of a queue, which reads asynq:{name}:….
func stageOfKeys(args []any) stage {
	for _, arg := range args {
		key, _ := arg.(string)
		if rest, found := strings.CutPrefix(key, "asynq:{"); found {
			queue, _, _ := strings.Cut(rest, "}")
			return cmp.Or(stageOfQueue[queue], stageBackground)
		}
	}
	return stageBackground
}

// What asynq takes a task with, and settles it with.
const (
	callerDequeue  = "asynq Dequeue"
	callerDone     = "asynq Done"
	callerComplete = "asynq MarkAsComplete"
)

// servesJob lists what asynq does for one task, on contexts of its own. All else
// that it does by itself is housekeeping.
var servesJob = []string{
	callerDequeue, callerDone, callerComplete, "asynq Requeue", "asynq Retry", "asynq Archive", "asynq WriteResult",
}

// handshake is what a new connection begins with.
var handshake = []string{"hello", "client", "auth", "select"}

// tide is the key that a new connection looks at next, to see whether the data
// was restored from a backup.
const tide = "easel:tide"

// makers are the types whose exported methods make round trips.
var makers = map[string]string{
	"github.com/easel-jobs/easel/internal/store.(*Store).":  "store ",
	"github.com/easel-jobs/easel/internal/queue.(*Client).": "queue ",
	"github.com/hibiken/asynq/internal/rdb.(*RDB).":         "asynq ",
}

// caller names the exported method that makes the round trip on whose way this
// is. Scripts are known to Redis by a hash only; the stack knows them by name.
func caller() string {
	pcs := make([]uintptr, 48)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs)])
	for {
		frame, more := frames.Next()
		for maker, name := range makers {
			method, ok := strings.CutPrefix(frame.Function, maker)
			if ok && method != "" && method[0] >= 'A' && method[0] <= 'Z' && !strings.Contains(method, ".") {
				return name + method
			}
		}
		if !more {
			return ""
		}
	}
}

// tripShare is one line of the report.
type tripShare struct {
	Stage   stage   `json:"stage"`
	PerJob  float64 `json:"per_job"`
	Command string  `json:"command"`
	Caller  string  `json:"caller"`
}

// shares sorts counts by stage and frequency. What is rarer than once in a
// hundred jobs is left out.
func shares(counts map[trip]int, jobs int) []tripShare {
	var list []tripShare
	for made, n := range counts {
		if perJob := float64(n) / float64(jobs); perJob >= 0.01 {
			list = append(list, tripShare{made.stage, perJob, made.command, made.caller})
		}
	}
	slices.SortFunc(list, func(a, b tripShare) int {
		return cmp.Or(
			cmp.Compare(slices.Index(stageOrder, a.Stage), slices.Index(stageOrder, b.Stage)),
			cmp.Compare(b.PerJob, a.PerJob), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Command, b.Command),
		)
	})
	return list
}
