package orchestrator

import (
	"context"
	"sync"
	"time"
)

// tending is the set of jobs whose handlers run in this process. One loop
// pushes their touch ahead: touch is the lease, and a handler that stops
// pushing counts as lost.
type tending struct {
	mu   sync.Mutex
	jobs map[string]int
}

func newTending() *tending { return &tending{jobs: map[string]int{}} }

// begin adds the job until the returned function is called.
func (t *tending) begin(id string) (end func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.jobs[id]++
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.jobs[id]--; t.jobs[id] <= 0 {
			delete(t.jobs, id)
		}
	}
}

func (t *tending) ids() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	ids := make([]string, 0, len(t.jobs))
	for id := range t.jobs {
		ids = append(ids, id)
	}
	return ids
}

// heartbeat pushes the touch of the running jobs until the context ends. While
// the store is away there is nothing to push to; the handlers go on.
func (e *Engine) heartbeat(ctx context.Context) {
	ticker := time.NewTicker(e.Timings.Heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if ids := e.tending.ids(); len(ids) > 0 {
			if err := e.Store.Touch(ctx, ids, e.Timings.Lease); err != nil && ctx.Err() == nil {
				e.Observer.Failed("push touch", "", err)
			}
		}
	}
}
