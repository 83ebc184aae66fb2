package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// ArchiveAge is how long archived tasks are kept for operators. It lies well
// below asynq's own 90 days, whose trim takes everything that is too old at
// once and fails half-way when that is more than Lua can unpack.
const ArchiveAge = 30 * 24 * time.Hour

// trimPortion is how many tasks one script removes, so that none holds Redis up.
const trimPortion = 100

// trimScript removes the oldest archived tasks. An id whose task was run again
// meanwhile, or is gone, only leaves the set.
//
// KEYS[1] archived set · ARGV[1] latest score · ARGV[2] how many · ARGV[3] task key prefix
var trimScript = redis.NewScript(`
local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, ARGV[2])
for _, id in ipairs(ids) do
  redis.call("ZREM", KEYS[1], id)
  if redis.call("HGET", ARGV[3] .. id, "state") == "archived" then
    redis.call("DEL", ARGV[3] .. id)
  end
end
return #ids`)

// TrimArchive removes tasks that were archived longer ago than age, in small
// portions, and returns how many.
func (i *Inspector) TrimArchive(ctx context.Context, age time.Duration) (int, error) {
	now, err := i.rdb.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("trim archive: %w", unavailable(err))
	}
	removed := 0
	for _, queue := range tasks.Queues {
		for full := true; full; {
			n, err := trimScript.Run(ctx, i.rdb, []string{stateKey(queue, orchestrator.TaskArchived)},
				now.Add(-age).Unix(), trimPortion, taskPrefix(queue)).Int()
			if err != nil {
				return removed, fmt.Errorf("trim archive of %s: %w", queue, unavailable(err))
			}
			removed += n
			full = n == trimPortion
		}
	}
	return removed, nil
}
