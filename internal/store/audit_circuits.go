package store

import (
	"context"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// circuitTolerance is how much longer than any circuit stays open one must seem
// to be, to count as asleep: clocks are set.
const circuitTolerance = time.Minute

// auditCircuitsScript looks through the open circuits.
//
//	KEYS  1 circuits
//	ARGV  1 circuit to close if something is wrong with it, or empty
//	      2 longest time open  3 lease of a probe
//
// It answers ok and, for each with which something is wrong: its name, what,
// and until when it is open.
var auditCircuitsScript = newScript(circuits + `
local wrong = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
	local c, what = read(KEYS[1], all[i]), ''
	if not c.since then
		what = 'unreadable'
	elseif c.since > now + ARGV[3] or c.till > now + ARGV[2] or c.probe > now + ARGV[2] then
		what = 'asleep'
	end
	if what ~= '' then
		wrong[#wrong + 1] = {all[i], what, c.till and at(c.till) or ''}
		if all[i] == ARGV[1] then redis.call('HDEL', KEYS[1], all[i]) end
	end
end
return {'ok', now, wrong}
`)

func (s *Store) auditCircuits(ctx context.Context, found func(orchestrator.Drift)) error {
	wrong, err := s.lookAtCircuits(ctx, "")
	for _, row := range wrong {
		if row[1] == "unreadable" {
			found(orchestrator.Drift{Kind: orchestrator.DriftCircuitUnreadable, Place: circuitPlace(row[0])})
			continue
		}
		found(orchestrator.Drift{
			Kind: orchestrator.DriftCircuitAsleep, Place: circuitPlace(row[0]),
			Found: "it is open until " + timeOf(row[2]).Format(time.RFC3339),
		})
	}
	return err
}

func (s *Store) mendCircuit(ctx context.Context, d orchestrator.Drift) (bool, error) {
	name, known := strings.CutPrefix(d.Place, circuitPlace(""))
	if !known {
		return false, nil
	}
	wrong, err := s.lookAtCircuits(ctx, name)
	for _, row := range wrong {
		if row[0] == name {
			return true, err
		}
	}
	return false, err
}

func circuitPlace(name string) string { return keyCircuits + " " + name }

func (s *Store) lookAtCircuits(ctx context.Context, closed string) ([][]string, error) {
	reply, err := s.run(ctx, "audit circuits", auditCircuitsScript, []string{keyCircuits},
		closed, (longestOpen + circuitTolerance).Milliseconds(), (probeLease + circuitTolerance).Milliseconds())
	return reply.lists(0), err
}
