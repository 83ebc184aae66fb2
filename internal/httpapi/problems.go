package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// Problem is a failure as callers see it (RFC 9457, application/problem+json).
type Problem struct {
	Type      string  `json:"type" format:"uri-reference" doc:"Where the kind of problem is described"`
	Title     string  `json:"title" doc:"The kind of problem in words; the same every time"`
	Status    int     `json:"status" doc:"The HTTP status"`
	Detail    string  `json:"detail" doc:"What happened this time"`
	Code      string  `json:"code" doc:"The kind of problem for programs; it never changes its meaning" example:"invalid_request"`
	RequestID string  `json:"request_id" doc:"What to ask the operators for; also the header X-Request-Id"`
	Errors    []Fault `json:"errors,omitempty" doc:"Everything that is wrong with the request"`

	header http.Header
	cause  error
}

// Fault is one thing wrong with a request. Exactly one of Pointer, Parameter
// and Header says where it stands.
type Fault struct {
	Pointer   string `json:"pointer,omitempty" doc:"Where in the body, as a JSON pointer in a URI fragment (RFC 6901)" example:"#/input_data/prompt"`
	Parameter string `json:"parameter,omitempty" doc:"The query parameter"`
	Header    string `json:"header,omitempty" doc:"The request header"`
	Detail    string `json:"detail" doc:"What is wrong with it"`
}

// The codes of problems that are not conflicts; those have the codes of
// orchestrator.ConflictError.
const (
	codeMalformed        = "malformed_request"
	codeUnauthorized     = "unauthorized"
	codeForbidden        = "forbidden"
	codeHostNotAllowed   = "host_not_allowed"
	codeCrossOrigin      = "cross_origin_request"
	codeNotFound         = "not_found"
	codeMethodNotAllowed = "method_not_allowed"
	codeConflict         = "conflict"
	codeVersion          = "version_mismatch"
	codeTooLarge         = "content_too_large"
	codeUnsupportedType  = "unsupported_media_type"
	codeInvalid          = "invalid_request"
	codeNoRange          = "range_not_satisfiable"
	codeTooMany          = "too_many_requests"
	codeBacklog          = "backlog_full"
	codeInternal         = "internal_error"
	codeUnavailable      = "unavailable"
)

// problemKind is what all problems of one code have in common.
type problemKind struct {
	Code   string
	Status int
	Title  string
	Remedy string // what the caller can do about it
}

// problemKinds lists every code. The page at /docs shows it.
var problemKinds = []problemKind{
	{codeMalformed, 400, "Malformed request", "The body is not JSON, or a header cannot be read. Send it differently."},
	{codeUnauthorized, 401, "No valid key", "Send one of the configured keys as Authorization: Bearer."},
	{codeForbidden, 403, "Not allowed", "The key is valid but lacks the scope that the call needs."},
	{codeHostNotAllowed, 403, "Host not allowed", "A server without keys answers only to its own names. Use localhost, configure the public URL, or configure keys."},
	{codeCrossOrigin, 403, "Cross-origin request", "A server without keys takes no requests from other web pages."},
	{codeNotFound, 404, "Not found", "It does not exist, or belongs to somebody else."},
	{codeMethodNotAllowed, 405, "Method not allowed", "The header Allow lists the methods that the path takes."},
	{codeConflict, 409, "Conflict", "The job's state does not allow this now."},
	{orchestrator.CodeKeyReused, 409, "Idempotency key reused", "The key belongs to another request. Make a new key for a new request."},
	{orchestrator.CodeJobFinal, 409, "Job has ended", "The job is completed, failed or canceled, and this call is for jobs that are not."},
	{orchestrator.CodeJobNotAtRest, 409, "Job is on its way", "Wait until the job is at rest, or cancel it."},
	{orchestrator.CodeUnresolved, 409, "Job is unresolved", "A provider may have done the work already. Resolve the job before generating again."},
	{orchestrator.CodeNotUnresolved, 409, "Nothing to resolve", "The job is not unresolved."},
	{orchestrator.CodeNothingToDo, 409, "Nothing to resume", "Nothing of the job is left at a provider. Regenerate it instead."},
	{orchestrator.CodeAdopted, 409, "Job was adopted", "Easel has not started the generation and buys nothing for it. Ask for a job of its own."},
	{orchestrator.CodeJobMoved, 409, "Job has moved on", "The job changed meanwhile. Read it again and decide anew."},
	{codeVersion, 412, "Another version", "The job is not at the version of If-Match. Read it again and decide anew."},
	{codeTooLarge, 413, "Content too large", "Send less, or refer to files by URL."},
	{codeUnsupportedType, 415, "Unsupported media type", "Send JSON, uncompressed, with Content-Type: application/json."},
	{codeNoRange, 416, "No such range", "The header Content-Range says how long the file is."},
	{codeInvalid, 422, "Invalid request", "The member errors lists what is wrong, and where."},
	{codeTooMany, 429, "Too many requests", "Wait as long as Retry-After says."},
	{codeBacklog, 429, "Backlog is full", "As many jobs wait for the provider as may. Wait as long as Retry-After says, or name another provider."},
	{codeInternal, 500, "Internal error", "Tell the operators the request_id."},
	{codeUnavailable, 503, "Unavailable for now", "Try again after as long as Retry-After says, with the same idempotency key."},
}

func kindOf(code string) problemKind {
	for _, kind := range problemKinds {
		if kind.Code == code {
			return kind
		}
	}
	// A conflict that the engine has learned since this list was written.
	kind := kindOf(codeConflict)
	kind.Code = code
	return kind
}

func newProblem(code, detail string) *Problem {
	kind := kindOf(code)
	return &Problem{
		Type: "/docs#" + kind.Code, Title: kind.Title, Status: kind.Status, Code: kind.Code, Detail: detail,
		header: http.Header{},
	}
}

// invalid is a problem with faults in it. Its detail names the first, for
// callers that show nothing else.
func invalid(faults ...Fault) *Problem {
	p := newProblem(codeInvalid, "The request is invalid.")
	if len(faults) > 0 {
		p.Detail = faults[0].place() + ": " + faults[0].Detail + "."
	}
	p.Errors = faults
	return p
}

// unavailable asks the caller to come back.
func unavailable(detail string, seconds int, cause error) *Problem {
	p := newProblem(codeUnavailable, detail)
	p.header.Set("Retry-After", strconv.Itoa(seconds))
	p.cause = cause
	return p
}

// backlogSeconds is how soon there may be room again where none was: jobs leave
// the backlog one by one, as they are submitted.
const backlogSeconds = 10

// backlogFull asks the caller to come back once fewer jobs wait.
func backlogFull(full *orchestrator.BacklogError) *Problem {
	p := newProblem(codeBacklog, fmt.Sprintf("%d jobs wait for %s, and no more than %d may.", full.Waiting, full.Provider, full.Most))
	p.header.Set("Retry-After", strconv.Itoa(backlogSeconds))
	return p
}

func (f Fault) place() string {
	switch {
	case f.Parameter != "":
		return f.Parameter
	case f.Header != "":
		return f.Header
	default:
		return f.Pointer
	}
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// Unwrap returns what led to the problem, for the log.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// problem turns an error of the engine into what the caller may know of it.
// Whatever it does not know is an internal error, and its text stays in the log.
func problem(err error) *Problem { return problemAt(err, "#") }

// problemAt is [problem] for a request that stood somewhere in a larger body.
func problemAt(err error, at string) *Problem {
	var (
		made     *Problem
		wrong    *orchestrator.InvalidError
		conflict *orchestrator.ConflictError
		backlog  *orchestrator.BacklogError
	)
	switch {
	case errors.As(err, &made):
		return made
	case errors.As(err, &wrong):
		return invalid(faultsOf(wrong, at)...)
	case errors.As(err, &conflict):
		return newProblem(conflict.Code, conflict.Message)
	case errors.As(err, &backlog):
		return backlogFull(backlog)
	case errors.Is(err, orchestrator.ErrNotFound):
		return newProblem(codeNotFound, "There is no such job.")
	case errors.Is(err, orchestrator.ErrNoProvider):
		return newProblem(codeNotFound, "There is no such provider.")
	case errors.Is(err, orchestrator.ErrNoArtifact):
		return newProblem(codeNotFound, "There is no such artifact.")
	case errors.Is(err, orchestrator.ErrNoUpload):
		return newProblem(codeNotFound, "There is no such file.")
	case errors.Is(err, orchestrator.ErrVersion):
		return newProblem(codeVersion, "The job has another version than If-Match asks for.")
	case errors.Is(err, orchestrator.ErrBadCursor):
		return invalid(Fault{Parameter: "cursor", Detail: "must be a next_cursor that a list returned"})
	case errors.Is(err, orchestrator.ErrNewerSchema):
		return unavailable("The job was written by a newer release than this server runs.", 30, err)
	case errors.Is(err, orchestrator.ErrUnavailable):
		return unavailable("The job store cannot be reached.", 2, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable("The request took too long.", 2, err)
	default:
		p := newProblem(codeInternal, "Something broke on our side.")
		p.cause = err
		return p
	}
}

// faultsOf puts the engine's pointers below where the request stood in the body.
func faultsOf(wrong *orchestrator.InvalidError, below string) []Fault {
	faults := make([]Fault, len(wrong.Fields))
	for i, field := range wrong.Fields {
		faults[i] = Fault{Pointer: below + fragment(field.Pointer), Detail: field.Detail}
	}
	return faults
}

// fragment writes a JSON pointer so that it may stand in a URI (RFC 6901 §6).
func fragment(pointer string) string {
	tokens := strings.Split(pointer, "/")
	for i, token := range tokens {
		tokens[i] = url.PathEscape(token)
	}
	return strings.Join(tokens, "/")
}

// translate completes problems on their way out through huma, and makes
// problems of huma's own complaints, which would echo values.
func (s *server) translate(ctx huma.Context, _ string, body any) (any, error) {
	r, w := humago.Unwrap(ctx)
	switch body := body.(type) {
	case *Problem:
		return s.addressed(r, body), nil
	case *huma.ErrorModel:
		p := problemOfHuma(body)
		for name, values := range p.header {
			w.Header()[name] = values
		}
		return s.addressed(r, p), nil
	default:
		return body, nil
	}
}

// problemOfHuma keeps where something was wrong and what, and drops the value.
// The status is kept: huma has settled on it before it asks.
func problemOfHuma(model *huma.ErrorModel) *Problem {
	p := invalid()
	for _, detail := range model.Errors {
		if detail == nil {
			continue
		}
		fault := Fault{Detail: detail.Message}
		place, name, _ := strings.Cut(detail.Location, ".")
		switch place {
		case "query":
			fault.Parameter = name
		case "header":
			fault.Header = name
		default:
			fault.Parameter = name
		}
		p.Errors = append(p.Errors, fault)
	}
	if len(p.Errors) > 0 {
		p = invalid(p.Errors...)
	}
	p.Status = model.Status
	return p
}

// addressed fills in what a problem does not know when it is made: whose
// request it answers, and where the server is.
func (s *server) addressed(r *http.Request, p *Problem) *Problem {
	x := exchangeOf(r.Context())
	if p.cause != nil {
		x.cause = p.cause
	}
	answer := *p
	answer.RequestID = x.id
	answer.Type = s.PublicURL + p.Type
	return &answer
}

// writeProblem answers with a problem outside of huma.
func (s *server) writeProblem(w http.ResponseWriter, r *http.Request, p *Problem) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	// A client that has gone away is no failure of ours.
	_ = json.NewEncoder(w).Encode(s.addressed(r, p))
}
