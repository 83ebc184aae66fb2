package orchestrator

import (
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The bounds of a request.
const (
	maxRetryAttempts = 100
	maxRetryDelay    = time.Hour
	minTimeout       = time.Second
	maxTimeout       = 7 * 24 * time.Hour
	maxRunAhead      = 365 * 24 * time.Hour
	maxLabel         = 255      // characters of user_id, model, a metadata key
	maxMetadata      = 50       // keys
	maxMetadataValue = 2048     // characters
	maxURL           = 2048     // characters
	maxFallbacks     = 10       // providers
	maxInputBytes    = 64 << 20 // of input_data, files included
)

var featurePattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// validate notes everything that is wrong with a request by itself, and returns
// its decoded input.
func (e *Engine) validate(d tasks.Draft, invalid *InvalidError) map[string]any {
	switch {
	case d.FeatureType == "":
		invalid.add("/feature_type", "is required")
	case len(d.FeatureType) > maxLabel || !featurePattern.MatchString(string(d.FeatureType)):
		invalid.add("/feature_type", "must be lower-case words joined by hyphens, such as text-to-image")
	}
	input := validateInput(d.InputData, invalid)
	validateLabel(invalid, "/user_id", d.UserID)
	validateLabel(invalid, "/provider_id", d.ProviderID)
	validateLabel(invalid, "/model", d.Model)
	if len(d.FallbackProviderIDs) > maxFallbacks {
		invalid.add("/fallback_provider_ids", "may name at most %d providers", maxFallbacks)
	}
	for _, refused := range e.Registry.CheckFallbacks(d.FeatureType, d.FallbackProviderIDs) {
		invalid.add(refused.Field, "%s", refused.Detail())
	}
	validateNumber(invalid, "/retry_attempts", d.RetryAttempts, 0, maxRetryAttempts, "")
	validateNumber(invalid, "/retry_delay_ms", d.RetryDelayMS, 0, maxRetryDelay.Milliseconds(), " milliseconds")
	validateNumber(invalid, "/timeout_ms", d.TimeoutMS, minTimeout.Milliseconds(), maxTimeout.Milliseconds(), " milliseconds")
	if d.Priority != "" && !d.Priority.Valid() {
		invalid.add("/priority", "must be high, default or low")
	}
	if d.RunAt != nil && d.RunAt.After(e.Store.Now().Add(maxRunAhead)) {
		invalid.add("/run_at", "may lie at most one year ahead")
	}
	validateMetadata(invalid, d.Metadata)
	e.validateWebhook(invalid, d.WebhookURL)
	return input
}

func validateInput(raw json.RawMessage, invalid *InvalidError) map[string]any {
	var input map[string]any
	switch {
	case len(raw) == 0 || string(raw) == "null":
		invalid.add("/input_data", "is required")
	case len(raw) > maxInputBytes:
		invalid.add("/input_data", "may hold at most %d bytes", maxInputBytes)
	case json.Unmarshal(raw, &input) != nil:
		invalid.add("/input_data", "must be a JSON object")
	}
	return input
}

func validateLabel(invalid *InvalidError, pointer, value string) {
	switch {
	case utf8.RuneCountInString(value) > maxLabel:
		invalid.add(pointer, "may have at most %d characters", maxLabel)
	case !printable(value):
		invalid.add(pointer, "must be UTF-8 text without control characters")
	}
}

// printable reports whether the text is valid UTF-8 without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f })
}

func validateNumber[T int | int64](invalid *InvalidError, pointer string, value *T, least, most T, unit string) {
	if value != nil && (*value < least || *value > most) {
		invalid.add(pointer, "must be from %d to %d%s", least, most, unit)
	}
}

func validateMetadata(invalid *InvalidError, metadata map[string]string) {
	if len(metadata) > maxMetadata {
		invalid.add("/metadata", "may have at most %d keys", maxMetadata)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		switch {
		case key == "" || utf8.RuneCountInString(key) > maxLabel || !printable(key):
			invalid.add("/metadata", "keys must have 1 to %d characters, none of them a control character", maxLabel)
		case utf8.RuneCountInString(metadata[key]) > maxMetadataValue || !utf8.ValidString(metadata[key]):
			invalid.add("/metadata/"+escapePointer(key), "may have at most %d characters of UTF-8 text", maxMetadataValue)
		}
	}
}

func (e *Engine) validateWebhook(invalid *InvalidError, url string) {
	if url == "" {
		return
	}
	if len(url) > maxURL {
		invalid.add("/webhook_url", "may have at most %d characters", maxURL)
		return
	}
	if e.CheckURL != nil {
		if err := e.CheckURL(url); err != nil {
			invalid.add("/webhook_url", "%s", classify.Classify(err).Message)
		}
	}
}

// escapePointer escapes one reference token of a JSON pointer (RFC 6901 §3).
func escapePointer(token string) string { return pointerEscapes.Replace(token) }

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// choose picks the provider and model for a request: the one that it names,
// else by capability and health.
func (e *Engine) choose(d tasks.Draft, healthy func(provider, model string) bool) (providers.Entry, string, error) {
	entry, model, err := e.Registry.Select(providers.Selection{
		Feature: d.FeatureType, ProviderID: d.ProviderID, Model: d.Model, Healthy: healthy,
	})
	var refused *providers.SelectionError
	if errors.As(err, &refused) {
		return providers.Entry{}, "", &InvalidError{Fields: []FieldError{{Pointer: refused.Field, Detail: refused.Detail()}}}
	}
	return entry, model, err
}

// checkInput lets the provider refuse an input before it costs anything.
func checkInput(entry providers.Entry, d tasks.Draft, model string, input map[string]any) error {
	checker, ok := entry.Provider.(providers.InputChecker)
	if !ok {
		return nil
	}
	err := checker.CheckInput(d.FeatureType, model, input)
	if err == nil {
		return nil
	}
	info := classify.Classify(err)
	return &InvalidError{Fields: []FieldError{{Pointer: orInput(info.Field), Detail: info.Message}}}
}

// unknownInputs warns of input keys that the provider's schema does not list:
// they are passed on, but a misspelt one must not cost money in silence.
func unknownInputs(entry providers.Entry, d tasks.Draft, input map[string]any) []tasks.Warning {
	capability := entry.Provider.Capabilities().Feature(d.FeatureType)
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if capability == nil || json.Unmarshal(capability.Input, &schema) != nil || len(schema.Properties) == 0 {
		return nil
	}
	var warnings []tasks.Warning
	for _, key := range slices.Sorted(maps.Keys(input)) {
		if _, known := schema.Properties[key]; !known && len(warnings) < 20 {
			warnings = append(warnings, tasks.Warning{
				Code: "unknown_input", Pointer: "/input_data/" + escapePointer(key),
				Message: "is not in the provider's input schema; it was passed on as it is",
			})
		}
	}
	return warnings
}
