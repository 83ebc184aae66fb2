// Command bench measures what Easel costs beside raw asynq. Both sides do their
// work in one run, turn by turn, against the same Redis, and every result is
// given next to its baseline: a rate by itself says more about the machine than
// about the program. README.md says how to read it.
//
// # What it refuses to know
//
// How fast is fast enough. It passes no judgement and fails only when something
// did not work: a job that did not complete, a task that was lost.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options say how much is measured.
type options struct {
	rounds      int           // of everything that is timed
	jobs        int           // that one worker drains, at a time
	sprint      time.Duration // how long jobs are taken as fast as can be
	waiting     int           // jobs that wait when memory is measured
	naps        int           // jobs of each round that meet a sleeping worker
	steady      time.Duration // how long a steady stream of jobs lasts
	idle        time.Duration // how long an idle worker is watched
	concurrency int           // handlers at a time
	fsync       string        // appendfsync of the Redis
	dir         string        // where Redis and both sides keep their files
	json        bool
}

func (o *options) flags(output io.Writer) *flag.FlagSet {
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(output)
	f.IntVar(&o.rounds, "rounds", 3, "rounds in which the contenders take turns")
	f.IntVar(&o.jobs, "jobs", 2000, "jobs that wait when a worker begins to drain them")
	f.DurationVar(&o.sprint, "sprint", 700*time.Millisecond, "how long jobs are taken as fast as can be")
	f.IntVar(&o.waiting, "waiting", 10_000, "jobs that wait in Redis when its memory is measured")
	f.IntVar(&o.naps, "naps", 20, "jobs of each round that meet a sleeping worker")
	f.DurationVar(&o.steady, "steady", 2*time.Second, "how long the steady stream of jobs of each round lasts")
	f.DurationVar(&o.idle, "idle", 3*time.Second, "how long an idle worker is watched")
	f.IntVar(&o.concurrency, "concurrency", 256, "handlers of a worker that run at a time")
	f.StringVar(&o.fsync, "fsync", "everysec", "appendfsync of the Redis: always, everysec or no")
	f.StringVar(&o.dir, "dir", "", "`directory` for the files of Redis and of both sides; empty: the system's for temporary files")
	f.BoolVar(&o.json, "json", false, "print the results as JSON, with the value of each round")
	return f
}

func (o *options) check() error {
	for name, n := range map[string]int{
		"rounds": o.rounds, "jobs": o.jobs, "waiting": o.waiting, "naps": o.naps, "concurrency": o.concurrency,
	} {
		if n < 1 {
			return fmt.Errorf("-%s must be at least 1", name)
		}
	}
	if o.sprint <= 0 || o.steady <= 0 || o.idle <= 0 {
		return errors.New("-sprint, -steady and -idle must be positive")
	}
	return nil
}

// run reads the flags, measures, and prints the report.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var opts options
	flags := opts.flags(stderr)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return errors.New("takes flags only")
	}
	if err := opts.check(); err != nil {
		return err
	}
	results, err := measure(ctx, opts, stderr)
	if err != nil {
		return err
	}
	if opts.json {
		return results.writeJSON(stdout)
	}
	return results.writeText(stdout)
}

// measure opens the lab and lets each measurement have its turn in every round.
func measure(ctx context.Context, opts options, progress io.Writer) (_ *report, err error) {
	l, err := openLab(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("open the lab: %w", err)
	}
	defer func() { err = errors.Join(err, l.close()) }()

	results := &report{Machine: l.machine, Rounds: opts.rounds}
	timed := []measurement{newAcceptance(l, opts), newDrain(l, opts), newPickup(l, opts)}
	for round := range opts.rounds {
		for _, m := range timed {
			fmt.Fprintf(progress, "round %d of %d: %s\n", round+1, opts.rounds, m.name())
			if err := m.round(ctx); err != nil {
				return nil, fmt.Errorf("%s: %w", m.name(), err)
			}
		}
	}
	for _, m := range timed {
		results.Timed = append(results.Timed, m.tables()...)
	}

	fmt.Fprintln(progress, "once: traffic by stage")
	if results.Traffic, err = newTraffic(l, opts).measure(ctx); err != nil {
		return nil, fmt.Errorf("traffic: %w", err)
	}
	fmt.Fprintln(progress, "once: memory of waiting jobs")
	if results.Memory, err = newMemory(l, opts).measure(ctx); err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	return results, nil
}

// A measurement is timed: its contenders take turns in every round.
type measurement interface {
	name() string
	// round lets each contender do its work once.
	round(ctx context.Context) error
	// tables are the results of all rounds so far.
	tables() []*table
}
