package orchestrator

import (
	"context"
	"sync"
	"time"
)

// reportHealth tells all processes how a provider fares. It is advice for the
// choice of providers, so its loss is logged and no more.
func (e *Engine) reportHealth(ctx context.Context, provider string, h Health) {
	if !e.room.noteHealth(provider, h.Status) {
		return
	}
	if err := e.Store.ReportHealth(ctx, provider, h); err != nil {
		e.Observer.Failed("report health of "+provider, "", err)
	}
}

// recovered notes that a provider took a submission: whatever was wrong with
// it is over.
func (e *Engine) recovered(provider string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	e.reportHealth(ctx, provider, Health{Status: HealthOK, Since: e.Store.Now()})
}

// noteHealth remembers the last status that this process reported, and says
// whether it is a new one.
func (r *room) noteHealth(provider, status string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.health[provider] == status {
		return false
	}
	r.health[provider] = status
	return true
}

// healthAge is how old the reports may be that a provider is chosen by.
const healthAge = time.Second

// healthy answers whether a provider may be chosen, from reports that are read
// once a second at most.
func (e *Engine) healthy(ctx context.Context) func(provider string) bool {
	healths := e.reports.get(time.Now(), func() (map[string]Health, error) { return e.Store.Healths(ctx) })
	return func(provider string) bool { return healths[provider].Status != HealthDown }
}

// reports are the health reports as they were last read.
type reports struct {
	mu      sync.Mutex
	healths map[string]Health
	readAt  time.Time
}

// get returns the reports, read anew when they are too old. Those that cannot
// be read are as good as none: unknown is not down.
func (r *reports) get(now time.Time, read func() (map[string]Health, error)) map[string]Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.readAt.IsZero() || now.Sub(r.readAt) > healthAge {
		r.readAt = now
		if healths, err := read(); err == nil {
			r.healths = healths
		}
	}
	return r.healths
}
