package providers

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
)

// TestDecodeError goes through the error bodies that providers have documented.
func TestDecodeError(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		body   string
		want   *classify.Error
	}{
		"openai":            {400, `{"error":{"message":"too big","type":"invalid_request_error","param":"size","code":"invalid_value"}}`, &classify.Error{Code: "invalid_value", Message: "too big", Field: "/input_data/size"}},
		"openai, no code":   {400, `{"error":{"message":"too big","type":"invalid_request_error","param":null,"code":null}}`, &classify.Error{Code: "invalid_request_error", Message: "too big"}},
		"localai":           {500, `{"error":{"code":500,"message":"failed","type":""}}`, &classify.Error{Message: "failed"}},
		"replicate":         {422, `{"title":"Input validation failed","detail":"- input: prompt is required","status":422}`, &classify.Error{Message: "- input: prompt is required"}},
		"replicate, wait":   {429, `{"detail":"Request was throttled.","status":429,"retry_after":5}`, &classify.Error{Message: "Request was throttled.", RetryAfter: 5 * time.Second}},
		"fal, the model":    {422, `{"detail":[{"loc":["body","prompt"],"msg":"flagged","type":"content_policy_violation","input":"x"}]}`, &classify.Error{Code: "content_policy_violation", Message: "flagged", Field: "/input_data/prompt"}},
		"fal, the platform": {504, `{"detail":"timed out","error_type":"request_timeout"}`, &classify.Error{Code: "request_timeout", Message: "timed out"}},
		"gemini":            {429, `{"error":{"code":429,"message":"slow","status":"RESOURCE_EXHAUSTED"}}`, &classify.Error{Code: "RESOURCE_EXHAUSTED", Message: "slow"}},
		"bfl":               {403, `{"detail":"Not authenticated"}`, &classify.Error{Message: "Not authenticated"}},
		"stability":         {403, `{"id":"a1","name":"content_moderation","errors":["no"]}`, &classify.Error{Code: "content_moderation", Message: "no"}},
		"runway":            {400, `{"error":"Validation of body failed","issues":[{"code":"invalid","path":["ratio"],"message":"bad"}],"docUrl":"x"}`, &classify.Error{Message: "Validation of body failed", Field: "/input_data/ratio"}},
		"luma":              {401, `{"detail":"Invalid API key is provided"}`, &classify.Error{Message: "Invalid API key is provided"}},
		"kling":             {429, `{"code":1303,"message":"parallel task over resource pack limit","request_id":"x"}`, &classify.Error{Code: "1303", Message: "parallel task over resource pack limit"}},
		"elevenlabs":        {401, `{"detail":{"status":"quota_exceeded","message":"no credits"}}`, &classify.Error{Code: "quota_exceeded", Message: "no credits"}},
		"a page":            {502, `<html>`, nil},
		"something else":    {502, `{"status":"bad"}`, nil},
		"a list":            {502, `[]`, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, DecodeError(tt.status, http.Header{}, []byte(tt.body)))
		})
	}
}
