package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Entry is one request at the door, with its idempotency key if it has one.
type Entry struct {
	Draft          tasks.Draft
	IdempotencyKey string
}

// Accepted is the answer to one [Entry]. Replayed says that an earlier request
// with the same key made the job.
type Accepted struct {
	Job      *tasks.Job
	Replayed bool
	Err      error
}

// Accept makes a request a durable job. Once it returns without an error the
// job comes to rest, whatever process is killed. It answers *InvalidError, a
// *ConflictError with CodeKeyReused, a *BacklogError, or ErrUnavailable; nothing is left behind
// by a request that was not accepted.
func (e *Engine) Accept(ctx context.Context, tenant string, entry Entry) (*tasks.Job, bool, error) {
	accepted := e.AcceptBatch(ctx, tenant, []Entry{entry})[0]
	return accepted.Job, accepted.Replayed, accepted.Err
}

// AcceptBatch accepts many requests with one write. The answers stand in the
// order of the entries, and a bad entry does not sink the others.
func (e *Engine) AcceptBatch(ctx context.Context, tenant string, entries []Entry) []Accepted {
	answers := make([]Accepted, len(entries))
	jobs := make([]*tasks.Job, 0, len(entries))
	places := make([]int, 0, len(entries))
	healthy := e.healthy(ctx)
	for i, entry := range entries {
		job, err := e.draftJob(ctx, tenant, entry, healthy)
		if err != nil {
			answers[i] = e.turnDown(ctx, tenant, entry, err)
			continue
		}
		jobs, places = append(jobs, job), append(places, i)
	}
	if len(jobs) == 0 {
		return answers
	}
	most := e.backlogs()
	created, err := e.Store.Create(ctx, jobs, most)
	if err != nil {
		// The write may have been done although its answer was lost. Input
		// files are left to the purge of the job, or to an operator, rather
		// than taken from under a job that exists.
		for _, i := range places {
			answers[i].Err = fmt.Errorf("write the job: %w", err)
		}
		return answers
	}
	var fresh []*tasks.Job
	for k, job := range jobs {
		if created[k].ExistingID != "" {
			answers[places[k]] = e.replay(ctx, job, created[k])
			continue
		}
		if waiting := created[k].Waiting; waiting > 0 {
			e.dropInputs(ctx, job.ID)
			answers[places[k]].Err = &BacklogError{job.ProviderID, waiting, most[job.ProviderID]}
			continue
		}
		answers[places[k]].Job = job
		e.Observer.JobAccepted(job)
		fresh = append(fresh, job)
	}
	e.enqueueAll(ctx, fresh)
	return answers
}

// backlogs are how many jobs may wait for the providers that have a limit.
func (e *Engine) backlogs() map[string]int {
	most := map[string]int{}
	for _, entry := range e.Registry.All() {
		if entry.MaxBacklog > 0 {
			most[entry.Name] = entry.MaxBacklog
		}
	}
	return most
}

// enqueuers is how many tasks of a batch are on their way to the queue at once.
const enqueuers = 16

func (e *Engine) enqueueAll(ctx context.Context, jobs []*tasks.Job) {
	abreast(enqueuers, jobs, func(job *tasks.Job) { e.enqueue(ctx, job) })
}

// draftJob validates a request, chooses its provider and moves its files to
// storage: everything before the record is written.
func (e *Engine) draftJob(ctx context.Context, tenant string, entry Entry, healthy func(provider, model string) bool) (*tasks.Job, error) {
	draft := entry.Draft
	invalid := &InvalidError{}
	input := e.validate(draft, invalid)
	if err := invalid.orNil(); err != nil {
		return nil, err
	}
	provider, model, err := e.choose(draft, healthy)
	if err != nil {
		return nil, err
	}
	if err := checkInput(provider, draft, model, standIns(input)); err != nil {
		return nil, err
	}
	id := newID(e.Store.Now())
	request := e.requestOf(draft)
	if e.Inputs != nil {
		request.InputData, request.Files, err = e.Inputs.StoreInputs(ctx, id, request.InputData, e.sources(tenant))
		if err != nil {
			e.dropInputs(ctx, id)
			return nil, &sourcesError{requestHash(request, draft), inputError(err)}
		}
	}
	if err := e.checkHandover(provider, request.Files); err != nil {
		e.dropInputs(ctx, id)
		return nil, &sourcesError{requestHash(request, draft), err}
	}
	now := e.Store.Now()
	start := later(request.RunAt, now)
	job := &tasks.Job{
		ID: id, Schema: tasks.Schema, Version: 1, Tenant: tenant, Request: request,
		RequestHash: requestHash(request, draft), IdempotencyKey: entry.IdempotencyKey,
		State: tasks.Queued, Progress: tasks.Progress{Stage: tasks.StageInitializing, Message: "queued"},
		Warnings:  unknownInputs(provider, draft, input),
		CreatedAt: now, UpdatedAt: now, Deadline: start.Add(request.Timeout),
		ProviderID: provider.Name, Model: model,
		Step: 1, Kind: tasks.KindSubmit, Due: start, Budget: request.RetryAttempts,
	}
	job.Touch = e.touch(job, now)
	return job, nil
}

// replay answers a request whose idempotency key is taken: with the job that it
// made, if it is the same request.
func (e *Engine) replay(ctx context.Context, job *tasks.Job, created Created) Accepted {
	e.dropInputs(ctx, job.ID)
	if created.ExistingHash != job.RequestHash {
		return Accepted{Err: conflict(CodeKeyReused, "the idempotency key belongs to another request")}
	}
	existing, err := e.Store.Load(ctx, created.ExistingID)
	return Accepted{Job: existing, Replayed: true, Err: err}
}

func (e *Engine) dropInputs(ctx context.Context, id string) {
	if e.Artifacts == nil {
		return
	}
	if err := e.Artifacts.Delete(context.WithoutCancel(ctx), id); err != nil {
		e.Observer.Failed("delete inputs of a refused request", id, err)
	}
}

func (e *Engine) requestOf(d tasks.Draft) tasks.Request {
	r := tasks.Request{
		FeatureType: d.FeatureType, InputData: compact(d.InputData), UserID: d.UserID, ProviderID: d.ProviderID,
		FallbackProviderIDs: d.FallbackProviderIDs, Model: d.Model, WebhookURL: d.WebhookURL, Metadata: d.Metadata,
		Priority: d.Priority, RetryAttempts: e.Defaults.RetryAttempts, RetryDelay: e.Defaults.RetryDelay, Timeout: e.Defaults.Timeout,
	}
	if r.Priority == "" {
		r.Priority = tasks.PriorityDefault
	}
	if d.RetryAttempts != nil {
		r.RetryAttempts = *d.RetryAttempts
	}
	if d.RetryDelayMS != nil {
		r.RetryDelay = time.Duration(*d.RetryDelayMS) * time.Millisecond
	}
	if d.TimeoutMS != nil {
		r.Timeout = time.Duration(*d.TimeoutMS) * time.Millisecond
	}
	if d.RunAt != nil {
		r.RunAt = d.RunAt.UTC().Truncate(time.Millisecond)
	}
	return r
}

// requestHash identifies what the caller wrote, so that the same body is the
// same request even after a default has changed.
func requestHash(r tasks.Request, d tasks.Draft) string {
	if d.RetryAttempts == nil {
		r.RetryAttempts = 0
	}
	if d.RetryDelayMS == nil {
		r.RetryDelay = 0
	}
	if d.TimeoutMS == nil {
		r.Timeout = 0
	}
	return r.Hash()
}

func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}

// newID is a job id: ULIDs sort by the time they were made.
func newID(now time.Time) string {
	return "job_" + ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
}

// sourcesError is a request whose files could not be had, or cannot be handed
// over, and its hash.
type sourcesError struct {
	hash string
	err  error
}

// Error is that of the files.
func (e *sourcesError) Error() string { return e.err.Error() }

// turnDown answers a request that is not accepted. One that was accepted before,
// under the same idempotency key, is answered with its job even though the files
// that it names may have gone since.
func (e *Engine) turnDown(ctx context.Context, tenant string, entry Entry, err error) Accepted {
	var sources *sourcesError
	if !errors.As(err, &sources) {
		return Accepted{Err: err}
	}
	if entry.IdempotencyKey == "" {
		return Accepted{Err: sources.err}
	}
	holder, err := e.Store.Keyed(ctx, tenant, entry.IdempotencyKey)
	if err != nil {
		return Accepted{Err: fmt.Errorf("look for the idempotency key: %w", err)}
	}
	if holder.ExistingID == "" || holder.ExistingHash != sources.hash {
		return Accepted{Err: sources.err}
	}
	existing, err := e.Store.Load(ctx, holder.ExistingID)
	if errors.Is(err, ErrNotFound) {
		return Accepted{Err: sources.err} // erased since: its key is free
	}
	return Accepted{Job: existing, Replayed: true, Err: err}
}

// inputError turns a refusal of files in the input into a refusal of the
// request.
func inputError(err error) error {
	all := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		all = joined.Unwrap()
	}
	invalid := &InvalidError{}
	for _, one := range all {
		info := classify.Classify(one)
		var typed *classify.Error
		if !errors.As(one, &typed) || info.Class != classify.Validation {
			return fmt.Errorf("%w: store the input's files: %w", ErrUnavailable, one)
		}
		invalid.add(orInput(info.Field), "%s", info.Message)
	}
	return invalid
}

func orInput(pointer string) string {
	if pointer == "" {
		return "/input_data"
	}
	return pointer
}
