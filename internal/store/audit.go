package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

var _ orchestrator.Ledger = (*Store)(nil)

// auditPortion is how many entries one script looks at, so that none holds
// Redis up.
const auditPortion = 200

// asleep is how far behind its record's touch a job's next look may lie: who
// tends jobs pushes them by less than this.
const asleep = 5 * time.Minute

// auditScript reads records together with their places in all indexes, so that
// no change can come in between.
//
//	KEYS  1 open  2 purge
//	ARGV  job ids
//
// It answers ok and, for each job that has a record: id, v, sv, st, ss, t, u,
// lane, pr, idem, tomb, rec, held, score in open, score in purge, "1" if in the
// tenant's list, the statuses whose lists name it, "1" if in its user's list,
// what its idempotency key holds, at which providers places that it holds do not
// count, "1" if it stands in its provider's line or has a turn there, "1" if it
// counts as waiting for its provider.
var auditScript = newScript(`
-- uncounted are the providers that have not got a place of the job's in their
-- index, or not with its time. A place whose time is over counts for nobody.
local function uncounted(id, held)
	local missing = ''
	for provider, number, till in string.gmatch(held, '(%S+)|(%d+)|(%d+)') do
		local counted = redis.call('ZSCORE', KEY_PLACES .. provider, id .. ':' .. number)
		if tonumber(till) > now and tonumber(counted or 0) ~= tonumber(till) then
			missing = missing .. provider .. ' '
		end
	end
	return missing
end

local rows = {}
for _, id in ipairs(ARGV) do
	local row = redis.call('HMGET', KEY_JOB .. id, 'v', 'sv', 'st', 'ss', 't', 'u', 'lane', 'pr', 'idem', 'tomb', 'rec', 'held')
	if row[1] then
		for i = 1, 12 do row[i] = row[i] or '' end
		local list = KEY_JOBS .. row[5]
		local function named(index) return redis.call('ZSCORE', index, id) and '1' or '' end
		row[13] = redis.call('ZSCORE', KEYS[1], id) or ''
		row[14] = redis.call('ZSCORE', KEYS[2], id) or ''
		row[15] = named(list)
		row[16] = ''
		for status in string.gmatch('STATUSES', '%S+') do
			if named(list .. ':status:' .. status) == '1' then row[16] = row[16] .. status .. ' ' end
		end
		row[17] = row[6] ~= '' and named(list .. ':user:' .. row[6]) or ''
		row[18] = row[9] ~= '' and redis.call('GET', row[9]) or ''
		row[19] = uncounted(id, row[12])
		row[20] = (named(KEY_LINE .. row[8]) == '1' or named(KEY_TURNS .. row[8]) == '1') and '1' or ''
		row[21] = redis.call('SISMEMBER', KEY_WAITING .. row[8], id) == 1 and '1' or ''
		table.insert(row, 1, id)
		rows[#rows + 1] = row
	end
end
return {'ok', now, rows}
`)

// standing is a record as auditScript reads it.
type standing struct {
	id, version, schema, state, status, tenant, user, lane, provider, idem, tomb, record, places string

	open, purge, listed, statuses, userListed, holder, uncounted, inLine, waiting string
}

func newStanding(row []string) (standing, bool) {
	if len(row) != 22 {
		return standing{}, false
	}
	return standing{
		row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11], row[12],
		row[13], row[14], row[15], row[16], row[17], row[18], row[19], row[20], row[21],
	}, true
}

// Audit implements [orchestrator.Auditor]: every record, then every index and
// key.
func (s *Store) Audit(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	looked := 0
	err := s.scan(ctx, keyJob+"*", func(keys []string) error {
		ids := make([]string, len(keys))
		for i, key := range keys {
			ids[i] = strings.TrimPrefix(key, keyJob)
		}
		standings, err := s.standings(ctx, ids)
		for _, st := range standings {
			looked++
			for _, d := range s.driftsOf(st) {
				found(d)
			}
		}
		return err
	})
	if err != nil {
		return looked, err
	}
	n, err := s.auditIndexes(ctx, found)
	looked += n
	if err != nil {
		return looked, err
	}
	n, err = s.auditKeys(ctx, found)
	looked += n
	if err != nil {
		return looked, err
	}
	n, err = s.auditPlacesAndLines(ctx, found)
	looked += n
	if err != nil {
		return looked, err
	}
	n, err = s.auditQueues(ctx, found)
	looked += n
	if err != nil {
		return looked, err
	}
	if err := s.auditCircuits(ctx, found); err != nil {
		return looked, err
	}
	return looked, s.auditCounts(ctx, found)
}

func (s *Store) standings(ctx context.Context, ids []string) ([]standing, error) {
	reply, err := s.run(ctx, "audit jobs", auditScript, []string{keyOpen, keyPurge}, anys(ids)...)
	if err != nil {
		return nil, err
	}
	var standings []standing
	for _, row := range reply.lists(0) {
		if st, ok := newStanding(row); ok {
			standings = append(standings, st)
		}
	}
	return standings, nil
}

// driftsOf compares one record with everything that should follow from it. A
// record of a newer schema is left to the release that wrote it.
func (s *Store) driftsOf(st standing) []orchestrator.Drift {
	var drifts []orchestrator.Drift
	add := func(bad bool, kind orchestrator.DriftKind, place, format string, args ...any) {
		if bad {
			drifts = append(drifts, orchestrator.Drift{Kind: kind, JobID: st.id, Place: place, Found: fmt.Sprintf(format, args...)})
		}
	}
	if newer(st.schema) {
		return nil
	}
	job, err := decode(st.id, st.schema, st.record, "{}")
	if err != nil {
		add(true, orchestrator.DriftRecordUnreadable, keyJob+st.id, "it is no record of schema %s", st.schema)
		return drifts
	}
	wants := expected(job, st)
	stale := st.version != wants.version || st.state != wants.state || st.status != wants.status || st.lane != wants.lane ||
		st.provider != wants.provider || st.tenant != wants.tenant || st.places != wants.places
	add(stale,
		orchestrator.DriftFieldsStale, keyJob+st.id, "version %s, state %s and lane %q instead of %s, %s and %q",
		st.version, st.state, st.lane, wants.version, wants.state, wants.lane)

	add(wants.open && st.open == "", orchestrator.DriftOpenMissing, keyOpen, "the job is %s and owes %s", job.State, owed(job))
	add(!wants.open && st.open != "", orchestrator.DriftOpenNeedless, keyOpen, "the job is %s", job.State)
	add(wants.open && s.sleeps(st, job), orchestrator.DriftOpenAsleep, keyOpen, "its next look is at %s", timeOf(st.open))
	add(wants.purge && st.purge == "", orchestrator.DriftPurgeMissing, keyPurge, "it was to go at %s", job.PurgeAt.UTC().Format(time.RFC3339))
	add(!wants.purge && st.purge != "", orchestrator.DriftPurgeNeedless, keyPurge, "it was to go at %s", timeOf(st.purge))

	list := keyJobs + st.tenant
	add(st.listed == "", orchestrator.DriftListMissing, list, "it is not there")
	statuses := strings.Fields(st.statuses)
	add(!slices.Contains(statuses, wants.status), orchestrator.DriftListMissing, list+":status:"+wants.status, "it is not there")
	add(st.user != "" && st.userListed == "", orchestrator.DriftListMissing, list+":user:"+st.user, "it is not there")

	add(st.tomb == "" && st.uncounted != "", orchestrator.DriftPlaceMissing, keyPlaces+firstWord(st.uncounted), "it does not count there")
	// By stale fields another provider was looked at; they are mended first.
	add(!stale && wants.waiting && st.waiting == "", orchestrator.DriftWaitingMissing, keyWaiting+st.provider, "it is not there")
	add(!stale && wants.inLine && st.inLine == "", orchestrator.DriftLineMissing, keyLine+st.provider, "it is not there, and has no turn")

	holder := firstWord(st.holder)
	if st.idem != "" && st.tomb == "" {
		add(holder == "", orchestrator.DriftKeyMissing, st.idem, "there is no such key")
		add(holder != "" && holder != st.id, orchestrator.DriftKeyTaken, st.idem, "it points to %s", holder)
	}
	return drifts
}

// wanted is what should stand beside a record.
type wanted struct {
	version, state, status, lane, provider, tenant, places string
	open, purge, inLine, waiting                           bool
}

func expected(job *tasks.Job, st standing) wanted {
	return wanted{
		version: strconv.FormatInt(job.Version, 10), state: string(job.State), status: string(job.State.Status()),
		lane: lane(job.Kind, job.Step, job.Gen), provider: job.ProviderID, tenant: tenantKey(job.Tenant),
		places:  held(job.Places),
		open:    st.tomb == "" && job.Owes(),
		purge:   st.tomb != "" || !job.PurgeAt.IsZero(),
		waiting: st.tomb == "" && job.State == tasks.Queued,
		inLine:  st.tomb == "" && job.State == tasks.Queued && job.Kind == tasks.KindSubmit && job.InLine,
	}
}

func firstWord(text string) string {
	word, _, _ := strings.Cut(text, " ")
	return word
}

// sleeps reports whether the job's next look is later than anybody sets it.
func (s *Store) sleeps(st standing, job *tasks.Job) bool {
	at := timeOf(st.open)
	return !at.IsZero() && at.After(job.Touch.Add(asleep)) && at.After(s.Now().Add(asleep))
}

func owed(job *tasks.Job) string {
	switch {
	case job.Kind != "":
		return "the step " + string(job.Kind)
	case job.OwesSideLane():
		return "a delivery or a cancel"
	case job.HasLive(), job.HasOpen():
		return "a look at a submission"
	default:
		return "an end"
	}
}

// timeOf reads a score.
func timeOf(score string) time.Time {
	millis, err := strconv.ParseFloat(score, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(int64(millis)).UTC()
}

// straysScript looks whether entries of an index belong there.
//
//	KEYS  1 index
//	ARGV  1 "open", "purge" or "list"  2… ids
//
// It answers ok and those that do not. One that has left meanwhile does not
// count.
var straysScript = newScript(`
local strays = {}
for i = 2, #ARGV do
	local id = ARGV[i]
	local job = redis.call('HMGET', KEY_JOB .. id, 'v', 't', 'ss', 'u')
	local belongs = job[1] or (ARGV[1] == 'purge' and redis.call('EXISTS', KEY_UPLOAD .. id) == 1)
	if job[1] and ARGV[1] == 'list' then
		local list = KEY_JOBS .. job[2]
		belongs = KEYS[1] == list or KEYS[1] == list .. ':status:' .. job[3] or KEYS[1] == list .. ':user:' .. job[4]
	end
	if not belongs and redis.call('ZSCORE', KEYS[1], id) then strays[#strays + 1] = id end
end
return {'ok', now, strays}
`)

func (s *Store) auditIndexes(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	looked := 0
	look := func(index, sort string) error {
		return s.members(ctx, index, func(ids []string) error {
			looked += len(ids)
			reply, err := s.run(ctx, "audit index", straysScript, []string{index}, append([]any{sort}, anys(ids)...)...)
			for _, id := range reply.texts(0) {
				found(orchestrator.Drift{Kind: orchestrator.DriftIndexStray, JobID: id, Place: index})
			}
			return err
		})
	}
	if err := look(keyOpen, "open"); err != nil {
		return looked, err
	}
	if err := look(keyPurge, "purge"); err != nil {
		return looked, err
	}
	err := s.scan(ctx, keyJobs+"*", func(indexes []string) error {
		for _, index := range indexes {
			if err := look(index, "list"); err != nil {
				return err
			}
		}
		return nil
	})
	return looked, err
}

// danglingScript looks whether idempotency keys point to a job that holds them.
//
//	KEYS  keys
//
// It answers ok and those that do not.
var danglingScript = newScript(`
local dangling = {}
for _, key in ipairs(KEYS) do
	local held = redis.call('GET', key)
	local holder = held and string.match(held, '^%S+')
	if held and (not holder or redis.call('HGET', KEY_JOB .. holder, 'idem') ~= key) then dangling[#dangling + 1] = key end
end
return {'ok', now, dangling}
`)

func (s *Store) auditKeys(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	looked := 0
	err := s.scan(ctx, keyIdempotency+"*", func(keys []string) error {
		looked += len(keys)
		reply, err := s.run(ctx, "audit keys", danglingScript, keys)
		for _, key := range reply.texts(0) {
			found(orchestrator.Drift{Kind: orchestrator.DriftKeyDangling, Place: key})
		}
		return err
	})
	return looked, err
}

// Owing implements [orchestrator.Ledger].
func (s *Store) Owing(ctx context.Context, look func(ids []string) error) error {
	return s.members(ctx, keyOpen, look)
}

// Missing implements [orchestrator.Ledger].
func (s *Store) Missing(ctx context.Context, ids []string) ([]string, error) {
	known := make([]*redis.IntCmd, len(ids))
	if len(ids) == 0 {
		return nil, nil
	}
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, id := range ids {
			known[i] = pipe.Exists(ctx, keyJob+id, keyUpload+id)
		}
		return nil
	})
	if err != nil {
		return nil, s.failed("look for records", err)
	}
	var missing []string
	for i, id := range ids {
		if known[i].Val() == 0 {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// scan calls look with the keys of a pattern, each at least once.
func (s *Store) scan(ctx context.Context, pattern string, look func(keys []string) error) error {
	for cursor := uint64(0); ; {
		keys, next, err := s.redis.Scan(ctx, cursor, pattern, auditPortion).Result()
		if err != nil {
			return s.failed("scan keys", err)
		}
		for chunk := range slices.Chunk(keys, auditPortion) {
			if err := look(chunk); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// members calls look with the members of an index, each at least once.
func (s *Store) members(ctx context.Context, index string, look func(ids []string) error) error {
	for cursor := uint64(0); ; {
		pairs, next, err := s.redis.ZScan(ctx, index, cursor, "", auditPortion).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return s.failed("scan index", err)
		}
		ids := make([]string, 0, len(pairs)/2)
		for i := 0; i < len(pairs); i += 2 {
			ids = append(ids, pairs[i])
		}
		for chunk := range slices.Chunk(ids, auditPortion) {
			if err := look(chunk); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func anys(texts []string) []any {
	list := make([]any, len(texts))
	for i, text := range texts {
		list[i] = text
	}
	return list
}
