package httpapi

import (
	"encoding/json"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// readDraft reads a request for a job. What its values mean, and which are
// allowed, is the engine's to say.
func readDraft(o *object) tasks.Draft {
	var d tasks.Draft
	o.text("feature_type", (*string)(&d.FeatureType))
	o.raw("input_data", &d.InputData)
	o.text("user_id", &d.UserID)
	o.text("provider_id", &d.ProviderID)
	o.texts("fallback_provider_ids", &d.FallbackProviderIDs)
	o.text("model", &d.Model)
	integer(o, "retry_attempts", &d.RetryAttempts)
	integer(o, "retry_delay_ms", &d.RetryDelayMS)
	integer(o, "timeout_ms", &d.TimeoutMS)
	o.text("webhook_url", &d.WebhookURL)
	o.textMap("metadata", &d.Metadata)
	o.text("priority", (*string)(&d.Priority))
	o.moment("run_at", &d.RunAt)
	return d
}

// decodeDraft reads the body of POST /v1/jobs.
func decodeDraft(raw json.RawMessage) (draft tasks.Draft, err error) {
	err = decode(raw, func(o *object) { draft = readDraft(o) })
	return draft, err
}
