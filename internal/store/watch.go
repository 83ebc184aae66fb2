package store

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Run holds the subscription that watches are served from, until ctx ends. It
// reconnects by itself; since events are lost meanwhile, every new subscription
// wakes every watcher.
func (s *Store) Run(ctx context.Context) error {
	subscription := s.redis.Subscribe(ctx, channelEvents)
	events := subscription.ChannelWithSubscriptions()
	defer func() {
		_ = subscription.Close() // there is nothing left to lose
		for range events {       // until its reader has ended
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, ok := <-events:
			if !ok {
				return s.failed("watch events", errors.New("subscription was closed"))
			}
			switch event := event.(type) {
			case *redis.Subscription:
				s.watchers.wakeAll()
			case *redis.Message:
				id, _, _ := strings.Cut(event.Payload, " ")
				s.watchers.wake(id)
			}
		}
	}
}

// Watch implements [orchestrator.Store]. Stop may be called more than once.
func (s *Store) Watch(id string) (changed <-chan struct{}, stop func()) {
	w := make(watcher, 1)
	s.watchers.add(id, w)
	return w, func() { s.watchers.remove(id, w) }
}

// watcher holds one value until somebody reads it.
type watcher chan struct{}

func (w watcher) wake() {
	select {
	case w <- struct{}{}:
	default: // one is waiting to be read, and says the same
	}
}

// watchers are those who wait, by job.
type watchers struct {
	mu  sync.Mutex
	job map[string]map[watcher]struct{}
}

func (w *watchers) add(id string, one watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.job == nil {
		w.job = map[string]map[watcher]struct{}{}
	}
	if w.job[id] == nil {
		w.job[id] = map[watcher]struct{}{}
	}
	w.job[id][one] = struct{}{}
}

func (w *watchers) remove(id string, one watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.job[id], one)
	if len(w.job[id]) == 0 {
		delete(w.job, id)
	}
}

func (w *watchers) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.job[id] {
		one.wake()
	}
}

func (w *watchers) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ones := range w.job {
		for one := range ones {
			one.wake()
		}
	}
}
