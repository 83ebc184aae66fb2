package orchestrator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// world is everything around an engine, in memory and in virtual time: it runs
// tasks when they are due, and cuts the power at a chosen call.
type world struct {
	t         tester
	now       time.Time
	store     *memoryStore
	queue     *memoryQueue
	provider  *scripted
	artifacts *memoryArtifacts
	notifier  *memoryNotifier
	engine    *Engine

	calls   int            // to store, queue, provider, artifacts
	cutAt   int            // the call that the power is cut at, 0: never
	cutLate bool           // after the call has taken effect
	steps   []tasks.Kind   // of tasks that were handled
	paid    map[string]int // accepted submissions by client id

	resubmit bool // on_unknown of the provider
	limits   providers.Limits
	changes  []func(*Config) // of every engine that is opened

	// meddle, if set, runs before each effect: what another process does in
	// between.
	meddle func()
	// unheard is the call from which on the next reply of store or queue gets
	// lost, 0: none.
	unheard int
	handled []tasks.Task // every task that a handler was given
	illegal []string     // moves that the table does not list
}

// tester is a test, or one run of a property.
type tester interface {
	require.TestingT
	Helper()
}

// powerCut is what a cut call panics with. It takes the handler with it, as
// kill -9 does.
type powerCut struct{}

// call stands around every effect on the outside.
func (w *world) call(effect func()) {
	w.calls++
	cutNow := w.calls == w.cutAt
	if w.meddle != nil {
		at := w.cutAt
		w.cutAt = 0
		w.meddle()
		w.cutAt = at
	}
	if cutNow && !w.cutLate {
		panic(powerCut{})
	}
	effect()
	if cutNow && w.cutLate {
		panic(powerCut{})
	}
}

// heard is the reply to a call that has taken effect, unless it gets lost.
func (w *world) heard(err error) error {
	if w.unheard == 0 || w.calls < w.unheard || err != nil {
		return err
	}
	w.unheard = 0
	return ErrUnavailable
}

// watcher notes moves that the table does not list: they are bugs.
type watcher struct {
	Unobserved
	world *world
}

func (o watcher) Failed(_, _ string, err error) { o.world.note(err) }

func (w *world) note(err error) {
	if err != nil && strings.Contains(err.Error(), "may not take it from") {
		w.illegal = append(w.illegal, err.Error())
	}
}

// start is when every world begins.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func newWorld(t tester, script ...reply) *world {
	w := &world{t: t, now: start, paid: map[string]int{}}
	w.store = &memoryStore{world: w, records: map[string][]byte{}, open: map[string]time.Time{}, requests: map[string]tasks.Request{}, keys: map[string]string{}}
	w.queue = &memoryQueue{world: w, tasks: map[string]*queued{}}
	w.provider = &scripted{world: w, script: script, finds: true, remote: map[string]string{}}
	w.artifacts = &memoryArtifacts{world: w, files: map[string][]byte{}, staged: map[string]providers.Status{}}
	w.notifier = &memoryNotifier{world: w}
	w.open()
	return w
}

// open makes an engine over the world, as a process does when it starts. Every
// engine after it is changed likewise.
func (w *world) open(change ...func(*Config)) {
	w.changes = append(w.changes, change...)
	registry, err := providers.NewRegistry([]providers.Entry{
		{Name: "lumen", Adapter: "lumen", Provider: w.provider.asProvider(), ResubmitOnUnknown: w.resubmit, Limits: w.limits},
	}, "")
	require.NoError(w.t, err)
	cfg := Config{
		Store: w.store, Queue: w.queue, Registry: registry, Artifacts: w.artifacts, Notifier: w.notifier, Observer: watcher{world: w},
		Defaults: Defaults{Timeout: time.Hour, RetryAttempts: 2, RetryDelay: time.Second}, Tokens: plainTokens{},
		PublicURL: "https://easel.test", Retention: Retention{Jobs: 168 * time.Hour},
	}
	for _, apply := range w.changes {
		apply(&cfg)
	}
	w.engine, err = New(cfg)
	require.NoError(w.t, err)
}

func draft() tasks.Draft {
	return tasks.Draft{FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{"prompt":"a red kite"}`)}
}

// accept brings one job in; the power may be cut on the way.
func (w *world) accept(entry Entry) *tasks.Job {
	var job *tasks.Job
	w.power(func() {
		var err error
		job, _, err = w.engine.Accept(context.Background(), tasks.DefaultTenant, entry)
		require.NoError(w.t, err)
	})
	if job == nil {
		for id := range w.store.records {
			job, _ = w.store.Load(context.Background(), id)
		}
	}
	return job
}

// power runs fn, and reports false when the power was cut in it.
func (w *world) power(fn func()) (ok bool) {
	defer func() {
		if r := recover(); r != nil {
			if _, cut := r.(powerCut); !cut {
				panic(r)
			}
			ok = false
			w.cutAt = 0
			w.open() // a new process, with nothing in its memory
		}
	}()
	fn()
	return true
}

// run lets virtual time pass until the job is at rest and owes nothing, or
// nothing happens any more.
func (w *world) run(id string) *tasks.Job {
	for range 2000 {
		job, err := w.store.Load(context.Background(), id)
		if err == nil && job.State.AtRest() && job.Kind == "" && !job.OwesSideLane() && w.queue.idle() {
			return job
		}
		w.step()
	}
	job, err := w.store.Load(context.Background(), id)
	require.NoError(w.t, err)
	require.Failf(w.t, "job does not come to rest", "%+v", job)
	return nil
}

// step runs the next task, or, when a job is overdue before it, a pass of the
// reconciler.
func (w *world) step() {
	next := w.queue.next()
	look := w.store.nextTouch()
	if moves := w.now.Add(lineBusy); w.store.lines.move() && !look.Before(moves) && (next == nil || !next.runsAt().Before(moves)) {
		w.now = moves
		w.power(func() { w.engine.callUp(context.Background()) })
		return
	}
	if next == nil || (!look.IsZero() && look.Before(next.runsAt())) {
		w.now = later(w.now.Add(time.Millisecond), look)
		w.power(func() { w.engine.pass(context.Background()) })
		return
	}
	w.now = later(w.now, next.runsAt())
	w.handle(next)
}

// recovery is how long asynq holds a dead worker's task before it runs again.
const recovery = 90 * time.Second

// handle runs a task as asynq does: active while the handler lives, and when it
// dies, until asynq's own recovery delivers it once more.
func (w *world) handle(q *queued) {
	q.state, q.recoverAt = TaskActive, time.Time{}
	w.steps, w.handled = append(w.steps, q.task.Kind), append(w.handled, q.task)
	alive := w.power(func() {
		outcome := w.engine.Handle(context.Background(), q.task)
		w.note(outcome.Err)
		switch {
		case outcome.Err == nil:
			delete(w.queue.tasks, q.task.ID())
		case outcome.Archive:
			q.state, q.err = TaskArchived, outcome.Err
		default:
			q.state, q.err, q.due = TaskRetry, outcome.Err, w.now.Add(outcome.Delay)
		}
	})
	if !alive {
		q.recoverAt = w.now.Add(recovery)
	}
}

// reply is what the scripted provider answers to one submit or poll.
type reply struct {
	status providers.Status
	err    error
	// accepts says that the provider took the submission although the answer
	// is an error.
	accepts bool
	before  func(w *world) // what happens while the call is under way
}

var (
	pending  = reply{status: providers.Status{State: providers.Running, RemoteID: "r"}}
	finished = reply{status: providers.Status{State: providers.Succeeded, RemoteID: "r", Outputs: []providers.Output{{URL: "https://cdn.test/1.png"}}}}
	atOnce   = reply{status: providers.Status{State: providers.Succeeded, Outputs: []providers.Output{{Data: []byte("bytes"), Kind: "image"}}}}
	broken   = reply{status: providers.Status{State: providers.Failed, Failure: &classify.Error{Class: classify.GenerationFailed, Message: "GPU lost"}}}
	throttle = reply{err: &classify.Error{Class: classify.RateLimit, RetryAfter: 7 * time.Second, Message: "slow down"}}
	busy     = reply{err: &classify.Error{Class: classify.Server, Status: 500, Message: "oops"}}
	refusal  = reply{err: &classify.Error{Class: classify.ContentPolicy, Code: "moderation", Message: "no"}}
	cutOff   = reply{err: &classify.Error{Class: classify.UnknownOutcome, Message: "connection lost"}, accepts: true}
	unheard  = reply{err: &classify.Error{Class: classify.UnknownOutcome, Message: "connection lost"}}
	offline  = reply{err: &classify.Error{Class: classify.Network, Message: "no route"}}
	gone     = reply{err: &classify.Error{Class: classify.NotFound, Message: "no such id"}}
	noKey    = reply{err: &classify.Error{Class: classify.Authentication, Status: 401, Message: "bad key"}}
)

// scripted is a provider that answers what it is told to, in order; when the
// script is over it finishes everything.
type scripted struct {
	world   *world
	script  []reply
	finds   bool
	remote  map[string]string // client id → remote id of what was accepted
	lag     time.Duration
	submits int // calls of Submit
	cancels int
	// remoteID is what it calls everything, empty: by the client's id.
	remoteID string

	synchronous   bool
	webhooks      bool
	files         providers.Handover
	largestInline int64
	got           providers.Request                            // the last one
	report        func(context.Context, *float64, string) bool // of the submission that is under way
}

func (p *scripted) asProvider() providers.Provider {
	if p.finds {
		return findable{p}
	}
	return p
}

func (p *scripted) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features:    []providers.FeatureCapability{{Feature: tasks.TextToImage, Input: json.RawMessage(`{"properties":{"prompt":{},"n":{}}}`)}},
		Synchronous: p.synchronous, Webhooks: p.webhooks, Files: p.files, LargestInline: p.largestInline,
		Poll: providers.PollPolicy{First: time.Second, Interval: time.Second, Ceiling: 5 * time.Second},
	}
}

func (p *scripted) next() reply {
	if len(p.script) == 0 {
		return finished
	}
	r := p.script[0]
	p.script = p.script[1:]
	return r
}

func (p *scripted) Submit(_ context.Context, req providers.Request) (st providers.Status, err error) {
	p.submits++
	p.world.call(func() {
		r := p.next()
		p.got, p.report = req, req.Report
		if r.before != nil {
			r.before(p.world)
		}
		if r.err == nil || r.accepts {
			p.world.paid[req.ClientID]++
			p.remote[req.ClientID] = "r-" + req.ClientID
		}
		st, err = r.status, r.err
		if st.RemoteID != "" {
			st.RemoteID = cmp.Or(p.remoteID, "r-"+req.ClientID)
		}
	})
	return st, err
}

func (p *scripted) Poll(_ context.Context, ref providers.Ref) (st providers.Status, err error) {
	p.world.call(func() {
		r := p.next()
		if r.before != nil {
			r.before(p.world)
		}
		st, err = r.status, r.err
		st.RemoteID = ref.RemoteID
	})
	return st, err
}

func (p *scripted) Cancel(context.Context, providers.Ref) error {
	p.cancels++
	return nil
}

// findable is a scripted provider that can be asked for lost submissions.
type findable struct{ *scripted }

func (f findable) Find(_ context.Context, lost providers.Lost) (st providers.Status, err error) {
	f.world.call(func() {
		id, ok := f.remote[lost.Request.ClientID]
		if !ok {
			err = providers.ErrAbsent
			return
		}
		st = providers.Status{State: providers.Running, RemoteID: id}
	})
	return st, err
}

func (f findable) ListLag() time.Duration { return f.lag }

// Download serves every output that has a URL.
func (p *scripted) Download(_ context.Context, _ providers.Ref, out providers.Output) (body providers.Body, err error) {
	require.NotEmpty(p.world.t, out.URL, "what came with the answer cannot be fetched again")
	p.world.call(func() { body = download{bytes.NewReader([]byte("image"))} })
	return body, err
}

type download struct{ *bytes.Reader }

func (download) Close() error      { return nil }
func (download) MediaType() string { return "image/png" }
func (d download) Size() int64     { return d.Reader.Size() }

// memoryStore keeps records as JSON, so that nothing is shared by accident.
type memoryStore struct {
	world    *world
	records  map[string][]byte
	open     map[string]time.Time // the open index
	requests map[string]tasks.Request
	keys     map[string]string // idempotency key → id
	bodies   map[string][]byte
	lines    memoryLines
	circuits memoryCircuits
	conflict func(*tasks.Job) // changes the record just before a Save
	down     bool
	refuses  int // of the next saves
}

func (s *memoryStore) Now() time.Time { return s.world.now }

func (s *memoryStore) read(id string) (*tasks.Job, error) {
	raw, ok := s.records[id]
	if !ok {
		return nil, ErrNotFound
	}
	var job tasks.Job
	if err := json.Unmarshal(raw, &job); err != nil {
		return nil, err
	}
	job.Request = s.requests[id]
	return &job, nil
}

func (s *memoryStore) write(job *tasks.Job) {
	raw, err := json.Marshal(job)
	require.NoError(s.world.t, err)
	s.records[job.ID], s.requests[job.ID] = raw, job.Request
	s.lines.hold(job)
	delete(s.open, job.ID)
	if !job.Touch.IsZero() {
		s.open[job.ID] = job.Touch
	}
}

func (s *memoryStore) Create(_ context.Context, jobs []*tasks.Job, most map[string]int) (created []Created, err error) {
	s.world.call(func() {
		for _, job := range jobs {
			if id, taken := s.keys[job.Tenant+"/"+job.IdempotencyKey]; taken && job.IdempotencyKey != "" {
				existing, _ := s.read(id)
				created = append(created, Created{ExistingID: id, ExistingHash: existing.RequestHash})
				continue
			}
			if limit := most[job.ProviderID]; limit > 0 && s.waiting(job.ProviderID) >= limit {
				created = append(created, Created{Waiting: s.waiting(job.ProviderID)})
				continue
			}
			if job.IdempotencyKey != "" {
				s.keys[job.Tenant+"/"+job.IdempotencyKey] = job.ID
			}
			s.write(job)
			created = append(created, Created{})
		}
	})
	return created, err
}

func (s *memoryStore) waiting(provider string) int {
	n := 0
	for id := range s.records {
		if job, err := s.read(id); err == nil && job.State == tasks.Queued && job.ProviderID == provider {
			n++
		}
	}
	return n
}

func (s *memoryStore) Keyed(_ context.Context, tenant, key string) (Created, error) {
	id, held := s.keys[tenant+"/"+key]
	if !held {
		return Created{}, nil
	}
	job, err := s.read(id)
	if err != nil {
		return Created{}, err
	}
	return Created{ExistingID: id, ExistingHash: job.RequestHash}, nil
}

func (s *memoryStore) Load(_ context.Context, id string) (*tasks.Job, error) { return s.read(id) }

func (s *memoryStore) Claim(_ context.Context, task tasks.Task, lease time.Duration) (job *tasks.Job, err error) {
	s.world.call(func() {
		job, err = s.read(task.JobID)
		if err == nil && job.Step == task.Step && job.Gen == task.Gen && !job.Touch.IsZero() {
			s.open[job.ID] = s.world.now.Add(lease)
		}
	})
	return job, err
}

func (s *memoryStore) Save(_ context.Context, job *tasks.Job, bodies map[int64][]byte) (fresh *tasks.Job, err error) {
	if s.refuses > 0 {
		s.refuses--
		return nil, ErrUnavailable
	}
	if s.down {
		return nil, ErrUnavailable
	}
	if change := s.conflict; change != nil {
		s.conflict = nil
		other, readErr := s.read(job.ID)
		require.NoError(s.world.t, readErr)
		change(other)
		other.Version++
		s.write(other)
	}
	s.world.call(func() {
		stored, readErr := s.read(job.ID)
		switch {
		case readErr != nil:
			err = readErr
		case stored.Version != job.Version:
			fresh, err = stored, ErrConflict
		default:
			job.Version++
			job.UpdatedAt = s.world.now
			s.write(job)
			for version, body := range bodies {
				if s.bodies == nil {
					s.bodies = map[string][]byte{}
				}
				s.bodies[fmt.Sprintf("%s/%d", job.ID, version)] = body
			}
		}
	})
	return fresh, s.world.heard(err)
}

func (s *memoryStore) SaveIntent(ctx context.Context, job *tasks.Job, bodies map[int64][]byte, limits providers.Limits) (*tasks.Job, time.Time, error) {
	stored, err := s.read(job.ID)
	if err == nil && stored.Version == job.Version && !s.lines.admit(s.world.now, job.ProviderID, job.ID, limits) {
		return nil, time.Time{}, ErrClosed
	}
	fresh, err := s.Save(ctx, job, bodies)
	return fresh, s.world.now, err
}

func (s *memoryStore) Body(_ context.Context, id string, version int64) ([]byte, error) {
	return s.bodies[fmt.Sprintf("%s/%d", id, version)], nil
}

func (s *memoryStore) Touch(_ context.Context, ids []string, lease time.Duration) error {
	for _, id := range ids {
		if touch, open := s.open[id]; open {
			s.open[id] = later(touch, s.world.now.Add(lease))
		}
	}
	return nil
}

func (s *memoryStore) Touched(_ context.Context, id string) (time.Time, error) {
	return s.open[id], nil
}

func (s *memoryStore) Overdue(_ context.Context, n int, push time.Duration) (ids []string, err error) {
	s.world.call(func() {
		for _, id := range slices.Sorted(maps.Keys(s.open)) {
			if !s.open[id].After(s.world.now) && len(ids) < n {
				s.open[id] = s.world.now.Add(push)
				ids = append(ids, id)
			}
		}
	})
	return ids, err
}

// nextTouch is when the reconciler has something to do.
func (s *memoryStore) nextTouch() (least time.Time) {
	for _, touch := range s.open {
		if least.IsZero() || touch.Before(least) {
			least = touch
		}
	}
	return least
}

func (s *memoryStore) Expired(context.Context, int, time.Duration) (ids []string, err error) {
	for id := range s.records {
		if job, _ := s.read(id); !job.PurgeAt.IsZero() && !job.PurgeAt.After(s.world.now) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
func (s *memoryStore) Tombstone(_ context.Context, job *tasks.Job) error {
	delete(s.records, job.ID)
	delete(s.open, job.ID)
	return nil
}
func (s *memoryStore) Purge(context.Context, string) error       { return nil }
func (s *memoryStore) List(context.Context, Query) (Page, error) { return Page{}, nil }
func (s *memoryStore) Watch(string) (<-chan struct{}, func())    { return nil, func() {} }

// memoryQueue holds tasks as asynq does: an id stays taken while its task is
// active, even when its worker is dead.
type memoryQueue struct {
	world *world
	tasks map[string]*queued
	lost  bool // drops what is enqueued
}

type queued struct {
	task  tasks.Task
	due   time.Time
	state TaskState
	err   error
	// recoverAt is when asynq delivers a dead worker's task again.
	recoverAt time.Time
}

// runsAt is when the task runs next by itself; zero when it does not.
func (q *queued) runsAt() time.Time {
	if q.state.Waiting() {
		return q.due
	}
	return q.recoverAt
}

func (q *memoryQueue) Enqueue(_ context.Context, task tasks.Task) (err error) {
	q.world.call(func() {
		if held := q.tasks[task.ID()]; held != nil {
			if held.state == TaskArchived || held.state == TaskCompleted {
				err = ErrTaskTaken
			}
			return
		}
		if q.lost {
			return
		}
		state := TaskPending
		if task.Delay > 0 {
			state = TaskScheduled
		}
		q.tasks[task.ID()] = &queued{task: task, due: q.world.now.Add(task.Delay), state: state}
	})
	return q.world.heard(err)
}

func (q *memoryQueue) State(_ context.Context, task tasks.Task) (state TaskState, err error) {
	state = TaskMissing
	if held := q.tasks[task.ID()]; held != nil {
		state = held.state
	}
	return state, nil
}

func (q *memoryQueue) RunNow(_ context.Context, task tasks.Task) error {
	if held := q.tasks[task.ID()]; held != nil && held.state.Waiting() {
		held.state, held.due = TaskPending, q.world.now
	}
	return nil
}

func (q *memoryQueue) Delete(_ context.Context, task tasks.Task) error {
	if held := q.tasks[task.ID()]; held != nil && held.state != TaskActive {
		delete(q.tasks, task.ID())
	}
	return nil
}

func (q *memoryQueue) next() *queued {
	var next *queued
	for _, id := range slices.Sorted(maps.Keys(q.tasks)) {
		if t := q.tasks[id]; !t.runsAt().IsZero() && (next == nil || t.runsAt().Before(next.runsAt())) {
			next = t
		}
	}
	return next
}

// idle reports whether no task waits.
func (q *memoryQueue) idle() bool { return q.next() == nil }

func (q *memoryQueue) archived() []string {
	var errs []string
	for _, t := range q.tasks {
		if t.state == TaskArchived {
			errs = append(errs, t.err.Error())
		}
	}
	return errs
}

// memoryArtifacts keeps files in a map.
type memoryArtifacts struct {
	world  *world
	files  map[string][]byte
	staged map[string]providers.Status
	fails  int  // of the next puts
	spools bool // staged bytes lie on a worker's disk, and have yet to be copied
}

func (a *memoryArtifacts) Put(_ context.Context, key, claimed string, r io.Reader, _ int64) (stored tasks.Artifact, err error) {
	data, readErr := io.ReadAll(r)
	require.NoError(a.world.t, readErr)
	a.world.call(func() {
		if a.fails > 0 {
			a.fails--
			err = &classify.Error{Class: classify.Server, Message: "storage is down"}
			return
		}
		key = strings.Replace(key, ".*", ".png", 1)
		a.files[key] = data
		stored = tasks.Artifact{Key: key, Kind: "image", MediaType: "image/png", Bytes: int64(len(data)), SHA256: "x"}
	})
	return stored, err
}

func (a *memoryArtifacts) Open(_ context.Context, key string) (ArtifactReader, error) {
	data, ok := a.files[key]
	if !ok {
		return nil, ErrNoArtifact
	}
	return memoryReader{bytes.NewReader(data)}, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error       { return nil }
func (memoryReader) ModTime() time.Time { return time.Time{} }
func (r memoryReader) Size() int64      { return r.Reader.Size() }

func (a *memoryArtifacts) Stage(_ context.Context, prefix string, st providers.Status) (outputs []tasks.Output, err error) {
	a.world.call(func() {
		for i, out := range st.Outputs {
			a.files[fmt.Sprintf("%s/%d", prefix, i)] = out.Data
		}
		a.staged[prefix] = st
		outputs = a.outputs(prefix)
	})
	return outputs, err
}

func (a *memoryArtifacts) outputs(prefix string) []tasks.Output {
	var outputs []tasks.Output
	for i := range a.staged[prefix].Outputs {
		out := tasks.Output{Key: fmt.Sprintf("%s/%d", prefix, i)}
		if !a.spools {
			out.Stored = &tasks.Artifact{Key: out.Key, Kind: "image", MediaType: "image/png", Bytes: int64(len(a.files[out.Key])), SHA256: "x"}
		}
		outputs = append(outputs, out)
	}
	return outputs
}

func (a *memoryArtifacts) Staged(_ context.Context, prefix string) (providers.Status, []tasks.Output, error) {
	st, ok := a.staged[prefix]
	if !ok {
		return st, nil, ErrNoArtifact
	}
	return st, a.outputs(prefix), nil
}

func (a *memoryArtifacts) Unstage(_ context.Context, prefix string) (err error) {
	a.world.call(func() { delete(a.staged, prefix) })
	return err
}

func (a *memoryArtifacts) Delete(_ context.Context, prefix string) error {
	delete(a.staged, prefix)
	for key := range a.files {
		if strings.HasPrefix(key, prefix+"/") {
			delete(a.files, key)
		}
	}
	return nil
}

// memoryNotifier notes what was delivered.
type memoryNotifier struct {
	world    *world
	answers  []int
	received []string
}

func (n *memoryNotifier) Deliver(_ context.Context, _, _, id string, _ time.Time, body []byte) (receipt Receipt, err error) {
	n.world.call(func() {
		receipt.Status = 200
		if len(n.answers) > 0 {
			receipt.Status, n.answers = n.answers[0], n.answers[1:]
		}
		var m struct{ Type string }
		if json.Unmarshal(body, &m) != nil {
			err = errors.New("no body")
		}
		n.received = append(n.received, m.Type)
	})
	return receipt, err
}

// plainTokens are tokens that anybody could guess.
type plainTokens struct{}

func (plainTokens) Token(jobID string, submission int) string {
	return fmt.Sprintf("%s-%d", jobID, submission)
}
func (plainTokens) Verify(jobID string, submission int, token string) bool {
	return token == fmt.Sprintf("%s-%d", jobID, submission)
}

// ids are of the tasks that the queue holds.
func (q *memoryQueue) ids() []string { return slices.Sorted(maps.Keys(q.tasks)) }
