package store

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// Backlog is the list of a named queue: what waits to be asked for, in order,
// and what is being followed, by whom, until when. Any number of processes share
// it. It does not look into the requests.
type Backlog struct {
	store *Store
	key   string
}

// QueueItem is one entry of a [Backlog].
type QueueItem struct {
	ID      string
	Request []byte
	Job     string // empty until it was asked for
	Status  string // waiting, running, or how it has ended
	Error   string
	Tries   int // how often it was put back by a retry
}

// The values of [QueueItem].Status while it has not ended.
const (
	itemWaiting = "waiting"
	itemRunning = "running"
)

// keptItems is how long an item is remembered that has ended.
const keptItems = 24 * time.Hour

// Backlog returns a tenant's queue of that name.
func (s *Store) Backlog(tenant, name string) *Backlog {
	return &Backlog{store: s, key: keyQueue + tenantKey(tenant) + ":" + url.QueryEscape(name)}
}

// keys are, in the order of the scripts: the list of what waits, the leases of
// what runs, and the item.
func (b *Backlog) keys(id string) []string {
	return []string{b.key + ":waiting", b.key + ":running", b.item(id)}
}

func (b *Backlog) item(id string) string { return b.key + ":item:" + id }

// addScript appends an item. An item that is there already is left alone, so
// that the script may be repeated.
//
//	KEYS  1 waiting  2 running  3 item      ARGV  1 id  2 request
var addScript = newScript(`
if redis.call('EXISTS', KEYS[3]) == 0 then
	redis.call('HSET', KEYS[3], 'request', ARGV[2], 'status', 'waiting', 'tries', 0)
	redis.call('RPUSH', KEYS[1], ARGV[1])
end
return {'ok', now}
`)

// Add appends a request under an id that the caller has made up.
func (b *Backlog) Add(ctx context.Context, id string, request []byte) error {
	_, err := b.store.run(ctx, "add to the queue", addScript, b.keys(id), id, request)
	return err
}

// takeItemScript takes one item: first one whose lease is over, since it has
// been asked for already, else the next that waits, where there is room.
//
//	KEYS  1 waiting  2 running  3 prefix of items    ARGV  1 owner  2 room  3 lease
var takeItemScript = newScript(`
local id = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
if not id and redis.call('ZCARD', KEYS[2]) < tonumber(ARGV[2]) then
	id = redis.call('LPOP', KEYS[1])
end
if not id then return {'missing', now} end
local item = KEYS[3] .. id
redis.call('HSET', item, 'status', 'running', 'owner', ARGV[1])
redis.call('ZADD', KEYS[2], now + ARGV[3], id)
local known = redis.call('HMGET', item, 'request', 'job', 'tries')
return {'ok', now, id, known[1] or '', known[2] or '', known[3] or '0'}
`)

// Take takes an item for the owner, who has to keep it before the lease is
// over. Nil: there is nothing to do now, or no room beside what runs.
func (b *Backlog) Take(ctx context.Context, owner string, room int, lease time.Duration) (*QueueItem, error) {
	answer, err := b.store.run(ctx, "take from the queue", takeItemScript, b.keys(""), owner, room, lease.Milliseconds())
	if err != nil || answer.word != answerOK {
		return nil, err
	}
	tries, _ := strconv.Atoi(answer.text(3)) // written by these scripts alone
	return &QueueItem{ID: answer.text(0), Request: []byte(answer.text(1)), Job: answer.text(2), Status: itemRunning, Tries: tries}, nil
}

// keepScript pushes the lease of an item that is still its owner's. With a job
// it notes that, and answers whether somebody wants the item canceled.
//
//	KEYS  1 waiting  2 running  3 item      ARGV  1 id  2 owner  3 lease  4 job
var keepScript = newScript(`
if redis.call('HGET', KEYS[3], 'owner') ~= ARGV[2] then return {'missing', now} end
redis.call('ZADD', KEYS[2], 'XX', now + ARGV[3], ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[3], 'job', ARGV[4]) end
return {'ok', now, redis.call('HGET', KEYS[3], 'cancel') or ''}
`)

// Keep pushes the lease; a lease of nothing gives the item to whoever comes
// next. It reports whether the item is still the owner's, and whether somebody
// wants it canceled.
func (b *Backlog) Keep(ctx context.Context, id, owner, job string, lease time.Duration) (ours, cancel bool, err error) {
	answer, err := b.store.run(ctx, "keep a place in the queue", keepScript, b.keys(id), id, owner, lease.Milliseconds(), job)
	if err != nil {
		return false, false, err
	}
	return answer.word == answerOK, answer.text(0) != "", nil
}

// endScript ends an item that is still its owner's.
//
//	KEYS  1 waiting  2 running  3 item      ARGV  1 id  2 owner  3 status  4 error  5 kept
var endScript = newScript(`
if redis.call('HGET', KEYS[3], 'owner') ~= ARGV[2] then return {'missing', now} end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[3], 'owner', 'cancel')
redis.call('HSET', KEYS[3], 'status', ARGV[3], 'error', ARGV[4])
redis.call('PEXPIRE', KEYS[3], ARGV[5])
return {'ok', now}
`)

// End notes how an item has ended. It is remembered for a day.
func (b *Backlog) End(ctx context.Context, id, owner, status, failure string) error {
	_, err := b.store.run(ctx, "end a place in the queue", endScript, b.keys(id), id, owner, status, failure, keptItems.Milliseconds())
	return err
}

// dropScript cancels an item that waits, and asks for the cancel of one that
// runs.
//
//	KEYS  1 waiting  2 running  3 item      ARGV  1 id  2 kept
var dropScript = newScript(`
local known = redis.call('HMGET', KEYS[3], 'status', 'job')
if not known[1] then return {'missing', now} end
if known[1] == 'waiting' then
	redis.call('LREM', KEYS[1], 1, ARGV[1])
	redis.call('HSET', KEYS[3], 'status', 'canceled')
	redis.call('PEXPIRE', KEYS[3], ARGV[2])
	known[1] = 'canceled'
elseif known[1] == 'running' then
	redis.call('HSET', KEYS[3], 'cancel', '1')
end
return {'ok', now, known[1], known[2] or ''}
`)

// Drop cancels an item that waits and marks one that runs. It returns the
// status then, and the job if there is one. orchestrator.ErrNotFound.
func (b *Backlog) Drop(ctx context.Context, id string) (status, job string, err error) {
	answer, err := b.store.run(ctx, "cancel a place in the queue", dropScript, b.keys(id), id, keptItems.Milliseconds())
	if err == nil && answer.word != answerOK {
		err = fmt.Errorf("queue item: %w", orchestrator.ErrNotFound)
	}
	return answer.text(0), answer.text(1), err
}

// againScript puts an item that has ended back at the end of the list.
//
//	KEYS  1 waiting  2 running  3 item      ARGV  1 id  2 forget the job
var againScript = newScript(`
local status = redis.call('HGET', KEYS[3], 'status')
if not status then return {'missing', now} end
if status == 'waiting' or status == 'running' then return {'conflict', now} end
redis.call('HSET', KEYS[3], 'status', 'waiting', 'error', '')
redis.call('HINCRBY', KEYS[3], 'tries', 1)
if ARGV[2] ~= '' then redis.call('HDEL', KEYS[3], 'job') end
redis.call('PERSIST', KEYS[3])
redis.call('RPUSH', KEYS[1], ARGV[1])
return {'ok', now}
`)

// Again puts back an item that has ended: its job is followed again, or, where
// anew, a new one asked for. orchestrator.ErrConflict when it has not ended.
func (b *Backlog) Again(ctx context.Context, id string, anew bool) error {
	forget := ""
	if anew {
		forget = "1"
	}
	answer, err := b.store.run(ctx, "put back into the queue", againScript, b.keys(id), id, forget)
	switch {
	case err != nil:
		return err
	case answer.word == answerConflict:
		return fmt.Errorf("queue item: %w", orchestrator.ErrConflict)
	case answer.word != answerOK:
		return fmt.Errorf("queue item: %w", orchestrator.ErrNotFound)
	}
	return nil
}

// Item returns an item. orchestrator.ErrNotFound.
func (b *Backlog) Item(ctx context.Context, id string) (*QueueItem, error) {
	known, err := b.store.redis.HGetAll(ctx, b.item(id)).Result()
	if err != nil {
		return nil, b.store.failed("read the queue", err)
	}
	if known["status"] == "" {
		return nil, fmt.Errorf("queue item: %w", orchestrator.ErrNotFound)
	}
	tries, _ := strconv.Atoi(known["tries"]) // written by these scripts alone
	return &QueueItem{
		ID: id, Request: []byte(known["request"]), Job: known["job"], Status: known["status"], Error: known["error"], Tries: tries,
	}, nil
}
