package fal

import (
	"net/http"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// classes says what fal's types of errors mean. See
// https://fal.ai/docs/model-apis/errors and …/request-errors.
var classes = map[string]classify.Class{
	"content_policy_violation": classify.ContentPolicy,
	"no_media_generated":       classify.ContentPolicy, // mostly what a model says instead
	"client_cancelled":         classify.Canceled,
	"client_disconnected":      classify.Canceled,
	"exhausted_balance":        classify.Quota,

	"bad_request": classify.Validation, "missing": classify.Validation, "one_of": classify.Validation, "value_error": classify.Validation,
	"greater_than": classify.Validation, "greater_than_equal": classify.Validation, "less_than": classify.Validation,
	"less_than_equal": classify.Validation, "multiple_of": classify.Validation, "sequence_too_short": classify.Validation,
	"sequence_too_long": classify.Validation, "image_too_small": classify.Validation, "image_too_large": classify.Validation,
	"image_load_error": classify.Validation, "file_download_error": classify.Validation, "file_too_large": classify.Validation,
	"face_detection_error": classify.Validation, "unsupported_image_format": classify.Validation,
	"unsupported_audio_format": classify.Validation, "unsupported_video_format": classify.Validation,
	"audio_duration_too_long": classify.Validation, "audio_duration_too_short": classify.Validation,
	"video_duration_too_long": classify.Validation, "video_duration_too_short": classify.Validation,
	"feature_not_supported": classify.Validation, "invalid_archive": classify.Validation,

	"downstream_service_error": classify.Server, "downstream_service_unavailable": classify.Server,
	"internal_error": classify.Server, "internal_server_error": classify.Server, "runner_server_error": classify.Server,
	"runner_incomplete_response": classify.Server, "runner_scheduling_failure": classify.Overloaded,
	"runner_connection_timeout": classify.Server, "runner_connection_refused": classify.Server,
	"runner_connection_error": classify.Server, "runner_disconnected": classify.Server,
	"generation_timeout": classify.Timeout, "request_timeout": classify.Timeout, "startup_timeout": classify.Timeout,
}

// codeInProgress is ours for an answer that says in words only that a result is
// not there yet.
const codeInProgress = "in_progress"

// decodeError also reads fal's headers: the type of an error, and whether
// another try may help.
func decodeError(status int, header http.Header, body []byte) *classify.Error {
	failure := providers.DecodeError(status, header, body)
	if failure == nil {
		return nil
	}
	if failure.Code == "" {
		failure.Code = header.Get("X-Fal-Error-Type")
	}
	switch words := strings.ToLower(failure.Message); {
	case strings.Contains(words, "still in progress"):
		failure.Code = codeInProgress
	case status == http.StatusForbidden && strings.Contains(words, "exhausted balance"):
		failure.Code = "exhausted_balance"
	}
	if failure.Code == "" && status < http.StatusInternalServerError {
		failure.Code = "model_error"
	}
	final := header.Get("X-Fal-Retryable") == "false" || header.Get("X-Fal-Request-Timeout-Type") == "user"
	if final && status >= http.StatusInternalServerError {
		failure.Class = classify.Unknown
	}
	return failure
}
