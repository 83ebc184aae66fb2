package record

import (
	"context"
	"time"
)

// Quick has a session not wait between its calls.
func (s *Session) Quick() {
	s.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
}
