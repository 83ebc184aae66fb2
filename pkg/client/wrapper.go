package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Executor is what executes requests: a [*Client], or a [*Wrapper] around one.
type Executor interface {
	Execute(ctx context.Context, r Request, options ...ExecuteOption) (*GenerationResult, error)
}

// ExecuteFunc executes one request.
type ExecuteFunc func(ctx context.Context, r Request) (*GenerationResult, error)

// Middleware stands around an execution: it may change the request, refuse it,
// answer it without asking anybody, or replace what comes of it.
type Middleware func(next ExecuteFunc) ExecuteFunc

// WrapperConfig is what a [Wrapper] does around each execution. Everything runs
// in the calling process, and at least once: a request that is executed again
// after a crash, under the same name, passes through it again although it is
// the same job.
type WrapperConfig struct {
	// Before are called first, in order. They may change the request; an error
	// refuses it, and nothing is asked for.
	Before []func(ctx context.Context, r *Request) error
	// Middleware stands around the execution, the first outermost.
	Middleware []Middleware
	// After are called with a result, in order; each may replace it.
	After []func(ctx context.Context, r Request, result *GenerationResult) (*GenerationResult, error)
	// OnError are called with what went wrong, in order; each may replace the
	// error. A [*DetachedError] says that the job goes on, and may yet cost.
	OnError []func(ctx context.Context, r Request, err error) error
}

// Wrapper executes requests with hooks and middleware around them.
type Wrapper struct {
	next    Executor
	configs []WrapperConfig
}

// NewWrapper puts hooks and middleware around an executor. Of several
// configurations the first is the outermost.
func NewWrapper(next Executor, configs ...WrapperConfig) *Wrapper {
	return &Wrapper{next: next, configs: configs}
}

// Execute executes the request through all hooks and middleware.
func (w *Wrapper) Execute(ctx context.Context, r Request, options ...ExecuteOption) (*GenerationResult, error) {
	for _, option := range options {
		option(&r)
	}
	execute := func(ctx context.Context, r Request) (*GenerationResult, error) { return w.next.Execute(ctx, r) }
	for i := len(w.configs) - 1; i >= 0; i-- {
		execute = w.configs[i].around(execute)
	}
	return execute(ctx, r)
}

// around is one configuration around an execution.
func (c WrapperConfig) around(next ExecuteFunc) ExecuteFunc {
	for i := len(c.Middleware) - 1; i >= 0; i-- {
		next = c.Middleware[i](next)
	}
	return func(ctx context.Context, r Request) (*GenerationResult, error) {
		result, err := c.run(ctx, &r, next)
		if err == nil {
			return result, nil
		}
		for _, hook := range c.OnError {
			if replaced := hook(ctx, r, err); replaced != nil {
				err = replaced
			}
		}
		return nil, err
	}
}

func (c WrapperConfig) run(ctx context.Context, r *Request, next ExecuteFunc) (*GenerationResult, error) {
	for _, hook := range c.Before {
		if err := hook(ctx, r); err != nil {
			return nil, err
		}
	}
	result, err := next(ctx, *r)
	if err != nil {
		return nil, err
	}
	for _, hook := range c.After {
		if result, err = hook(ctx, *r, result); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// ErrHookPanicked is wrapped by the error of an execution in which a hook
// panicked.
var ErrHookPanicked = errors.New("easel: a hook panicked")

// NewDefaultWrapper is a wrapper ready made: it refuses features that nobody
// offers before anything is asked for ([ErrNoProvider]), gives every request a
// name, so that middleware that executes it twice buys once, turns a panic of a
// hook into [ErrHookPanicked], and logs how each execution went, without
// prompts. Further configurations stand inside of it. A nil log is the default
// one.
func NewDefaultWrapper(c *Client, log *slog.Logger, configs ...WrapperConfig) *Wrapper {
	if log == nil {
		log = slog.Default()
	}
	standard := WrapperConfig{
		Middleware: []Middleware{logged(log), guarded},
		Before:     []func(context.Context, *Request) error{named, c.offered},
	}
	return NewWrapper(c, append([]WrapperConfig{standard}, configs...)...)
}

// named gives a request a name that has none.
func named(_ context.Context, r *Request) error {
	if r.IdempotencyKey == "" {
		r.IdempotencyKey = rand.Text()
	}
	return nil
}

// offered refuses what nobody offers.
func (c *Client) offered(ctx context.Context, r *Request) error {
	if r.ProviderID != "" {
		p, err := c.Provider(ctx, r.ProviderID)
		if err == nil && !p.Offers(r.FeatureType) {
			err = fmt.Errorf("%w: %q does not offer %q", ErrNoProvider, r.ProviderID, r.FeatureType)
		}
		return err
	}
	_, err := c.ProviderForFeature(ctx, r.FeatureType)
	return err
}

// guarded turns a panic into an error. What panicked may quote a prompt, and is
// not repeated.
func guarded(next ExecuteFunc) ExecuteFunc {
	return func(ctx context.Context, r Request) (result *GenerationResult, err error) {
		defer func() {
			if recover() != nil {
				result, err = nil, ErrHookPanicked
			}
		}()
		return next(ctx, r)
	}
}

// logged logs how an execution went.
func logged(log *slog.Logger) Middleware {
	return func(next ExecuteFunc) ExecuteFunc {
		return func(ctx context.Context, r Request) (*GenerationResult, error) {
			started := time.Now()
			result, err := next(ctx, r)
			about := []any{"feature", string(r.FeatureType), "user", r.UserID, "took", time.Since(started)}
			if err != nil {
				log.ErrorContext(ctx, "generation failed", append(about, "class", string(ClassifyError(err).Class), "error", err)...)
				return nil, err
			}
			log.InfoContext(ctx, "generation completed", append(about, "job", result.JobID, "provider", result.ProviderID)...)
			return result, nil
		}
	}
}
