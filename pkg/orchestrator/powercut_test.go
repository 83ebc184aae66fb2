package orchestrator

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestPowerCut cuts the power before and after each call that the engine makes,
// to store, queue, provider, storage and receiver alike, and expects the same
// end: at rest, bought at most once, told, and nothing left over.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	journeys := map[string]struct {
		script []reply
		finds  bool
	}{
		"asynchronous, can be asked": {[]reply{pending, pending, finished}, true},
		"asynchronous, cannot":       {[]reply{pending, pending, finished}, false},
		"synchronous, can be asked":  {[]reply{atOnce}, true},
		"synchronous, cannot":        {[]reply{atOnce}, false},
		"rejected first":             {[]reply{busy, pending, finished}, true},
		"answer lost, can be asked":  {[]reply{cutOff, pending, finished}, true},
		"never created":              {[]reply{unheard, pending, finished}, true},
		"generation fails once":      {[]reply{pending, broken, pending, finished}, true},
	}
	for name, journey := range journeys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := cut(t, journey.script, journey.finds, 0, false)
			require.Greater(t, calls, 8, "a journey makes some calls")
			for at := 1; at <= calls; at++ {
				for _, late := range []bool{false, true} {
					t.Run(fmt.Sprintf("call %d late %v", at, late), func(t *testing.T) {
						cut(t, journey.script, journey.finds, at, late)
					})
				}
			}
		})
	}
}

func cut(t *testing.T, script []reply, finds bool, at int, late bool) (calls int) {
	w := newWorld(t, script...)
	w.provider.finds = finds
	w.open()
	w.cutAt, w.cutLate = at, late
	d := draft()
	d.WebhookURL = "https://hook.test/"
	job := w.accept(Entry{Draft: d})
	if job == nil {
		require.Equal(t, 1, at, "only a job that was not written may be missing")
		return w.calls
	}
	job = w.run(job.ID)
	for client, n := range w.paid {
		require.Equal(t, 1, n, "%s was bought %d times", client, n)
	}
	if job.State == tasks.Unresolved {
		require.False(t, finds, "what can be asked is never left unresolved")
		require.NotZero(t, at)
	} else {
		require.Equal(t, tasks.Completed, job.State, "%+v", job.Error)
		require.NotEmpty(t, job.Result.Artifacts)
	}
	require.NotEmpty(t, w.notifier.received, "a rest goes untold")
	require.Empty(t, job.Kind)
	return w.calls
}
