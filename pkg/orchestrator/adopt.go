package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Adoption names a generation that somebody else has started at a provider.
type Adoption struct {
	ProviderID string
	RemoteID   string
	// FeatureType is what it makes; empty: the first that the provider offers.
	FeatureType tasks.Feature
	Model       string // empty: the provider's default
	UserID      string
	TimeoutMS   *int64
	WebhookURL  string
	Metadata    map[string]string
}

// Adopt makes a generation at a provider a job: it is polled, its result is
// copied and told, like that of any other. Nothing is bought for it, now or
// later: an adopted job that fails has failed. One that a tenant has adopted
// before is the same job.
func (e *Engine) Adopt(ctx context.Context, tenant string, a Adoption) (*tasks.Job, bool, error) {
	job, err := e.adoptedJob(tenant, a)
	if err != nil {
		return nil, false, err
	}
	created, err := e.Store.Create(ctx, []*tasks.Job{job}, nil)
	if err != nil {
		return nil, false, fmt.Errorf("write the job: %w", err)
	}
	if id := created[0].ExistingID; id != "" {
		existing, err := e.Store.Load(ctx, id)
		return existing, true, err
	}
	e.Observer.JobAccepted(job)
	e.enqueue(ctx, job)
	return job, false, nil
}

// adoptedJob is the record of an adoption: a job whose one submission has been
// accepted already.
func (e *Engine) adoptedJob(tenant string, a Adoption) (*tasks.Job, error) {
	invalid := &InvalidError{}
	entry := e.adopter(a, invalid)
	draft := tasks.Draft{
		FeatureType: a.FeatureType, InputData: json.RawMessage("{}"), ProviderID: a.ProviderID, Model: a.Model, UserID: a.UserID,
		TimeoutMS: a.TimeoutMS, WebhookURL: a.WebhookURL, Metadata: a.Metadata, RetryAttempts: new(0),
	}
	var warnings []tasks.Warning
	if draft.FeatureType == "" && entry.Provider != nil {
		draft.FeatureType = entry.Provider.Capabilities().Features[0].Feature
		warnings = append(warnings, tasks.Warning{
			Code: "feature_assumed", Pointer: "/feature_type", Message: "was not given; the first feature of the provider is assumed",
		})
	}
	if draft.FeatureType != "" || entry.Provider != nil {
		e.validate(draft, invalid)
	}
	if err := invalid.orNil(); err != nil {
		return nil, err
	}
	_, model, err := e.choose(draft, nil)
	if err != nil {
		return nil, err
	}
	now := e.Store.Now()
	request := e.requestOf(draft)
	job := &tasks.Job{
		ID: newID(now), Schema: tasks.Schema, Version: 1, Tenant: tenant, Request: request,
		// No request can bring such a key: it has a control character.
		IdempotencyKey: "adopt\x00" + a.ProviderID + "\x00" + a.RemoteID,
		RequestHash:    requestHash(request, draft), State: tasks.Queued, Adopted: true, Warnings: warnings,
		CreatedAt: now, UpdatedAt: now, StartedAt: now, Deadline: now.Add(request.Timeout),
		ProviderID: entry.Name, Model: model, LastAttempt: 1, LastSubmission: 1,
		Attempts: []tasks.Attempt{{
			Number: 1, ProviderID: entry.Name, Model: model, Outcome: tasks.OutcomeAccepted, StartedAt: now, AnsweredAt: now,
		}},
		Submissions: []tasks.Submission{{
			Number: 1, Attempt: 1, ProviderID: entry.Name, Model: model, State: tasks.SubmissionAccepted,
			RemoteID: a.RemoteID, SentAt: now, Deadline: now, AcceptedAt: now,
		}},
		Progress: tasks.Progress{Stage: tasks.StageProcessing, Message: "adopted from " + entry.Name},
		Step:     1, Kind: tasks.KindPoll, Due: now,
	}
	if err := job.Move(tasks.EventAdopt, tasks.Processing); err != nil {
		return nil, err
	}
	job.Touch = e.touch(job, now)
	return job, nil
}

// adopter is the provider of an adoption, if it can be asked about the id.
func (e *Engine) adopter(a Adoption, invalid *InvalidError) providers.Entry {
	if a.ProviderID == "" {
		invalid.add("/provider_id", "is required")
		return providers.Entry{}
	}
	entry, known := e.Registry.Get(a.ProviderID)
	switch {
	case !known:
		invalid.add("/provider_id", "no provider of this name is configured")
	case entry.Provider.Capabilities().Synchronous:
		invalid.add("/provider_id", "this provider answers at once, and has nothing to ask for later")
	case a.RemoteID == "":
		invalid.add("/remote_id", "is required")
	case !e.validRemoteID(a.ProviderID, a.RemoteID):
		invalid.add("/remote_id", "is not an id of the provider %s", a.ProviderID)
	case len(entry.Provider.Capabilities().Features) == 0:
		invalid.add("/provider_id", "this provider offers nothing")
	default:
		return entry
	}
	return providers.Entry{}
}
