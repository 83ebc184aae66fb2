package store

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// countsScript compares the counters by state with the sizes of the lists by
// status, in one piece.
//
//	KEYS  1 counts
//	ARGV  1 "mend" or empty  2 state of each status, "status=state,state …"
//	      3… tenants
//
// It answers ok and, for each status whose numbers differ: status, counted,
// listed. Where a status stands for two states the last takes the difference.
var countsScript = newScript(`
local off = {}
for status, states in string.gmatch(ARGV[2], '(%S+)=(%S+)') do
	local listed = 0
	for i = 3, #ARGV do listed = listed + redis.call('ZCARD', KEY_JOBS .. ARGV[i] .. ':status:' .. status) end
	local counted, last, others = 0, '', {}
	for state in string.gmatch(states, '[^,]+') do
		local n = tonumber(redis.call('HGET', KEYS[1], state) or '0')
		counted = counted + n
		others[#others + 1] = {state, n}
		last = state
	end
	if counted ~= listed then
		off[#off + 1] = {status, tostring(counted), tostring(listed)}
		if ARGV[1] == 'mend' then
			local rest = listed
			for _, other in ipairs(others) do
				local n = other[1] == last and rest or math.min(other[2], rest)
				redis.call('HSET', KEYS[1], other[1], n)
				rest = rest - n
			end
		end
	end
end
return {'ok', now, off}
`)

func (s *Store) auditCounts(ctx context.Context, found func(orchestrator.Drift)) error {
	off, err := s.compareCounts(ctx, "")
	for _, row := range off {
		found(orchestrator.Drift{
			Kind: orchestrator.DriftCountsOff, Place: keyCounts + " " + row[0],
			Found: fmt.Sprintf("%s jobs are counted and %s are listed", row[1], row[2]),
		})
	}
	return err
}

func (s *Store) mendCounts(ctx context.Context) (bool, error) {
	_, err := s.compareCounts(ctx, "mend")
	return err == nil, err
}

func (s *Store) compareCounts(ctx context.Context, mend string) ([][]string, error) {
	tenants, err := s.tenants(ctx)
	if err != nil {
		return nil, err
	}
	args := append([]any{mend, statesOfStatuses}, anys(tenants)...)
	reply, err := s.run(ctx, "compare counts", countsScript, []string{keyCounts}, args...)
	return reply.lists(0), err
}

// tenants are those that have lists, as they stand in keys. A tenant whose first
// job comes meanwhile is missed, which the next look makes good.
func (s *Store) tenants(ctx context.Context) ([]string, error) {
	var tenants []string
	err := s.scan(ctx, keyJobs+"*", func(keys []string) error {
		for _, key := range keys {
			tenant, _, _ := strings.Cut(strings.TrimPrefix(key, keyJobs), ":")
			tenants = append(tenants, tenant)
		}
		return nil
	})
	slices.Sort(tenants)
	return slices.Compact(tenants), err
}

// statesOfStatuses lists which states each status stands for, as countsScript
// reads it.
var statesOfStatuses = func() string {
	var pairs []string
	for _, status := range tasks.Statuses {
		var states []string
		for _, state := range tasks.States {
			if state.Status() == status {
				states = append(states, string(state))
			}
		}
		pairs = append(pairs, string(status)+"="+strings.Join(states, ","))
	}
	return strings.Join(pairs, " ")
}()
