package orchestrator

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// newPair is a world with a second provider, umbra, that does what its script
// says.
func newPair(t *testing.T, first, second []reply) (*world, *scripted) {
	w := newWorld(t, first...)
	umbra := &scripted{world: w, script: second, finds: true, remote: map[string]string{}}
	w.open(func(cfg *Config) {
		registry, err := providers.NewRegistry([]providers.Entry{
			{Name: "lumen", Adapter: "lumen", Provider: w.provider.asProvider()},
			{Name: "umbra", Adapter: "lumen", Provider: umbra.asProvider()},
		}, "")
		require.NoError(t, err)
		cfg.Registry = registry
	})
	return w, umbra
}

// hop is one attempt as a caller sees it.
type hopSeen struct {
	provider string
	outcome  tasks.Outcome
	class    classify.Class
}

func hops(job *tasks.Job) []hopSeen {
	seen := make([]hopSeen, len(job.Attempts))
	for i, a := range job.Attempts {
		seen[i] = hopSeen{a.ProviderID, a.Outcome, ""}
		if a.Error != nil {
			seen[i].class = a.Error.Class
		}
	}
	return seen
}

// TestReroute has the first provider fail in each way, and says where the job
// goes: elsewhere only when the first surely did not start or surely ended.
func TestReroute(t *testing.T) {
	t.Parallel()
	ok := hopSeen{"umbra", tasks.OutcomeAccepted, ""}
	fails := func(class classify.Class) []reply {
		return []reply{{err: &classify.Error{Class: class, Message: "no"}}}
	}
	for name, test := range map[string]struct {
		first []reply
		ends  tasks.State
		hops  []hopSeen
	}{
		"server":            {[]reply{busy}, tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Server}, ok}},
		"key is refused":    {[]reply{noKey}, tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Authentication}, ok}},
		"money is out":      {fails(classify.Quota), tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Quota}, ok}},
		"too fast":          {[]reply{throttle}, tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.RateLimit}, ok}},
		"overloaded":        {fails(classify.Overloaded), tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Overloaded}, ok}},
		"unreachable":       {[]reply{offline}, tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Network}, ok}},
		"generation failed": {[]reply{pending, broken}, tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeAccepted, classify.GenerationFailed}, ok}},
		"never created":     {[]reply{unheard}, tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.UnknownOutcome}, ok}},
		"answer lost":       {[]reply{cutOff, finished}, tasks.Completed, []hopSeen{{"lumen", tasks.OutcomeAccepted, ""}}},
		"moderation":        {[]reply{refusal}, tasks.Failed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.ContentPolicy}}},
		"caller's mistake":  {fails(classify.Validation), tasks.Failed, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Validation}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := newPair(t, test.first, []reply{pending, finished})
			d := draft()
			d.ProviderID, d.FallbackProviderIDs = "lumen", []string{"umbra"}
			job := w.run(w.accept(Entry{Draft: d}).ID)
			require.Equal(t, test.ends, job.State, "%+v", job.Error)
			require.Equal(t, test.hops, hops(job))
			for client, n := range w.paid {
				require.Equal(t, 1, n, client)
			}
		})
	}
}

// TestNamedProviderStaysAlone: who names a provider and no other may have
// reasons not to send a prompt elsewhere.
func TestNamedProviderStaysAlone(t *testing.T) {
	t.Parallel()
	w, umbra := newPair(t, []reply{busy, busy, pending, finished}, nil)
	d := draft()
	d.ProviderID = "lumen"
	job := w.run(w.accept(Entry{Draft: d}).ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Len(t, job.Attempts, 3)
	require.Zero(t, umbra.submits)
}

// TestComesAround tries all providers and then the first again, within the
// budget; one whose key is refused is not tried twice.
func TestComesAround(t *testing.T) {
	t.Parallel()
	w, _ := newPair(t, []reply{busy, pending, finished}, []reply{noKey})
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, []hopSeen{
		{"lumen", tasks.OutcomeRejected, classify.Server}, {"umbra", tasks.OutcomeRejected, classify.Authentication}, {"lumen", tasks.OutcomeAccepted, ""},
	}, hops(job))

	w, _ = newPair(t, []reply{noKey}, []reply{noKey})
	job = w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Failed, job.State)
	require.Len(t, job.Attempts, 2)
}

// TestBudgetBoundsHops: another provider costs an attempt like the same one.
func TestBudgetBoundsHops(t *testing.T) {
	t.Parallel()
	w, umbra := newPair(t, []reply{busy}, nil)
	d := draft()
	d.RetryAttempts = new(0)
	job := w.run(w.accept(Entry{Draft: d}).ID)
	require.Equal(t, tasks.Failed, job.State)
	require.Zero(t, umbra.submits)
}

// TestCircuit opens a circuit by one refused key, has jobs pass the provider
// over, and closes it by a probe.
func TestCircuit(t *testing.T) {
	t.Parallel()
	w, _ := newPair(t, []reply{noKey}, nil)
	first := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, "umbra", first.ProviderID)
	infos, err := w.engine.ProviderInfos(context.Background())
	require.NoError(t, err)
	require.Equal(t, HealthDown, infos[0].Health.Status)
	require.Equal(t, "authentication", infos[0].Health.Reason)
	require.Equal(t, HealthOK, infos[1].Health.Status)

	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, []hopSeen{{"umbra", tasks.OutcomeAccepted, ""}}, hops(job), "it is not chosen")

	// A job that names it first passes it over, without a call.
	submits := w.provider.submits
	d := draft()
	d.ProviderID, d.FallbackProviderIDs = "lumen", []string{"umbra"}
	job = w.run(w.accept(Entry{Draft: d}).ID)
	require.Equal(t, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Authentication}, {"umbra", tasks.OutcomeAccepted, ""}}, hops(job))
	require.Equal(t, "circuit_open", job.Attempts[0].Error.Code)
	require.Zero(t, job.Spent)
	require.Equal(t, submits, w.provider.submits)

	// One that has no other is submitted as if nothing were the matter.
	d = draft()
	d.ProviderID = "lumen"
	w.provider.script = []reply{noKey}
	require.Equal(t, tasks.Failed, w.run(w.accept(Entry{Draft: d}).ID).State)
	require.Equal(t, submits+1, w.provider.submits)

	// When its time is over a single job finds out.
	w.now = w.now.Add(time.Minute)
	w.provider.script = []reply{pending, finished}
	w.engine.reports.expire()
	probe := w.accept(Entry{Draft: draft()})
	require.Equal(t, "lumen", probe.ProviderID)
	granted, err := w.store.TakeProbe(context.Background(), CircuitKey{Provider: "lumen"})
	require.NoError(t, err)
	require.True(t, granted)
	job = w.run(probe.ID)
	require.Equal(t, []hopSeen{{"lumen", tasks.OutcomeRejected, classify.Authentication}, {"umbra", tasks.OutcomeAccepted, ""}}, hops(job), "another job is the probe")
	w.now = w.now.Add(time.Minute)
	w.engine.reports.expire()
	w.provider.script = []reply{pending, finished}
	job = w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, []hopSeen{{"lumen", tasks.OutcomeAccepted, ""}}, hops(job))
	infos, err = w.engine.ProviderInfos(context.Background())
	require.NoError(t, err)
	require.Equal(t, HealthOK, infos[0].Health.Status)
}

// TestWhatIsNotHeldAgainstAProvider: callers' mistakes, moderation and rate
// limits, however many.
func TestWhatIsNotHeldAgainstAProvider(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 8 {
		w.provider.script = append(w.provider.script, refusal, reply{err: &classify.Error{Class: classify.Validation, Message: "no"}})
	}
	for range 16 {
		require.Equal(t, tasks.Failed, w.run(w.accept(Entry{Draft: draft()}).ID).State)
	}
	require.Empty(t, w.store.circuits.open)
	w.provider.script = nil
	for range 6 {
		w.provider.script = append(w.provider.script, busy)
	}
	for range 2 {
		w.run(w.accept(Entry{Draft: draft()}).ID)
	}
	require.Len(t, w.store.circuits.open, 1)
}
