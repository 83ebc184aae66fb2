package main

import (
	"context"
	"errors"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The exit codes. Scripts rely on them.
const (
	exitCompleted   = 0
	exitFailed      = 1
	exitUsage       = 2
	exitUnresolved  = 3
	exitUnreachable = 4
	exitInterrupted = 130 // as shells say it
)

// usageError is a command line, or a configuration, that makes no sense.
type usageError struct{ error }

// Unwrap returns what is wrong with it.
func (e usageError) Unwrap() error { return e.error }

// restError ends a command whose job did not complete. It has been shown, so
// that there is nothing left to say.
type restError struct{ code int }

func (restError) Error() string { return "" }

// exitCode is what the program ends with after err.
func exitCode(err error) int {
	if err == nil {
		return exitCompleted
	}
	if rest, ok := errors.AsType[restError](err); ok {
		return rest.code
	}
	_, usage := errors.AsType[usageError](err)
	_, misconfigured := errors.AsType[*config.Error](err)
	switch {
	case usage, misconfigured, client.IsInvalid(err):
		return exitUsage
	case client.IsUnavailable(err), errors.Is(err, orchestrator.ErrUnavailable):
		return exitUnreachable
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	default:
		return exitFailed
	}
}

// rested is nil when every job completed. A job that failed counts for more
// than one that nobody has decided about.
func rested(jobs []client.Job) error {
	code := exitCompleted
	for _, job := range jobs {
		switch job.Status {
		case tasks.StatusCompleted:
		case tasks.StatusUnresolved:
			if code == exitCompleted {
				code = exitUnresolved
			}
		default:
			code = exitFailed
		}
	}
	if code == exitCompleted {
		return nil
	}
	return restError{code}
}
