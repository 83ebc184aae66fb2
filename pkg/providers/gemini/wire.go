package gemini

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// content is what generateContent answers, but for the pictures.
type content struct {
	Candidates []struct {
		Finish  string `json:"finishReason"`
		Message string `json:"finishMessage"`
		Content struct {
			Parts []struct {
				Text    string `json:"text"`
				Thought bool   `json:"thought"`
			} `json:"parts"`
		} `json:"content"`
	} `json:"candidates"`
	Feedback *struct {
		Reason  string `json:"blockReason"`
		Message string `json:"blockReasonMessage"`
	} `json:"promptFeedback"`
	Usage   map[string]any `json:"usageMetadata"`
	Version string         `json:"modelVersion"`
}

// details is what is no picture: what the model says beside them.
func (c content) details() map[string]any {
	data := map[string]any{}
	var texts []string
	for _, candidate := range c.Candidates {
		for _, part := range candidate.Content.Parts {
			if part.Text != "" && !part.Thought {
				texts = append(texts, part.Text)
			}
		}
	}
	if len(texts) > 0 {
		data["text"] = strings.Join(texts, "\n")
	}
	if len(c.Usage) > 0 {
		data["usage"] = c.Usage
	}
	if c.Version != "" {
		data["model_version"] = c.Version
	}
	return data
}

// reason is why there is no picture.
func (c content) reason() (code, message string) {
	if c.Feedback != nil && c.Feedback.Reason != "" {
		return c.Feedback.Reason, or(c.Feedback.Message, "the prompt was blocked")
	}
	for _, candidate := range c.Candidates {
		if candidate.Finish != "" {
			return candidate.Finish, or(candidate.Message, "the model has made no picture")
		}
	}
	return "no_image", "the model has made no picture"
}

func or(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}

// operation is a film that is being made.
type operation struct {
	Name     string `json:"name"`
	Done     bool   `json:"done"`
	Error    *fault `json:"error"`
	Response *struct {
		Videos struct {
			Filtered int `json:"raiMediaFilteredCount"`
		} `json:"generateVideoResponse"`
	} `json:"response"`
}

// fault is an error as all of Google's APIs word it.
type fault struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Status  string `json:"status"`
	Details []struct {
		RetryDelay string `json:"retryDelay"`
		Reason     string `json:"reason"`
		Violations []struct {
			QuotaID string `json:"quotaId"`
		} `json:"violations"`
		Fields []struct {
			Field string `json:"field"`
		} `json:"fieldViolations"`
	} `json:"details"`
}

// grpcCodes are the statuses of operations, which may have a number only.
var grpcCodes = map[int]string{
	3: "INVALID_ARGUMENT", 4: "DEADLINE_EXCEEDED", 5: "NOT_FOUND", 7: "PERMISSION_DENIED", 8: "RESOURCE_EXHAUSTED",
	13: "INTERNAL", 14: "UNAVAILABLE", 16: "UNAUTHENTICATED",
}

// code is the reason where one is given that we know, else the status.
func (f *fault) code() string {
	for _, detail := range f.Details {
		if _, known := classes[strings.ToLower(detail.Reason)]; known {
			return detail.Reason
		}
	}
	return or(f.Status, grpcCodes[f.Code])
}

// classes says what the API's codes and reasons mean, where the status does not.
// A refusal comes as a success.
var classes = map[string]classify.Class{
	"api_key_invalid":         classify.Authentication,
	"api_key_service_blocked": classify.Authentication,
	"invalid_argument":        classify.Validation,
	"failed_precondition":     classify.Quota, // no billing, or a region that has none
	"permission_denied":       classify.Authentication,
	"unauthenticated":         classify.Authentication,
	"not_found":               classify.NotFound,
	"resource_exhausted":      classify.RateLimit,
	"cancelled":               classify.Canceled,
	"unavailable":             classify.Overloaded,
	"internal":                classify.Server,
	"deadline_exceeded":       classify.Server,

	"safety": classify.ContentPolicy, "image_safety": classify.ContentPolicy, "blocklist": classify.ContentPolicy,
	"prohibited_content": classify.ContentPolicy, "image_prohibited_content": classify.ContentPolicy, "spii": classify.ContentPolicy,
	"recitation": classify.ContentPolicy, "image_recitation": classify.ContentPolicy, "other": classify.ContentPolicy,
	"rai_filtered": classify.ContentPolicy,
}

// decodeError reads {"error":{…}} with its details: how long to wait, which
// quota, what about the key.
func decodeError(status int, _ http.Header, body []byte) *classify.Error {
	var said struct {
		Error *fault `json:"error"`
	}
	if json.Unmarshal(body, &said) != nil || said.Error == nil || said.Error.Message == "" {
		return nil //nolint:nilerr // a body in no known form says nothing: the status does
	}
	f := said.Error
	failure := &classify.Error{Code: f.code(), Message: f.Message}
	words := strings.ToLower(f.Message)
	for _, detail := range f.Details {
		if wait, err := time.ParseDuration(detail.RetryDelay); err == nil && wait > 0 {
			failure.RetryAfter = min(wait, classify.MaxRetryAfter)
		}
		for _, violation := range detail.Violations {
			if strings.Contains(violation.QuotaID, "PerDay") {
				failure.RetryAfter = classify.MaxRetryAfter
			}
		}
	}
	spent := []string{"spending cap", "spend cap", "billing", "prepayment"}
	if status == http.StatusTooManyRequests && slices.ContainsFunc(spent, func(word string) bool { return strings.Contains(words, word) }) &&
		failure.RetryAfter == 0 {
		failure.Class = classify.Quota
	}
	return failure
}
