package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

// shippedPlaces is how many submits a worker has at one provider at a time when
// nothing else is configured.
const shippedPlaces = 64

// drain measures how many jobs per second one worker finishes that finds them
// all waiting.
type drain struct {
	lab     *lab
	jobs    int
	workers int
	table   *table
}

func newDrain(l *lab, opts options) *drain {
	return &drain{lab: l, jobs: opts.jobs, workers: opts.concurrency, table: &table{
		Title: "Drain, one worker", Unit: "jobs per second", Better: "more", Baseline: "raw asynq, by hand",
	}}
}

func (d *drain) name() string { return "drain" }

func (d *drain) tables() []*table { return []*table{d.table} }

func (d *drain) round(ctx context.Context) error {
	for _, contender := range []struct {
		name string
		turn func(ctx context.Context) (time.Duration, error)
	}{
		{"raw asynq, handler does nothing", d.nothing},
		{"raw asynq, by hand", d.byHand},
		{"Easel", func(ctx context.Context) (time.Duration, error) { return d.easel(ctx, d.workers) }},
		{fmt.Sprintf("Easel, %d places at the provider", shippedPlaces), func(ctx context.Context) (time.Duration, error) { return d.easel(ctx, shippedPlaces) }},
	} {
		if err := d.lab.clear(ctx); err != nil {
			return err
		}
		took, err := contender.turn(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", contender.name, err)
		}
		d.table.add(contender.name, float64(d.jobs)/took.Seconds())
	}
	return nil
}

func (d *drain) nothing(ctx context.Context) (time.Duration, error) {
	return d.raw(ctx, nothing, 0)
}

func (d *drain) byHand(ctx context.Context) (took time.Duration, err error) {
	hand, err := d.lab.openByHand(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, hand.close()) }()
	return d.raw(ctx, hand.handle, resultKept)
}

func (d *drain) raw(ctx context.Context, handler asynq.HandlerFunc, keep time.Duration) (took time.Duration, err error) {
	r, err := d.lab.openRaw(d.workers, keep)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := callersDo(ctx, manyCallers, d.jobs, func(ctx context.Context) error {
		_, err := r.enqueue(ctx)
		return err
	}); err != nil {
		return 0, err
	}
	done := newCountdown(d.jobs)
	began := time.Now()
	stop, err := r.work(counted(done, handler))
	if err != nil {
		return 0, err
	}
	err = done.wait(ctx)
	took = time.Since(began)
	return took, errors.Join(err, stop())
}

func (d *drain) easel(ctx context.Context, places int) (took time.Duration, err error) {
	done := newCountdown(d.jobs)
	e, err := d.lab.openEasel(ctx, easelConfig{provider: d.lab.instant, places: places, workers: d.workers, rested: done})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	job := draft("")
	if err := callersDo(ctx, manyCallers, d.jobs, func(ctx context.Context) error {
		_, err := e.accept(ctx, job)
		return err
	}); err != nil {
		return 0, err
	}
	began := time.Now()
	stop := e.work(ctx)
	err = done.wait(ctx)
	took = time.Since(began)
	return took, errors.Join(err, stop())
}
