//go:build !easel_http

package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// shared is the list of a named queue, in Redis.
type shared struct {
	engine *engine
	name   string
}

func (e *engine) backlog(name string) (backlog, error) { return shared{e, name}, nil }

// refused tells a missing item from a missing job, and everything else as the
// verbs do.
func (s shared) refused(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, orchestrator.ErrNotFound):
		return ErrNotQueued
	case errors.Is(err, orchestrator.ErrConflict):
		return errNotEnded
	case isUnavailable(err):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	default:
		return s.engine.refused(ctx, err)
	}
}

func (s shared) add(ctx context.Context, id string, request []byte) error {
	return s.refused(ctx, s.engine.service.Backlog(s.name).Add(ctx, id, request))
}

func (s shared) take(ctx context.Context, owner string, room int, lease time.Duration) (*queueItem, error) {
	item, err := s.engine.service.Backlog(s.name).Take(ctx, owner, room, lease)
	if err != nil || item == nil {
		return nil, s.refused(ctx, err)
	}
	return (*queueItem)(item), nil
}

func (s shared) keep(ctx context.Context, id, owner, job string, lease time.Duration) (ours, cancel bool, err error) {
	ours, cancel, err = s.engine.service.Backlog(s.name).Keep(ctx, id, owner, job, lease)
	return ours, cancel, s.refused(ctx, err)
}

func (s shared) end(ctx context.Context, id, owner, status, failure string) error {
	return s.refused(ctx, s.engine.service.Backlog(s.name).End(ctx, id, owner, status, failure))
}

func (s shared) drop(ctx context.Context, id string) (status, job string, err error) {
	status, job, err = s.engine.service.Backlog(s.name).Drop(ctx, id)
	return status, job, s.refused(ctx, err)
}

func (s shared) again(ctx context.Context, id string, anew bool) error {
	return s.refused(ctx, s.engine.service.Backlog(s.name).Again(ctx, id, anew))
}

func (s shared) item(ctx context.Context, id string) (*queueItem, error) {
	item, err := s.engine.service.Backlog(s.name).Item(ctx, id)
	if err != nil {
		return nil, s.refused(ctx, err)
	}
	return (*queueItem)(item), nil
}
