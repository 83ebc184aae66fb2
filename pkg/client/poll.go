package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// PollJobOptions name a job to be polled, and say how. With Provider, JobID is
// the provider's own id of a generation that Easel did not start: it is adopted
// ([Client.Adopt]). What is zero is taken from [PollingConfig].
type PollJobOptions struct {
	JobID    string
	Provider string
	// FeatureType and Model are of what is adopted, where the provider's id
	// does not say it all.
	FeatureType FeatureType
	Model       string

	// Interval is how long the poller waits for an event before it reads the
	// job itself; Factor stretches it with every read in vain, up to Ceiling.
	Interval time.Duration
	Factor   float64
	Ceiling  time.Duration
	// MaxAttempts bounds those reads; 0: no bound.
	MaxAttempts int
	// Timeout is how long the poller goes on; 0: as long as the job takes.
	Timeout time.Duration
	// ConsecutiveErrors is how many reads in a row may fail.
	ConsecutiveErrors int

	// OnProgress is told of every new state, OnComplete of a job that is
	// completed, OnError of everything else that ends the poller, with a
	// [*JobError] when it is the job. They are called one at a time.
	OnProgress func(Progress)
	OnComplete func(*PollJobResult)
	OnError    func(error)
}

// PollJobResult is how a job stood when it was looked at last.
type PollJobResult struct {
	JobID  string // Easel's own
	Status JobStatus
	// Result is set once the job is completed.
	Result *GenerationResult
	// Err is why there is none: a [*JobError] when the job has ended without
	// one, else what ended the poller. Nil while the job is on its way.
	Err      error
	Progress Progress
	// Attempts is how often the job was read, events not counted.
	Attempts int
	Elapsed  time.Duration // since the polling began
}

// The errors that end a poller although the job goes on.
var (
	ErrPollTimeout  = errors.New("easel: the poller's time is over; the job goes on")
	ErrPollAttempts = errors.New("easel: the poller's attempts are used up; the job goes on")
	ErrPollStopped  = errors.New("easel: the poller was stopped; the job goes on")
)

// PollJob looks at a job once. A job that has failed is not an error of the
// call: the result says so. With options.Provider a generation of that provider
// is adopted first.
func (c *Client) PollJob(ctx context.Context, options PollJobOptions) (*PollJobResult, error) {
	started := time.Now()
	job, err := c.pollTarget(ctx, options)
	if err != nil {
		return nil, err
	}
	if job == nil {
		if job, err = c.Get(ctx, options.JobID); err != nil {
			return nil, err
		}
	}
	result := c.polled(job)
	result.Attempts, result.Elapsed = 1, time.Since(started)
	return result, nil
}

// pollTarget adopts what has to be adopted.
func (c *Client) pollTarget(ctx context.Context, options PollJobOptions) (*Job, error) {
	if options.Provider == "" {
		return nil, nil
	}
	return c.Adopt(ctx, Adoption{
		ProviderID: options.Provider, RemoteID: options.JobID, FeatureType: options.FeatureType, Model: options.Model,
	})
}

func (c *Client) polled(job *Job) *PollJobResult {
	result := &PollJobResult{JobID: job.ID, Status: job.Status, Progress: progressOf(job)}
	if job.Status.AtRest() {
		result.Result, result.Err = c.ended(job)
	}
	return result
}

// JobPoller follows one job in the background: it listens to the job's events,
// and reads the job itself only when none come.
type JobPoller struct {
	client  *Client
	options PollJobOptions

	mu     sync.Mutex
	state  PollJobResult
	cancel context.CancelCauseFunc
	done   chan struct{}
}

// NewJobPoller makes a poller of a job. Nothing happens until
// [JobPoller.Start].
func (c *Client) NewJobPoller(options PollJobOptions) *JobPoller {
	set := c.config.Polling.withDefaults()
	o := &options
	if o.Interval <= 0 {
		o.Interval = set.InitialInterval
	}
	if o.Factor < 1 {
		o.Factor = set.Factor
	}
	if o.Ceiling < o.Interval {
		o.Ceiling = max(set.Ceiling, o.Interval)
	}
	if o.Timeout <= 0 {
		o.Timeout = set.Deadline
	}
	if o.ConsecutiveErrors <= 0 {
		o.ConsecutiveErrors = set.ConsecutiveErrors
	}
	return &JobPoller{client: c, options: options, done: make(chan struct{})}
}

// Start begins to poll, until the job is at rest, a bound is reached, the
// context ends, or [JobPoller.Stop]. Starting twice is an error.
func (p *JobPoller) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		return errors.New("easel: the poller was started before")
	}
	ctx, p.cancel = context.WithCancelCause(ctx)
	go p.run(ctx)
	return nil
}

// Stop ends the polling and waits until the last call of a hook has returned. A
// hook must not call it: it would wait for itself. The job goes on.
func (p *JobPoller) Stop() {
	p.mu.Lock()
	cancel := p.cancel
	if cancel == nil {
		p.cancel = func(error) {}
		close(p.done) // it never ran, and never will
	}
	p.mu.Unlock()
	if cancel != nil {
		cancel(ErrPollStopped)
	}
	<-p.done
}

// Done is closed when the poller has ended and all hooks have returned.
func (p *JobPoller) Done() <-chan struct{} { return p.done }

// Result is how the job stood when it was heard of last.
func (p *JobPoller) Result() *PollJobResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.state
	return &state
}

// Wait waits until the poller has ended, or the context, and returns how the job
// stood then. The error is the result's own, or the context's.
func (p *JobPoller) Wait(ctx context.Context) (*PollJobResult, error) {
	select {
	case <-p.done:
		result := p.Result()
		return result, result.Err
	case <-ctx.Done():
		return p.Result(), fmt.Errorf("easel: %w", context.Cause(ctx))
	}
}

// run polls and calls the hooks. It is the one goroutine that does.
func (p *JobPoller) run(ctx context.Context) {
	defer close(p.done)
	defer p.cancel(nil)
	err := p.follow(ctx, time.Now())
	p.mu.Lock()
	if p.state.Err == nil {
		p.state.Err = err
	}
	result := p.state
	p.mu.Unlock()
	switch {
	case result.Err != nil && p.options.OnError != nil:
		p.options.OnError(result.Err)
	case result.Err == nil && p.options.OnComplete != nil:
		p.options.OnComplete(&result)
	}
}

// heard is what a watch brought.
type heard struct {
	job Job
	err error
}

// follow listens and reads until the job is at rest.
func (p *JobPoller) follow(ctx context.Context, started time.Time) error {
	if p.options.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, p.options.Timeout, ErrPollTimeout)
		defer stop()
	}
	id, err := p.target(ctx)
	if err != nil {
		return err
	}
	p.update(started, func(state *PollJobResult) { state.JobID = id })
	events, stop := p.listen(ctx, id)
	defer stop()
	seen, interval, failures := int64(0), p.options.Interval, 0
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		var job *Job
		select {
		case <-ctx.Done():
			return fmt.Errorf("easel: follow job %s: %w", id, context.Cause(ctx))
		case event := <-events:
			if event.err != nil {
				events = nil // reads go on, and are bounded
				continue
			}
			job = &event.job
		case <-timer.C:
			job, err = p.read(ctx, id, started)
			if errors.Is(err, ErrPollAttempts) || IsNotFound(err) || IsUnauthorized(err) {
				return err
			}
			interval = min(time.Duration(float64(interval)*p.options.Factor), p.options.Ceiling)
		}
		if job == nil {
			if failures++; failures >= p.options.ConsecutiveErrors && ctx.Err() == nil {
				return fmt.Errorf("easel: follow job %s: %d reads in a row failed: %w", id, failures, err)
			}
		} else {
			failures = 0
			if job.Version > seen {
				seen, interval = job.Version, p.options.Interval
				if p.tell(job, started) {
					return nil
				}
			}
		}
		timer.Reset(interval)
	}
}

func (p *JobPoller) target(ctx context.Context) (string, error) {
	job, err := p.client.pollTarget(ctx, p.options)
	switch {
	case err != nil:
		return "", err
	case job != nil:
		return job.ID, nil
	default:
		return p.options.JobID, nil
	}
}

// listen watches the job in a goroutine of its own; stop waits for that.
func (p *JobPoller) listen(ctx context.Context, id string) (<-chan heard, func()) {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan heard)
	var watching sync.WaitGroup
	watching.Go(func() {
		for job, err := range p.client.Watch(ctx, id) {
			select {
			case events <- heard{job, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	return events, func() {
		cancel()
		watching.Wait()
	}
}

// read reads the job because no event has come.
func (p *JobPoller) read(ctx context.Context, id string, started time.Time) (*Job, error) {
	if p.options.MaxAttempts > 0 && p.Result().Attempts >= p.options.MaxAttempts {
		return nil, ErrPollAttempts
	}
	p.update(started, func(state *PollJobResult) { state.Attempts++ })
	return p.client.Get(ctx, id)
}

func (p *JobPoller) update(started time.Time, change func(*PollJobResult)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.state)
	p.state.Elapsed = time.Since(started)
}

// tell takes in a newer state, and reports whether the job is at rest.
func (p *JobPoller) tell(job *Job, started time.Time) bool {
	now := p.client.polled(job)
	p.update(started, func(state *PollJobResult) {
		now.Attempts = state.Attempts
		*state = *now
	})
	if p.options.OnProgress != nil {
		p.options.OnProgress(progressOf(job))
	}
	return job.Status.AtRest()
}

// withDefaults fills in what is zero.
func (p PollingConfig) withDefaults() PollingConfig {
	if p.InitialInterval == 0 {
		p.InitialInterval = 2 * time.Second
	}
	if p.Factor == 0 {
		p.Factor = 1.5
	}
	if p.Ceiling == 0 {
		p.Ceiling = max(30*time.Second, p.InitialInterval)
	}
	if p.ConsecutiveErrors == 0 {
		p.ConsecutiveErrors = 5
	}
	return p
}
