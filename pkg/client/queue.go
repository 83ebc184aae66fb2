package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// The statuses of a job; see [tasks.Status].
const (
	StatusQueued     = tasks.StatusQueued
	StatusProcessing = tasks.StatusProcessing
	StatusCompleted  = tasks.StatusCompleted
	StatusFailed     = tasks.StatusFailed
	StatusCanceled   = tasks.StatusCanceled
	StatusUnresolved = tasks.StatusUnresolved
)

// QueueConfig says how a [Queue] works.
type QueueConfig struct {
	// Name makes the queue durable and common to all processes that open it
	// under that name: what was added stands in Redis, and what a process was
	// at that is gone is taken over by another. It needs [Connect] or
	// [Embedded]. Without a name the queue is this process's own, and what
	// has not been started is gone with it.
	Name string
	// Concurrency is how many jobs the queue has under way at a time, over all
	// processes that share it; 0: 4.
	Concurrency int
	// OnJobComplete is told of a job that is completed, OnJobError of one that
	// ended otherwise or could not be asked for. They are called in the
	// process that follows the job, concurrently, and at least once: again
	// when that process is killed before the queue has noted it.
	OnJobComplete func(QueueJob)
	OnJobError    func(QueueJob, error)
}

// QueueJob is an entry of a [Queue]. JobID is empty, and Status queued, until a
// job was asked for.
type QueueJob struct {
	ID     string
	JobID  string
	Status JobStatus
	// Result is set once the job is completed, Err when it has ended without.
	Result *GenerationResult
	Err    error
}

// The errors of a [Queue].
var (
	ErrNotQueued = errors.New("easel: the queue has no such entry")
	errNotEnded  = errors.New("easel: the entry has not ended; there is nothing to retry")
)

// queueLease is how long an entry may go without a word from its process until
// another takes it over, queueBeat how often there is one, and queueLook how
// often a shared queue is looked at for what others have added.
const (
	queueLease = 10 * time.Second
	queueBeat  = 3 * time.Second
	queueLook  = 500 * time.Millisecond
)

// Queue works requests off in the background, a few at a time. It is made by
// [Client.NewQueue].
type Queue struct {
	client *Client
	config QueueConfig
	list   backlog
	wake   chan struct{}

	mu       sync.Mutex
	stop     context.CancelFunc
	running  sync.WaitGroup
	progress map[string]func(Progress) // of what was added here
}

var queueName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// NewQueue opens a queue. Nothing runs until [Queue.Start].
func (c *Client) NewQueue(config QueueConfig) (*Queue, error) {
	if config.Concurrency < 0 {
		return nil, errors.New("easel: QueueConfig.Concurrency: must not be negative")
	}
	if config.Concurrency == 0 {
		config.Concurrency = 4
	}
	q := &Queue{
		client: c, config: config, list: newLocal(),
		wake: make(chan struct{}, 1), progress: map[string]func(Progress){},
	}
	if config.Name != "" {
		if !queueName.MatchString(config.Name) {
			return nil, errors.New("easel: QueueConfig.Name: must be letters, digits, dots, dashes and underscores, at most 64")
		}
		var err error
		if q.list, err = c.transport.backlog(config.Name); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// Add puts a request at the end of the queue and returns its entry's id. Before
// [Queue.Start] it waits there.
func (q *Queue) Add(ctx context.Context, r Request) (string, error) {
	draft, err := r.Draft()
	if err != nil {
		return "", err
	}
	if draft, err = q.client.complete(ctx, draft); err != nil {
		return "", err
	}
	raw, err := json.Marshal(draft)
	if err != nil {
		return "", fmt.Errorf("easel: encode request: %w", err)
	}
	id := "q_" + rand.Text()
	if r.OnProgress != nil {
		q.mu.Lock()
		q.progress[id] = r.OnProgress
		q.mu.Unlock()
	}
	if err := q.list.add(ctx, id, raw); err != nil {
		return "", err
	}
	q.awake()
	return id, nil
}

func (q *Queue) awake() {
	select {
	case q.wake <- struct{}{}:
	default: // it is awake
	}
}

// Start begins to work the queue off, until the context ends or [Queue.Stop]. A
// queue that was stopped can be started again.
func (q *Queue) Start(ctx context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.stop != nil {
		return errors.New("easel: the queue is started already")
	}
	ctx, q.stop = context.WithCancel(ctx)
	q.running.Go(func() { q.run(ctx) })
	return nil
}

// Stop ends the work and waits until it has ended; hooks that run are waited
// for. Jobs that were asked for go on, and are followed again by the next
// [Queue.Start], or by another process that shares the queue.
func (q *Queue) Stop() {
	q.mu.Lock()
	stop := q.stop
	q.mu.Unlock()
	if stop == nil {
		return
	}
	stop()
	q.running.Wait()
	q.mu.Lock()
	q.stop = nil
	q.mu.Unlock()
}

// run takes entries as long as there is room for them.
func (q *Queue) run(ctx context.Context) {
	look := time.NewTicker(queueLook)
	defer look.Stop()
	for ctx.Err() == nil {
		w := work{queue: q, owner: rand.Text()}
		var err error
		w.item, err = q.list.take(ctx, w.owner, q.config.Concurrency, queueLease)
		if err == nil && w.item != nil {
			q.running.Go(func() { w.serve(ctx) })
			continue
		}
		// Nothing to do, no room, or Redis is away: another look will tell.
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-look.C:
		}
	}
}

// work is one entry in the hands of this process.
type work struct {
	queue *Queue
	item  *queueItem
	owner string // of the lease
}

// serve brings the entry to its end, keeping its lease meanwhile.
func (w work) serve(ctx context.Context) {
	defer w.queue.awake() // there is room again
	following, cancel := context.WithCancel(ctx)
	var beating sync.WaitGroup
	defer beating.Wait()
	defer cancel()
	beating.Go(func() { w.beat(following, cancel) })

	entry := QueueJob{ID: w.item.ID, Status: StatusFailed}
	entry.JobID, entry.Err = w.ask(following)
	if entry.Err == nil {
		entry.Result, entry.Err = w.follow(following, entry.JobID)
	}
	if following.Err() != nil && isDetached(entry.Err) {
		w.giveBack(ctx)
		return
	}
	failed, ok := errors.AsType[*JobError](entry.Err)
	switch {
	case ok:
		entry.Status = failed.Job.Status
	case entry.Err == nil:
		entry.Status = StatusCompleted
	}
	w.end(ctx, entry)
}

// beat keeps the lease. Whoever has lost it leaves the entry to the one who has
// it now.
func (w work) beat(ctx context.Context, lost context.CancelFunc) {
	ticker := time.NewTicker(queueBeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if ours, _, err := w.queue.list.keep(ctx, w.item.ID, w.owner, "", queueLease); err == nil && !ours {
			lost()
			return
		}
	}
}

// ask asks for the entry's job, or returns the one that was asked for. The name
// of the request is the entry's, so that asking twice is asking once.
func (w work) ask(ctx context.Context) (string, error) {
	if w.item.Job != "" {
		return w.item.Job, nil
	}
	var draft tasks.Draft
	if err := json.Unmarshal(w.item.Request, &draft); err != nil {
		return "", fmt.Errorf("easel: read the queue: %w", err)
	}
	named := callOptions{key: "queue/" + w.item.ID + "/" + strconv.Itoa(w.item.Tries), keyed: true}
	for try := 1; ; try++ {
		job, err := w.queue.client.transport.enqueue(ctx, draft, named)
		switch {
		case err == nil:
			return job.ID, w.note(ctx, job.ID)
		case !IsUnavailable(err):
			return "", err
		}
		if err := sleep(ctx, backoff(try)); err != nil {
			return "", err
		}
	}
}

// note writes down which job was asked for, and cancels it where somebody has
// wanted that meanwhile.
func (w work) note(ctx context.Context, job string) error {
	_, cancel, err := w.queue.list.keep(ctx, w.item.ID, w.owner, job, queueLease)
	if err == nil && cancel {
		_, err = w.queue.client.Cancel(ctx, job)
	}
	if IsConflict(err) || IsUnavailable(err) {
		return nil // it has ended by itself; or asking again finds the same job
	}
	return err
}

// follow follows the job, again where it was lost from sight, and to nothing
// where it was erased.
func (w work) follow(ctx context.Context, job string) (*GenerationResult, error) {
	var r Request
	w.queue.mu.Lock()
	r.OnProgress = w.queue.progress[w.item.ID]
	w.queue.mu.Unlock()
	for try := 1; ; try++ {
		result, err := w.queue.client.follow(ctx, job, r)
		if err == nil || !isDetached(err) || IsNotFound(err) || sleep(ctx, backoff(try)) != nil {
			return result, err
		}
	}
}

// isDetached reports whether the job may go on although it could not be
// followed.
func isDetached(err error) bool {
	_, detached := errors.AsType[*DetachedError](err)
	return detached || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// giveBack leaves the entry to whoever comes next.
func (w work) giveBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queueBeat)
	defer cancel()
	_, _, _ = w.queue.list.keep(ctx, w.item.ID, w.owner, "", 0) // else the lease runs out
}

// end calls the hook first and notes the end second, so that a crash in between
// repeats the hook and does not swallow it.
func (w work) end(ctx context.Context, entry QueueJob) {
	q, failure := w.queue, ""
	switch {
	case entry.Err == nil && q.config.OnJobComplete != nil:
		q.config.OnJobComplete(entry)
	case entry.Err != nil:
		failure = entry.Err.Error()
		if q.config.OnJobError != nil {
			q.config.OnJobError(entry, entry.Err)
		}
	}
	q.mu.Lock()
	delete(q.progress, w.item.ID)
	q.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queueLease)
	defer cancel()
	for try := 1; ; try++ {
		err := q.list.end(ctx, w.item.ID, w.owner, string(entry.Status), failure)
		if err == nil || sleep(ctx, backoff(try)) != nil {
			return // noted, or the lease runs out and somebody notes it again
		}
	}
}

// JobStatus returns an entry as it is now; one that has ended is remembered for
// a day. It is [ErrNotQueued] where there is none.
func (q *Queue) JobStatus(ctx context.Context, id string) (*QueueJob, error) {
	item, err := q.list.item(ctx, id)
	if err != nil {
		return nil, err
	}
	entry := &QueueJob{ID: id, JobID: item.Job, Status: JobStatus(item.Status)}
	switch {
	case item.Status == itemWaiting || item.Status == itemRunning && item.Job == "":
		entry.Status = StatusQueued
		return entry, nil
	case item.Job == "":
		if item.Error != "" {
			entry.Err = errors.New(item.Error)
		}
		return entry, nil
	}
	job, err := q.client.Get(ctx, item.Job)
	if err != nil {
		return nil, err
	}
	if entry.Status = job.Status; job.Status.AtRest() {
		entry.Result, entry.Err = q.client.ended(job)
	}
	return entry, nil
}

// CancelJob takes an entry out of the queue, or cancels its job. Like
// [Client.Cancel] it is a conflict when the job has ended otherwise.
func (q *Queue) CancelJob(ctx context.Context, id string) error {
	_, job, err := q.list.drop(ctx, id)
	if err != nil || job == "" {
		return err // it waited, or is canceled as soon as it has a job
	}
	_, err = q.client.Cancel(ctx, job)
	return err
}

// RetryJob puts an entry that has failed, or was taken out, back into the queue:
// its job is retried ([Client.Retry]), or, where there is none, or it was
// canceled, asked for anew.
func (q *Queue) RetryJob(ctx context.Context, id string) error {
	item, err := q.list.item(ctx, id)
	if err != nil {
		return err
	}
	if item.Status == itemWaiting || item.Status == itemRunning {
		return errNotEnded
	}
	anew := item.Job == "" || item.Status == string(StatusCanceled)
	if !anew {
		if _, err := q.client.Retry(ctx, item.Job, RetryDefault, WithIdempotencyKey("queue/"+id+"/retry/"+strconv.Itoa(item.Tries))); err != nil {
			return err
		}
	}
	if err := q.list.again(ctx, id, anew); err != nil {
		return err
	}
	q.awake()
	return nil
}
