package store

import (
	"context"
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	// listChunk is how many records one script looks at.
	listChunk = 200
	// listBound is how many records one page looks at: a filter that hardly
	// any job passes yields short pages, not long reads.
	listBound = 1000

	defaultLimit = 20
	maxLimit     = 100
)

// listScript reads one chunk of the jobs that the indexes list, newest first.
// Several indexes are merged; a job stands in only one of them.
//
//	KEYS  indexes
//	ARGV  1 upper bound  2 lower bound  3 chunk  4 limit
//	      5 feature or empty  6 provider or empty  7… statuses, none for all
//
// It answers ok, how many were looked at, the last of them, 1 if there may be
// more, and for each job that passed: id, schema, record, request.
//
// Comparing ids by the server's locale is safe: they differ in digits and
// capital letters only.
var listScript = newScript(`
local chunk, limit = tonumber(ARGV[3]), tonumber(ARGV[4])
local statuses = nil
for i = 7, #ARGV do
	statuses = statuses or {}
	statuses[ARGV[i]] = true
end
local ids, more = {}, 0
for _, index in ipairs(KEYS) do
	local part = redis.call('ZREVRANGEBYLEX', index, ARGV[1], ARGV[2], 'LIMIT', 0, chunk)
	if #part == chunk then more = 1 end
	for _, id in ipairs(part) do ids[#ids + 1] = id end
end
if #KEYS > 1 then table.sort(ids, function(a, b) return a > b end) end

local function passes(job)
	return job[1] and not job[2]
		and (not statuses or statuses[job[3]])
		and (ARGV[5] == '' or ARGV[5] == job[4])
		and (ARGV[6] == '' or ARGV[6] == job[5])
end

local looked, last, rows = 0, '', {}
for i = 1, math.min(chunk, #ids) do
	if #rows == limit then break end
	looked, last = i, ids[i]
	local key = KEY_JOB .. last
	if passes(redis.call('HMGET', key, 'v', 'tomb', 'ss', 'ft', 'pr')) then
		local job = redis.call('HMGET', key, 'sv', 'rec', 'req')
		rows[#rows + 1] = {last, job[1], job[2], job[3]}
	end
end
if looked < #ids then more = 1 end
return {'ok', now, looked, last, more, rows}
`)

// List implements [orchestrator.Store]. A record of a newer schema is left out:
// a list must not fail while two releases run side by side.
func (s *Store) List(ctx context.Context, query orchestrator.Query) (orchestrator.Page, error) {
	scan, err := newScan(query)
	if err != nil {
		return orchestrator.Page{}, err
	}
	var page orchestrator.Page
	for looked := 0; ; {
		chunk, err := s.listChunk(ctx, scan, scan.limit-len(page.Jobs))
		if err != nil {
			return orchestrator.Page{}, err
		}
		page.Jobs = append(page.Jobs, chunk.jobs...)
		if !chunk.more {
			return page, nil
		}
		looked += chunk.looked
		if len(page.Jobs) == scan.limit || looked >= listBound {
			page.NextCursor = newCursor(chunk.last)
			return page, nil
		}
		scan.upper = "(" + chunk.last
	}
}

// scan is a query as listScript wants it.
type scan struct {
	indexes      []string
	upper, lower string
	chunk, limit int
	feature      string
	provider     string
	statuses     []string
}

func newScan(query orchestrator.Query) (scan, error) {
	sc := scan{
		upper: "+", lower: "-", chunk: listChunk,
		feature: string(query.FeatureType), provider: query.ProviderID,
	}
	sc.limit = min(query.Limit, maxLimit)
	if sc.limit <= 0 {
		sc.limit = defaultLimit
	}
	sc.chooseIndexes(query)
	if sc.feature == "" && sc.provider == "" && len(sc.statuses) == 0 {
		sc.chunk = sc.limit + 1 // every record passes
	}
	if err := sc.bound(query); err != nil {
		return scan{}, err
	}
	return sc, nil
}

// chooseIndexes picks what lists the fewest jobs: a user's, else those of the
// statuses that were asked for.
func (sc *scan) chooseIndexes(query orchestrator.Query) {
	statuses := slices.Compact(slices.Sorted(slices.Values(query.Statuses)))
	switch {
	case query.UserID != "":
		sc.indexes = []string{userIndex(query.Tenant, query.UserID)}
		for _, status := range statuses {
			sc.statuses = append(sc.statuses, string(status))
		}
	case len(statuses) > 0:
		for _, status := range statuses {
			sc.indexes = append(sc.indexes, statusIndex(query.Tenant, status))
		}
	default:
		sc.indexes = []string{allIndex(query.Tenant)}
	}
}

// bound narrows the ids by time of creation, which they begin with, and by
// where the page before has ended.
func (sc *scan) bound(query orchestrator.Query) error {
	var before string
	if !query.CreatedBefore.IsZero() {
		// What was made within the millisecond of an uneven bound is before it.
		before = firstID(query.CreatedBefore.Add(time.Millisecond - time.Nanosecond))
	}
	if query.Cursor != "" {
		last, err := parseCursor(query.Cursor)
		if err != nil {
			return err
		}
		if before == "" || last < before {
			before = last
		}
	}
	if before != "" {
		sc.upper = "(" + before
	}
	if !query.CreatedAfter.IsZero() {
		sc.lower = "[" + firstID(query.CreatedAfter)
	}
	return nil
}

// idPrefix begins every job id; a ULID follows.
const idPrefix = "job_"

// firstID is the least id that a job made in that millisecond can have.
func firstID(t time.Time) string {
	var id ulid.ULID
	millis := min(max(t.UnixMilli(), 0), int64(ulid.MaxTime()))
	_ = id.SetTime(uint64(millis)) // it is in range
	return idPrefix + id.String()
}

type chunk struct {
	jobs   []*tasks.Job
	looked int
	last   string
	more   bool
}

func (s *Store) listChunk(ctx context.Context, sc scan, limit int) (chunk, error) {
	args := []any{sc.upper, sc.lower, sc.chunk, limit, sc.feature, sc.provider}
	for _, status := range sc.statuses {
		args = append(args, status)
	}
	reply, err := s.run(ctx, "list jobs", listScript, sc.indexes, args...)
	if err != nil {
		return chunk{}, err
	}
	c := chunk{looked: int(reply.number(0)), last: reply.text(1), more: reply.number(2) == 1}
	for _, row := range reply.lists(3) {
		job, err := decode(row[0], row[1], row[2], row[3])
		if errors.Is(err, orchestrator.ErrNewerSchema) {
			continue
		}
		if err != nil {
			return chunk{}, err
		}
		c.jobs = append(c.jobs, job)
	}
	return c, nil
}

// cursorVersion begins a cursor, so that another kind can be told apart.
const cursorVersion = "1:"

var cursorID = regexp.MustCompile(`^` + idPrefix + `[0-9A-Za-z_-]{1,64}$`)

func newCursor(last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorVersion + last))
}

// parseCursor returns the id that the page before has ended with.
func parseCursor(cursor string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return "", orchestrator.ErrBadCursor
	}
	last, ok := strings.CutPrefix(string(raw), cursorVersion)
	if !ok || !cursorID.MatchString(last) {
		return "", orchestrator.ErrBadCursor
	}
	return last, nil
}
