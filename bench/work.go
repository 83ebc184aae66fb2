package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// draft is the job that Easel gets, of an ordinary size. The provider double
// draws nothing for it: its model answers with a constant picture of one pixel.
func draft(webhookURL string) tasks.Draft {
	input, _ := json.Marshal(map[string]any{ // a map of strings always encodes
		"prompt": strings.Repeat("a red kite over the dunes at dusk, ", 6), "style": "realistic",
	})
	return tasks.Draft{
		FeatureType: tasks.TextToImage, InputData: input, UserID: "user-123", Model: sketch.ModelNoop,
		Metadata: map[string]string{"order": "42"}, WebhookURL: webhookURL,
	}
}

// body is the same job as it travels: over HTTP to Easel, and as the payload of
// a task of raw asynq.
func body() []byte {
	raw, _ := json.Marshal(draft("")) // as above
	return raw
}

// callersDo has n things done by so many callers. The first failure ends it.
func callersDo(ctx context.Context, callers, n int, do func(ctx context.Context) error) error {
	var taken atomic.Int64
	return callersDoWhile(ctx, callers, func() bool { return taken.Add(1) <= int64(n) }, do)
}

// callersDoFor has things done for so long, and says how many were and how long
// it took until the last was.
func callersDoFor(ctx context.Context, callers int, length time.Duration, do func(ctx context.Context) error) (n int, took time.Duration, err error) {
	var done atomic.Int64
	began := time.Now()
	err = callersDoWhile(ctx, callers, func() bool { return time.Since(began) < length }, func(ctx context.Context) error {
		err := do(ctx)
		if err == nil {
			done.Add(1)
		}
		return err
	})
	return int(done.Load()), time.Since(began), err
}

func callersDoWhile(ctx context.Context, callers int, more func() bool, do func(ctx context.Context) error) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for ctx.Err() == nil && more() {
				if err := do(ctx); err != nil {
					stop(err)
				}
			}
		})
	}
	running.Wait()
	return context.Cause(ctx)
}

// countdown is waited for until so many things have happened, or one has gone
// wrong.
type countdown struct {
	left atomic.Int64
	done chan struct{}

	once sync.Once
	fate chan error
}

func newCountdown(n int) *countdown {
	c := &countdown{done: make(chan struct{}), fate: make(chan error, 1)}
	c.left.Store(int64(n))
	return c
}

// tick counts one thing.
func (c *countdown) tick() {
	if c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// fail ends the wait; only the first failure is told.
func (c *countdown) fail(err error) {
	c.once.Do(func() { c.fate <- err })
}

// patience bounds every wait for work to be done.
const patience = 2 * time.Minute

// wait returns when everything has happened.
func (c *countdown) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case <-c.done:
		return nil
	case err := <-c.fate:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%d are still awaited: %w", c.left.Load(), ctx.Err())
	}
}
