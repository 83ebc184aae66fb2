package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// lookAnyway is how often a watcher reads the record although nothing was
// announced: announcements may be lost while the store is away.
const lookAnyway = 10 * time.Second

// lookAgain is how long a watcher waits before it reads again what could not be
// read.
const lookAgain = time.Second

// Get returns a tenant's job. Another tenant's job is ErrNotFound, as if it did
// not exist.
func (e *Engine) Get(ctx context.Context, tenant, id string) (*tasks.Job, error) {
	job, err := e.Store.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	if job.Tenant != tenant {
		return nil, ErrNotFound
	}
	return job, nil
}

// List returns a page of a tenant's jobs, newest first.
func (e *Engine) List(ctx context.Context, q Query) (Page, error) {
	return e.Store.List(ctx, q)
}

// Wait returns the job once it is at rest, or as it is when the time or the
// context is over.
func (e *Engine) Wait(ctx context.Context, tenant, id string, d time.Duration) (*tasks.Job, error) {
	waitCtx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var last *tasks.Job
	for job, err := range e.Watch(waitCtx, tenant, id, 0) {
		if err != nil {
			if waitCtx.Err() != nil && last != nil {
				return last, nil
			}
			return last, err
		}
		last = job
	}
	return last, nil
}

// Watch yields the job whenever a newer version than after is there, and ends
// once it has yielded one at rest, or one at rest is not newer. Versions may be
// skipped: it is a stream of states. A store that is away for a while, or too
// busy because many watch, delays it; only where the job could not be read even
// once is that its end. It ends with the context's error when that is over.
func (e *Engine) Watch(ctx context.Context, tenant, id string, after int64) iter.Seq2[*tasks.Job, error] {
	return func(yield func(*tasks.Job, error) bool) {
		changed, stop := e.Store.Watch(id)
		defer stop()
		ticker := time.NewTicker(lookAnyway)
		defer ticker.Stop()
		for seen := false; ; {
			job, err := e.Get(context.WithoutCancel(ctx), tenant, id)
			if seen && errors.Is(err, ErrUnavailable) {
				if sleep(ctx, lookAgain) {
					continue
				}
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			seen = true
			if job.Version > after {
				after = job.Version
				if !yield(job, nil) {
					return
				}
			}
			if job.State.AtRest() {
				return
			}
			select {
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case <-changed:
			case <-ticker.C:
			}
		}
	}
}

// Find returns a job whoever owns it: for operators, and for links that carry
// our signature.
func (e *Engine) Find(ctx context.Context, id string) (*tasks.Job, error) {
	return e.Store.Load(ctx, id)
}

// findFor returns a tenant's job. An empty tenant stands for whoever owns it.
func (e *Engine) findFor(ctx context.Context, tenant, id string) (*tasks.Job, error) {
	job, err := e.Find(ctx, id)
	if err == nil && tenant != "" && job.Tenant != tenant {
		return nil, ErrNotFound
	}
	return job, err
}

// OpenArtifact opens one artifact of a tenant's job. An empty tenant stands for
// whoever owns the job. The caller closes what is returned.
func (e *Engine) OpenArtifact(ctx context.Context, tenant, id string, index int) (tasks.Artifact, ArtifactReader, error) {
	job, err := e.findFor(ctx, tenant, id)
	if err != nil {
		return tasks.Artifact{}, nil, err
	}
	if job.Result == nil || index < 0 || index >= len(job.Result.Artifacts) {
		return tasks.Artifact{}, nil, ErrNotFound
	}
	artifact := job.Result.Artifacts[index]
	r, err := e.Artifacts.Open(ctx, artifact.Key)
	if err != nil {
		return artifact, nil, fmt.Errorf("open artifact %d of %s: %w", index, id, err)
	}
	return artifact, r, nil
}

// OpenInput opens one of the files that a tenant's job is made from. An empty
// tenant stands for whoever owns the job. The caller closes what is returned.
func (e *Engine) OpenInput(ctx context.Context, tenant, id string, index int) (tasks.File, ArtifactReader, error) {
	job, err := e.findFor(ctx, tenant, id)
	if err != nil {
		return tasks.File{}, nil, err
	}
	if index < 0 || index >= len(job.Request.Files) {
		return tasks.File{}, nil, ErrNotFound
	}
	file := job.Request.Files[index]
	r, err := e.Artifacts.Open(ctx, file.Key)
	if err != nil {
		return file, nil, fmt.Errorf("open input %d of %s: %w", index, id, err)
	}
	return file, r, nil
}

// ProviderInfo describes a configured provider.
type ProviderInfo struct {
	Name         string
	Adapter      string
	Default      bool
	Models       []providers.ModelChoice
	Capabilities providers.Capabilities
	Health       Health
	Concurrency  int // per worker
	Limits       providers.Limits
	Gate         Gate
}

// Health is how a provider fares.
type Health struct {
	Status   string // ok, degraded, down
	Reason   string // class of the failure that opened the first of the circuits
	Since    time.Time
	Circuits []OpenCircuit
}

// OpenCircuit is a circuit that speaks against a provider or, where Model is not
// empty, against one of its models.
type OpenCircuit struct {
	Model    string
	HalfOpen bool // the next submission finds out
	Circuit
}

// The values of [Health].Status.
const (
	HealthOK       = "ok"
	HealthDegraded = "degraded" // some of its models are passed over
	HealthDown     = "down"     // it is passed over
)

// ProviderInfos lists the configured providers and how they fare.
func (e *Engine) ProviderInfos(ctx context.Context) ([]ProviderInfo, error) {
	circuits, err := e.Store.Circuits(ctx)
	if err != nil {
		return nil, err
	}
	gates, err := e.Store.Gates(ctx, e.names())
	if err != nil {
		return nil, err
	}
	entries := e.Registry.All()
	infos := make([]ProviderInfo, 0, len(entries))
	for _, entry := range entries {
		infos = append(infos, ProviderInfo{
			Name: entry.Name, Adapter: entry.Adapter, Default: entry.Name == e.Registry.Default(),
			Models: entry.Models, Capabilities: entry.Provider.Capabilities(), Health: healthOf(entry, circuits, e.Store.Now()),
			Concurrency: entry.Concurrency, Limits: entry.Limits, Gate: gates[entry.Name],
		})
	}
	return infos, nil
}

// healthOf sums up a provider's circuits: it is down when the circuit of its key
// is open, or those of the default models of all its features.
func healthOf(entry providers.Entry, circuits map[CircuitKey]Circuit, now time.Time) Health {
	h := Health{Status: HealthOK}
	for key, circuit := range circuits {
		if key.Provider == entry.Name {
			h.Circuits = append(h.Circuits, OpenCircuit{Model: key.Model, HalfOpen: !now.Before(circuit.ProbeAt), Circuit: circuit})
		}
	}
	if len(h.Circuits) == 0 {
		return h
	}
	slices.SortFunc(h.Circuits, func(a, b OpenCircuit) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Model, b.Model))
	})
	h.Status, h.Reason, h.Since = HealthDown, h.Circuits[0].Reason, h.Circuits[0].Since
	known := condition{circuits: circuits}
	for _, feature := range entry.Provider.Capabilities().Features {
		if known.open(entry.Name, entry.Model(feature.Feature)) == nil {
			h.Status = HealthDegraded
		}
	}
	return h
}
