package orchestrator

import (
	"context"
	"sync"
	"time"
)

// room counts the paid calls that this worker has under way at each provider,
// so that a hanging provider cannot take every submit slot. What all workers
// together may ask of a provider is the store's to count, see turn.go.
//
// Who finds no place waits a moment, if few are waiting already, and is
// otherwise given a time to come back at: its place in a line that moves as
// fast as calls have ended lately. So a backlog costs each job about one delayed
// task, not one for every look.
type room struct {
	mu     sync.Mutex
	gates  map[string]*gate
	health map[string]string // the last that this process reported
}

// gate is the room at one provider.
type gate struct {
	taken   int
	waiting int
	line    time.Time     // when the last in line was told to come back
	again   time.Time     // likewise, of those who had waited before
	well    int           // submissions taken since the provider asked for less
	took    time.Duration // by a call, on average
	freed   chan struct{}
}

const (
	patience     = 500 * time.Millisecond // for a place, inside the handler
	longestLine  = 30 * time.Second
	firstGuess   = time.Second // how long a call takes, before any has ended
	returnsAfter = time.Second // who has waited its time and finds no place again
)

func newRoom() *room { return &room{gates: map[string]*gate{}, health: map[string]string{}} }

func (r *room) gate(provider string) *gate {
	g := r.gates[provider]
	if g == nil {
		g = &gate{took: firstGuess, freed: make(chan struct{}, 1)}
		r.gates[provider] = g
	}
	return g
}

// enter takes one of the places at the provider; zero places means no limit.
// When there is none it says how long to stay away. A caller that came back
// after such a time does not go to the end of the line again. Leave must be
// called exactly once if ok.
func (r *room) enter(ctx context.Context, provider string, places int, returned bool, clock func() time.Time) (leave func(), wait time.Duration, ok bool) {
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		r.mu.Lock()
		g, now := r.gate(provider), clock()
		if places <= 0 || g.taken < places {
			g.taken++
			r.mu.Unlock()
			return r.leaver(g), 0, true
		}
		if g.waiting >= max(1, places/4) {
			wait = g.comeBackIn(max(places, 1), returned, now)
			r.mu.Unlock()
			return nil, wait, false
		}
		g.waiting++
		r.mu.Unlock()
		over := false
		select {
		case <-g.freed:
		case <-patient.C:
			over = true
		case <-ctx.Done():
			over = true
		}
		r.mu.Lock()
		g.waiting--
		if over {
			wait = g.comeBackIn(max(places, 1), returned, clock())
		}
		r.mu.Unlock()
		if over {
			return nil, wait, false
		}
	}
}

// comeBackIn gives out the next place in line.
func (g *gate) comeBackIn(places int, returned bool, now time.Time) time.Duration {
	if returned {
		g.again = later(g.again, now.Add(returnsAfter)).Add(g.took / time.Duration(places))
		if g.again.Sub(now) > longestLine {
			g.again = now.Add(longestLine)
		}
		return g.again.Sub(now)
	}
	g.line = later(g.line, now).Add(g.took / time.Duration(places))
	if g.line.Sub(now) > longestLine {
		g.line = now.Add(longestLine)
	}
	return g.line.Sub(now)
}

// leaver gives the place back, once, and learns how long it was taken.
func (r *room) leaver(g *gate) func() {
	began := time.Now()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		g.taken--
		g.took = (7*g.took + time.Since(began)) / 8
		select {
		case g.freed <- struct{}{}:
		default:
		}
	}
}

// isolated is how many submissions a provider must have taken since it last
// asked for less, for the next such answer to concern its own job only.
const isolated = 3

// refusedOne notes that a provider asked for less, and reports whether that was
// a single refusal among submissions that are taken.
func (r *room) refusedOne(provider string) (stray bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.gate(provider)
	stray = g.well >= isolated
	g.well = 0
	return stray
}

// took notes that the provider took a submission.
func (r *room) took(provider string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gate(provider).well++
}
