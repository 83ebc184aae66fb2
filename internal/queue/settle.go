package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hibiken/asynq"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// settle turns what the orchestrator asks for a task into the answer that makes
// asynq do it: done, the retry set with its error and time, or the archive.
func settle(o orchestrator.Outcome) error {
	switch {
	case o.Err == nil:
		return nil
	case o.Archive:
		return fmt.Errorf("%w: %w", o.Err, asynq.SkipRetry)
	default:
		return &delayed{err: o.Err, delay: o.Delay}
	}
}

// delayed is an error that carries when to try again.
type delayed struct {
	err   error
	delay time.Duration
}

func (d *delayed) Error() string { return d.err.Error() }

func (d *delayed) Unwrap() error { return d.err }

// unaskedDelay is the wait after an error that no handler chose: a lost lease,
// a cancel, a time-out, a panic. It is long enough that recoverers of several
// servers do not start the same task twice.
const unaskedDelay = 5 * time.Second

// retryDelay reads the wait that the error carries. asynq's own count plays no
// part: back-off is the record's business.
func retryDelay(_ int, err error, _ *asynq.Task) time.Duration {
	if d, ok := errors.AsType[*delayed](err); ok {
		return max(d.delay, 0)
	}
	return unaskedDelay
}

// nobodysFault lists the errors that count neither as a try nor as a failure:
// the task comes back as if it had not been taken.
var nobodysFault = []error{
	asynq.ErrLeaseExpired,
	context.Canceled,
	errUnknownKind,
	errStopped,
	orchestrator.ErrNewerSchema,
	orchestrator.ErrSubmitsHeld,
	orchestrator.ErrUnavailable,
}

func isFailure(err error) bool {
	return !slices.ContainsFunc(nobodysFault, func(target error) bool { return errors.Is(err, target) })
}
