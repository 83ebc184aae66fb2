package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const manyCallers = 64

// acceptance measures how many jobs are taken per second. No worker runs.
type acceptance struct {
	lab    *lab
	sprint time.Duration
	single *table
	many   *table
}

func newAcceptance(l *lab, opts options) *acceptance {
	newTable := func(callers string) *table {
		return &table{Title: "Accept, " + callers, Unit: "jobs per second", Better: "more", Baseline: "raw asynq, in process"}
	}
	return &acceptance{lab: l, sprint: opts.sprint, single: newTable("1 caller"), many: newTable(fmt.Sprintf("%d callers", manyCallers))}
}

func (a *acceptance) name() string { return "accept" }

func (a *acceptance) tables() []*table { return []*table{a.single, a.many} }

// taker opens one contender and returns how it takes one job.
type taker func(ctx context.Context) (take func(ctx context.Context) error, stop func() error, err error)

func (a *acceptance) round(ctx context.Context) error {
	for _, contender := range []struct {
		name string
		open taker
	}{
		{"raw asynq, in process", a.raw},
		{"Easel, in process", a.easel},
		{"raw asynq behind net/http", a.rawHTTP},
		{"Easel's HTTP API", a.easelHTTP},
	} {
		if err := a.turn(ctx, contender.name, contender.open); err != nil {
			return fmt.Errorf("%s: %w", contender.name, err)
		}
	}
	return nil
}

// turn lets one contender take jobs, from one caller and from many.
func (a *acceptance) turn(ctx context.Context, name string, open taker) (err error) {
	if err := a.lab.clear(ctx); err != nil {
		return err
	}
	take, stop, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	// Connections and caches are made before the clock runs.
	if err := callersDo(ctx, manyCallers, manyCallers, take); err != nil {
		return err
	}
	n, took, err := callersDoFor(ctx, 1, a.sprint, take)
	if err != nil {
		return err
	}
	a.single.add(name, float64(n)/took.Seconds())
	if n, took, err = callersDoFor(ctx, manyCallers, a.sprint, take); err != nil {
		return err
	}
	a.many.add(name, float64(n)/took.Seconds())
	return nil
}

func (a *acceptance) raw(context.Context) (func(context.Context) error, func() error, error) {
	r, err := a.lab.openRaw(1, 0)
	if err != nil {
		return nil, nil, err
	}
	take := func(ctx context.Context) error {
		_, err := r.enqueue(ctx)
		return err
	}
	return take, r.close, nil
}

func (a *acceptance) rawHTTP(context.Context) (func(context.Context) error, func() error, error) {
	r, err := a.lab.openRaw(1, 0)
	if err != nil {
		return nil, nil, err
	}
	post, stop, err := r.api()
	if err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	return post, func() error { return errors.Join(stop(), r.close()) }, nil
}

func (a *acceptance) easel(ctx context.Context) (func(context.Context) error, func() error, error) {
	e, err := a.lab.openEasel(ctx, easelConfig{provider: a.lab.instant})
	if err != nil {
		return nil, nil, err
	}
	job := draft("")
	take := func(ctx context.Context) error {
		_, err := e.accept(ctx, job)
		return err
	}
	return take, e.close, nil
}

func (a *acceptance) easelHTTP(ctx context.Context) (func(context.Context) error, func() error, error) {
	e, err := a.lab.openEasel(ctx, easelConfig{provider: a.lab.instant})
	if err != nil {
		return nil, nil, err
	}
	post, stop, err := e.api()
	if err != nil {
		return nil, nil, errors.Join(err, e.close())
	}
	return post, func() error { return errors.Join(stop(), e.close()) }, nil
}
