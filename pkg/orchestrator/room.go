package orchestrator

import (
	"sync"
	"time"
)

// room counts the paid calls that this worker has under way at each provider,
// so that a hanging provider cannot take every submit slot, and remembers for
// how long a provider has asked us to stay away.
type room struct {
	mu     sync.Mutex
	taken  map[string]int
	until  map[string]time.Time
	health map[string]string // the last that this process reported
}

func newRoom() *room {
	return &room{taken: map[string]int{}, until: map[string]time.Time{}}
}

// enter takes a place at the provider. When there is none, it says how long to
// stay away (0: nobody knows). Leave must be called exactly once if ok.
func (r *room) enter(provider string, places int, now time.Time) (leave func(), wait time.Duration, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until := r.until[provider]; until.After(now) {
		return nil, until.Sub(now), false
	}
	if places > 0 && r.taken[provider] >= places {
		return nil, 0, false
	}
	r.taken[provider]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.taken[provider]--
	}, 0, true
}

// stayAway keeps everybody out until the time that the provider named.
func (r *room) stayAway(provider string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.After(r.until[provider]) {
		r.until[provider] = until
	}
}
