package store

import (
	"context"
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

// straysInLineScript looks whether jobs that stand in line before a provider,
// or have a turn there, wait for it.
//
//	KEYS  1 line or turns
//	ARGV  1 provider  2 "mend" or empty  3… ids
//
// It answers ok and those that do not.
var straysInLineScript = newScript(`
local strays = {}
for i = 3, #ARGV do
	local id = ARGV[i]
	local waiting = waits(redis.call('HMGET', KEY_JOB .. id, 'st', 'pr', 'tomb'), ARGV[1])
	if not waiting and redis.call('ZSCORE', KEYS[1], id) then
		strays[#strays + 1] = id
		if ARGV[2] == 'mend' then leave(ARGV[1], id) end
	end
end
return {'ok', now, strays}
`)

// auditPlacesAndLines looks through what is before the providers. Every change
// of a record brings both along, so that what does not follow from the records
// is drift and nothing on its way.
func (s *Store) auditPlacesAndLines(ctx context.Context, found func(orchestrator.Drift)) (int, error) {
	looked := 0
	look := func(prefix string, script script, tell func(member, index string) orchestrator.Drift) error {
		return s.scan(ctx, prefix+"*", func(indexes []string) error {
			for _, index := range indexes {
				provider := strings.TrimPrefix(index, prefix)
				err := s.members(ctx, index, func(members []string) error {
					looked += len(members)
					reply, err := s.run(ctx, "audit line", script, []string{index}, append([]any{provider, ""}, anys(members)...)...)
					for _, member := range reply.texts(0) {
						found(tell(member, index))
					}
					return err
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := look(keyPlaces, strayPlacesScript, strayPlace); err != nil {
		return looked, err
	}
	if err := look(keyLine, straysInLineScript, strayInLine); err != nil {
		return looked, err
	}
	return looked, look(keyTurns, straysInLineScript, strayInLine)
}

func strayPlace(member, index string) orchestrator.Drift {
	id, number, _ := strings.Cut(member, ":")
	return orchestrator.Drift{
		Kind: orchestrator.DriftPlaceStray, JobID: id, Place: index + " " + member, Found: "it is for submission " + number,
	}
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

func (s *Store) mendBefore(ctx context.Context, script script, index, provider, member string) (bool, error) {
	reply, err := s.run(ctx, "mend line", script, []string{index}, provider, "mend", member)
	return len(reply.texts(0)) > 0, err
}
