package orchestrator

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestPromisesHoldWhateverHappens lets chance interleave steps, crashes, lost
// replies, duplicate and lost tasks, reconciler passes, webhooks, cancels,
// retries and resolves, also between any two calls of a handler, and holds the
// engine to its promises after every event and at the end.
func TestPromisesHoldWhateverHappens(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		p := newProperty(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"":           func(*rapid.T) { p.holds() },
			"step":       func(*rapid.T) { p.world.step() },
			"step again": func(*rapid.T) { p.world.step() },
			"step twice": func(*rapid.T) { p.world.step(); p.world.step() },
			"crash":      func(*rapid.T) { p.crash() },
			"interleave": func(*rapid.T) { p.interleave() },
			"lose reply": func(*rapid.T) { p.loseReply() },
			"lose task":  func(*rapid.T) { p.loseTask() },
			"time":       func(rt *rapid.T) { p.advance(rapid.IntRange(1, 120).Draw(rt, "seconds")) },
			"other":      func(*rapid.T) { p.other() },
		})
		p.ends()
	})
}

// property is one run: a job, its provider, and what must not change.
type property struct {
	world *world
	draw  *rapid.T
	bank  *bank
	id    string
	final tasks.State // once it is canceled or completed
	seen  int64       // the highest version
}

func newProperty(rt *rapid.T) *property {
	w := newWorld(rt)
	b := &bank{world: w, draw: rt, kind: bankKind{
		finds: rapid.Bool().Draw(rt, "finds"), cancels: rapid.Bool().Draw(rt, "cancels"),
		resubmit: rapid.IntRange(0, 3).Draw(rt, "resubmit") == 0,
	}}
	entries := []providers.Entry{{Name: "lumen", Adapter: "lumen", Provider: b.asProvider(), ResubmitOnUnknown: b.kind.resubmit}}
	d := draft()
	if rapid.Bool().Draw(rt, "fallback") {
		entries = append(entries, providers.Entry{Name: "other", Adapter: "lumen", Provider: b.asProvider(), ResubmitOnUnknown: b.kind.resubmit})
		d.ProviderID, d.FallbackProviderIDs = "lumen", []string{"other"}
	}
	registry, err := providers.NewRegistry(entries, "")
	require.NoError(rt, err)
	patience := rapid.SampledFrom([]time.Duration{0, 0, 10 * time.Minute}).Draw(rt, "unresolved timeout")
	w.open(func(cfg *Config) { cfg.Registry, cfg.Retention.UnresolvedTimeout = registry, patience })
	d.WebhookURL = "https://hook.test/"
	timeout := rapid.SampledFrom([]int64{20_000, 120_000, 3_600_000}).Draw(rt, "timeout")
	d.TimeoutMS = &timeout
	job := w.accept(Entry{Draft: d})
	return &property{world: w, draw: rt, bank: b, id: job.ID}
}

// crash lets the next step die at one of its calls.
func (p *property) crash() {
	p.world.cutAt = p.world.calls + rapid.IntRange(1, 8).Draw(p.draw, "call")
	p.world.cutLate = rapid.Bool().Draw(p.draw, "late")
	p.world.step()
	p.world.cutAt = 0
}

// interleave runs the next step with other processes at work between its calls.
func (p *property) interleave() {
	left := 3
	p.world.meddle = func() {
		if left == 0 || rapid.IntRange(0, 2).Draw(p.draw, "meddle") > 0 {
			return
		}
		left--
		meddle := p.world.meddle
		p.world.meddle = nil
		p.other()
		p.world.meddle = meddle
	}
	p.world.step()
	p.world.meddle = nil
}

// loseReply lets a call of the next step take effect and its reply get lost.
func (p *property) loseReply() {
	p.world.unheard = p.world.calls + rapid.IntRange(1, 6).Draw(p.draw, "call")
	p.world.step()
	p.world.unheard = 0
}

func (p *property) loseTask() {
	ids := p.world.queue.ids()
	if len(ids) > 0 {
		delete(p.world.queue.tasks, rapid.SampledFrom(ids).Draw(p.draw, "lost task"))
	}
}

func (p *property) advance(seconds int) {
	p.world.now = p.world.now.Add(time.Duration(seconds) * time.Second)
}

// other is what another process may do at any time.
func (p *property) other() {
	w := p.world
	switch rapid.SampledFrom([]string{
		"pass", "pass", "due task", "duplicate", "webhook", "webhook", "wait", "cancel", "retry", "resolve", "run",
	}).Draw(p.draw, "other") {
	case "pass":
		w.power(func() { w.engine.pass(context.Background()) })
	case "due task":
		if next := w.queue.next(); next != nil && next.state != TaskActive && !next.runsAt().After(w.now) {
			w.handle(next)
		}
	case "duplicate":
		if len(w.handled) > 0 {
			task := rapid.SampledFrom(w.handled).Draw(p.draw, "duplicate")
			w.power(func() { w.note(w.engine.Handle(context.Background(), task).Err) })
		}
	case "webhook":
		p.webhook()
	case "wait":
		p.advance(rapid.IntRange(1, 20).Draw(p.draw, "seconds"))
	case "cancel":
		if rapid.IntRange(0, 2).Draw(p.draw, "really") == 0 {
			p.verb(func() error { _, err := w.cancel(p.id); return err })
		}
	case "retry":
		mode := rapid.SampledFrom([]RetryMode{RetryDefault, RetryResume, RetryRegenerate}).Draw(p.draw, "mode")
		p.verb(func() error {
			_, err := w.retry(p.id, mode)
			if err == nil && mode == RetryRegenerate {
				for _, g := range p.bank.made {
					g.renounced = true
				}
			}
			return err
		})
	case "resolve":
		p.resolve()
	case "run":
		job := p.job()
		for _, step := range []int64{job.Step, job.ArchivedStep} {
			p.verb(func() error {
				_, err := w.engine.RunTask(context.Background(), fmt.Sprintf("%s:%d:%d", p.id, step, job.Gen))
				return err
			})
		}
	}
}

// verb does what a caller asks; a refusal is an answer like any other.
func (p *property) verb(do func() error) {
	p.world.power(func() { p.world.note(do()) })
}

// webhook posts what a provider may post, and what an enemy may.
func (p *property) webhook() {
	if len(p.bank.made) == 0 {
		return
	}
	g := rapid.SampledFrom(p.bank.made).Draw(p.draw, "told of")
	id, token := g.id, g.token
	switch rapid.IntRange(0, 3).Draw(p.draw, "honest") {
	case 0:
		id = rapid.SampledFrom([]string{"g-999", "", "g-1"}).Draw(p.draw, "claimed")
	case 1:
		token = "forged"
	}
	if id != g.id && id == "g-1" {
		return // a provider that knows the token does not sell one generation as another
	}
	p.verb(func() error {
		return p.world.engine.Hint(context.Background(), g.provider, g.job, token, nil, []byte(id))
	})
}

// resolve tells an unresolved job the truth, as the bill has it.
func (p *property) resolve() {
	job := p.job()
	if job.State != tasks.Unresolved {
		return
	}
	r := Resolution{Outcome: NotCreated}
	for _, s := range job.Submissions {
		for _, g := range p.bank.made {
			if s.Open() && g.client == s.ClientID {
				r = Resolution{Outcome: CreatedAs, RemoteID: g.id}
			}
		}
	}
	p.verb(func() error { _, err := p.world.resolve(p.id, r); return err })
}

func (p *property) job() *tasks.Job {
	job, err := p.world.store.read(p.id)
	require.NoError(p.draw, err)
	return job
}

// holds checks what is true at any time.
func (p *property) holds() {
	job := p.job()
	require.Empty(p.draw, p.world.illegal, "moves that the table does not list")
	require.GreaterOrEqual(p.draw, job.Version, p.seen)
	p.seen = job.Version
	if p.final != "" {
		require.Equal(p.draw, p.final, job.State, "a canceled or completed job never changes its status")
	}
	if job.State == tasks.Canceled || job.State == tasks.Completed {
		p.final = job.State
	}
	require.LessOrEqual(p.draw, job.Spent, p.bank.failures, "only a provider's failure spends budget")
	require.Equal(p.draw, job.Owes(), p.world.stands(p.id), "the index holds exactly the jobs that owe work: %+v", job)
	if job.State == tasks.Completed {
		require.NotNil(p.draw, job.Result)
	}
	if !p.bank.kind.resubmit {
		sold := map[string]int{}
		for _, g := range p.bank.made {
			sold[g.client]++
			require.Equal(p.draw, 1, sold[g.client], "an attempt was bought twice")
		}
	}
}

func (w *world) stands(id string) bool { _, open := w.store.open[id]; return open }

// ends lets everything come to rest, tells an unresolved job the truth, and
// compares the bill with the record.
func (p *property) ends() {
	p.bank.calm = true
	p.settle()
	if p.job().State == tasks.Unresolved {
		p.resolve()
		p.settle()
	}
	job := p.job()
	require.NotEqual(p.draw, tasks.Unresolved, job.State, "it was told what had become of it: %+v", job)
	require.Contains(p.draw, p.world.notifier.received, "job."+string(job.State.Status()), "its rest was told")
	for _, g := range p.bank.made {
		p.accountsFor(job, g)
	}
}

// settle runs the world until the job is at rest and owes nothing that time
// could bring.
func (p *property) settle() {
	for range 3000 {
		job := p.job()
		if job.State.AtRest() && p.world.queue.idle() && (!job.Owes() || job.State == tasks.Unresolved && job.Kind == "" && !job.OwesSideLane()) {
			return
		}
		p.world.step()
		p.holds()
	}
	require.Failf(p.draw, "job does not come to rest", "%+v", p.job())
}

// accountsFor looks for where a generation on the bill went.
func (p *property) accountsFor(job *tasks.Job, g *generation) {
	known := slices.ContainsFunc(job.Submissions, func(s tasks.Submission) bool {
		return s.RemoteID == g.id || s.Stored && s.Number == g.submission
	})
	switch {
	case !known && p.bank.kind.resubmit: // the operator's choice
	case !known && !p.bank.kind.finds && (job.State == tasks.Canceled || job.State == tasks.Failed): // nobody could be asked
	case !known && g.state == providers.Failed: // as good as never made
	case !known:
		require.Failf(p.draw, "paid work was dropped", "%+v is not in the record: %+v", g, job)
	case g.state == providers.Succeeded:
		require.NotNil(p.draw, job.Result, "%+v was paid for, and the job has no result: %+v", g, job)
	default:
		require.NotEqual(p.draw, providers.Running, g.state, "%+v was given up while it ran: %+v", g, job)
	}
}
