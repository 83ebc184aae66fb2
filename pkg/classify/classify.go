// Package classify says what kind of failure an error is and what that asks of
// us: try again here, try another provider, tell the operator, or stop.
//
// The [Class] decides, and one table ([Class.Policy]) holds the decisions. An
// error is classified by what its maker knew: a typed [Error] by its class, its
// provider's code and its HTTP status, a foreign one by Go's own error types,
// and only last by a few patterns in its message.
//
// It imports nothing of Easel, knows no provider by name, and never sleeps,
// retries or logs: it only says.
package classify

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Class is what a failure is. The set is closed.
type Class string

// The classes. What each of them asks of us is in the table of policies.
const (
	Network          Class = "network"           // the provider could not be reached; nothing was sent
	Timeout          Class = "timeout"           // no answer in time, to something that may be asked again
	Server           Class = "server"            // the provider's own 5xx
	RateLimit        Class = "rate_limit"        // too fast
	Overloaded       Class = "overloaded"        // the provider is busy
	Authentication   Class = "authentication"    // our key is not good
	Quota            Class = "quota"             // our money is out
	Validation       Class = "validation"        // the caller's mistake
	ContentPolicy    Class = "content_policy"    // moderation
	NotFound         Class = "not_found"         // unknown model, expired remote id
	GenerationFailed Class = "generation_failed" // accepted, ran and failed
	UnknownOutcome   Class = "unknown_outcome"   // we asked and never heard: it may have worked
	Canceled         Class = "canceled"          // somebody wanted no more of it
	Unknown          Class = "unknown"           // never guessed to be retryable
)

// Error is a failure whose maker knew what it was. Adapters return it; its
// Message is fit for the caller and never holds a secret, a prompt or a payload.
type Error struct {
	Class      Class
	Code       string        // the provider's own code
	Message    string        // for people
	Field      string        // pointer to the caller's mistake, such as /input_data/size
	Status     int           // HTTP status, 0 where there was none
	RetryAfter time.Duration // how long the provider asked us to wait, 0 if it did not say
	Provider   string
	Cause      error // for the log
}

// Error says what failed, where and why.
func (e *Error) Error() string {
	text := string(e.Class)
	if e.Provider != "" {
		text = e.Provider + ": " + text
	}
	if e.Status != 0 {
		text += fmt.Sprintf(" (status %d)", e.Status)
	}
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Info is what [Classify] found out about an error.
type Info struct {
	Class      Class
	Retryable  bool // here again: yes
	RetryAfter time.Duration
	Status     int
	Code       string
	Message    string
	Field      string
	Provider   string
}

// Classify says what kind of failure err is. A typed [Error] is taken at its
// word: its class, else its code, else its status; a foreign error is
// recognized by its type, and last by its text. Nil is the zero Info.
//
// Message is always fit for the caller: the text of a foreign error is not, for
// nobody knows what it quotes, and so a sentence about its class stands in.
func Classify(err error) Info {
	if err == nil {
		return Info{}
	}
	var typed *Error
	if !errors.As(err, &typed) {
		return about(foreign(err))
	}
	info := about(typed.class())
	info.RetryAfter = min(max(typed.RetryAfter, 0), MaxRetryAfter)
	info.Status, info.Code, info.Field, info.Provider = typed.Status, typed.Code, typed.Field, typed.Provider
	if typed.Message != "" {
		info.Message = typed.Message
	}
	return info
}

// ClassifySubmit is [Classify] for the error of a paid call by a maker that
// cannot be relied upon to know what was sent: what may have reached the
// provider is an [UnknownOutcome].
func ClassifySubmit(err error) Info { //nolint:revive // it is named after Classify, beside which it stands
	info := Classify(err)
	var typed *Error
	known := errors.As(err, &typed) && typed.Class != ""
	lost := info.Class == Timeout
	if !known {
		lost = lost || info.Class == Canceled || info.Class == Server ||
			info.Class == Network && !unsent(err) ||
			info.Class == Overloaded && info.Status == http.StatusServiceUnavailable
	}
	if lost {
		info.Class, info.Retryable, info.Message = UnknownOutcome, false, messages[UnknownOutcome]
	}
	return info
}

// IsTransient reports whether the same provider may be asked again. It is false
// for an unknown outcome, which has to be looked up first.
func IsTransient(err error) bool {
	return err != nil && Classify(err).Retryable
}

// IsPermanent reports whether asking the same provider again would not help. It
// is false for an unknown outcome.
func IsPermanent(err error) bool {
	if err == nil {
		return false
	}
	info := Classify(err)
	return !info.Retryable && info.Class != UnknownOutcome
}

// IsUnknownOutcome reports whether a paid call may have been accepted although
// no answer came. Such a call is looked up, never repeated.
func IsUnknownOutcome(err error) bool {
	return Classify(err).Class == UnknownOutcome
}

func about(class Class) Info {
	return Info{Class: class, Retryable: class.Policy().Retry, Message: messages[class]}
}

func (e *Error) class() Class {
	if e.Class.Valid() {
		return e.Class
	}
	if class, ok := codes[strings.ToLower(e.Code)]; ok {
		return class
	}
	if class := FromStatus(e.Status); class != Unknown {
		return class
	}
	if e.Cause != nil {
		return Classify(e.Cause).Class
	}
	return Unknown
}
