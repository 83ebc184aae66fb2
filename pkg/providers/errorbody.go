package providers

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// Where error bodies have their parts, the more telling places first.
var (
	errorMessages = []string{
		"error.message", "detail[].msg", "detail.message", "detail", "message", "error", "errors[].message", "errors[]",
		"title", "msg",
	}
	errorCodes = []string{
		"error_type", "error.status", "error.code", "error.type", "detail[].type", "detail.status", "detail.code",
		"failureCode", "failure_code", "errors[].code", "code", "name",
	}
	errorFields = []string{"error.param", "errors[].field", "issues[].path[]", "invalid_fields[].field"}
)

// Where an answer that calls itself complete hides an error. A message there
// may be a sentence of success, so that the places are fewer.
var (
	hiddenMessages = []string{
		"error.message", "detail[].msg", "detail", "error", "errors[].message", "errors[]", "failure_reason", "failure", "payload_error",
		"promptFeedback.blockReason", "response.generateVideoResponse.raiMediaFilteredReasons[]", "predictions[].raiFilteredReason",
	}
	hiddenCodes = []string{
		"error_type", "error.status", "error.code", "error.type", "detail[].type", "failureCode", "failure_code",
		"promptFeedback.blockReason", "finish_reason",
	}
)

// DecodeError reads the error bodies that providers have documented, for
// [ClientConfig].DecodeError. It is nil for a body that is none of them, such
// as a gateway's page. Gateways write JSON as well, so that an adapter that uses
// it sets [ClientConfig].DoubtServerErrors, unless its Classes tell the two apart.
func DecodeError(status int, _ http.Header, body []byte) *classify.Error {
	var document any
	if json.Unmarshal(body, &document) != nil {
		return nil //nolint:nilerr // a body in no known form says nothing: the status does
	}
	failure := said(document, errorMessages, errorCodes)
	if failure == nil {
		return nil
	}
	if failure.Code == strconv.Itoa(status) {
		failure.Code = "" // some repeat the status where others have a code
	}
	if field := errorField(document); field != "" {
		failure.Field = field
	}
	for _, wait := range valuesAt(document, "retry_after") {
		if seconds, ok := wait.(float64); ok && seconds > 0 {
			failure.RetryAfter = min(time.Duration(math.Ceil(seconds*1000))*time.Millisecond, classify.MaxRetryAfter)
		}
	}
	return failure
}

// said is the error in a document, nil when it has none.
func said(document any, messages, codes []string) *classify.Error {
	message, code := textAt(document, messages), textAt(document, codes)
	if message == "" {
		return nil
	}
	return &classify.Error{Code: code, Message: message}
}

// errorField points to where the caller wrote what the provider complains
// about, as well as the names of both agree.
func errorField(document any) string {
	if parameter := textAt(document, errorFields); parameter != "" {
		return "/input_data/" + strings.SplitN(parameter, ".", 2)[0]
	}
	// FastAPI: {"detail":[{"loc":["body","prompt"],…}]}
	for _, loc := range valuesAt(document, "detail[].loc") {
		path, _ := loc.([]any)
		path = slices.DeleteFunc(slices.Clone(path), func(v any) bool { return v == "body" || v == "input" })
		if name, ok := first(path).(string); ok {
			return "/input_data/" + name
		}
	}
	return ""
}

func first(list []any) any {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

// Phrase is a word in a provider's message that tells what its code does not.
type Phrase struct {
	Word  string // in lower case
	Class classify.Class
}

// ClassInText is the class of the first phrase that stands in the text, empty
// where none does.
func ClassInText(text string, phrases []Phrase) classify.Class {
	text = strings.ToLower(text)
	for _, phrase := range phrases {
		if strings.Contains(text, phrase.Word) {
			return phrase.Class
		}
	}
	return ""
}
