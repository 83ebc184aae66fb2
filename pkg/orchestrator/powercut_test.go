package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers"
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
		"asked to stay away":         {[]reply{throttle, pending, finished}, true},
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
		for kind, limits := range map[string]providers.Limits{
			"": {}, ", limited": {Rate: providers.Rate{Requests: 1, Per: 2 * time.Second}, MaxInFlight: 1},
		} {
			t.Run(name+kind, func(t *testing.T) {
				t.Parallel()
				calls := cut(t, journey.script, journey.finds, limits, 0, false)
				require.Greater(t, calls, 8, "a journey makes some calls")
				for at := 1; at <= calls; at++ {
					for _, late := range []bool{false, true} {
						t.Run(fmt.Sprintf("call %d late %v", at, late), func(t *testing.T) {
							cut(t, journey.script, journey.finds, limits, at, late)
						})
					}
				}
			})
		}
	}
}

// TestPowerCutAmongVerbs does the same where callers, operators, providers'
// webhooks and receivers have their say. A caller whose answer was cut off asks
// again.
func TestPowerCutAmongVerbs(t *testing.T) {
	t.Parallel()
	slow := append(slices.Repeat([]reply{pending}, 9), finished)
	journeys := map[string]struct {
		script  []reply
		blind   bool // the provider cannot be asked
		prepare func(w *world, d *tasks.Draft)
		then    func(w *world, id string) // once the job has been submitted
		ends    []tasks.State
		late    bool // and with a late result
	}{
		"canceled before it is submitted": {script: []reply{pending, finished}, ends: []tasks.State{tasks.Canceled},
			prepare: func(_ *world, d *tasks.Draft) { d.RunAt = new(start.Add(time.Hour)) }, then: cancels},
		"canceled at the provider": {script: []reply{pending, pending, finished}, then: cancels, late: true,
			ends: []tasks.State{tasks.Canceled}},
		"canceled when its answer was lost": {script: []reply{cutOff, pending, finished}, then: cancels, late: true,
			ends: []tasks.State{tasks.Canceled}},
		"late": {script: slow, prepare: hasSeconds(5), ends: []tasks.State{tasks.Failed}, late: true},
		"late, and the answer was lost": {script: append([]reply{cutOff}, slow...), prepare: hasSeconds(5),
			ends: []tasks.State{tasks.Failed}, late: true},
		"late, and retried": {script: slow, prepare: hasSeconds(5), ends: []tasks.State{tasks.Completed}, late: true,
			then: func(w *world, id string) { w.run(id); retries(w, id) }},
		"the receiver fails": {script: []reply{pending, finished}, ends: []tasks.State{tasks.Completed},
			prepare: func(w *world, _ *tasks.Draft) { w.notifier.answers = []int{500, 503} }},
		"told by a webhook": {script: []reply{pending, pending, finished}, then: hints, ends: []tasks.State{tasks.Completed}},
		"told by a webhook, the answer was lost": {script: []reply{cutOff, pending, finished}, blind: true, then: hints,
			ends: []tasks.State{tasks.Completed}},
		"refused, and retried": {script: []reply{refusal, pending, finished}, ends: []tasks.State{tasks.Completed},
			then: func(w *world, id string) { w.run(id); retries(w, id) }},
		"cannot be copied, and retried": {script: []reply{pending, finished}, ends: []tasks.State{tasks.Completed},
			prepare: func(w *world, _ *tasks.Draft) { w.artifacts.fails = DefaultLimits().Copies },
			then:    func(w *world, id string) { w.run(id); retries(w, id) }},
		"resolved as created": {script: []reply{cutOff, pending, finished}, blind: true, ends: []tasks.State{tasks.Completed},
			then: func(w *world, id string) { w.run(id); resolves(w, id) }},
		"resolved as not created": {script: []reply{unheard, pending, finished}, blind: true, ends: []tasks.State{tasks.Completed},
			then: func(w *world, id string) { w.run(id); resolves(w, id) }},
	}
	for name, j := range journeys {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play := func(at int, late bool) (calls int) {
				say := fmt.Sprintf("power cut at call %d, late %v", at, late)
				w := newWorld(t, j.script...)
				w.provider.finds = !j.blind
				w.open(func(cfg *Config) { cfg.Registry = hintedRegistry(t, w) })
				w.cutAt, w.cutLate = at, late
				d := draft()
				d.WebhookURL = "https://hook.test/"
				if j.prepare != nil {
					j.prepare(w, &d)
				}
				job := w.accept(Entry{Draft: d})
				if job == nil {
					require.Equal(t, 1, at, "only a job that was not written may be missing")
					return w.calls
				}
				if j.then != nil {
					for d.RunAt == nil && w.get(job.ID).State == tasks.Queued {
						w.step()
					}
					j.then(w, job.ID)
				}
				job = w.run(job.ID)
				for job.State == tasks.Unresolved {
					// A crash inside a call that nobody can tell of: as ever.
					require.True(t, j.blind, say)
					resolves(w, job.ID)
					job = w.run(job.ID)
				}
				for client, n := range w.paid {
					require.Equal(t, 1, n, "%s was bought %d times: %s", client, n, say)
				}
				require.Contains(t, j.ends, job.State, "%s: %+v", say, job)
				if total(w.paid) > 0 {
					require.NotNil(t, job.Result, "%s: %+v", say, job)
					require.True(t, job.Result.Late || !j.late, "%s: %+v", say, job)
				}
				require.Contains(t, w.notifier.received, "job."+string(job.State.Status()), say)
				require.False(t, w.stands(job.ID), "%s: it owes nothing any more", say)
				require.Empty(t, w.illegal, say)
				return w.calls
			}
			calls := play(0, false)
			for at := 1; at <= calls; at++ {
				play(at, false)
				play(at, true)
			}
		})
	}
}

func hasSeconds(n int64) func(*world, *tasks.Draft) {
	return func(_ *world, d *tasks.Draft) { d.TimeoutMS = new(n * 1000) }
}

// insistOn repeats a call until it was answered: its power may be cut.
func insistOn(w *world, call func() error) {
	for {
		var err error
		if w.power(func() { err = call() }) {
			var conflict *ConflictError
			require.True(w.t, err == nil || errors.As(err, &conflict), "%v", err)
			return
		}
	}
}

func cancels(w *world, id string) {
	insistOn(w, func() error { _, err := w.cancel(id); return err })
}

func retries(w *world, id string) {
	for n := 0; w.get(id).State == tasks.Failed; n++ { // it may fail again: its time ran out while nobody looked
		insistOn(w, func() error {
			_, _, err := w.engine.Retry(context.Background(), tasks.DefaultTenant, id, RetryDefault, fmt.Sprint("key ", n), 0)
			return err
		})
		w.run(id)
	}
}

// hints posts the webhook of the job's first submission.
func hints(w *world, id string) {
	client := id + "-1"
	if w.provider.remote[client] == "" {
		return // it was not accepted yet
	}
	insistOn(w, func() error {
		return w.engine.Hint(context.Background(), "lumen", id, id+"-1", nil, []byte(w.provider.remote[client]))
	})
}

// resolves tells an unresolved job what the provider's bill says.
func resolves(w *world, id string) {
	job := w.get(id)
	if job.State != tasks.Unresolved {
		return
	}
	r := Resolution{Outcome: NotCreated}
	if remote := w.provider.remote[job.Current().ClientID]; remote != "" {
		r = Resolution{Outcome: CreatedAs, RemoteID: remote}
	}
	insistOn(w, func() error { _, err := w.resolve(id, r); return err })
}

// TestIntentThatWasNotConfirmed loses the reply to the writing of an intent. The
// worker knows that it sent nothing, and says so: nobody has to be asked, and no
// job is left unresolved over it.
func TestIntentThatWasNotConfirmed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	w.provider.finds = false
	w.open()
	job := w.accept(Entry{Draft: draft()})
	w.unheard = w.calls + 2 // the claim comes first
	done := w.run(job.ID)
	require.Equal(t, tasks.Completed, done.State)
	require.Equal(t, tasks.SubmissionNotCalled, done.Submissions[0].State)
	require.Len(t, done.Attempts, 1)
	require.Equal(t, 1, w.provider.submits)
	require.Zero(t, done.Spent)
}

func cut(t *testing.T, script []reply, finds bool, limits providers.Limits, at int, late bool) (calls int) {
	w := newWorld(t, script...)
	w.provider.finds, w.limits = finds, limits
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
	calls = w.calls
	w.requireRoom(t, job)
	return calls
}

// requireRoom sees to it that what happened has left no place taken, but that of
// a submission that may still be under way, and that the next job comes through.
func (w *world) requireRoom(t *testing.T, job *tasks.Job) {
	if job.State == tasks.Unresolved {
		require.Len(t, job.Places, 1, "what the provider may be working on takes a place")
		require.Equal(t, 1, w.store.lines.held("lumen"))
		w.now = later(w.now, job.Places[0].Until)
		return
	}
	require.Zero(t, w.store.lines.held("lumen"))
	next := w.accept(Entry{Draft: draft()})
	require.Equal(t, tasks.Completed, w.run(next.ID).State)
	require.Zero(t, w.store.lines.held("lumen"))
}
