package orchestrator

import (
	"context"
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

// healthy answers whether a provider may be chosen, from one read of the
// reports.
func (e *Engine) healthy(ctx context.Context) func(provider string) bool {
	healths, err := e.Store.Healths(ctx)
	if err != nil {
		return func(string) bool { return true } // unknown is not down
	}
	return func(provider string) bool { return healths[provider].Status != HealthDown }
}
