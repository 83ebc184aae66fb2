package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Load implements [orchestrator.Store].
func (s *Store) Load(ctx context.Context, id string) (*tasks.Job, error) {
	fields, err := s.fields(ctx, id, "sv", "rec", "req")
	if err != nil {
		return nil, err
	}
	return decode(id, fields[0], fields[1], fields[2])
}

// Body implements [orchestrator.Store].
func (s *Store) Body(ctx context.Context, id string, version int64) ([]byte, error) {
	fields, err := s.fields(ctx, id, bodyField(version))
	if err != nil {
		return nil, err
	}
	return []byte(fields[0]), nil
}

func bodyField(version int64) string { return "body:" + strconv.FormatInt(version, 10) }

// fields reads fields of a job's hash. A job with a tombstone has none, and
// neither has one without a field that was asked for.
func (s *Store) fields(ctx context.Context, id string, names ...string) ([]string, error) {
	values, err := s.redis.HMGet(ctx, keyJob+id, append(names, "tomb")...).Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, s.failed("load job", err)
	}
	found := make([]string, len(names))
	for i := range names {
		value, ok := values[i].(string)
		if !ok || values[len(names)] != nil {
			return nil, fmt.Errorf("load job %s: %w", id, orchestrator.ErrNotFound)
		}
		found[i] = value
	}
	return found, nil
}

// claimScript reads a record, and makes its touch the handler's lease if the
// task is the job's current one. That may be earlier than it was: a job that
// waited in a long queue was given more time than a handler is. A side lane only
// pushes it ahead.
//
//	KEYS  1 job  2 open
//	ARGV  1 id  2 lane of the task, or empty for a side lane  3 lease  4 schema
//
// It answers ok, schema, record, request; or missing. A record of a newer
// schema is left alone.
var claimScript = newScript(`
local job = redis.call('HMGET', KEYS[1], 'sv', 'rec', 'req', 'lane', 'tomb')
if not job[1] or job[5] then return {'missing', now} end
local current = ARGV[2] == '' or ARGV[2] == job[4]
if current and (tonumber(job[1]) or math.huge) <= tonumber(ARGV[4]) then
	even_when_full(KEYS[2])
	if ARGV[2] == '' then
		redis.call('ZADD', KEYS[2], 'XX', 'GT', at(now + ARGV[3]), ARGV[1])
	else
		redis.call('ZADD', KEYS[2], 'XX', at(now + ARGV[3]), ARGV[1])
	end
end
return {'ok', now, job[1], job[2], job[3]}
`)

// Claim implements [orchestrator.Store]. Tasks of the side lanes have no step
// of the job to stand at: the record says whether they are still owed, and
// their touch is always pushed.
func (s *Store) Claim(ctx context.Context, task tasks.Task, lease time.Duration) (*tasks.Job, error) {
	current := ""
	if task.Kind.Main() {
		// The task's own kind does not count: lane only needs one.
		current = lane(tasks.KindSubmit, task.Step, task.Gen)
	}
	reply, err := s.run(ctx, "claim job", claimScript,
		[]string{keyJob + task.JobID, keyOpen},
		task.JobID, current, lease.Milliseconds(), tasks.Schema)
	if err != nil {
		return nil, err
	}
	if reply.word == answerMissing {
		return nil, fmt.Errorf("claim job %s: %w", task.JobID, orchestrator.ErrNotFound)
	}
	return decode(task.JobID, reply.text(0), reply.text(1), reply.text(2))
}
