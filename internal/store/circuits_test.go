package store_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

func (f fixture) report(key orchestrator.CircuitKey, r orchestrator.CallReport) map[orchestrator.CircuitKey]orchestrator.Circuit {
	f.Helper()
	require.NoError(f, f.store.ReportCalls(f.Context(), key, r))
	open, err := f.store.Circuits(f.Context())
	require.NoError(f, err)
	return open
}

func circuitByShare(f fixture) {
	key := orchestrator.CircuitKey{Provider: "lumen", Model: "a model: 1"}
	require.Empty(f, f.report(key, orchestrator.CallReport{Well: 7}))
	for range 6 {
		require.Empty(f, f.report(key, orchestrator.CallReport{Bad: 1, Reason: "server"}), "six of thirteen are fewer than half")
	}
	other := orchestrator.CircuitKey{Provider: "lumen", Model: "another"}
	for range 4 {
		require.Empty(f, f.report(other, orchestrator.CallReport{Bad: 1, Reason: "server"}), "four are too few to tell")
	}
	open := f.report(key, orchestrator.CallReport{Bad: 1, Reason: "timeout"})
	require.Len(f, open, 1)
	require.Equal(f, "timeout", open[key].Reason)
	require.WithinDuration(f, f.store.Now(), open[key].Since, time.Minute)
	require.Equal(f, 10*time.Second, open[key].ProbeAt.Sub(open[key].Since))

	whole := orchestrator.CircuitKey{Provider: "lumen"}
	require.Len(f, f.report(whole, orchestrator.CallReport{Bad: 1, Reason: "quota", Trip: true}), 2, "money that is out opens at once")
	require.Len(f, f.report(orchestrator.CircuitKey{Provider: "lum"}, orchestrator.CallReport{Bad: 1, Reason: "quota", Trip: true}), 3)
	require.NoError(f, f.store.ForgetCircuits(f.Context(), "lumen"))
	left, err := f.store.Circuits(f.Context())
	require.NoError(f, err)
	require.Len(f, left, 1, "the circuits of others stand")
}

func circuitByProbe(f fixture) {
	key := orchestrator.CircuitKey{Provider: "lumen", Model: "m"}
	before := f.store.Now()
	probe := func() bool {
		granted, err := f.store.TakeProbe(f.Context(), key)
		assert.NoError(f, err)
		return granted
	}
	require.True(f, probe(), "a closed circuit asks for none")
	time.Sleep(5 * time.Millisecond) // so that the circuit opens in a later millisecond
	open := f.report(key, orchestrator.CallReport{Bad: 1, Reason: "authentication", Trip: true})
	require.False(f, probe(), "it is open for a while")
	require.NotEmpty(f, f.report(key, orchestrator.CallReport{Well: 3, Began: before}), "what began before it opened says nothing")

	// Its time is over.
	due := func() {
		raw, err := f.redis.HGet(f.Context(), "easel:circuits", "lumen m").Result()
		require.NoError(f, err)
		at := open[key].Since.UnixMilli()
		require.NoError(f, f.redis.HSet(f.Context(), "easel:circuits", "lumen m", timeOver(raw, at)).Err())
	}
	due()
	var granted atomic.Int64
	var probers sync.WaitGroup
	for range 20 {
		probers.Go(func() {
			if probe() {
				granted.Add(1)
			}
		})
	}
	probers.Wait()
	require.EqualValues(f, 1, granted.Load(), "one finds out")
	open = f.report(key, orchestrator.CallReport{Bad: 1, Reason: "server", Began: f.store.Now()})
	require.Equal(f, "server", open[key].Reason)
	require.Greater(f, open[key].ProbeAt.Sub(f.store.Now()), 15*time.Second, "the next probe waits longer")
	require.False(f, probe())
	due()
	require.True(f, probe())
	require.Empty(f, f.report(key, orchestrator.CallReport{Well: 1, Began: f.store.Now()}))
	require.True(f, probe())
}

// timeOver makes the second time of an open circuit the given one.
func timeOver(raw string, millis int64) string {
	parts := strings.SplitN(raw, " ", 3)
	return fmt.Sprintf("%s %d %s", parts[0], millis, parts[2])
}
