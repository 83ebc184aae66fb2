package client

import (
	"errors"
	"fmt"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// ClassifiedError is an error whose maker knew what kind of failure it is; an
// [ExecuteProvider] returns it to say what to do about one.
type ClassifiedError = classify.Error

// ErrorInfo is what [ClassifyError] found out about an error.
type ErrorInfo = classify.Info

// ClassifyError says what kind of failure an error is and whether it may pass:
// that of a job, of a call of this client, of Go itself, of a provider, or of
// somebody's SDK. Nil is the zero ErrorInfo.
func ClassifyError(err error) ErrorInfo {
	if err == nil {
		return ErrorInfo{}
	}
	return classify.Classify(known(err))
}

// IsTransientError reports whether the same thing may be tried again.
func IsTransientError(err error) bool { return err != nil && classify.IsTransient(known(err)) }

// IsPermanentError reports whether trying the same thing again would not help.
func IsPermanentError(err error) bool { return err != nil && classify.IsPermanent(known(err)) }

// IsUnknownOutcome reports whether something may have been bought although
// nobody could tell: such a job is looked up, or resolved by a person, and never
// simply asked for again.
func IsUnknownOutcome(err error) bool { return err != nil && classify.IsUnknownOutcome(known(err)) }

// known makes an error of this package one that package classify knows.
func known(err error) error {
	if problem, ok := errors.AsType[*Problem](err); ok {
		return problem.classified()
	}
	if errors.Is(err, ErrUnreachable) {
		return &classify.Error{Class: classify.Network, Code: "unreachable", Message: "the server cannot be reached", Cause: err}
	}
	return err
}

// classified is a refusal in the words of package classify. A conflict is the
// caller's to settle: asking again changes nothing.
func (p *Problem) classified() *classify.Error {
	class := classify.FromStatus(p.Status)
	switch p.Status {
	case 409, 412:
		class = classify.Validation
	case 403:
		class = classify.Authentication
	case 502, 503, 504:
		class = classify.Overloaded
	}
	e := &classify.Error{Class: class, Code: p.Code, Message: p.Detail, Status: p.Status, RetryAfter: p.RetryAfter, Cause: p.cause}
	if len(p.Errors) > 0 {
		e.Field = p.Errors[0].place()
	}
	return e
}

// JobError is the error of an execution whose job ended without a result. It is
// about the job, not about the call: [ClassifyError] says what kind of failure
// it was.
type JobError struct {
	Job *Job
}

// Error says how the job ended and why.
func (e *JobError) Error() string {
	text := fmt.Sprintf("easel: job %s is %s", e.Job.ID, e.Job.Status)
	if e.Job.Error != nil {
		text += ": " + e.Job.Error.Class + ": " + e.Job.Error.Message
	}
	return text
}

// Unwrap is the failure that the job records, with its class.
func (e *JobError) Unwrap() error {
	failure := e.Job.Error
	if failure == nil {
		class := classify.Unknown
		if e.Job.Status == tasks.StatusUnresolved {
			class = classify.UnknownOutcome
		}
		return &classify.Error{Class: class, Message: "the job is " + string(e.Job.Status)}
	}
	known := &classify.Error{
		Class: classify.Class(failure.Class), Code: failure.Code, Message: failure.Message, Provider: failure.ProviderID,
	}
	if failure.ProviderStatus != nil {
		known.Status = *failure.ProviderStatus
	}
	return known
}

// DetachedError is what an execution returns whose context ended before the job
// did. The job goes on: [Client.Attach] follows it again, from any process.
type DetachedError struct {
	JobID string
	// Canceled says that the job was canceled with the context, as
	// [CancelWithContext] asked for.
	Canceled bool
	Cause    error
}

// Error names the job, so that whoever reads it can go on with it.
func (e *DetachedError) Error() string {
	if e.Canceled {
		return fmt.Sprintf("easel: job %s was canceled with its caller: %v", e.JobID, e.Cause)
	}
	return fmt.Sprintf("easel: job %s goes on without its caller: %v", e.JobID, e.Cause)
}

// Unwrap is why the context ended.
func (e *DetachedError) Unwrap() error { return e.Cause }
