package providers

import (
	"errors"
	"fmt"
	"strings"
)

// ErrAbsent is what [Finder.Find] answers when the provider surely does not
// have the submission.
var ErrAbsent = errors.New("the provider does not know the submission")

// ErrNotCalled marks a submission that was held back by ourselves: its context
// was over before the first byte went out. Nothing was sent, nothing was
// bought, and it says nothing about the provider.
var ErrNotCalled = errors.New("the provider was not called")

// ErrTooLarge marks an answer that is longer than we are willing to read.
var ErrTooLarge = errors.New("the answer is too large")

// The kinds of a [SelectionError].
const (
	UnknownProvider   = "unknown_provider"    // no provider has that name
	FeatureNotOffered = "feature_not_offered" // nobody offers the feature, or the named provider does not
	ModelNotOffered   = "model_not_offered"   // nobody offers the model, or the named provider does not
)

// SelectionError is a choice that cannot be made from what is configured. It
// names the field of the request that is at fault and what may stand there.
type SelectionError struct {
	Kind    string
	Field   string   // /provider_id, /feature_type, /model or /fallback_provider_ids/0
	Message string   // never echoes the value
	Offered []string // what may stand there, in configuration order
}

// Error says what is wrong and what would be right.
func (e *SelectionError) Error() string {
	return fmt.Sprintf("%s: %s", e.Field, e.Detail())
}

// Detail is the message for the caller, without the field.
func (e *SelectionError) Detail() string {
	if len(e.Offered) == 0 {
		return e.Message
	}
	return e.Message + "; there is " + strings.Join(e.Offered, ", ")
}
