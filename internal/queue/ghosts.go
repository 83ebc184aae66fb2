package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Ghost is an id that stands in one of asynq's lists although its task is gone,
// evicted or deleted by hand. A single one makes asynqmon answer 500 for the
// whole queue, and one in the active list stays there for ever.
type Ghost struct {
	Queue string
	State orchestrator.TaskState
	ID    string
}

// ghostPortion is how many ids one script looks at.
const ghostPortion = 500

// ghostScript returns how many ids a portion held, and then those without a
// task. Ids and tasks are read together: asynq removes both in one script, so
// that a task which ends meanwhile is never taken for a ghost.
//
// KEYS[1] list or set · ARGV[1] task key prefix · ARGV[2] "list" or "set" · ARGV[3], ARGV[4] first and last index
var ghostScript = redis.NewScript(`
local ids = redis.call(ARGV[2] == "list" and "LRANGE" or "ZRANGE", KEYS[1], ARGV[3], ARGV[4])
local found = {tostring(#ids)}
for _, id in ipairs(ids) do
  if redis.call("EXISTS", ARGV[1] .. id) == 0 then
    table.insert(found, id)
  end
end
return found`)

// Ghosts looks through every id of every queue: something for every few minutes.
// Lists move while they are read in portions, so that one pass may miss a ghost;
// the next one finds it.
func (i *Inspector) Ghosts(ctx context.Context) ([]Ghost, error) {
	var ghosts []Ghost
	for _, queue := range tasks.Queues {
		for _, state := range taskStates {
			ids, err := i.ghostsIn(ctx, queue, state)
			if err != nil {
				return nil, fmt.Errorf("look for ghosts among the %s tasks of %s: %w", state, queue, unavailable(err))
			}
			for _, id := range ids {
				ghosts = append(ghosts, Ghost{queue, state, id})
			}
		}
	}
	return ghosts, nil
}

func (i *Inspector) ghostsIn(ctx context.Context, queue string, state orchestrator.TaskState) ([]string, error) {
	var ghosts []string
	for first := 0; ; first += ghostPortion {
		found, err := ghostScript.Run(ctx, i.rdb, []string{stateKey(queue, state)},
			taskPrefix(queue), shape(state), first, first+ghostPortion-1).StringSlice()
		if err != nil {
			return nil, err
		}
		ghosts = append(ghosts, found[1:]...)
		if found[0] == "0" {
			return ghosts, nil
		}
	}
}

func shape(state orchestrator.TaskState) string {
	if listed(state) {
		return "list"
	}
	return "set"
}

// repairScript removes an id from its list, unless it has a task after all.
//
// KEYS[1] list or set · KEYS[2] task · KEYS[3] lease · ARGV[1] id · ARGV[2] "list" or "set"
var repairScript = redis.NewScript(`
if redis.call("EXISTS", KEYS[2]) == 1 then
  return 0
end
if ARGV[2] == "set" then
  return redis.call("ZREM", KEYS[1], ARGV[1])
end
redis.call("ZREM", KEYS[3], ARGV[1])
return redis.call("LREM", KEYS[1], 0, ARGV[1])`)

// Repair removes the ghosts from their lists and returns how many it removed.
// The jobs behind them are the reconciler's: it finds their tasks missing.
func (i *Inspector) Repair(ctx context.Context, ghosts []Ghost) (int, error) {
	removed := 0
	for _, g := range ghosts {
		n, err := repairScript.Run(ctx, i.rdb,
			[]string{stateKey(g.Queue, g.State), taskPrefix(g.Queue) + g.ID, leaseKey(g.Queue)}, g.ID, shape(g.State)).Int()
		if err != nil {
			return removed, fmt.Errorf("remove ghost %s from the %s tasks of %s: %w", g.ID, g.State, g.Queue, unavailable(err))
		}
		if n > 0 {
			removed++
		}
	}
	return removed, nil
}
