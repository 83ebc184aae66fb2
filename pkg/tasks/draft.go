package tasks

import (
	"encoding/json"
	"time"
)

// Draft is a request as a caller writes it: the body of POST /v1/jobs. Only
// FeatureType and InputData are required; what is nil or empty gets the
// configured default when the job is accepted.
type Draft struct {
	FeatureType         Feature           `json:"feature_type"`
	InputData           json.RawMessage   `json:"input_data"`
	UserID              string            `json:"user_id,omitempty"`
	ProviderID          string            `json:"provider_id,omitempty"`
	FallbackProviderIDs []string          `json:"fallback_provider_ids,omitempty"`
	Model               string            `json:"model,omitempty"`
	RetryAttempts       *int              `json:"retry_attempts,omitempty"` // 0 to 100
	RetryDelayMS        *int64            `json:"retry_delay_ms,omitempty"` // 0 to one hour
	TimeoutMS           *int64            `json:"timeout_ms,omitempty"`     // one second to seven days
	WebhookURL          string            `json:"webhook_url,omitempty"`
	Metadata            map[string]string `json:"metadata,omitempty"`
	Priority            Priority          `json:"priority,omitempty"`
	RunAt               *time.Time        `json:"run_at,omitempty"`
}
