package orchestrator

import (
	"context"
	"fmt"
)

// PauseProvider stops spending at a provider, on all workers and at once:
// submissions wait in line and cost no attempt. What is bought already is
// polled, copied and canceled as ever. ErrNotFound when no such provider is
// configured.
func (e *Engine) PauseProvider(ctx context.Context, name string) error {
	if _, ok := e.Registry.Get(name); !ok {
		return fmt.Errorf("provider: %w", ErrNotFound)
	}
	return e.Store.Pause(ctx, name)
}

// ResumeProvider ends a pause: those who waited are called up as fast as the
// provider's limits allow.
func (e *Engine) ResumeProvider(ctx context.Context, name string) error {
	if _, ok := e.Registry.Get(name); !ok {
		return fmt.Errorf("provider: %w", ErrNotFound)
	}
	return e.Store.Resume(ctx, name)
}
