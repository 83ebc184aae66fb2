package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Register announces Easel's queues, so that inspectors and asynqmon see them.
//
// asynq announces a queue once in a client's life. After a flush, a restore or
// the deletion of a queue its tasks would run unseen until every client was
// restarted; [Servers] therefore announce them again and again.
func (c *Client) Register(ctx context.Context) error { return register(ctx, c.rdb) }

func register(ctx context.Context, rdb redis.UniversalClient) error {
	members := make([]any, len(tasks.Queues))
	for i, queue := range tasks.Queues {
		members[i] = queue
	}
	if err := rdb.SAdd(ctx, queuesKey, members...).Err(); err != nil {
		return fmt.Errorf("announce queues: %w", unavailable(err))
	}
	return nil
}
