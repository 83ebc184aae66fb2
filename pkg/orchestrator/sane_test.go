package orchestrator

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// largestRecord is more than any record needs, and less than a hostile answer
// brings.
const largestRecord = 1 << 20

// TestAbsurdAnswers has a provider's polls bring what makes no sense, one kind
// after the other. The job goes on, and its record stays small and can be
// written.
func TestAbsurdAnswers(t *testing.T) {
	t.Parallel()
	number := func(f float64) *float64 { return &f }
	place := -5
	running := func(change func(*providers.Status)) reply {
		st := providers.Status{State: providers.Running, RemoteID: "r"}
		change(&st)
		return reply{status: st}
	}
	long := strings.Repeat("€", 1<<20)
	for name, absurd := range map[string]reply{
		"not a number":       running(func(s *providers.Status) { s.Percent = number(math.NaN()) }),
		"infinite progress":  running(func(s *providers.Status) { s.Percent = number(math.Inf(1)) }),
		"negative progress":  running(func(s *providers.Status) { s.Percent = number(-1) }),
		"a thousand percent": running(func(s *providers.Status) { s.Percent = number(1000) }),
		"a negative place":   running(func(s *providers.Status) { s.QueuePosition = &place }),
		"in a thousand days": running(func(s *providers.Status) { s.ETA = 1000 * 24 * time.Hour }),
		"poll after a year":  running(func(s *providers.Status) { s.PollAfter = 365 * 24 * time.Hour }),
		"poll before":        running(func(s *providers.Status) { s.PollAfter = -time.Hour }),
		"a long message":     running(func(s *providers.Status) { s.Message = long }),
		"no UTF-8":           running(func(s *providers.Status) { s.Message = "a\xff\xfe\x00\x1b[31mb" }),
		"a state of its own": {status: providers.Status{State: "dreaming"}},
		"no state":           {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, pending, absurd, finished)
			job := w.accept(Entry{Draft: draft()})
			begun := w.now
			for range 1000 {
				current, err := w.store.Load(context.Background(), job.ID)
				require.NoError(t, err)
				require.Less(t, len(w.store.records[job.ID]), largestRecord)
				if p := current.Progress.Percent; p != nil {
					require.True(t, *p >= 0 && *p <= 100, "%v", *p)
				}
				require.True(t, utf8.ValidString(current.Progress.Message))
				require.NotContains(t, current.Progress.Message, "\x1b")
				if current.State.AtRest() {
					break
				}
				w.step()
			}
			job = w.run(job.ID)
			require.Equal(t, tasks.Completed, job.State, "%+v", job.Error)
			require.Less(t, w.now.Sub(begun), 15*time.Minute, "no provider puts a job off for longer than that at a time")
			require.Equal(t, 1, w.paid[job.ID+"-1"])
		})
	}
}

// TestAbsurdResults has generations end with too much of everything.
func TestAbsurdResults(t *testing.T) {
	t.Parallel()
	many := make([]providers.Output, 10_000)
	for i := range many {
		many[i].URL = fmt.Sprintf("https://cdn.test/%d.png", i)
	}
	endless := "https://cdn.test/" + strings.Repeat("x", 8<<20)
	warnings := make([]tasks.Warning, 10_000)
	for i := range warnings {
		warnings[i].Message = strings.Repeat("w", 10_000)
	}
	done := func(st providers.Status) reply {
		st.State, st.RemoteID = providers.Succeeded, "r"
		return reply{status: st}
	}
	for name, test := range map[string]struct {
		answer reply
		files  int
		warns  string
	}{
		"ten thousand files":   {done(providers.Status{Outputs: many}), 64, "outputs_dropped"},
		"an endless URL":       {done(providers.Status{Outputs: []providers.Output{{URL: endless}, many[0]}}), 1, "outputs_dropped"},
		"a megabyte of data":   {done(providers.Status{Outputs: many[:1], Data: map[string]any{"x": strings.Repeat("y", 1<<20)}}), 1, "output_dropped"},
		"data that is no JSON": {done(providers.Status{Outputs: many[:1], Data: map[string]any{"x": math.NaN()}}), 1, ""},
		"many warnings":        {done(providers.Status{Outputs: many[:1], Warnings: warnings}), 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, pending, test.answer)
			job := w.run(w.accept(Entry{Draft: draft()}).ID)
			require.Equal(t, tasks.Completed, job.State, "%+v", job.Error)
			require.Len(t, job.Result.Artifacts, test.files)
			require.Less(t, len(w.store.records[job.ID]), largestRecord)
			if test.warns != "" {
				require.Contains(t, fmt.Sprintf("%+v", job.Warnings), test.warns)
			}
		})
	}

	t.Run("an id of a megabyte", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.provider.finds = false
		w.open()
		w.provider.script = []reply{{status: providers.Status{State: providers.Running, RemoteID: "r"}}}
		w.provider.remoteID = strings.Repeat("r", 1<<20)
		job := w.run(w.accept(Entry{Draft: draft()}).ID)
		require.Equal(t, tasks.Unresolved, job.State, "it was accepted, and nobody can ask for it")
		require.Less(t, len(w.store.records[job.ID]), largestRecord)
	})
	t.Run("a failure of a megabyte", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, pending, reply{status: providers.Status{State: providers.Failed, Failure: &classify.Error{
			Class: classify.ContentPolicy, Code: strings.Repeat("c", 1<<20), Message: strings.Repeat("\xffm", 1<<20),
		}}})
		job := w.run(w.accept(Entry{Draft: draft()}).ID)
		require.Equal(t, tasks.Failed, job.State)
		require.True(t, utf8.ValidString(job.Error.Message))
		require.Less(t, len(w.store.records[job.ID]), largestRecord)
	})
}

// TestFlappingStatus has a provider report running, queued, nothing, done, and
// running again: progress never goes back, and the first result stands.
func TestFlappingStatus(t *testing.T) {
	t.Parallel()
	percent := func(p float64, state providers.State) reply {
		return reply{status: providers.Status{State: state, RemoteID: "r", Percent: &p}}
	}
	w := newWorld(t, pending, percent(80, providers.Running), percent(10, providers.Queued), gone,
		percent(5, providers.Running), noKey, gone, percent(0, providers.Queued), finished, pending, broken)
	job := w.accept(Entry{Draft: draft()})
	least := 0.0
	for range 1000 {
		current, err := w.store.Load(context.Background(), job.ID)
		require.NoError(t, err)
		if p := current.Progress.Percent; p != nil {
			require.GreaterOrEqual(t, *p, least, "progress goes back")
			least = *p
		}
		if current.State.AtRest() {
			break
		}
		w.step()
	}
	require.Equal(t, 100.0, least)
	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State, "%+v", job.Error)
	require.Equal(t, 1, w.paid[job.ID+"-1"])
	require.Len(t, job.Attempts, 1)
}
