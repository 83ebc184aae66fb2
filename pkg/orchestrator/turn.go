package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// This file is the line before each provider, which all workers share. A job
// that may not be submitted now - the rate is used up, too much is in flight,
// the provider is paused or has asked to be left alone - stands in line as a
// delayed task, and is called up when its turn comes: so it is put off once,
// however long the line is.
//
// A turn is a moment that the store has reserved. A job is called up a little
// before it, waits for it in its handler, and is submitted then; the script
// that writes the intent takes the turn and the place in the same breath, just
// early enough for the call to be made on time. What is not taken lapses, and its
// job is called up again: nothing depends on the worker that called it.

// turnTries is how often a job may miss its turn in one run of its task.
const turnTries = 4

// takeTurn submits the job as soon as it may be: now, in a moment, or, when it
// is not yet its turn, later.
func (e *Engine) takeTurn(ctx context.Context, job *tasks.Job, entry providers.Entry) Outcome {
	// Without limits the gate is open as a rule: the intent's script says so.
	ask := entry.Limits.Any() || job.InLine
	for range turnTries {
		if ask {
			turn, err := e.Store.TakeTurn(ctx, job, entry.Limits)
			if err != nil {
				return Retry(fmt.Errorf("take a turn at %s: %w", entry.Name, err), 2*time.Second)
			}
			if !turn.Given {
				return e.comeBack(ctx, job, lookAgainIn(turn, entry.Limits), true)
			}
			if !e.sleepUntil(ctx, turn.At) {
				return Retry(ctx.Err(), 0) // another worker goes on
			}
		}
		leave, wait, ok := e.room.enter(ctx, entry.Name, entry.Concurrency, job.Waits > 0 && !job.InLine, e.Store.Now)
		if !ok {
			// Where there is a line, it moves who found this worker full, too.
			return e.comeBack(ctx, job, wait, ask)
		}
		outcome, open := e.hand(ctx, job, entry)
		leave()
		if open {
			return outcome
		}
		ask = true
	}
	return e.comeBack(ctx, job, returnsAfter, true)
}

// sleepUntil waits until a time by Redis' clock.
func (e *Engine) sleepUntil(ctx context.Context, at time.Time) bool {
	for {
		wait := at.Sub(e.Store.Now())
		if wait <= 0 {
			return true
		}
		if !sleep(ctx, wait) {
			return false
		}
	}
}

// When a job in line looks by itself, in case nobody calls it.
const (
	lookAtLeast     = time.Minute
	lookWhilePaused = time.Hour
	lookInFlight    = 15 * time.Minute
)

func lookAgainIn(turn Turn, limits providers.Limits) time.Duration {
	switch {
	case turn.Paused:
		return lookWhilePaused
	case limits.MaxInFlight > 0:
		return lookInFlight
	case limits.Rate.Requests == 0:
		return lookAtLeast
	}
	expected := time.Duration(turn.Before/limits.Rate.Requests+1) * limits.Rate.Per
	return lookAtLeast + 2*expected
}

// stayAway closes the provider's gate for as long as it has asked for. A refusal
// that names no time, alone among submissions that are taken, shuts nobody else
// out.
func (e *Engine) stayAway(ctx context.Context, provider string, asked time.Duration) {
	if stray := e.room.refusedOne(provider); stray && asked <= 0 {
		return
	}
	if err := e.Store.StayAway(ctx, provider, max(asked, leastStay)); err != nil {
		e.Observer.Failed("tell that "+provider+" wants to be left alone", "", err)
	}
}

// line wakes the loop that calls up the waiting.
type line struct{ moved chan struct{} }

func newLine() *line { return &line{moved: make(chan struct{}, 1)} }

// How often the lines are looked at: while somebody waits, and while nobody
// does.
const (
	lineBusy = 150 * time.Millisecond
	lineIdle = time.Second
)

// moveLines calls up the waiting until the context ends.
func (e *Engine) moveLines(ctx context.Context) {
	timer := time.NewTimer(lineIdle)
	defer timer.Stop()
	for {
		wait := lineIdle
		if e.callUp(ctx) {
			wait = lineBusy
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.line.moved:
		}
	}
}

// wakers is how many jobs are called up at a time.
const wakers = 16

// callUp calls up those whose turn comes, and reports whether others wait.
func (e *Engine) callUp(ctx context.Context) bool {
	limits := map[string]providers.Limits{}
	for _, entry := range e.Registry.All() {
		limits[entry.Name] = entry.Limits
	}
	called, waiting, err := e.Store.CallUp(ctx, limits)
	if err != nil && ctx.Err() == nil {
		e.Observer.Failed("call up the waiting", "", err)
	}
	abreast(wakers, called, func(id string) {
		if err := e.wake(ctx, id); err != nil && ctx.Err() == nil {
			e.Observer.Failed("call up", id, err)
		}
	})
	return waiting
}

// wake has the task of a job in line run now. One that is lost is made anew:
// nobody else looks for it before the job is due.
func (e *Engine) wake(ctx context.Context, id string) error {
	job, err := e.Store.Load(ctx, id)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrNewerSchema) {
		return nil
	}
	if err != nil {
		return err
	}
	if job.State != tasks.Queued || job.Kind != tasks.KindSubmit || !job.InLine {
		return nil // it has moved on, and its turn lapses
	}
	state, err := e.Queue.State(ctx, job.MainTask(0))
	switch {
	case err != nil:
		return err
	case state == TaskScheduled || state == TaskRetry:
		return e.Queue.RunNow(ctx, job.MainTask(0))
	case state.Waiting() || state == TaskActive:
		return nil
	}
	return e.mend(ctx, job, "lost_task", func(next *tasks.Job, now time.Time) error {
		if err := e.raise(job.Step, job.Gen, false)(next, now); err != nil {
			return err
		}
		next.Due = now
		return nil
	})
}

// places are those that the job's submissions take up at their providers, each
// with the time at which it is given back although nobody has learned of its
// end. What the provider works on takes one until it is done; what it perhaps
// works on, for as long as the job was given.
func (e *Engine) places(job *tasks.Job) []tasks.Place {
	var places []tasks.Place
	for i := range job.Submissions {
		s := &job.Submissions[i]
		until := s.SentAt.Add(job.Request.Timeout)
		switch {
		case s.Succeeded:
			continue
		case s.Live():
			until = later(until, job.Deadline).Add(e.Timings.Settle)
		case s.State == tasks.SubmissionIntent:
			until = later(until, s.Deadline.Add(e.Timings.Slack))
		case s.State != tasks.SubmissionUnknown:
			continue
		}
		places = append(places, tasks.Place{ProviderID: s.ProviderID, Submission: s.Number, Until: until.Truncate(time.Millisecond)})
	}
	return places
}

// freed wakes the line when a change has given a place back.
func (e *Engine) freed(before, after *tasks.Job) {
	if len(after.Places) >= len(before.Places) {
		return
	}
	select {
	case e.line.moved <- struct{}{}:
	default:
	}
}

// checkedPlaces is how many places of each provider are checked at a time.
const checkedPlaces = 20

// checkPlaces gives back what no job holds any more: a release that does not
// know of places yet moves jobs on without giving theirs back.
func (e *Engine) checkPlaces(ctx context.Context) {
	for _, entry := range e.Registry.All() {
		if entry.Limits.MaxInFlight == 0 {
			continue
		}
		held, err := e.Store.SomePlaces(ctx, entry.Name, checkedPlaces)
		for _, place := range held {
			if err == nil {
				err = e.checkPlace(ctx, entry.Name, place)
			}
		}
		if err != nil && ctx.Err() == nil {
			e.Observer.Failed("check the places at "+entry.Name, "", err)
		}
	}
}

func (e *Engine) checkPlace(ctx context.Context, provider string, place HeldPlace) error {
	job, err := e.Store.Load(ctx, place.JobID)
	if errors.Is(err, ErrNewerSchema) {
		return nil
	}
	if errors.Is(err, ErrNotFound) {
		return e.Store.GiveBack(ctx, provider, place, 0)
	}
	if err != nil {
		return err
	}
	holds := slices.ContainsFunc(e.places(job), func(p tasks.Place) bool {
		return p.ProviderID == provider && p.Submission == place.Submission
	})
	if holds {
		return nil
	}
	return e.Store.GiveBack(ctx, provider, place, job.Version)
}
