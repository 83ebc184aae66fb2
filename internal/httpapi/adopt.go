package httpapi

import (
	"context"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// AdoptRequest is the body of an adoption. Only provider_id and remote_id are
// required.
type AdoptRequest struct {
	ProviderID  string            `json:"provider_id" doc:"Who makes it"`
	RemoteID    string            `json:"remote_id" doc:"The provider's own id of the generation" example:"rp_8f2k"`
	FeatureType tasks.Feature     `json:"feature_type,omitempty" doc:"What it makes; left out: the first feature that the provider offers, with a warning" example:"text-to-image"`
	Model       string            `json:"model,omitempty" doc:"The model that makes it, where the provider's ids need one; left out: its default"`
	UserID      string            `json:"user_id,omitempty" doc:"A label for grouping"`
	TimeoutMS   *int64            `json:"timeout_ms,omitempty" doc:"How long it may still take"`
	WebhookURL  string            `json:"webhook_url,omitempty" doc:"Where to tell that it has come to rest"`
	Metadata    map[string]string `json:"metadata,omitempty" doc:"Kept with the job, and shown with it"`
}

func (s *server) adoptJob(ctx context.Context, in *adoptInput) (*createOutput, error) {
	raw, err := s.readJSON(in.httpRequest, smallBody)
	if err != nil {
		return nil, err
	}
	var a orchestrator.Adoption
	err = decode(raw, func(o *object) {
		o.text("provider_id", &a.ProviderID)
		o.text("remote_id", &a.RemoteID)
		o.text("feature_type", (*string)(&a.FeatureType))
		o.text("model", &a.Model)
		o.text("user_id", &a.UserID)
		integer(o, "timeout_ms", &a.TimeoutMS)
		o.text("webhook_url", &a.WebhookURL)
		o.textMap("metadata", &a.Metadata)
	})
	if err != nil {
		return nil, err
	}
	job, replayed, err := s.Jobs.Adopt(ctx, exchangeOf(ctx).tenant, a)
	if err != nil {
		return nil, problem(err)
	}
	out := &createOutput{Status: 202, Body: s.view(in.r, job)}
	if replayed {
		out.Status, out.Replayed = 200, "true"
	}
	out.Location, out.ETag = out.Body.URLs.Self, etag(job.Version)
	return out, nil
}

type adoptInput struct {
	httpRequest
}
