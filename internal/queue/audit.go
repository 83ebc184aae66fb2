package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

var _ orchestrator.Board = (*Inspector)(nil)

// stuckAfter is how long after the end of its lease an active task counts as
// stuck: asynq's servers take such tasks back within 90 seconds, when there are
// any.
const stuckAfter = 3 * time.Minute

// Audit implements [orchestrator.Auditor]: ids without a task, tasks without an
// id, active tasks without a lease, and queues that nobody sees.
func (i *Inspector) Audit(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	ghosts, err := i.Ghosts(ctx)
	if err != nil {
		return 0, err
	}
	for _, g := range ghosts {
		found(driftOf(orchestrator.DriftTaskGhost, g.Queue, g.ID, "it is among the "+string(g.State)+" ones"))
	}
	looked, err := i.auditTasks(ctx, found)
	if err != nil {
		return looked, err
	}
	for _, queue := range tasks.Queues {
		if err := i.auditActive(ctx, queue, found); err != nil {
			return looked, fmt.Errorf("look through the active tasks of %s: %w", queue, unavailable(err))
		}
	}
	return looked, i.auditQueues(ctx, found)
}

func driftOf(kind orchestrator.DriftKind, queue, id, what string) orchestrator.Drift {
	task, _ := ParseTaskID(id) // what is not ours names no job
	return orchestrator.Drift{Kind: kind, JobID: task.JobID, TaskID: id, Place: queue, Found: what}
}

// orphanedScript returns 1 for a task that its queue's list does not name.
//
// KEYS[1] task · ARGV[1] queue prefix · ARGV[2] id · ARGV[3] "drop" or empty
var orphanedScript = redis.NewScript(`
local state = redis.call("HGET", KEYS[1], "state")
if not state then return 0 end
local list = ARGV[1] .. state
local kind = redis.call("TYPE", list).ok
local listed = false
if kind == "list" then
  listed = redis.call("LPOS", list, ARGV[2])
elseif kind == "zset" then
  listed = redis.call("ZSCORE", list, ARGV[2])
elseif state == "aggregating" then
  listed = true
end
if listed then return 0 end
if ARGV[3] == "drop" then redis.call("DEL", KEYS[1]) end
return 1`)

// auditTasks reads the tasks first and the lists after them, so that only what
// moved meanwhile has to be looked at one by one.
func (i *Inspector) auditTasks(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	looked := 0
	existing, err := i.existing(ctx)
	if err != nil {
		return 0, fmt.Errorf("look for tasks: %w", unavailable(err))
	}
	for _, queue := range tasks.Queues {
		listed := map[string]bool{}
		for _, state := range taskStates {
			if err := i.eachID(ctx, queue, state, func(ids []string) error {
				for _, id := range ids {
					listed[id] = true
				}
				return nil
			}); err != nil {
				return looked, fmt.Errorf("look through %s: %w", queue, unavailable(err))
			}
		}
		for _, id := range existing[queue] {
			looked++
			if listed[id] {
				continue
			}
			orphaned, err := i.orphaned(ctx, queue, id, "")
			if err != nil {
				return looked, err
			}
			if orphaned {
				found(driftOf(orchestrator.DriftTaskOrphaned, queue, id, "no list names it"))
			}
		}
	}
	return looked, nil
}

func (i *Inspector) orphaned(ctx context.Context, queue, id, drop string) (bool, error) {
	n, err := orphanedScript.Run(ctx, i.rdb, []string{taskPrefix(queue) + id}, queuePrefix(queue), id, drop).Int()
	if err != nil {
		return false, fmt.Errorf("look for task %s: %w", id, unavailable(err))
	}
	return n > 0, nil
}

// existing are the ids of all tasks that there are, by queue.
func (i *Inspector) existing(ctx context.Context) (map[string][]string, error) {
	ids := map[string][]string{}
	for cursor := uint64(0); ; {
		keys, next, err := i.rdb.Scan(ctx, cursor, "asynq:{*}:t:*", ghostPortion).Result()
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			queue, id, ok := strings.Cut(strings.TrimPrefix(key, "asynq:{"), "}:t:")
			if ok && slices.Contains(tasks.Queues, queue) {
				ids[queue] = append(ids[queue], id)
			}
		}
		if cursor = next; cursor == 0 {
			break
		}
	}
	for queue := range ids { // a scan may name a key twice
		slices.Sort(ids[queue])
		ids[queue] = slices.Compact(ids[queue])
	}
	return ids, nil
}

// eachID calls look with the ids of a queue's tasks in that state, in portions.
// Lists move while they are read, so that some may be missed.
func (i *Inspector) eachID(ctx context.Context, queue string, state orchestrator.TaskState, look func(ids []string) error) error {
	for first := int64(0); ; first += ghostPortion {
		last, key := first+ghostPortion-1, stateKey(queue, state)
		var ids []string
		var err error
		if listed(state) {
			ids, err = i.rdb.LRange(ctx, key, first, last).Result()
		} else {
			ids, err = i.rdb.ZRange(ctx, key, first, last).Result()
		}
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return nil
		}
		if err := look(ids); err != nil {
			return err
		}
	}
}

// stuckScript returns, of the active tasks in a portion, how many there were
// and those without a lease, or whose lease ended long ago.
//
// KEYS[1] active · KEYS[2] lease · ARGV[1] task key prefix · ARGV[2], ARGV[3] first and last index · ARGV[4] seconds
var stuckScript = redis.NewScript(`
local ids = redis.call("LRANGE", KEYS[1], ARGV[2], ARGV[3])
local now = tonumber(redis.call("TIME")[1])
local found = {tostring(#ids)}
for _, id in ipairs(ids) do
  local lease = redis.call("ZSCORE", KEYS[2], id)
  if redis.call("EXISTS", ARGV[1] .. id) == 1 and (not lease or tonumber(lease) + ARGV[4] < now) then
    table.insert(found, id)
  end
end
return found`)

func (i *Inspector) auditActive(ctx context.Context, queue string, found func(orchestrator.Drift)) error {
	for first := 0; ; first += ghostPortion {
		reply, err := stuckScript.Run(ctx, i.rdb, []string{stateKey(queue, orchestrator.TaskActive), leaseKey(queue)},
			taskPrefix(queue), first, first+ghostPortion-1, int(stuckAfter.Seconds())).StringSlice()
		if err != nil {
			return err
		}
		for _, id := range reply[1:] {
			found(driftOf(orchestrator.DriftTaskStuck, queue, id, "it is active without a lease, or since its lease ended minutes ago"))
		}
		if reply[0] == "0" {
			return nil
		}
	}
}

// auditQueues looks for queues that hold tasks and are not announced.
func (i *Inspector) auditQueues(ctx context.Context, found func(orchestrator.Drift)) error {
	announced, err := i.rdb.SMembers(ctx, queuesKey).Result()
	if err != nil {
		return fmt.Errorf("read queues: %w", unavailable(err))
	}
	stats, err := i.Stats(ctx)
	if err != nil {
		return err
	}
	for _, s := range stats {
		held := int64(0)
		for _, n := range s.Size {
			held += n
		}
		if held > 0 && !slices.Contains(announced, s.Queue) {
			found(orchestrator.Drift{Kind: orchestrator.DriftQueueHidden, Place: s.Queue, Found: fmt.Sprintf("it holds %d tasks", held)})
		}
	}
	return nil
}

// unstickScript removes an active task that nobody has a lease on.
//
// KEYS[1] active · KEYS[2] lease · KEYS[3] task · ARGV[1] id · ARGV[2] seconds
var unstickScript = redis.NewScript(`
local lease = redis.call("ZSCORE", KEYS[2], ARGV[1])
if lease and tonumber(lease) + ARGV[2] >= tonumber(redis.call("TIME")[1]) then return 0 end
local removed = redis.call("LREM", KEYS[1], 0, ARGV[1])
if removed > 0 then
  redis.call("ZREM", KEYS[2], ARGV[1])
  redis.call("DEL", KEYS[3])
end
return removed`)

// Mend implements [orchestrator.Auditor]. The jobs behind removed tasks are the
// lanes' to mend.
func (i *Inspector) Mend(ctx context.Context, d orchestrator.Drift) (bool, error) {
	if !slices.Contains(tasks.Queues, d.Place) {
		return false, nil
	}
	switch d.Kind {
	case orchestrator.DriftTaskGhost:
		removed := 0
		for _, state := range taskStates {
			n, err := i.Repair(ctx, []Ghost{{d.Place, state, d.TaskID}})
			if err != nil {
				return false, err
			}
			removed += n
		}
		return removed > 0, nil
	case orchestrator.DriftTaskOrphaned:
		return i.orphaned(ctx, d.Place, d.TaskID, "drop")
	case orchestrator.DriftTaskStuck:
		n, err := unstickScript.Run(ctx, i.rdb, []string{
			stateKey(d.Place, orchestrator.TaskActive), leaseKey(d.Place), taskPrefix(d.Place) + d.TaskID,
		}, d.TaskID, int(stuckAfter.Seconds())).Int()
		if err != nil {
			return false, fmt.Errorf("remove stuck task %s: %w", d.TaskID, unavailable(err))
		}
		return n > 0, nil
	case orchestrator.DriftQueueHidden:
		return true, register(ctx, i.rdb)
	default:
		return false, nil
	}
}

// Waiting implements [orchestrator.Board].
func (i *Inspector) Waiting(ctx context.Context, look func([]tasks.Task) error) error {
	for _, queue := range tasks.Queues {
		for _, state := range []orchestrator.TaskState{orchestrator.TaskPending, orchestrator.TaskScheduled, orchestrator.TaskRetry} {
			if err := i.eachID(ctx, queue, state, func(ids []string) error {
				waiting := make([]tasks.Task, 0, len(ids))
				for _, id := range ids {
					if task, err := ParseTaskID(id); err == nil {
						task.Queue = queue
						waiting = append(waiting, task)
					}
				}
				return look(waiting)
			}); err != nil {
				return fmt.Errorf("look through the %s tasks of %s: %w", state, queue, unavailable(err))
			}
		}
	}
	return nil
}
