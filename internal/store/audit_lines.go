package store

import (
	"context"
	"slices"
	"strings"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// strayPlacesScript looks whether places at a provider are held by the records
// that they name.
//
//	KEYS  1 places
//	ARGV  1 provider  2 "mend" or empty  3… members, "job:submission"
//
// It answers ok and those that are not. One whose time is over counts for
// nobody, and goes with the next look at the line.
var strayPlacesScript = newScript(`
local function holds(id, number)
	local job = redis.call('HMGET', KEY_JOB .. id, 'held', 'tomb')
	if job[2] then return false end
	for provider, held in string.gmatch(job[1] or '', '(%S+)|(%d+)|%d+') do
		if provider == ARGV[1] and held == number then return true end
	end
	return false
end

local strays = {}
for i = 3, #ARGV do
	local id, number = string.match(ARGV[i], '^(.*):(%d+)$')
	local till = redis.call('ZSCORE', KEYS[1], ARGV[i])
	if till and tonumber(till) > now and not (id and holds(id, number)) then
		strays[#strays + 1] = ARGV[i]
		if ARGV[2] == 'mend' then redis.call('ZREM', KEYS[1], ARGV[i]) end
	end
end
return {'ok', now, strays}
`)

// notWaiting finds those of the ids that stand in an index although their jobs do
// not wait for the provider, and removes them if that is asked for.
const notWaiting = `
local function notWaiting(stands, remove)
	local strays = {}
	for i = 3, #ARGV do
		local id = ARGV[i]
		local waiting = waits(redis.call('HMGET', KEY_JOB .. id, 'st', 'pr', 'tomb'), ARGV[1])
		if not waiting and stands(id) then
			strays[#strays + 1] = id
			if ARGV[2] == 'mend' then remove(id) end
		end
	end
	return {'ok', now, strays}
end
`

// straysInLineScript looks whether jobs that stand in line before a provider,
// or have a turn there, wait for it.
//
//	KEYS  1 line or turns
//	ARGV  1 provider  2 "mend" or empty  3… ids
//
// It answers ok and those that do not.
var straysInLineScript = newScript(notWaiting + `
return notWaiting(
	function(id) return redis.call('ZSCORE', KEYS[1], id) end,
	function(id) leave(ARGV[1], id) end)
`)

// straysWaitingScript looks whether jobs that count as waiting for a provider do.
//
//	KEYS  1 waiting
//	ARGV  1 provider  2 "mend" or empty  3… ids
//
// It answers ok and those that do not.
var straysWaitingScript = newScript(notWaiting + `
return notWaiting(
	function(id) return redis.call('SISMEMBER', KEYS[1], id) == 1 end,
	function(id) redis.call('SREM', KEYS[1], id) end)
`)

// auditPlacesAndLines looks through what is before the providers. Every change
// of a record brings both along, so that what does not follow from the records
// is drift and nothing on its way.
func (s *Store) auditPlacesAndLines(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	looked := 0
	for _, sort := range []struct {
		prefix  string
		script  script
		members func(ctx context.Context, index string, look func(members []string) error) error
		tell    func(member, index string) orchestrator.Drift
	}{
		{keyPlaces, strayPlacesScript, s.members, strayPlace},
		{keyWaiting, straysWaitingScript, s.elements, strayWaiting},
		{keyLine, straysInLineScript, s.members, strayInLine},
		{keyTurns, straysInLineScript, s.members, strayInLine},
	} {
		look := func(index string) error {
			provider := strings.TrimPrefix(index, sort.prefix)
			return sort.members(ctx, index, func(members []string) error {
				looked += len(members)
				reply, err := s.run(ctx, "audit line", sort.script, []string{index}, append([]any{provider, ""}, anys(members)...)...)
				for _, member := range reply.texts(0) {
					found(sort.tell(member, index))
				}
				return err
			})
		}
		err := s.scan(ctx, sort.prefix+"*", func(indexes []string) error {
			for _, index := range indexes {
				if err := look(index); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return looked, err
		}
	}
	return looked, nil
}

// elements calls look with the elements of a set, each at least once.
func (s *Store) elements(ctx context.Context, set string, look func(elements []string) error) error {
	for cursor := uint64(0); ; {
		elements, next, err := s.redis.SScan(ctx, set, cursor, "", auditPortion).Result()
		if err != nil {
			return s.failed("scan set", err)
		}
		for chunk := range slices.Chunk(elements, auditPortion) {
			if err := look(chunk); err != nil {
				return err
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

func strayPlace(member, index string) orchestrator.Drift {
	id, number, _ := strings.Cut(member, ":")
	return orchestrator.Drift{
		Kind: orchestrator.DriftPlaceStray, JobID: id, Place: index + " " + member, Found: "it is for submission " + number,
	}
}

func strayWaiting(id, index string) orchestrator.Drift {
	return orchestrator.Drift{Kind: orchestrator.DriftWaitingStray, JobID: id, Place: index}
}

func strayInLine(id, index string) orchestrator.Drift {
	return orchestrator.Drift{Kind: orchestrator.DriftLineStray, JobID: id, Place: index}
}

func (s *Store) mendPlace(ctx context.Context, d orchestrator.Drift) (bool, error) {
	index, member, _ := strings.Cut(d.Place, " ") // names of providers have no spaces
	provider, known := strings.CutPrefix(index, keyPlaces)
	if !known {
		return false, nil
	}
	return s.mendBefore(ctx, strayPlacesScript, index, provider, member)
}

func (s *Store) mendWaiting(ctx context.Context, d orchestrator.Drift) (bool, error) {
	provider, known := strings.CutPrefix(d.Place, keyWaiting)
	if !known {
		return false, nil
	}
	return s.mendBefore(ctx, straysWaitingScript, d.Place, provider, d.JobID)
}

func (s *Store) mendLine(ctx context.Context, d orchestrator.Drift) (bool, error) {
	provider, known := strings.CutPrefix(d.Place, keyLine)
	if !known {
		provider, known = strings.CutPrefix(d.Place, keyTurns)
	}
	if !known {
		return false, nil
	}
	return s.mendBefore(ctx, straysInLineScript, d.Place, provider, d.JobID)
}

// mendBefore has a script remove a member that does not belong. One that another
// mending has brought to belong there counts as mended too.
func (s *Store) mendBefore(ctx context.Context, script script, index, provider, member string) (bool, error) {
	_, err := s.run(ctx, "mend line", script, []string{index}, provider, "mend", member)
	return err == nil, err
}
