package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// memory measures what a job takes in Redis that waits for a worker.
type memory struct {
	lab  *lab
	jobs int
}

// memoryReport is what [memory] finds; the first row is the baseline.
type memoryReport struct {
	Jobs    int         `json:"jobs"`
	Payload int         `json:"payload_bytes"`
	Rows    []memoryRow `json:"rows"`
}

type memoryRow struct {
	Name        string  `json:"name"`
	BytesPerJob float64 `json:"bytes_per_job"`
}

func newMemory(l *lab, opts options) *memory { return &memory{lab: l, jobs: opts.waiting} }

func (m *memory) measure(ctx context.Context) (*memoryReport, error) {
	found := &memoryReport{Jobs: m.jobs, Payload: len(body())}
	for _, contender := range []struct {
		name string
		fill func(ctx context.Context) error
	}{{"raw asynq", m.raw}, {"Easel", m.easel}} {
		perJob, err := m.filled(ctx, contender.fill)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", contender.name, err)
		}
		found.Rows = append(found.Rows, memoryRow{contender.name, perJob})
	}
	return found, nil
}

// filled compares the memory before and after. No client is connected at either
// time, so that their buffers do not count.
func (m *memory) filled(ctx context.Context, fill func(ctx context.Context) error) (float64, error) {
	if err := m.lab.clear(ctx); err != nil {
		return 0, err
	}
	before, err := m.lab.look(ctx)
	if err != nil {
		return 0, err
	}
	if err := fill(ctx); err != nil {
		return 0, err
	}
	after, err := m.lab.look(ctx)
	for err == nil && after.clients > before.clients {
		// Redis has not noticed yet that the clients are gone.
		if err = rest(ctx, 20*time.Millisecond); err == nil {
			after, err = m.lab.look(ctx)
		}
	}
	if err != nil {
		return 0, err
	}
	return (after.memory - before.memory) / float64(m.jobs), nil
}

func (m *memory) raw(ctx context.Context) (err error) {
	r, err := m.lab.openRaw(1, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	return callersDo(ctx, manyCallers, m.jobs, func(ctx context.Context) error {
		_, err := r.enqueue(ctx)
		return err
	})
}

func (m *memory) easel(ctx context.Context) (err error) {
	e, err := m.lab.openEasel(ctx, easelConfig{provider: m.lab.instant})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	job := draft("")
	return callersDo(ctx, manyCallers, m.jobs, func(ctx context.Context) error {
		_, err := e.accept(ctx, job)
		return err
	})
}
