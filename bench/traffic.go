package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// mostTrafficJobs bounds the jobs of this measurement: counts do not get better
// with more of them, and no job may wait so long for its stage that the
// reconciler looks after it.
const mostTrafficJobs = 500

// traffic measures what a job costs Redis, stage by stage. Every job goes
// through one stage before the first goes through the next: the queues of the
// others are paused. The provider answers with an id and has the result at the
// first poll, and the caller wants a webhook, so that every stage is passed.
type traffic struct {
	lab  *lab
	opts options
	jobs int
}

// trafficReport is what [traffic] finds.
type trafficReport struct {
	Jobs  int           `json:"jobs"`
	Sides []trafficSide `json:"sides"`
}

// trafficSide is the traffic of one contender.
type trafficSide struct {
	Name   string      `json:"name"`
	Stages []stageCost `json:"stages"` // per job
	Idle   cost        `json:"idle"`   // of an idle worker, per second
	Trips  []tripShare `json:"trips"`
}

type stageCost struct {
	Stage stage `json:"stage"`
	cost
}

func newTraffic(l *lab, opts options) *traffic {
	return &traffic{lab: l, opts: opts, jobs: min(opts.jobs, mostTrafficJobs)}
}

func (t *traffic) measure(ctx context.Context) (*trafficReport, error) {
	found := &trafficReport{Jobs: t.jobs}
	for _, contender := range []struct {
		name string
		turn func(ctx context.Context, w *window) error
	}{{"raw asynq, by hand", t.byHand}, {"Easel, polled and told", t.easel}} {
		if err := t.lab.clear(ctx); err != nil {
			return nil, err
		}
		w := &window{lab: t.lab, tally: newTally(), jobs: t.jobs, trips: map[trip]int{}}
		if err := contender.turn(ctx, w); err != nil {
			return nil, fmt.Errorf("%s: %w", contender.name, err)
		}
		w.side.Name, w.side.Trips = contender.name, shares(w.trips, t.jobs)
		w.total()
		found.Sides = append(found.Sides, w.side)
	}
	return found, nil
}

func (t *traffic) byHand(ctx context.Context, w *window) (err error) {
	hand, err := t.lab.openByHand(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, hand.close()) }()
	r, err := t.lab.openRaw(t.opts.concurrency, resultKept, w.tally)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	stop, err := r.work(func(ctx context.Context, task *asynq.Task) error {
		return hand.handle(inStage(ctx, stageWork), task)
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	queues := asynq.NewInspectorFromRedisClient(t.lab.admin)
	if err := queues.PauseQueue(rawQueue); err != nil {
		return err
	}
	if err := w.idle(ctx, t.opts.idle); err != nil {
		return err
	}
	if err := w.stage(ctx, stageAccept, func(ctx context.Context) error {
		return callersDo(ctx, manyCallers, t.jobs, func(ctx context.Context) error {
			_, err := r.enqueue(ctx)
			return err
		})
	}); err != nil {
		return err
	}
	return w.stage(ctx, stageWork, func(ctx context.Context) error {
		return errors.Join(queues.UnpauseQueue(rawQueue), w.tally.await(ctx, stageWork, callerComplete, t.jobs))
	})
}

func (t *traffic) easel(ctx context.Context, w *window) (err error) {
	e, err := t.lab.openEasel(ctx, easelConfig{
		provider: t.lab.patient, places: t.opts.concurrency, workers: t.opts.concurrency,
		hooks: []redis.Hook{w.tally}, mark: markKind,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.close()) }()
	queues := asynq.NewInspectorFromRedisClient(t.lab.admin)
	for _, queue := range tasks.Queues {
		if err := queues.PauseQueue(queue); err != nil {
			return err
		}
	}
	stop := e.work(ctx)
	defer func() { err = errors.Join(err, stop()) }()

	if err := w.idle(ctx, t.opts.idle); err != nil {
		return err
	}
	job := draft(t.lab.receiver)
	if err := w.stage(ctx, stageAccept, func(ctx context.Context) error {
		return callersDo(ctx, manyCallers, t.jobs, func(ctx context.Context) error {
			_, err := e.accept(ctx, job)
			return err
		})
	}); err != nil {
		return err
	}
	for _, step := range []struct {
		stage stage
		queue string
	}{
		{stageSubmit, tasks.QueueSubmitDefault}, {stagePoll, tasks.QueuePoll},
		{stageFinalize, tasks.QueueFinalize}, {stageDeliver, tasks.QueueDeliver},
	} {
		if err := w.stage(ctx, step.stage, func(ctx context.Context) error {
			return errors.Join(queues.UnpauseQueue(step.queue), w.tally.await(ctx, step.stage, callerDone, t.jobs))
		}); err != nil {
			return fmt.Errorf("%s: %w", step.stage, err)
		}
	}
	return nil
}

// window looks at Redis before and after each stage.
type window struct {
	lab   *lab
	tally *tally
	jobs  int
	trips map[trip]int
	side  trafficSide
}

// idle measures a worker that has nothing to do.
func (w *window) idle(ctx context.Context, length time.Duration) error {
	spent, took, _, err := w.watch(ctx, func(ctx context.Context) error { return rest(ctx, length) })
	w.side.Idle = spent.by(took.Seconds())
	return err
}

// stage measures what all jobs do to pass one stage.
func (w *window) stage(ctx context.Context, s stage, pass func(ctx context.Context) error) error {
	spent, took, counts, err := w.watch(inStage(ctx, s), pass)
	if err != nil {
		return err
	}
	perJob := spent.minus(took.Seconds(), w.side.Idle).by(float64(w.jobs))
	perJob.RoundTrips = 0
	for made, n := range counts {
		w.trips[made] += n
		if made.stage != stageBackground {
			perJob.RoundTrips += float64(n) / float64(w.jobs)
		}
	}
	w.side.Stages = append(w.side.Stages, stageCost{s, perJob})
	return nil
}

// watch measures what happens while something is done.
func (w *window) watch(ctx context.Context, do func(ctx context.Context) error) (cost, time.Duration, map[trip]int, error) {
	w.tally.take()
	before, err := w.lab.look(ctx)
	if err != nil {
		return cost{}, 0, nil, err
	}
	if err := do(ctx); err != nil {
		return cost{}, 0, nil, err
	}
	after, err := w.lab.look(ctx)
	if err != nil {
		return cost{}, 0, nil, err
	}
	counts := w.tally.take()
	spent := costBetween(before, after)
	for n := range maps.Values(counts) {
		spent.RoundTrips += float64(n)
	}
	return spent, after.at.Sub(before.at), counts, nil
}

// total adds the sum of all stages.
func (w *window) total() {
	var sum cost
	for _, s := range w.side.Stages {
		sum = sum.minus(-1, s.cost)
	}
	w.side.Stages = append(w.side.Stages, stageCost{"in all", sum})
}
