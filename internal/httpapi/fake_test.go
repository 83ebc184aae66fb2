package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The engine is what the API is written for.
var _ Jobs = (*orchestrator.Engine)(nil)

var epoch = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// engine is an engine in memory. It knows enough rules to be answered by.
type engine struct {
	mu      sync.Mutex
	jobs    map[string]*tasks.Job
	order   []string // oldest first
	changed chan struct{}
	files   map[string][]byte
	uploads []*tasks.Upload
	hints   []string
	queries []orchestrator.Query
	watches int
	paused  map[string]time.Time

	err     error // what every call answers, when set
	waitErr error
	panics  bool
}

func newEngine() *engine {
	return &engine{jobs: map[string]*tasks.Job{}, changed: make(chan struct{}), files: map[string][]byte{}}
}

func (e *engine) Accept(ctx context.Context, tenant string, entry orchestrator.Entry) (*tasks.Job, bool, error) {
	a := e.AcceptBatch(ctx, tenant, []orchestrator.Entry{entry})[0]
	return a.Job, a.Replayed, a.Err
}

func (e *engine) AcceptBatch(_ context.Context, tenant string, entries []orchestrator.Entry) []orchestrator.Accepted {
	e.mu.Lock()
	defer e.mu.Unlock()
	answers := make([]orchestrator.Accepted, len(entries))
	for i, entry := range entries {
		answers[i] = e.accept(tenant, entry)
	}
	return answers
}

func (e *engine) accept(tenant string, entry orchestrator.Entry) orchestrator.Accepted {
	if e.panics {
		panic("the fake engine broke")
	}
	if e.err != nil {
		return orchestrator.Accepted{Err: e.err}
	}
	invalid := &orchestrator.InvalidError{}
	if entry.Draft.FeatureType == "" {
		invalid.Fields = append(invalid.Fields, orchestrator.FieldError{Pointer: "/feature_type", Detail: "is required"})
	}
	if entry.Draft.InputData == nil {
		invalid.Fields = append(invalid.Fields, orchestrator.FieldError{Pointer: "/input_data", Detail: "is required"})
	}
	if len(invalid.Fields) > 0 {
		return orchestrator.Accepted{Err: invalid}
	}
	request := tasks.Request{
		FeatureType: entry.Draft.FeatureType, InputData: entry.Draft.InputData, UserID: entry.Draft.UserID,
		ProviderID: entry.Draft.ProviderID, Metadata: entry.Draft.Metadata, Priority: tasks.PriorityDefault,
	}
	for _, job := range e.jobs {
		if entry.IdempotencyKey == "" || job.Tenant != tenant || job.IdempotencyKey != entry.IdempotencyKey {
			continue
		}
		if job.RequestHash != request.Hash() {
			return orchestrator.Accepted{Err: &orchestrator.ConflictError{Code: orchestrator.CodeKeyReused, Message: "the idempotency key belongs to another request"}}
		}
		return orchestrator.Accepted{Job: job.Clone(), Replayed: true}
	}
	job := &tasks.Job{
		ID: "job_" + strconv.Itoa(len(e.order)+1), Version: 1, Tenant: tenant, Request: request,
		RequestHash: request.Hash(), IdempotencyKey: entry.IdempotencyKey, State: tasks.Queued,
		ProviderID: "sketch", CreatedAt: epoch, UpdatedAt: epoch,
	}
	e.jobs[job.ID] = job
	e.order = append(e.order, job.ID)
	return orchestrator.Accepted{Job: job.Clone()}
}

func (e *engine) find(tenant, id string) (*tasks.Job, error) {
	if e.err != nil {
		return nil, e.err
	}
	job, ok := e.jobs[id]
	if !ok || job.Tenant != tenant {
		return nil, fmt.Errorf("load %s: %w", id, orchestrator.ErrNotFound)
	}
	return job, nil
}

func (e *engine) Get(_ context.Context, tenant, id string) (*tasks.Job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	job, err := e.find(tenant, id)
	if err != nil {
		return nil, err
	}
	return job.Clone(), nil
}

func (e *engine) List(_ context.Context, q orchestrator.Query) (orchestrator.Page, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.queries = append(e.queries, q)
	if e.err != nil {
		return orchestrator.Page{}, e.err
	}
	end := len(e.order)
	if q.Cursor != "" {
		n, err := strconv.Atoi(q.Cursor)
		if err != nil {
			return orchestrator.Page{}, orchestrator.ErrBadCursor
		}
		end = n
	}
	var page orchestrator.Page
	for i := end - 1; i >= 0; i-- {
		job := e.jobs[e.order[i]]
		if job == nil || job.Tenant != q.Tenant || len(q.Statuses) > 0 && !slices.Contains(q.Statuses, job.State.Status()) {
			continue
		}
		if len(page.Jobs) == q.Limit {
			page.NextCursor = strconv.Itoa(i + 1)
			break
		}
		page.Jobs = append(page.Jobs, job.Clone())
	}
	return page, nil
}

func (e *engine) Wait(ctx context.Context, tenant, id string, d time.Duration) (*tasks.Job, error) {
	if e.waitErr != nil {
		return nil, e.waitErr
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var last *tasks.Job
	for job, err := range e.Watch(ctx, tenant, id, 0) {
		if err != nil {
			break
		}
		last = job
	}
	return last, nil
}

func (e *engine) Watch(ctx context.Context, tenant, id string, after int64) iter.Seq2[*tasks.Job, error] {
	return func(yield func(*tasks.Job, error) bool) {
		e.count(1)
		defer e.count(-1)
		for {
			e.mu.Lock()
			changed := e.changed
			e.mu.Unlock()
			job, err := e.Get(ctx, tenant, id)
			if err != nil {
				yield(nil, err)
				return
			}
			if job.Version > after {
				after = job.Version
				if !yield(job, nil) {
					return
				}
			}
			if job.State.AtRest() {
				return
			}
			select {
			case <-ctx.Done():
				yield(nil, ctx.Err())
				return
			case <-changed:
			}
		}
	}
}

func (e *engine) count(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watches += n
}

func (e *engine) watching() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.watches
}

// change applies f to a job, as a worker would.
func (e *engine) change(id string, f func(job *tasks.Job)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f(e.jobs[id])
	e.jobs[id].Version++
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *engine) move(id string, to tasks.State) {
	e.change(id, func(job *tasks.Job) { job.State = to })
}

// verb applies f if the job has the wanted version.
func (e *engine) verb(tenant, id string, ifVersion int64, f func(job *tasks.Job) error) (*tasks.Job, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	job, err := e.find(tenant, id)
	if err != nil {
		return nil, err
	}
	if ifVersion != 0 && ifVersion != job.Version {
		return nil, orchestrator.ErrVersion
	}
	if err := f(job); err != nil {
		return nil, err
	}
	return job.Clone(), nil
}

func refusal(code string) error {
	return &orchestrator.ConflictError{Code: code, Message: "not now"}
}

func (e *engine) Cancel(_ context.Context, tenant, id string, ifVersion int64) (*tasks.Job, error) {
	return e.verb(tenant, id, ifVersion, func(job *tasks.Job) error {
		switch job.State {
		case tasks.Canceled:
			return nil
		case tasks.Completed, tasks.Failed:
			return refusal(orchestrator.CodeJobFinal)
		}
		job.State = tasks.Canceled
		job.Version++
		return nil
	})
}

func (e *engine) Retry(_ context.Context, tenant, id string, mode orchestrator.RetryMode, key string, ifVersion int64) (*tasks.Job, bool, error) {
	replayed := false
	job, err := e.verb(tenant, id, ifVersion, func(job *tasks.Job) error {
		switch {
		case key != "" && slices.Contains(job.RetryKeys, key):
			replayed = true
			return nil
		case job.State == tasks.Unresolved && mode == orchestrator.RetryRegenerate:
			return refusal(orchestrator.CodeUnresolved)
		case job.State != tasks.Failed:
			return refusal(orchestrator.CodeJobNotAtRest)
		}
		job.RetryKeys = append(job.RetryKeys, key)
		job.State = tasks.Queued
		if mode == orchestrator.RetryResume {
			job.State = tasks.Processing
		}
		job.Version++
		return nil
	})
	return job, replayed, err
}

func (e *engine) Adopt(_ context.Context, tenant string, a orchestrator.Adoption) (*tasks.Job, bool, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if a.RemoteID == "no such id" {
		return nil, false, &orchestrator.InvalidError{Fields: []orchestrator.FieldError{{Pointer: "/remote_id", Detail: "is not an id of the provider"}}}
	}
	accepted := e.accept(tenant, orchestrator.Entry{IdempotencyKey: "adopt " + a.RemoteID, Draft: tasks.Draft{
		FeatureType: a.FeatureType, InputData: []byte("{}"), ProviderID: a.ProviderID, Model: a.Model, UserID: a.UserID, Metadata: a.Metadata,
	}})
	return accepted.Job, accepted.Replayed, accepted.Err
}

func (e *engine) Resolve(_ context.Context, tenant, id string, r orchestrator.Resolution, ifVersion int64) (*tasks.Job, error) {
	return e.verb(tenant, id, ifVersion, func(job *tasks.Job) error {
		if job.State != tasks.Unresolved {
			return refusal(orchestrator.CodeNotUnresolved)
		}
		job.State = tasks.Queued
		if r.Outcome == orchestrator.CreatedAs {
			job.State = tasks.Processing
			job.Submissions = []tasks.Submission{{RemoteID: r.RemoteID}}
		}
		job.Version++
		return nil
	})
}

func (e *engine) Erase(_ context.Context, tenant, id string, ifVersion int64) error {
	_, err := e.verb(tenant, id, ifVersion, func(job *tasks.Job) error {
		if !job.State.AtRest() {
			return refusal(orchestrator.CodeJobNotAtRest)
		}
		delete(e.jobs, id)
		return nil
	})
	return err
}

// store gives a job a result of one file.
func (e *engine) store(id, mediaType string, content []byte) {
	e.change(id, func(job *tasks.Job) {
		job.State = tasks.Completed
		key := id + "/1/0"
		e.files[key] = content
		job.Result = &tasks.Result{Artifacts: []tasks.Artifact{{
			Kind: "image", Key: key, MediaType: mediaType, Bytes: int64(len(content)), SHA256: "5eed",
		}}}
	})
}

func (e *engine) OpenArtifact(_ context.Context, tenant, id string, index int) (tasks.Artifact, orchestrator.ArtifactReader, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	job := e.jobs[id]
	if job == nil || tenant != anyTenant && job.Tenant != tenant {
		return tasks.Artifact{}, nil, orchestrator.ErrNotFound
	}
	if job.Result == nil || index >= len(job.Result.Artifacts) {
		return tasks.Artifact{}, nil, orchestrator.ErrNoArtifact
	}
	artifact := job.Result.Artifacts[index]
	return artifact, file{bytes.NewReader(e.files[artifact.Key])}, nil
}

// bring gives a job one more file that it is made from.
func (e *engine) bring(id, mediaType string, content []byte) {
	e.change(id, func(job *tasks.Job) {
		index := len(job.Request.Files)
		key := id + "/inputs/" + strconv.Itoa(index)
		e.files[key] = content
		job.Request.Files = append(job.Request.Files, tasks.File{Index: index, Key: key, MediaType: mediaType, SHA256: "5eed"})
	})
}

func (e *engine) OpenInput(_ context.Context, tenant, id string, index int) (tasks.File, orchestrator.ArtifactReader, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	job := e.jobs[id]
	if job == nil || tenant != anyTenant && job.Tenant != tenant || index >= len(job.Request.Files) {
		return tasks.File{}, nil, orchestrator.ErrNotFound
	}
	f := job.Request.Files[index]
	return f, file{bytes.NewReader(e.files[f.Key])}, nil
}

type file struct{ *bytes.Reader }

func (file) Close() error       { return nil }
func (file) ModTime() time.Time { return epoch }

var _ io.ReadSeekCloser = file{}

func (e *engine) Hint(_ context.Context, provider, jobID, token string, header http.Header, body []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	if provider != "sketch" || token != "good" {
		return orchestrator.ErrNotFound
	}
	e.hints = append(e.hints, jobID+" "+header.Get("X-Signature")+" "+string(body))
	return nil
}

func (e *engine) ProviderInfo(ctx context.Context, name string) (orchestrator.ProviderInfo, error) {
	infos, err := e.ProviderInfos(ctx)
	for _, info := range infos {
		if info.Name == name {
			return info, nil
		}
	}
	return orchestrator.ProviderInfo{}, errors.Join(err, orchestrator.ErrNoProvider)
}

func (e *engine) PauseProvider(ctx context.Context, name string) error {
	if _, err := e.ProviderInfo(ctx, name); err != nil {
		return err
	}
	e.paused = map[string]time.Time{name: epoch}
	return nil
}

func (e *engine) ResumeProvider(ctx context.Context, name string) error {
	if _, err := e.ProviderInfo(ctx, name); err != nil {
		return err
	}
	delete(e.paused, name)
	return nil
}

func (e *engine) ProviderInfos(context.Context) ([]orchestrator.ProviderInfo, error) {
	if e.err != nil {
		return nil, e.err
	}
	return []orchestrator.ProviderInfo{
		{
			Name: "openai", Adapter: "openai", Default: true,
			Models: []providers.ModelChoice{{Feature: tasks.TextToImage, Model: "gpt-image-1.5"}},
			Capabilities: providers.Capabilities{Synchronous: true, Files: providers.HandoverUpload, ResultLifetime: time.Hour, Features: []providers.FeatureCapability{
				{Feature: tasks.TextToImage, Models: []string{"gpt-image-1", "gpt-image-1.5"}, Input: json.RawMessage(`{"type":"object","required":["prompt"]}`)},
			}},
			Health: orchestrator.Health{
				Status: orchestrator.HealthDown, Reason: "authentication", Since: epoch,
				Circuits: []orchestrator.OpenCircuit{{Circuit: orchestrator.Circuit{Since: epoch, ProbeAt: epoch, Reason: "authentication"}}},
			},
			Concurrency: 64, Limits: providers.Limits{Rate: providers.Rate{Requests: 10, Per: time.Second}, MaxInFlight: 20},
			Gate: orchestrator.Gate{Waiting: 7, InFlight: 20, Until: epoch, PausedSince: e.paused["openai"]},
		},
		{
			Name: "sketch", Adapter: "sketch",
			Capabilities: providers.Capabilities{Demo: true, Features: []providers.FeatureCapability{
				{Feature: tasks.TextToImage}, {Feature: tasks.TextToSpeech},
			}},
			Health: orchestrator.Health{Status: orchestrator.HealthOK},
		},
	}, nil
}
