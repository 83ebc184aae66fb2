package openai

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// classes says what the provider's codes and types mean, where the status does
// not: money that is out comes as 429, moderation as 400. See
// https://platform.openai.com/docs/guides/error-codes.
var classes = map[string]classify.Class{
	"insufficient_quota":                classify.Quota,
	"credit_balance_exhausted":          classify.Quota,
	"billing_hard_limit_reached":        classify.Quota,
	"organization_spend_limit_exceeded": classify.Quota,
	"organization_usage_limit_exceeded": classify.Quota,
	"project_spend_limit_exceeded":      classify.Quota,
	"moderation_blocked":                classify.ContentPolicy,
	"content_policy_violation":          classify.ContentPolicy,
	"rate_limit_exceeded":               classify.RateLimit,
	"invalid_api_key":                   classify.Authentication,
	"model_not_found":                   classify.NotFound,
	"server_is_overloaded":              classify.Overloaded,
}

// errorReply is the body of an error. Code is a string at OpenAI, null for
// some errors, and a number at servers that copy the API.
type errorReply struct {
	Error struct {
		Message string          `json:"message"`
		Type    string          `json:"type"`
		Param   *string         `json:"param"`
		Code    json.RawMessage `json:"code"`
	} `json:"error"`
}

func decodeError(status int, header http.Header, body []byte) *classify.Error {
	var reply errorReply
	if json.Unmarshal(body, &reply) != nil || reply.Error.Message == "" {
		return nil //nolint:nilerr // a body in no known form says nothing: the status does
	}
	said := reply.Error
	failure := &classify.Error{
		Code: codeOf(said.Code, said.Type), Message: said.Message, Class: classOf(said.Type, said.Message),
	}
	if said.Param != nil {
		failure.Field = fieldOf(*said.Param)
	}
	if status == http.StatusTooManyRequests && header.Get("Retry-After") == "" && header.Get("Retry-After-Ms") == "" {
		failure.RetryAfter = resetAfter(header)
	}
	return failure
}

// codeOf is the code, or the type where there is none. A number repeats the
// status.
func codeOf(raw json.RawMessage, kind string) string {
	var code string
	if json.Unmarshal(raw, &code) == nil && code != "" {
		return code
	}
	return kind
}

// classOf is for what the code does not tell; empty where it may.
func classOf(kind, message string) classify.Class {
	switch {
	case kind == "insufficient_quota":
		return classify.Quota
	case kind == "image_generation_user_error" && strings.Contains(message, "safety system"):
		return classify.ContentPolicy
	}
	return ""
}

var parameter = regexp.MustCompile(`^[a-z][a-z0-9_]*`)

// fieldOf points to where the caller wrote what the provider calls param.
func fieldOf(param string) string {
	name := parameter.FindString(param)
	switch name {
	case "":
		return ""
	case "model":
		return "/model"
	case "input":
		return "/input_data/text"
	case "input_reference":
		return "/input_data/image"
	}
	return "/input_data/" + name
}

// resetAfter is how long until the limit that is used up is lifted, from the
// headers x-ratelimit-remaining-… and x-ratelimit-reset-…, "6m0s" or "20ms".
func resetAfter(header http.Header) time.Duration {
	var wait time.Duration
	for _, limit := range []string{"requests", "tokens", "images"} {
		if header.Get("X-Ratelimit-Remaining-"+limit) != "0" {
			continue
		}
		if reset, err := time.ParseDuration(header.Get("X-Ratelimit-Reset-" + limit)); err == nil {
			wait = max(wait, reset)
		}
	}
	return min(wait, classify.MaxRetryAfter)
}
