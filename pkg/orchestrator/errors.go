package orchestrator

import (
	"errors"
	"fmt"
	"strings"
)

// ErrVersion is what a verb answers whose caller asked for another version of
// the job (If-Match).
var ErrVersion = errors.New("job has another version")

// InvalidError is a request that cannot be accepted. It lists everything that
// is wrong with it at once, and never echoes values.
type InvalidError struct {
	Fields []FieldError
}

// FieldError is one thing wrong with a request.
type FieldError struct {
	Pointer string // RFC 6901 into the request body, such as /input_data/prompt
	Detail  string
}

// Error lists the fields.
func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		parts[i] = f.Pointer + ": " + f.Detail
	}
	return "request is invalid: " + strings.Join(parts, "; ")
}

func (e *InvalidError) add(pointer, format string, args ...any) {
	e.Fields = append(e.Fields, FieldError{pointer, fmt.Sprintf(format, args...)})
}

func (e *InvalidError) orNil() error {
	if len(e.Fields) == 0 {
		return nil
	}
	return e
}

// BacklogError refuses a request since enough jobs wait for the provider that
// would serve it. Nothing is wrong with the request: it may come again.
type BacklogError struct {
	Provider string
	Waiting  int // how many wait
	Most     int // how many may: the provider's max_backlog
}

// Error names the limit.
func (e *BacklogError) Error() string {
	return fmt.Sprintf("%d jobs wait for %s, and its max_backlog is %d", e.Waiting, e.Provider, e.Most)
}

// The codes of a [ConflictError].
const (
	CodeKeyReused     = "idempotency_key_reused" // the key belongs to another request
	CodeJobFinal      = "job_final"              // the job has ended
	CodeJobNotAtRest  = "job_not_at_rest"        // the job is still on its way
	CodeUnresolved    = "job_unresolved"         // a new purchase needs a resolution first
	CodeNotUnresolved = "job_not_unresolved"     // there is nothing to resolve
	CodeNothingToDo   = "nothing_to_resume"      // there is nothing to resume
	CodeAdopted       = "job_adopted"            // nothing is bought for an adopted job
	CodeJobMoved      = "job_moved"              // an operator acted on a step that has passed
)

// ConflictError is a verb that the job's state does not allow.
type ConflictError struct {
	Code    string
	Message string
}

// Error is the message.
func (e *ConflictError) Error() string { return e.Message }

func conflict(code, format string, args ...any) error {
	return &ConflictError{Code: code, Message: fmt.Sprintf(format, args...)}
}
