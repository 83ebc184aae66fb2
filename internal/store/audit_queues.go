package store

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// auditItemScript compares an item of a named queue with the lists that should
// name it, or should not.
//
//	KEYS  1 waiting  2 running  3 item
//	ARGV  1 id  2 "mend" or empty
//
// It answers ok and what is wrong: "lost", "stray in" a list, or nothing. To
// find an id in the list of what waits takes as long as the list is, so that
// only items are looked at that are suspect.
var auditItemScript = newScript(`
local id, mend = ARGV[1], ARGV[2] == 'mend'
local status = redis.call('HGET', KEYS[3], 'status')
local waits, runs = redis.call('LPOS', KEYS[1], id), redis.call('ZSCORE', KEYS[2], id)
if waits and status ~= 'waiting' then
	if mend then redis.call('LREM', KEYS[1], 0, id) end
	return {'ok', now, 'stray in waiting'}
end
if runs and status ~= 'running' then
	if mend then redis.call('ZREM', KEYS[2], id) end
	return {'ok', now, 'stray in running'}
end
if status == 'waiting' and not waits then
	if mend then redis.call('LPUSH', KEYS[1], id) end
	return {'ok', now, 'lost'}
end
if status == 'running' and not runs then
	if mend then redis.call('ZADD', KEYS[2], at(now), id) end
	return {'ok', now, 'lost'}
end
return {'ok', now, ''}
`)

// itemMark stands in the key of an item between its queue and its id: neither
// tenants nor names have colons there.
const itemMark = ":item:"

// auditQueues looks through the named queues: whatever stands on one side and
// not on the other is looked at once more, in one piece.
func (s *Store) auditQueues(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	looked := 0
	lists := map[string]*queueLists{}
	err := s.scan(ctx, keyQueue+"*"+itemMark+"*", func(keys []string) error {
		looked += len(keys)
		statuses, err := s.itemStatuses(ctx, keys)
		if err != nil {
			return err
		}
		for i, key := range keys {
			queue, id, _ := strings.Cut(key, itemMark)
			if lists[queue] == nil {
				if lists[queue], err = s.queueLists(ctx, queue); err != nil {
					return err
				}
			}
			if lists[queue].strike(id, statuses[i]) {
				continue
			}
			if err := s.auditItem(ctx, queue, id, found); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return looked, err
	}
	return looked, s.auditLists(ctx, lists, found)
}

// auditLists looks at what queues list and no item accounts for. A queue with
// no items at all has lists to look at too.
func (s *Store) auditLists(ctx context.Context, lists map[string]*queueLists, found func(orchestrator.Drift)) error {
	for _, suffix := range []string{":" + itemWaiting, ":" + itemRunning} {
		err := s.scan(ctx, keyQueue+"*"+suffix, func(keys []string) error {
			for _, key := range keys {
				queue := strings.TrimSuffix(key, suffix)
				if lists[queue] != nil || strings.Contains(key, itemMark) {
					continue
				}
				known, err := s.queueLists(ctx, queue)
				if err != nil {
					return err
				}
				lists[queue] = known
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for queue, known := range lists {
		for _, left := range []map[string]bool{known.waiting, known.running} {
			for id := range left {
				if err := s.auditItem(ctx, queue, id, found); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// queueLists are what a queue lists and no item has accounted for yet.
type queueLists struct{ waiting, running map[string]bool }

// strike accounts for an item, and reports whether it stands where its status
// says.
func (l *queueLists) strike(id, status string) bool {
	listed := l.waiting[id] && status == itemWaiting || l.running[id] && status == itemRunning
	ended := status != itemWaiting && status != itemRunning && !l.waiting[id] && !l.running[id]
	if listed && !(l.waiting[id] && l.running[id]) {
		delete(l.waiting, id)
		delete(l.running, id)
		return true
	}
	return ended
}

func (s *Store) queueLists(ctx context.Context, queue string) (*queueLists, error) {
	lists := &queueLists{waiting: map[string]bool{}, running: map[string]bool{}}
	for from := int64(0); ; from += auditPortion {
		ids, err := s.redis.LRange(ctx, queue+":"+itemWaiting, from, from+auditPortion-1).Result()
		if err != nil {
			return nil, s.failed("read the queue", err)
		}
		for _, id := range ids {
			lists.waiting[id] = true
		}
		if len(ids) < auditPortion {
			break
		}
	}
	return lists, s.members(ctx, queue+":"+itemRunning, func(ids []string) error {
		for _, id := range ids {
			lists.running[id] = true
		}
		return nil
	})
}

func (s *Store) itemStatuses(ctx context.Context, keys []string) ([]string, error) {
	replies := make([]*redis.SliceCmd, len(keys))
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, key := range keys {
			replies[i] = pipe.HMGet(ctx, key, "status")
		}
		return nil
	})
	if err != nil {
		return nil, s.failed("read the queue", err)
	}
	statuses := make([]string, len(keys))
	for i, reply := range replies {
		statuses[i], _ = reply.Val()[0].(string)
	}
	return statuses, nil
}

func (s *Store) auditItem(ctx context.Context, queue, id string, found func(orchestrator.Drift)) error {
	wrong, err := s.lookAtItem(ctx, queue, id, "")
	if err != nil || wrong == "" {
		return err
	}
	d := orchestrator.Drift{Kind: orchestrator.DriftQueueItemLost, Place: queue + itemMark + id, Found: "no list names it"}
	if list, stray := strings.CutPrefix(wrong, "stray in "); stray {
		d.Kind, d.Found = orchestrator.DriftQueueItemStray, "it is listed as "+list
	}
	found(d)
	return nil
}

func (s *Store) mendItem(ctx context.Context, d orchestrator.Drift) (bool, error) {
	queue, id, known := strings.Cut(d.Place, itemMark)
	if !known || !strings.HasPrefix(queue, keyQueue) {
		return false, nil
	}
	wrong, err := s.lookAtItem(ctx, queue, id, "mend")
	return wrong != "", err
}

func (s *Store) lookAtItem(ctx context.Context, queue, id, mend string) (string, error) {
	keys := []string{queue + ":" + itemWaiting, queue + ":" + itemRunning, queue + itemMark + id}
	reply, err := s.run(ctx, "audit queue item", auditItemScript, keys, id, mend)
	return reply.text(0), err
}
