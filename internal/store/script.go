package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// prelude begins every script. A script answers a list: a word that says how
// it went, the time in milliseconds, and what the word promises.
const prelude = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local micros = clock[1] * 1000000 + clock[2]

-- at writes a time so that no digit is lost.
local function at(millis) return string.format('%.0f', millis) end

-- applied says whether the operation is among those that the record remembers.
local function applied(operations, operation)
	return string.find(operations, operation, 1, true) ~= nil
end

-- remember adds the operation to the last eight.
local function remember(operations, operation)
	return string.sub(operations .. operation .. ' ', -8 * OPERATION_LENGTH)
end

-- place sets a job's score in an index, or takes the job out of it.
local function place(index, id, score)
	if score == '' then
		redis.call('ZREM', index, id)
	else
		redis.call('ZADD', index, score, id)
	end
end

-- count adds to the number of jobs in a state, which is never below zero.
local function count(counts, state, change)
	if redis.call('HINCRBY', counts, state, change) < 0 then
		redis.call('HSET', counts, state, 0)
	end
end

-- hold gives back the places that a job held before, and takes those that it
-- holds now.
local function hold(id, before, after)
	if before == after then return end
	for provider, number in string.gmatch(before or '', '(%S+)|(%d+)|%d+') do
		redis.call('ZREM', KEY_PLACES .. provider, id .. ':' .. number)
	end
	for provider, number, till in string.gmatch(after, '(%S+)|(%d+)|(%d+)') do
		redis.call('ZADD', KEY_PLACES .. provider, till, id .. ':' .. number)
	end
end

-- leave takes a job out of the line before a provider, with the turn that it may
-- have been given.
local function leave(provider, id)
	redis.call('ZREM', KEY_LINE .. provider, id)
	local turn = redis.call('ZSCORE', KEY_TURNS .. provider, id)
	if turn then
		redis.call('ZREM', KEY_TURNS .. provider, id)
		redis.call('ZREM', KEY_SLOTS .. provider, id .. ':' .. at(tonumber(turn)))
	end
end

-- waits reports whether a job waits for a provider, by the fields st, pr and
-- tomb of its record: who does not has no place in the line there.
local function waits(job, provider)
	return job[1] == 'queued' and job[2] == provider and not job[3]
end

-- even_when_full is a write without effect that Redis allows when its memory
-- is full. After it, the script's other writes are allowed too.
local function even_when_full(index) redis.call('ZREM', index, '') end
`

// The words that scripts answer.
const (
	answerOK       = "ok"       // done, now or by an earlier try of the same call
	answerFull     = "full"     // as many jobs wait for the provider as may
	answerExists   = "exists"   // the idempotency key is held by another job
	answerConflict = "conflict" // the record has another version
	answerHeld     = "held"     // paid submits are held
	answerMissing  = "missing"  // there is no record, or it has a tombstone
	answerClosed   = "closed"   // the provider must not be called now
	answerTurn     = "turn"     // a turn at the provider, and when
	answerLine     = "line"     // a place in the line before the provider
)

// names are what the scripts call the keys that they find by themselves.
var names = strings.NewReplacer(
	"OPERATION_LENGTH", fmt.Sprint(operationLength),
	"KEY_JOBS", "'"+keyJobs+"'",
	"KEY_JOB", "'"+keyJob+"'",
	"KEY_UPLOAD", "'"+keyUpload+"'",
	"KEY_GATE", "'"+keyGate+"'",
	"KEY_PLACES", "'"+keyPlaces+"'",
	"KEY_WAITING", "'"+keyWaiting+"'",
	"KEY_LINE", "'"+keyLine+"'",
	"KEY_TURNS", "'"+keyTurns+"'",
	"KEY_SLOTS", "'"+keySlots+"'",
	"CHANNEL_EVENTS", "'"+channelEvents+"'",
	"KEY_HOLD", "'"+keyHold+"'",
	"KEY_TIDE", "'"+keyTide+"'",
	"KEY_GAPS", "'"+keyGaps+"'",
	"TIDE_TOLERANCE", strconv.FormatInt(tideTolerance.Milliseconds(), 10),
	"STATUSES", allStatuses(),
)

func allStatuses() string {
	words := make([]string, len(tasks.Statuses))
	for i, status := range tasks.Statuses {
		words[i] = string(status)
	}
	return strings.Join(words, " ")
}

// script is a Lua script and the hash by which a server knows it.
type script struct {
	source string
	hash   string
}

func newScript(source string) script {
	source = names.Replace(prelude + source)
	sum := sha1.Sum([]byte(source))
	return script{source, hex.EncodeToString(sum[:])}
}

// loadScripts makes the scripts known to the server, so that the first call of
// each finds it. A server that forgets them is told again on the way.
func (s *Store) loadScripts(ctx context.Context) error {
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, script := range []script{
			createScript, claimScript, saveScript, touchScript, takeScript,
			tombstoneScript, purgeScript, listScript,
			uploadScript, removeUploadScript,
			turnScript, callScript, gateScript, releaseScript,
			addScript, takeItemScript, keepScript, endScript, dropScript, againScript,
			reportScript, probeScript, tideScript,
		} {
			pipe.ScriptLoad(ctx, script.source)
		}
		return nil
	})
	if err != nil {
		return s.failed("load scripts", err)
	}
	return nil
}

// answer is a script's reply.
type answer struct {
	word string
	rest []any
}

// run runs a script and takes in the time that it answers.
func (s *Store) run(ctx context.Context, operation string, script script, keys []string, args ...any) (answer, error) {
	sent := time.Now()
	raw, err := s.redis.EvalSha(ctx, script.hash, keys, args...).Slice()
	if forgotten(err) {
		raw, err = s.redis.Eval(ctx, script.source, keys, args...).Slice()
	}
	if err != nil {
		return answer{}, s.failed(operation, err)
	}
	return s.read(operation, raw, sent)
}

// read checks a script's reply, which came just now.
func (s *Store) read(operation string, raw []any, sent time.Time) (answer, error) {
	if len(raw) >= 2 {
		word, isWord := raw[0].(string)
		millis, isTime := raw[1].(int64)
		if isWord && isTime {
			s.clock.observe(millis, sent, time.Now())
			return answer{word, raw[2:]}, nil
		}
	}
	return answer{}, fmt.Errorf("%w: %s: script answered what it never should", orchestrator.ErrUnavailable, operation)
}

// text is the i-th value behind word and time, or empty.
func (a answer) text(i int) string {
	if i >= len(a.rest) {
		return ""
	}
	text, _ := a.rest[i].(string)
	return text
}

// number is the i-th value behind word and time, or zero.
func (a answer) number(i int) int64 {
	if i >= len(a.rest) {
		return 0
	}
	n, _ := a.rest[i].(int64)
	return n
}

// texts is the i-th value behind word and time, which is a list.
func (a answer) texts(i int) []string {
	if i >= len(a.rest) {
		return nil
	}
	return texts(a.rest[i])
}

// lists is the i-th value behind word and time, which is a list of lists.
func (a answer) lists(i int) [][]string {
	if i >= len(a.rest) {
		return nil
	}
	values, _ := a.rest[i].([]any)
	lists := make([][]string, len(values))
	for i, v := range values {
		lists[i] = texts(v)
	}
	return lists
}

func texts(value any) []string {
	values, _ := value.([]any)
	list := make([]string, len(values))
	for i, v := range values {
		list[i], _ = v.(string)
	}
	return list
}

// forgotten reports whether the server does not know a script, after a restart
// or a SCRIPT FLUSH.
func forgotten(err error) bool { return err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") }
