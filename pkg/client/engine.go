//go:build !easel_http

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// engine is a transport to the engine itself, in this process.
type engine struct {
	repeater
	service *app.Service
}

// refused makes an error of the engine what the HTTP API would have made of it.
func (e *engine) refused(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("easel: %w", context.Cause(ctx))
	}
	return e.problem(err, -1)
}

func isUnavailable(err error) bool { return errors.Is(err, orchestrator.ErrUnavailable) }

// problem reads a problem as it would have come over HTTP.
func (e *engine) problem(err error, index int) *Problem {
	said := e.service.Refusal(err, index)
	problem, broken := recode[Problem](said)
	if broken != nil {
		problem = &Problem{Status: said.Status, Code: said.Code, Detail: said.Detail}
	}
	problem.RetryAfter = retryAfter(said.GetHeaders())
	problem.cause = said.Unwrap()
	return problem
}

// recode reads what the server's side would have written.
func recode[T any](written any) (*T, error) {
	raw, err := json.Marshal(written)
	if err != nil {
		return nil, fmt.Errorf("easel: %w", err)
	}
	value := new(T)
	if err := json.Unmarshal(raw, value); err != nil {
		return nil, fmt.Errorf("easel: %w", err)
	}
	return value, nil
}

// do makes a call of the engine, again where its failure may pass, and shows the
// job that it answers.
func (e *engine) do(ctx context.Context, repeatable bool, call func() (*tasks.Job, error)) (*Job, error) {
	var view *Job
	_, err := e.repeat(ctx, repeatable, func() error {
		job, err := call()
		if err != nil {
			return e.refused(ctx, err)
		}
		view = e.view(job)
		return nil
	})
	return view, err
}

func (e *engine) view(job *tasks.Job) *Job {
	if job == nil {
		return nil
	}
	view := e.service.View(job)
	return &view
}

func (e *engine) tenant() string { return e.service.Tenant }

// longestWait is what the HTTP API allows.
const longestWait = time.Minute

func (e *engine) enqueue(ctx context.Context, draft tasks.Draft, o callOptions) (*Job, error) {
	entry := orchestrator.Entry{Draft: draft, IdempotencyKey: o.key}
	return e.do(ctx, true, func() (*tasks.Job, error) {
		if err := e.service.CheckEntry(entry); err != nil {
			return nil, err
		}
		job, _, err := e.service.Engine.Accept(ctx, e.tenant(), entry)
		if err != nil || !o.waits || job.State.AtRest() {
			return job, err
		}
		// It is accepted whatever becomes of the wait.
		if newer, err := e.service.Engine.Wait(ctx, e.tenant(), job.ID, min(max(o.wait, 0), longestWait)); err == nil && newer != nil {
			job = newer
		}
		return job, nil
	})
}

func (e *engine) enqueueBatch(ctx context.Context, drafts []tasks.Draft, o callOptions) ([]BatchResult, error) {
	if err := app.CheckBatch(len(drafts)); err != nil {
		return nil, e.refused(ctx, err)
	}
	results := make([]BatchResult, len(drafts))
	var entries []orchestrator.Entry
	var places []int
	for i, draft := range drafts {
		entry := orchestrator.Entry{Draft: draft, IdempotencyKey: o.key + "/" + strconv.Itoa(i)}
		if err := e.service.CheckEntry(entry); err != nil {
			results[i] = e.itemRefused(err, i)
			continue
		}
		entries, places = append(entries, entry), append(places, i)
	}
	for k, accepted := range e.service.Engine.AcceptBatch(ctx, e.tenant(), entries) {
		switch i := places[k]; {
		case accepted.Err != nil:
			results[i] = e.itemRefused(accepted.Err, i)
		case accepted.Replayed:
			results[i] = BatchResult{Status: http.StatusOK, Job: e.view(accepted.Job)}
		default:
			results[i] = BatchResult{Status: http.StatusAccepted, Job: e.view(accepted.Job)}
		}
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("easel: %w", context.Cause(ctx))
	}
	return results, nil
}

func (e *engine) itemRefused(err error, index int) BatchResult {
	problem := e.problem(err, index)
	return BatchResult{Status: problem.Status, Problem: problem}
}

func (e *engine) get(ctx context.Context, id string) (*Job, error) {
	return e.do(ctx, true, func() (*tasks.Job, error) { return e.service.Engine.Get(ctx, e.tenant(), id) })
}

// defaultLimit is the API's own.
const defaultLimit = 20

func (e *engine) list(ctx context.Context, query Query) (*Page, error) {
	q := orchestrator.Query{
		Tenant: e.tenant(), Statuses: query.Statuses, UserID: query.UserID, FeatureType: query.FeatureType,
		ProviderID: query.ProviderID, CreatedAfter: query.CreatedAfter, CreatedBefore: query.CreatedBefore,
		Limit: query.Limit, Cursor: query.Cursor,
	}
	if q.Limit == 0 {
		q.Limit = defaultLimit
	}
	page := &Page{}
	_, err := e.repeat(ctx, true, func() error {
		if err := app.CheckQuery(q); err != nil {
			return e.refused(ctx, err)
		}
		found, err := e.service.Engine.List(ctx, q)
		if err != nil {
			return e.refused(ctx, err)
		}
		page = &Page{Jobs: []Job{}, NextCursor: found.NextCursor}
		for _, job := range found.Jobs {
			view := e.view(job)
			if !query.IncludeInput {
				view.InputData = nil
			}
			page.Jobs = append(page.Jobs, *view)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// watch goes on where it was when Redis has been away, as the HTTP client does
// when a stream broke.
func (e *engine) watch(ctx context.Context, id string) iter.Seq2[Job, error] {
	return func(yield func(Job, error) bool) {
		var version int64
		for failures := 1; ; failures++ {
			var failed error
			for job, err := range e.service.Engine.Watch(ctx, e.tenant(), id, version) {
				if err != nil {
					failed = e.refused(ctx, err)
					break
				}
				version, failures = job.Version, 1
				if !yield(*e.view(job), nil) {
					return
				}
			}
			if failed == nil {
				return // it is at rest
			}
			wait, again := e.again(true, failed, failures)
			if !again || e.sleep(ctx, wait) != nil {
				yield(Job{}, errorOf(ctx, failed))
				return
			}
		}
	}
}

func (e *engine) cancel(ctx context.Context, id string, o callOptions) (*Job, error) {
	return e.do(ctx, true, func() (*tasks.Job, error) {
		return e.service.Engine.Cancel(ctx, e.tenant(), id, o.version)
	})
}

func (e *engine) retry(ctx context.Context, id string, mode RetryMode, o callOptions) (*Job, error) {
	wanted := orchestrator.RetryMode(mode)
	if err := errors.Join(app.CheckKey(o.key), app.CheckMode(wanted)); err != nil {
		return nil, e.refused(ctx, err)
	}
	return e.do(ctx, true, func() (*tasks.Job, error) {
		job, _, err := e.service.Engine.Retry(ctx, e.tenant(), id, wanted, o.key, o.version)
		return job, err
	})
}

func (e *engine) resolve(ctx context.Context, id string, resolution Resolution, o callOptions) (*Job, error) {
	return e.do(ctx, false, func() (*tasks.Job, error) {
		return e.service.Engine.Resolve(ctx, e.tenant(), id, orchestrator.Resolution(resolution), o.version)
	})
}

func (e *engine) adopt(ctx context.Context, a Adoption) (*Job, error) {
	return e.do(ctx, true, func() (*tasks.Job, error) {
		job, _, err := e.service.Engine.Adopt(ctx, e.tenant(), orchestrator.Adoption(a))
		return job, err
	})
}

func (e *engine) erase(ctx context.Context, id string, o callOptions) error {
	tries, err := e.repeat(ctx, true, func() error {
		return e.refused(ctx, e.service.Engine.Erase(ctx, e.tenant(), id, o.version))
	})
	if tries > 1 && IsNotFound(err) {
		return nil // an earlier try had erased it
	}
	return err
}

func (e *engine) openArtifact(ctx context.Context, id string, index int) (*Artifact, error) {
	var opened *Artifact
	_, err := e.repeat(ctx, true, func() error {
		artifact, content, err := e.service.Engine.OpenArtifact(ctx, e.tenant(), id, index)
		if err != nil {
			return e.refused(ctx, err)
		}
		opened = &Artifact{ReadCloser: content, MediaType: artifact.MediaType, Size: content.Size()}
		return nil
	})
	return opened, err
}

func (e *engine) providers(ctx context.Context) ([]Provider, error) {
	var list *struct {
		Providers []Provider `json:"providers"`
	}
	err := e.catalog(ctx, func(providers, _ any) (err error) {
		list, err = recode[struct {
			Providers []Provider `json:"providers"`
		}](providers)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list.Providers, nil
}

func (e *engine) pauseProvider(ctx context.Context, name string) (*Provider, error) {
	return e.operateProvider(ctx, name, e.service.Engine.PauseProvider)
}

func (e *engine) resumeProvider(ctx context.Context, name string) (*Provider, error) {
	return e.operateProvider(ctx, name, e.service.Engine.ResumeProvider)
}

func (e *engine) operateProvider(ctx context.Context, name string, verb func(context.Context, string) error) (*Provider, error) {
	_, err := e.repeat(ctx, true, func() error {
		if err := verb(ctx, name); err != nil {
			return e.refused(ctx, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	list, err := e.providers(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].ID == name {
			return &list[i], nil
		}
	}
	return nil, e.refused(ctx, orchestrator.ErrNoProvider)
}

func (e *engine) features(ctx context.Context) ([]Feature, error) {
	var list *struct {
		Features []Feature `json:"features"`
	}
	err := e.catalog(ctx, func(_, features any) (err error) {
		list, err = recode[struct {
			Features []Feature `json:"features"`
		}](features)
		return err
	})
	if err != nil {
		return nil, err
	}
	return list.Features, nil
}

func (e *engine) catalog(ctx context.Context, read func(providers, features any) error) error {
	_, err := e.repeat(ctx, true, func() error {
		if err := e.service.Learn(ctx); err != nil {
			return e.refused(ctx, err)
		}
		providers, features, err := e.service.Catalog(ctx)
		if err != nil {
			return e.refused(ctx, err)
		}
		return read(providers, features)
	})
	return err
}

func (e *engine) close(ctx context.Context) error {
	err := e.service.Close(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("easel: close: work is still under way: %w", err)
	}
	return err
}
