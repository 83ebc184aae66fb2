package httpapi

import (
	"context"
	"errors"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

type webhookInput struct {
	httpRequest
	Provider string `path:"provider" doc:"The provider that reports"`
	Job      string `path:"job" doc:"The job"`
	Token    string `path:"token" doc:"Proof that the URL came from us"`
}

type webhookOutput struct {
	Body WebhookReceipt
}

// WebhookReceipt tells a provider that it need not repeat its webhook.
type WebhookReceipt struct {
	Received bool `json:"received"`
}

// takeWebhook hands a provider's webhook to the engine. Every refusal looks the
// same, so that nobody learns which jobs exist; only an outage is told apart,
// so that the provider tries again.
func (s *server) takeWebhook(ctx context.Context, in *webhookInput) (*webhookOutput, error) {
	body, err := s.readBody(in.httpRequest, s.Limits.WebhookBytes)
	if err != nil {
		return nil, err
	}
	err = s.Jobs.Hint(ctx, in.Provider, in.Job, in.Token, in.r.Header, body)
	switch {
	case err == nil:
		return &webhookOutput{Body: WebhookReceipt{Received: true}}, nil
	case errors.Is(err, orchestrator.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return nil, problem(err)
	default:
		p := newProblem(codeNotFound, "There is nothing at this path.")
		if !errors.Is(err, orchestrator.ErrNotFound) {
			p.cause = err
		}
		return nil, p
	}
}
