package orchestrator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// memoryLines is what a memory store knows of the providers' gates. A turn in
// it is always now: the rate is counted over what was admitted.
type memoryLines struct {
	gates  map[string]*memoryGate
	places map[string]string // "provider job:submission" → job
}

type memoryGate struct {
	paused bool
	until  time.Time
	line   []string
	turns  map[string]time.Time // when each lapses
	slots  []time.Time          // of what was admitted
}

func (l *memoryLines) gate(provider string) *memoryGate {
	if l.gates == nil {
		l.gates, l.places = map[string]*memoryGate{}, map[string]string{}
	}
	if l.gates[provider] == nil {
		l.gates[provider] = &memoryGate{turns: map[string]time.Time{}}
	}
	return l.gates[provider]
}

// hold makes the places of a job those of its record.
func (l *memoryLines) hold(job *tasks.Job) {
	l.gate(job.ProviderID)
	for key, id := range l.places {
		if id == job.ID {
			delete(l.places, key)
		}
	}
	for _, p := range job.Places {
		l.places[fmt.Sprintf("%s %s:%d", p.ProviderID, job.ID, p.Submission)] = job.ID
	}
}

func (l *memoryLines) held(provider string) (n int) {
	for key := range l.places {
		if strings.HasPrefix(key, provider+" ") {
			n++
		}
	}
	return n
}

// move reports whether somebody stands in a line that moves.
func (l *memoryLines) move() bool {
	for _, g := range l.gates {
		if !g.paused && len(g.line)+len(g.turns) > 0 {
			return true
		}
	}
	return false
}

// free reports whether the limits allow one more.
func (l *memoryLines) free(now time.Time, provider string, limits providers.Limits) bool {
	g := l.gate(provider)
	for id, lapses := range g.turns {
		if lapses.Before(now) {
			delete(g.turns, id)
			if !slices.Contains(g.line, id) {
				g.line = slices.Insert(g.line, 0, id)
			}
		}
	}
	if g.paused || g.until.After(now) {
		return false
	}
	if limits.MaxInFlight > 0 && l.held(provider)+len(g.turns) >= limits.MaxInFlight {
		return false
	}
	recent := len(g.turns)
	for _, at := range g.slots {
		if now.Sub(at) < limits.Rate.Per {
			recent++
		}
	}
	return limits.Rate.Requests == 0 || recent < limits.Rate.Requests
}

func (l *memoryLines) admit(now time.Time, provider, id string, limits providers.Limits) bool {
	g := l.gate(provider)
	if lapses, given := g.turns[id]; limits.Any() && (!given || lapses.Before(now)) || g.paused || g.until.After(now) {
		return false
	}
	delete(g.turns, id)
	g.slots = append(g.slots, now)
	return true
}

func (s *memoryStore) TakeTurn(_ context.Context, job *tasks.Job, limits providers.Limits) (turn Turn, err error) {
	s.world.call(func() {
		g := s.lines.gate(job.ProviderID)
		free := s.lines.free(s.world.now, job.ProviderID, limits)
		if _, given := g.turns[job.ID]; given {
			turn = Turn{Given: true, At: s.world.now}
			return
		}
		at := slices.Index(g.line, job.ID)
		if free && (len(g.line) == 0 || at == 0) {
			g.line = slices.DeleteFunc(g.line, func(id string) bool { return id == job.ID })
			g.turns[job.ID] = s.world.now.Add(5 * time.Second)
			turn = Turn{Given: true, At: s.world.now}
			return
		}
		if at < 0 {
			g.line = append(g.line, job.ID)
			at = len(g.line) - 1
		}
		turn = Turn{Before: at, Paused: g.paused}
	})
	return turn, err
}

func (s *memoryStore) CallUp(_ context.Context, limits map[string]providers.Limits) (called []string, waiting bool, err error) {
	s.world.call(func() {
		for provider, g := range s.lines.gates {
			for s.lines.free(s.world.now, provider, limits[provider]) && len(g.line) > 0 {
				id := g.line[0]
				g.line = g.line[1:]
				if job, err := s.read(id); err != nil || job.State != tasks.Queued || job.ProviderID != provider {
					continue
				}
				g.turns[id] = s.world.now.Add(5 * time.Second)
				called = append(called, id)
			}
			waiting = waiting || len(g.line) > 0
		}
	})
	return called, waiting, err
}

func (s *memoryStore) Pause(_ context.Context, provider string) error {
	s.lines.gate(provider).paused = true
	return nil
}

func (s *memoryStore) Resume(_ context.Context, provider string) error {
	s.lines.gate(provider).paused = false
	return nil
}

func (s *memoryStore) StayAway(_ context.Context, provider string, wait time.Duration) error {
	s.world.call(func() {
		g := s.lines.gate(provider)
		g.until = later(g.until, s.world.now.Add(wait))
	})
	return nil
}

func (s *memoryStore) Gates(_ context.Context, names []string) (map[string]Gate, error) {
	gates := map[string]Gate{}
	for _, name := range names {
		g := s.lines.gate(name)
		gate := Gate{Until: g.until, Waiting: len(g.line), InFlight: s.lines.held(name)}
		if g.paused {
			gate.PausedSince = s.world.now
		}
		gates[name] = gate
	}
	return gates, nil
}

func (s *memoryStore) SomePlaces(_ context.Context, provider string, n int) (places []HeldPlace, err error) {
	for key, id := range s.lines.places {
		if number, found := strings.CutPrefix(key, provider+" "+id+":"); found && len(places) < n {
			submission, _ := strconv.Atoi(number)
			places = append(places, HeldPlace{JobID: id, Submission: submission})
		}
	}
	return places, nil
}

func (s *memoryStore) GiveBack(_ context.Context, provider string, place HeldPlace, version int64) error {
	job, err := s.read(place.JobID)
	if err == nil && job.Version == version || err != nil && version == 0 {
		delete(s.lines.places, fmt.Sprintf("%s %s:%d", provider, place.JobID, place.Submission))
	}
	return nil
}

// memoryCircuits counts calls without a window: it is shorter than a journey.
type memoryCircuits struct {
	open      map[CircuitKey]Circuit
	well, bad map[CircuitKey]int
	probes    map[CircuitKey]time.Time
}

func (s *memoryStore) ReportCalls(_ context.Context, key CircuitKey, r CallReport) error {
	c, now := &s.circuits, s.world.now
	if c.open == nil {
		c.open, c.well, c.bad, c.probes = map[CircuitKey]Circuit{}, map[CircuitKey]int{}, map[CircuitKey]int{}, map[CircuitKey]time.Time{}
	}
	circuit, open := c.open[key]
	switch {
	case open && r.Began.Before(circuit.Since):
	case open && r.Bad == 0:
		delete(c.open, key)
	case open:
		circuit.ProbeAt = now.Add(10 * time.Second)
		delete(c.probes, key)
		c.open[key] = circuit
	default:
		c.well[key] += r.Well
		c.bad[key] += r.Bad
		if r.Bad > 0 && (r.Trip || c.bad[key] >= 5 && c.bad[key] >= c.well[key]) {
			c.open[key] = Circuit{Since: now, ProbeAt: now.Add(10 * time.Second), Reason: r.Reason}
			c.well[key], c.bad[key] = 0, 0
		}
	}
	return nil
}

func (s *memoryStore) TakeProbe(_ context.Context, key CircuitKey) (bool, error) {
	circuit, open := s.circuits.open[key]
	if !open {
		return true, nil
	}
	if s.world.now.Before(circuit.ProbeAt) || s.world.now.Before(s.circuits.probes[key]) {
		return false, nil
	}
	s.circuits.probes[key] = s.world.now.Add(30 * time.Second)
	return true, nil
}

func (s *memoryStore) ForgetCircuits(_ context.Context, provider string) error {
	maps.DeleteFunc(s.circuits.open, func(k CircuitKey, _ Circuit) bool { return k.Provider == provider })
	return nil
}

func (s *memoryStore) Circuits(context.Context) (map[CircuitKey]Circuit, error) {
	return maps.Clone(s.circuits.open), nil
}
