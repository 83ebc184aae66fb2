package httpapi

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// createInput is POST /v1/jobs. Its body is read by [decodeDraft], which names
// what is wrong with it without repeating it.
type createInput struct {
	httpRequest
	IdempotencyKey string `header:"Idempotency-Key" doc:"A name for this request of at most 255 characters, bare or quoted. The same key with the same body answers with the same job, another body with 409"`
	Prefer         string `header:"Prefer" doc:"wait=N answers once the job is at rest, or after N seconds (60 at most)" example:"wait=30"`
}

type createOutput struct {
	Status   int
	Location string `header:"Location" doc:"Where the job is"`
	ETag     string `header:"ETag" doc:"The job's version"`
	Replayed string `header:"Idempotent-Replayed" doc:"true when an earlier request with the same key made the job"`
	Applied  string `header:"Preference-Applied" doc:"The preference that was honored"`
	Body     tasks.View
}

func (s *server) createJob(ctx context.Context, in *createInput) (*createOutput, error) {
	key, err := idempotencyKey(in.r.Header)
	if err != nil {
		return nil, err
	}
	raw, err := s.readJSON(in.httpRequest, s.Limits.JobBytes)
	if err != nil {
		return nil, err
	}
	draft, err := decodeDraft(raw)
	if err != nil {
		return nil, err
	}
	tenant := exchangeOf(ctx).tenant
	job, replayed, err := s.Jobs.Accept(ctx, tenant, orchestrator.Entry{Draft: draft, IdempotencyKey: key})
	if err != nil {
		return nil, problem(err)
	}
	s.letGo(ctx) // whoever waits needs the body no more
	out := &createOutput{Status: 202}
	if wait, asked := preferredWait(in.r.Header); asked && s.waits.take(tenant) {
		job = s.waitFor(ctx, job, wait)
		s.waits.give(tenant)
		out.Applied = "wait=" + strconv.Itoa(int(wait/time.Second))
		if job.State.AtRest() {
			out.Status = 200
		}
	}
	if replayed {
		out.Status, out.Replayed = 200, "true"
	}
	out.Body = s.view(in.r, job)
	out.Location, out.ETag = out.Body.URLs.Self, etag(job.Version)
	return out, nil
}

// waitFor returns the job once it is at rest, or when the time is over. The job
// is accepted whatever happens here, so that a failure to wait is not one of
// the request: the caller gets the job as it was last seen.
func (s *server) waitFor(ctx context.Context, job *tasks.Job, wait time.Duration) *tasks.Job {
	if wait == 0 || job.State.AtRest() {
		return job
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(drainContext(ctx), cancel)
	defer stop()
	newer, err := s.Jobs.Wait(ctx, job.Tenant, job.ID, wait)
	if err != nil {
		exchangeOf(ctx).cause = err
	}
	if newer != nil {
		return newer
	}
	return job
}

type getInput struct {
	httpRequest
	ID          string `path:"id" doc:"The job"`
	IfNoneMatch string `header:"If-None-Match" doc:"The version that is known already: answers 304 when there is no newer one" example:"\"7\""`
}

type jobOutput struct {
	Status       int
	ETag         string `header:"ETag" doc:"The job's version"`
	CacheControl string `header:"Cache-Control"`
	Body         tasks.View
}

func (s *server) getJob(ctx context.Context, in *getInput) (*jobOutput, error) {
	job, err := s.Jobs.Get(ctx, exchangeOf(ctx).tenant, in.ID)
	if err != nil {
		return nil, problem(err)
	}
	out := &jobOutput{Status: 200, ETag: etag(job.Version), CacheControl: "private, no-cache"}
	if matches(in.r.Header, job.Version) {
		out.Status = 304
		return out, nil
	}
	out.Body = s.view(in.r, job)
	return out, nil
}

type listInput struct {
	httpRequest
	Status        []tasks.Status `query:"status,explode" enum:"queued,processing,completed,failed,canceled,unresolved" doc:"Only jobs with this status; may be repeated"`
	UserID        string         `query:"user_id" doc:"Only jobs of this user"`
	FeatureType   tasks.Feature  `query:"feature_type" doc:"Only jobs of this kind" example:"text-to-image"`
	ProviderID    string         `query:"provider_id" doc:"Only jobs that this provider serves"`
	CreatedAfter  time.Time      `query:"created_after" doc:"Only jobs that were created then or later"`
	CreatedBefore time.Time      `query:"created_before" doc:"Only jobs that were created earlier"`
	Limit         int            `query:"limit" minimum:"1" maximum:"100" default:"20" doc:"How many jobs a page may have"`
	Cursor        string         `query:"cursor" doc:"next_cursor of the page before"`
	Include       []string       `query:"include,explode" enum:"input" doc:"input: show input_data, which lists leave out"`
}

type listOutput struct {
	Body JobList
}

// JobList is a page of jobs, newest first.
type JobList struct {
	Jobs       []tasks.View `json:"jobs" doc:"May be shorter than limit, even empty, while there is a next_cursor"`
	NextCursor *string      `json:"next_cursor" doc:"Where the next page begins; null after the last"`
}

func (s *server) listJobs(ctx context.Context, in *listInput) (*listOutput, error) {
	page, err := s.Jobs.List(ctx, orchestrator.Query{
		Tenant: exchangeOf(ctx).tenant, Statuses: in.Status, UserID: in.UserID, FeatureType: in.FeatureType,
		ProviderID: in.ProviderID, CreatedAfter: in.CreatedAfter, CreatedBefore: in.CreatedBefore,
		Limit: in.Limit, Cursor: in.Cursor,
	})
	if err != nil {
		return nil, problem(err)
	}
	out := &listOutput{Body: JobList{Jobs: make([]tasks.View, 0, len(page.Jobs))}}
	for _, job := range page.Jobs {
		view := s.view(in.r, job)
		if !slices.Contains(in.Include, "input") {
			view.InputData = nil
		}
		out.Body.Jobs = append(out.Body.Jobs, view)
	}
	if page.NextCursor != "" {
		out.Body.NextCursor = &page.NextCursor
	}
	return out, nil
}

// verbInput names the job that a verb is for, and perhaps its version.
type verbInput struct {
	httpRequest
	ID      string `path:"id" doc:"The job"`
	IfMatch string `header:"If-Match" doc:"Apply only to this version of the job; answers 412 when it has another" example:"\"7\""`
}

func (s *server) cancelJob(ctx context.Context, in *verbInput) (*jobOutput, error) {
	return s.verb(ctx, in, func(tenant string, version int64) (*tasks.Job, error) {
		return s.Jobs.Cancel(ctx, tenant, in.ID, version)
	})
}

func (s *server) deleteJob(ctx context.Context, in *verbInput) (*struct{}, error) {
	_, err := s.verb(ctx, in, func(tenant string, version int64) (*tasks.Job, error) {
		return nil, s.Jobs.Erase(ctx, tenant, in.ID, version)
	})
	return nil, err
}

type retryInput struct {
	httpRequest
	ID             string `path:"id" doc:"The job"`
	IfMatch        string `header:"If-Match" doc:"Apply only to this version of the job; answers 412 when it has another" example:"\"7\""`
	IdempotencyKey string `header:"Idempotency-Key" doc:"A name for this retry: repeating it changes nothing"`
}

type retryOutput struct {
	ETag     string `header:"ETag" doc:"The job's version"`
	Replayed string `header:"Idempotent-Replayed" doc:"true when the same retry was applied before"`
	Body     tasks.View
}

// RetryRequest is the body of a retry. It may be left out.
type RetryRequest struct {
	Mode orchestrator.RetryMode `json:"mode,omitempty" enum:"resume,regenerate" doc:"resume looks up, polls or downloads again and buys nothing; regenerate generates anew. Left out: resume when there is something to resume"`
}

func (s *server) retryJob(ctx context.Context, in *retryInput) (*retryOutput, error) {
	key, err := idempotencyKey(in.r.Header)
	if err != nil {
		return nil, err
	}
	raw, err := s.readOptionalJSON(in.httpRequest, smallBody)
	if err != nil {
		return nil, err
	}
	var request RetryRequest
	err = decode(raw, func(o *object) {
		choice(o, "mode", &request.Mode, orchestrator.RetryResume, orchestrator.RetryRegenerate)
	})
	if err != nil {
		return nil, err
	}
	var replayed bool
	verb := &verbInput{httpRequest: in.httpRequest, ID: in.ID}
	job, err := s.verb(ctx, verb, func(tenant string, version int64) (job *tasks.Job, err error) {
		job, replayed, err = s.Jobs.Retry(ctx, tenant, in.ID, request.Mode, key, version)
		return job, err
	})
	if err != nil {
		return nil, err
	}
	out := &retryOutput{ETag: job.ETag, Body: job.Body}
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}

// ResolveRequest is the body of a resolution.
type ResolveRequest struct {
	Outcome  string `json:"outcome" enum:"not_created,created" doc:"What an operator has found out: the provider did not create a generation, or it did"`
	RemoteID string `json:"remote_id,omitempty" doc:"The provider's id of what was created" example:"rp_8f2k"`
}

// smallBody bounds bodies that hold a handful of words.
const smallBody = 64 << 10

func (s *server) resolveJob(ctx context.Context, in *verbInput) (*jobOutput, error) {
	raw, err := s.readJSON(in.httpRequest, smallBody)
	if err != nil {
		return nil, err
	}
	var request ResolveRequest
	err = decode(raw, func(o *object) {
		choice(o, "outcome", &request.Outcome, orchestrator.NotCreated, orchestrator.CreatedAs)
		o.text("remote_id", &request.RemoteID)
		if request.Outcome == "" && len(*o.faults) == 0 {
			o.fault(o.below("outcome"), "is required")
		}
	})
	if err != nil {
		return nil, err
	}
	return s.verb(ctx, in, func(tenant string, version int64) (*tasks.Job, error) {
		return s.Jobs.Resolve(ctx, tenant, in.ID, orchestrator.Resolution(request), version)
	})
}

// verb applies a verb to the job that the request names, at the version that it
// names. Where If-Match lists several versions, each is tried: at most one of
// them is the job's.
func (s *server) verb(ctx context.Context, in *verbInput, apply func(tenant string, version int64) (*tasks.Job, error)) (*jobOutput, error) {
	var job *tasks.Job
	err := orchestrator.ErrVersion
	for _, version := range wantedVersions(in.r.Header) {
		job, err = apply(exchangeOf(ctx).tenant, version)
		if !errors.Is(err, orchestrator.ErrVersion) {
			break
		}
	}
	if err != nil {
		return nil, problem(err)
	}
	if job == nil {
		return nil, nil
	}
	return &jobOutput{Status: 200, ETag: etag(job.Version), Body: s.view(in.r, job)}, nil
}
