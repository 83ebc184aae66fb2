package client

import (
	"context"
	"slices"
	"sync"
	"time"
)

// backlog is what a queue has to do, in order. Whoever takes an item owns it
// until the lease is over.
type backlog interface {
	add(ctx context.Context, id string, request []byte) error
	// take returns nil when there is nothing to do, or no room.
	take(ctx context.Context, owner string, room int, lease time.Duration) (*queueItem, error)
	// keep pushes the lease and notes the job, if one is given.
	keep(ctx context.Context, id, owner, job string, lease time.Duration) (ours, cancel bool, err error)
	end(ctx context.Context, id, owner, status, failure string) error
	drop(ctx context.Context, id string) (status, job string, err error)
	again(ctx context.Context, id string, anew bool) error
	item(ctx context.Context, id string) (*queueItem, error)
}

// queueItem is one entry. Its fields are those of the list in Redis.
type queueItem struct {
	ID      string
	Request []byte
	Job     string
	Status  string
	Error   string
	Tries   int
}

const (
	itemWaiting = "waiting"
	itemRunning = "running"
)

// local is the list of a queue without a name: it is gone with the process. A
// lease of nothing gives an item back.
type local struct {
	mu      sync.Mutex
	items   map[string]*queueItem
	waiting []string
	running map[string]bool // false: given back
	cancels map[string]bool
}

func newLocal() *local {
	return &local{items: map[string]*queueItem{}, running: map[string]bool{}, cancels: map[string]bool{}}
}

func (l *local) add(_ context.Context, id string, request []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items[id] = &queueItem{ID: id, Request: request, Status: itemWaiting}
	l.waiting = append(l.waiting, id)
	return nil
}

func (l *local) take(_ context.Context, _ string, room int, _ time.Duration) (*queueItem, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, owned := range l.running {
		if !owned {
			return l.own(id), nil
		}
	}
	if len(l.waiting) == 0 || len(l.running) >= room {
		return nil, nil
	}
	id := l.waiting[0]
	l.waiting = l.waiting[1:]
	return l.own(id), nil
}

func (l *local) own(id string) *queueItem {
	l.running[id] = true
	l.items[id].Status = itemRunning
	item := *l.items[id]
	return &item
}

func (l *local) keep(_ context.Context, id, _, job string, lease time.Duration) (ours, cancel bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if job != "" {
		l.items[id].Job = job
	}
	l.running[id] = lease > 0
	return true, l.cancels[id], nil
}

func (l *local) end(_ context.Context, id, _, status, failure string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, id)
	delete(l.cancels, id)
	l.items[id].Status, l.items[id].Error = status, failure
	return nil
}

func (l *local) drop(_ context.Context, id string) (status, job string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	item := l.items[id]
	switch {
	case item == nil:
		return "", "", ErrNotQueued
	case item.Status == itemWaiting:
		l.waiting = slices.DeleteFunc(l.waiting, func(other string) bool { return other == id })
		item.Status = string(StatusCanceled)
	case item.Status == itemRunning:
		l.cancels[id] = true
	}
	return item.Status, item.Job, nil
}

func (l *local) again(_ context.Context, id string, anew bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	item := l.items[id]
	switch {
	case item == nil:
		return ErrNotQueued
	case item.Status == itemWaiting || item.Status == itemRunning:
		return errNotEnded
	}
	item.Status, item.Error = itemWaiting, ""
	item.Tries++
	if anew {
		item.Job = ""
	}
	l.waiting = append(l.waiting, id)
	return nil
}

func (l *local) item(_ context.Context, id string) (*queueItem, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	item := l.items[id]
	if item == nil {
		return nil, ErrNotQueued
	}
	known := *item
	return &known, nil
}
