package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ErrUnreachable is wrapped by errors of calls that got no answer: nobody
// listens there, or the connection broke.
var ErrUnreachable = errors.New("easel: the server cannot be reached")

// Problem is a request that the server refused (RFC 9457). Code is what programs
// should look at; Detail is for people.
type Problem struct {
	Type      string  `json:"type"`
	Title     string  `json:"title"`
	Status    int     `json:"status"`
	Detail    string  `json:"detail"`
	Code      string  `json:"code"`
	RequestID string  `json:"request_id"`
	Errors    []Fault `json:"errors,omitempty"`
	// RetryAfter is how long the server asked to wait, 0 when it did not.
	RetryAfter time.Duration `json:"-"`

	cause error // where the engine runs in this process
}

// Fault is one thing wrong with a request. One of Pointer (into the body, such
// as #/input_data/prompt), Parameter and Header says where.
type Fault struct {
	Pointer   string `json:"pointer,omitempty"`
	Parameter string `json:"parameter,omitempty"`
	Header    string `json:"header,omitempty"`
	Detail    string `json:"detail"`
}

// String is "place: detail".
func (f Fault) String() string {
	if place := f.place(); place != "" {
		return place + ": " + f.Detail
	}
	return f.Detail
}

func (f Fault) place() string { return cmp.Or(f.Pointer, f.Parameter, f.Header) }

// Error says what was refused and why, with every fault.
func (p *Problem) Error() string {
	text := fmt.Sprintf("easel: %d %s", p.Status, p.Code)
	if len(p.Errors) == 0 {
		return text + ": " + p.Detail
	}
	faults := make([]string, len(p.Errors))
	for i, fault := range p.Errors {
		faults[i] = fault.String()
	}
	return text + ": " + strings.Join(faults, "; ")
}

// Unwrap returns what led to the problem, where that is known here.
func (p *Problem) Unwrap() error { return p.cause }

// IsNotFound reports whether the job or artifact does not exist, or belongs to
// another tenant.
func IsNotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// IsConflict reports whether the job's state does not allow the call, or the
// idempotency key belongs to another request. Problem.Code says which.
func IsConflict(err error) bool { return hasStatus(err, http.StatusConflict) }

// IsInvalid reports whether the request itself is wrong: Problem.Errors says
// where.
func IsInvalid(err error) bool {
	return hasStatus(err, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
}

// IsUnauthorized reports whether the key is missing, unknown, or lacks the scope
// that the call needs.
func IsUnauthorized(err error) bool {
	return hasStatus(err, http.StatusUnauthorized, http.StatusForbidden)
}

// IsVersionMismatch reports whether the job is not at the version that
// [IfVersion] asked for.
func IsVersionMismatch(err error) bool { return hasStatus(err, http.StatusPreconditionFailed) }

// IsUnavailable reports whether the server answered that it cannot serve now,
// or asks for fewer requests, or was not reached at all.
func IsUnavailable(err error) bool {
	return errors.Is(err, ErrUnreachable) || hasStatus(err, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
}

func hasStatus(err error, statuses ...int) bool {
	problem, ok := errors.AsType[*Problem](err)
	if !ok {
		return false
	}
	for _, status := range statuses {
		if problem.Status == status {
			return true
		}
	}
	return false
}

// maxProblem bounds what is read of a refusal.
const maxProblem = 1 << 20

// readProblem reads a refusal. One that is not ours, a proxy's page for
// instance, is told by its status alone.
func readProblem(response *http.Response) *Problem {
	problem := &Problem{}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if kind == "application/problem+json" {
		raw, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
		if err != nil || json.Unmarshal(raw, problem) != nil {
			problem = &Problem{} // cut off or garbled: the status has to do
		}
	}
	problem.Status = response.StatusCode
	problem.RetryAfter = retryAfter(response.Header)
	if problem.Code == "" {
		problem.Code = "http_" + strconv.Itoa(response.StatusCode)
		problem.Title = http.StatusText(response.StatusCode)
		problem.Detail = problem.Title
		if response.StatusCode/100 == 3 {
			problem.Detail = "the server redirects requests elsewhere; use its new address"
		}
	}
	return problem
}

// retryAfter reads Retry-After, in seconds or as a date (RFC 9110 §10.2.3). The
// date is held against the server's own clock.
func retryAfter(header http.Header) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0
	}
	return max(until.Sub(now), 0)
}
