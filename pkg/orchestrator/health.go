package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// This file counts how submissions fare, per provider and model, and reads the
// circuits that all processes' counts have opened. A circuit is advice for the
// choice among providers and nothing else: a job that has no other is submitted
// as if it were closed.

// tally is what this process has not reported yet: submissions that went well
// are reported together, since there are many.
type tally struct {
	mu   sync.Mutex
	well map[CircuitKey]int
}

func newTally() *tally { return &tally{well: map[CircuitKey]int{}} }

func (t *tally) add(key CircuitKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.well[key]++
}

// take returns what went well at one circuit since it was last asked.
func (t *tally) take(key CircuitKey) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.well[key]
	delete(t.well, key)
	return n
}

func (t *tally) keys() []CircuitKey {
	t.mu.Lock()
	defer t.mu.Unlock()
	keys := make([]CircuitKey, 0, len(t.well))
	for key := range t.well {
		keys = append(keys, key)
	}
	return keys
}

// fared notes how a submission went. Moderation, callers' mistakes and rate
// limits say nothing about a provider's health; nor does a call that was not
// made. What a key or the account's money has to do with concerns the provider
// as a whole and opens its circuit at once.
func (e *Engine) fared(ctx context.Context, provider, model string, err error, began time.Time) {
	key := CircuitKey{provider, model}
	if err == nil {
		if e.openCircuit(ctx, provider, model) == nil {
			e.tally.add(key)
			return
		}
		// It may be the probe: the circuits close, that of the key too.
		for _, key := range circuitsOf(provider, model) {
			e.reportCalls(ctx, key, CallReport{Well: 1 + e.tally.take(key), Began: began})
		}
		return
	}
	class := classify.Classify(err).Class
	policy := class.Policy()
	if !policy.Unhealthy || errors.Is(err, providers.ErrNotCalled) {
		return
	}
	if policy.Alert {
		key.Model = ""
	}
	e.reportCalls(ctx, key, CallReport{Well: e.tally.take(key), Bad: 1, Reason: string(class), Trip: policy.Alert, Began: began})
}

// reportCalls is advice to others, so its loss is logged and no more.
func (e *Engine) reportCalls(ctx context.Context, key CircuitKey, report CallReport) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := e.Store.ReportCalls(ctx, key, report); err != nil {
		e.Observer.Failed("report how "+key.Provider+" fares", "", err)
	}
	e.reports.expire()
}

// tellHealth reports what went well, once a second, until the context ends.
func (e *Engine) tellHealth(ctx context.Context) {
	for sleep(ctx, healthAge) {
		for _, key := range e.tally.keys() {
			e.reportCalls(ctx, key, CallReport{Well: e.tally.take(key)})
		}
	}
}

// healthAge is how old the reports may be that a provider is chosen by.
const healthAge = time.Second

// condition is what is known of the providers.
type condition struct {
	circuits map[CircuitKey]Circuit
	gates    map[string]Gate
}

// circuitsOf are those that may speak against a model at a provider.
func circuitsOf(provider, model string) []CircuitKey {
	if model == "" {
		return []CircuitKey{{Provider: provider}}
	}
	return []CircuitKey{{Provider: provider}, {provider, model}}
}

// open returns the circuit that speaks against a model at a provider, or nil.
func (c condition) open(provider, model string) *Circuit {
	for _, key := range circuitsOf(provider, model) {
		if circuit, open := c.circuits[key]; open {
			return &circuit
		}
	}
	return nil
}

// patientWith is how long a provider may ask to be left alone before jobs that
// can be done elsewhere are.
const patientWith = 2 * time.Second

// well reports whether a provider may be chosen beside others: it is not
// paused, has not asked to be left alone for long, and its circuit is closed or
// due for a probe.
func (c condition) well(provider, model string, now time.Time) bool {
	if gate := c.gates[provider]; !gate.PausedSince.IsZero() || gate.Until.After(now.Add(patientWith)) {
		return false
	}
	circuit := c.open(provider, model)
	return circuit == nil || !now.Before(circuit.ProbeAt)
}

// condition is read once a second at most.
func (e *Engine) condition(ctx context.Context) condition {
	return e.reports.get(time.Now(), func() (condition, error) {
		circuits, err := e.Store.Circuits(ctx)
		if err != nil {
			return condition{}, err
		}
		gates, err := e.Store.Gates(ctx, e.names())
		return condition{circuits, gates}, err
	})
}

func (e *Engine) names() []string {
	entries := e.Registry.All()
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = entry.Name
	}
	return names
}

func (e *Engine) openCircuit(ctx context.Context, provider, model string) *Circuit {
	return e.condition(ctx).open(provider, model)
}

// healthy answers whether a provider may be chosen for a model.
func (e *Engine) healthy(ctx context.Context) func(provider, model string) bool {
	known, now := e.condition(ctx), e.Store.Now()
	return func(provider, model string) bool { return known.well(provider, model, now) }
}

// reports are what was last read of the providers.
type reports struct {
	mu     sync.Mutex
	known  condition
	readAt time.Time
}

// get returns the reports, read anew when they are too old. Those that cannot
// be read are as good as none: unknown is not down.
func (r *reports) get(now time.Time, read func() (condition, error)) condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readAt.IsZero() || now.Sub(r.readAt) > healthAge {
		r.readAt = now
		if known, err := read(); err == nil {
			r.known = known
		}
	}
	return r.known
}

// expire has the reports read anew by who asks next.
func (r *reports) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readAt = time.Time{}
}

// last is what was last read, for decisions that must not wait.
func (r *reports) last() condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

// passOver takes a job to another provider when the circuit of its own is open,
// or it has asked to be left alone for long, and another is well: nothing was asked of the first, and it is an attempt all
// the same, so that everybody sees why. The one job that finds out whether the
// provider is well again stays.
func (e *Engine) passOver(ctx context.Context, job *tasks.Job) (Outcome, bool) {
	known, now := e.condition(ctx), e.Store.Now()
	circuit := known.open(job.ProviderID, job.Model)
	if until := known.gates[job.ProviderID].Until; circuit == nil && until.After(now.Add(patientWith)) {
		circuit = &Circuit{Since: now, ProbeAt: until, Reason: string(classify.RateLimit)}
	}
	if circuit == nil {
		return Outcome{}, false
	}
	next, ok := e.alternative(job, known, true)
	if !ok {
		return Outcome{}, false
	}
	if !now.Before(circuit.ProbeAt) && e.probe(ctx, job) {
		return Outcome{}, false
	}
	after, err := e.change(ctx, job, func(after *tasks.Job, now time.Time) error {
		if after.Step != job.Step || after.State != tasks.Queued {
			return errUnchanged
		}
		if err := after.Move(tasks.EventWait, tasks.Queued); err != nil {
			return err
		}
		after.LastAttempt++
		after.Attempts = append(after.Attempts, tasks.Attempt{
			Number: after.LastAttempt, ProviderID: after.ProviderID, Model: after.Model, Outcome: tasks.OutcomeRejected,
			Error: passedOver(after.ProviderID, circuit, now), StartedAt: now, EndedAt: now,
		})
		hop(after, next, now)
		return nil
	})
	if err != nil {
		return Retry(err, 2*time.Second), true
	}
	return e.conclude(ctx, job, after), true
}

// probe takes the probe of every circuit that speaks against the job's provider.
func (e *Engine) probe(ctx context.Context, job *tasks.Job) bool {
	for _, key := range circuitsOf(job.ProviderID, job.Model) {
		granted, err := e.Store.TakeProbe(ctx, key)
		if err != nil {
			e.Observer.Failed("probe "+job.ProviderID, job.ID, err)
		}
		if err != nil || !granted {
			return false
		}
	}
	return true
}

func passedOver(provider string, circuit *Circuit, now time.Time) *tasks.Failure {
	class := classify.Class(circuit.Reason)
	if !class.Valid() {
		class = classify.Overloaded
	}
	return &tasks.Failure{
		Class: class, Code: "circuit_open", ProviderID: provider, At: now,
		Message: fmt.Sprintf("passed over and not asked: %s since %s", class, circuit.Since.UTC().Format(time.RFC3339)),
	}
}
