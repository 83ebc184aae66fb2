package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// steadyRate is how many jobs per second the steady stream brings.
const steadyRate = 100

// pickup measures how long it takes from the call that hands a job in to the
// start of its handler: of single jobs that meet a sleeping worker, and of jobs
// in a steady stream. asynq sleeps whenever it has found its queues empty.
type pickup struct {
	lab     *lab
	opts    options
	medians [2]*table // one by one, in a stream
	tails   [2]*table
}

func newPickup(l *lab, opts options) *pickup {
	p := &pickup{lab: l, opts: opts}
	for i, worker := range []string{"one by one", fmt.Sprintf("%d jobs per second", steadyRate)} {
		p.medians[i] = &table{Title: "Pick-up, " + worker + ", median", Unit: "milliseconds", Better: "less", Baseline: "raw asynq"}
		p.tails[i] = &table{Title: "Pick-up, " + worker + ", 99th percentile", Unit: "milliseconds", Better: "less", Baseline: "raw asynq"}
	}
	return p
}

func (p *pickup) name() string { return "pick-up" }

func (p *pickup) tables() []*table {
	return []*table{p.medians[0], p.tails[0], p.medians[1], p.tails[1]}
}

func (p *pickup) round(ctx context.Context) error {
	for _, contender := range []struct {
		name string
		turn func(ctx context.Context, name string) error
	}{{"raw asynq", p.raw}, {"Easel", p.easel}} {
		if err := p.lab.clear(ctx); err != nil {
			return err
		}
		if err := contender.turn(ctx, contender.name); err != nil {
			return fmt.Errorf("%s: %w", contender.name, err)
		}
	}
	return nil
}

func (p *pickup) raw(ctx context.Context, name string) (err error) {
	watch := newStopwatch()
	r, err := p.lab.openRaw(p.opts.concurrency, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	stop, err := r.work(func(_ context.Context, task *asynq.Task) error {
		watch.start(task.ResultWriter().TaskID(), time.Now())
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(p.hand(ctx, name, watch, r.enqueue), stop())
}

func (p *pickup) easel(ctx context.Context, name string) (err error) {
	watch := newStopwatch()
	e, err := p.lab.openEasel(ctx, easelConfig{
		provider: p.lab.instant, places: p.opts.concurrency, workers: p.opts.concurrency,
		started: func(task tasks.Task) {
			if task.Kind == tasks.KindSubmit {
				watch.start(task.JobID, time.Now())
			}
		},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	stop := e.work(ctx)
	job := draft("")
	take := func(ctx context.Context) (string, error) { return e.accept(ctx, job) }
	return errors.Join(p.hand(ctx, name, watch, take), stop())
}

// hand hands jobs in, one by one to a sleeping worker and then in a stream.
func (p *pickup) hand(ctx context.Context, name string, watch *stopwatch, take func(context.Context) (string, error)) error {
	// The first jobs make connections.
	for range 5 {
		if _, err := p.one(ctx, watch, take); err != nil {
			return err
		}
	}
	single, err := p.naps(ctx, watch, take)
	if err != nil {
		return err
	}
	p.note(0, name, single)
	streamed, err := p.stream(ctx, watch, take)
	if err != nil {
		return err
	}
	p.note(1, name, streamed)
	return nil
}

func (p *pickup) note(regime int, name string, latencies []float64) {
	p.medians[regime].add(name, median(latencies))
	p.tails[regime].add(name, quantile(latencies, 0.99))
}

// naps hands each job in at a random moment of the worker's sleep.
func (p *pickup) naps(ctx context.Context, watch *stopwatch, take func(context.Context) (string, error)) ([]float64, error) {
	latencies := make([]float64, 0, p.opts.naps)
	for range p.opts.naps {
		if err := rest(ctx, 50*time.Millisecond+time.Duration(rand.Int64N(int64(checkInterval)))); err != nil {
			return nil, err
		}
		latency, err := p.one(ctx, watch, take)
		if err != nil {
			return nil, err
		}
		latencies = append(latencies, latency)
	}
	return latencies, nil
}

// one hands one job in and waits for its handler.
func (p *pickup) one(ctx context.Context, watch *stopwatch, take func(context.Context) (string, error)) (float64, error) {
	began := time.Now()
	id, err := take(ctx)
	if err != nil {
		return 0, err
	}
	return watch.since(ctx, id, began)
}

// stream hands jobs in at random distances, each by a caller of its own, so that
// a slow one does not hold up the next.
func (p *pickup) stream(ctx context.Context, watch *stopwatch, take func(context.Context) (string, error)) ([]float64, error) {
	var (
		mu        sync.Mutex
		latencies []float64
		failed    error
		callers   sync.WaitGroup
	)
	end := time.Now().Add(p.opts.steady)
	for time.Now().Before(end) && ctx.Err() == nil {
		callers.Go(func() {
			latency, err := p.one(ctx, watch, take)
			mu.Lock()
			defer mu.Unlock()
			latencies, failed = append(latencies, latency), errors.Join(failed, err)
		})
		if err := rest(ctx, time.Duration(rand.ExpFloat64()*float64(time.Second)/steadyRate)); err != nil {
			break // the callers say so
		}
	}
	callers.Wait()
	return latencies, errors.Join(failed, ctx.Err())
}

// rest waits, unless the context ends first.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// stopwatch knows when handlers started. A handler may start before the call
// that handed its job in has returned, and so before its id is known.
type stopwatch struct {
	mu     sync.Mutex
	starts map[string]chan time.Time
}

func newStopwatch() *stopwatch { return &stopwatch{starts: map[string]chan time.Time{}} }

// start notes that the handler of the job has started. Only the first time
// counts.
func (s *stopwatch) start(id string, at time.Time) {
	select {
	case s.of(id) <- at:
	default:
	}
}

// since waits for the start of the job's handler and returns how many
// milliseconds it is after began.
func (s *stopwatch) since(ctx context.Context, id string, began time.Time) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case at := <-s.of(id):
		return float64(at.Sub(began)) / float64(time.Millisecond), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("job %s was not picked up: %w", id, ctx.Err())
	}
}

func (s *stopwatch) of(id string) chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.starts[id] == nil {
		s.starts[id] = make(chan time.Time, 1)
	}
	return s.starts[id]
}
