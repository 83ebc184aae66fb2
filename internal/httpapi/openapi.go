package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// The OpenAPI document is what huma derives from the operations' types, and
// what this file adds: the bodies that we decode ourselves, null where a member
// may be null, and descriptions of the nouns, which live in packages that know
// no HTTP.

const schemaPrefix = "#/components/schemas/"

const documentDescription = "Easel runs AI generation jobs (images, video, audio) durably. A request is answered at once with a job, and from then on the job is Easel's worry: it chooses a provider, submits once, waits, copies the result to storage that lasts, and tells the caller.\n\n" +
	"JSON in snake_case; times are RFC 3339 in UTC, durations whole milliseconds in fields that end in _ms. v1 only grows: ignore fields and values that you do not know. Failures are problem details (RFC 9457) with a stable code."

// schemaName names the nouns as callers call them: what they see of a job is a
// job.
func schemaName(t reflect.Type, hint string) string {
	switch name := huma.DefaultSchemaNamer(t, hint); name {
	case "View":
		return "Job"
	case "Draft":
		return "JobRequest"
	case "UploadView":
		return "File"
	default:
		return strings.TrimSuffix(name, "View")
	}
}

// complete finishes the document once all operations are registered, and
// renders it and its page.
func (s *server) complete(api huma.API) {
	document := api.OpenAPI()
	registry := document.Components.Schemas
	// Problems are ours; huma registers its own whatever it is told.
	delete(registry.Map(), "ErrorModel")
	delete(registry.Map(), "ErrorDetail")
	registry.Schema(reflect.TypeFor[Problem](), true, "")

	bodies := map[string]*huma.RequestBody{
		"create-job":   jsonBody[tasks.Draft](registry, true),
		"create-jobs":  jsonBody[BatchRequest](registry, true),
		"adopt-job":    jsonBody[AdoptRequest](registry, true),
		"retry-job":    jsonBody[RetryRequest](registry, false),
		"resolve-job":  jsonBody[ResolveRequest](registry, true),
		"upload-file":  fileBody(),
		"take-webhook": {Content: map[string]*huma.MediaType{"*/*": {}}, Description: "Whatever the provider posts"},
	}
	for _, operation := range s.operations {
		if body, ok := bodies[operation.OperationID]; ok {
			operation.RequestBody = body
		}
		for _, parameter := range operation.Parameters {
			clarify(parameter.Schema)
		}
		if operation.OperationID == "create-job" {
			operation.Responses["200"].Content = operation.Responses["202"].Content
		}
	}
	for name, schema := range registry.Map() {
		describeSchema(name, schema, registry.TypeFromRef(schemaPrefix+name))
	}
	s.document = mustJSON(document)
	s.docs = renderDocs(document, s.operations)
}

func fileBody() *huma.RequestBody {
	return &huma.RequestBody{
		Required: true, Description: "The file itself",
		Content: map[string]*huma.MediaType{"*/*": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
}

func jsonBody[T any](registry huma.Registry, required bool) *huma.RequestBody {
	schema := registry.Schema(reflect.TypeFor[T](), true, "")
	return &huma.RequestBody{
		Required: required,
		Content:  map[string]*huma.MediaType{"application/json": {Schema: schema}},
	}
}

// requests are the schemas of bodies. Only these refuse fields that they do not
// know: answers grow.
var requests = map[string]bool{
	"JobRequest": true, "BatchRequest": true, "BatchItem": true, "AdoptRequest": true, "RetryRequest": true, "ResolveRequest": true,
}

// describeSchema corrects what huma assumes about a type: that structs are
// closed, that lists may be null and that structs may not.
func describeSchema(name string, schema *huma.Schema, t reflect.Type) {
	schema.AdditionalProperties = !requests[name]
	for property, s := range schema.Properties {
		clarify(s)
		if known, ok := descriptions[name+"."+property]; ok {
			known.apply(s)
		} else if known, ok := descriptions["JobRequest."+property]; ok && name == "BatchItem" {
			known.apply(s)
		}
	}
	for _, field := range fields(t) {
		property, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		s := schema.Properties[property]
		switch {
		case s == nil || field.Type.Kind() != reflect.Pointer:
		case requests[name]:
			s.Nullable = true // null is as good as leaving it out
		case s.Ref != "" && !strings.Contains(options, "omitempty"):
			schema.Properties[property] = &huma.Schema{
				AnyOf: []*huma.Schema{{Ref: s.Ref}, {Type: "null"}}, Description: s.Description,
			}
		}
	}
}

// fields lists the fields of a struct type, those of embedded structs too.
func fields(t reflect.Type) []reflect.StructField {
	if t == nil || t.Kind() != reflect.Struct {
		return nil
	}
	return reflect.VisibleFields(t)
}

// clarify takes null off lists: ours are empty instead.
func clarify(s *huma.Schema) {
	if s != nil && s.Type == huma.TypeArray {
		s.Nullable = false
	}
}

// description is what the document says of a field whose type lives in a
// package that knows no HTTP.
type description struct {
	text     string
	kind     string // JSON type, where Go's is raw JSON
	example  any
	enum     []any
	min, max *float64
}

func (d description) apply(s *huma.Schema) {
	if s.Description == "" && s.Ref == "" {
		s.Description = d.text
	}
	if d.kind != "" {
		s.Type, s.AdditionalProperties = d.kind, true
	}
	if d.example != nil {
		s.Examples = []any{d.example}
	}
	if d.enum != nil {
		s.Enum = d.enum
	}
	s.Minimum, s.Maximum = d.min, d.max
}

func say(text string) description { return description{text: text} }

func between(text string, least, most float64, example any) description {
	return description{text: text, min: &least, max: &most, example: example}
}

// descriptions are by schema and field. Enumerations are given for requests
// only: those of answers may grow.
var descriptions = map[string]description{
	"JobRequest.feature_type":          {text: "What kind of generation; GET /v1/features lists what is on offer", example: "text-to-image"},
	"JobRequest.input_data":            {kind: "object", text: "What the generation is made from: an object that the feature's schema describes. Keys that the schema does not know are passed on, with a warning. Files are data URLs, {\"file\": \"file_…\"} for one that was uploaded, {\"job\": \"job_…\", \"artifact\": 0} for what another job has produced, {\"file\": \"https://…\"} to have it fetched, or URLs where the provider takes them", example: map[string]any{"prompt": "A beautiful sunset"}},
	"JobRequest.user_id":               {text: "Your user, for grouping and fairness", example: "user-123"},
	"JobRequest.provider_id":           {text: "Which provider; left out: chosen by capability and health", example: "openai"},
	"JobRequest.fallback_provider_ids": say("Who may take over when the provider cannot, in this order"),
	"JobRequest.model":                 {text: "Which model of the provider; left out: its default for the feature", example: "gpt-image-1.5"},
	"JobRequest.retry_attempts":        between("How many times a failed generation may be tried again", 0, 100, 3),
	"JobRequest.retry_delay_ms":        between("The first wait between tries; later ones are longer", 0, 3_600_000, 1000),
	"JobRequest.timeout_ms":            between("How long the job may take, from its acceptance or run_at", 1000, 604_800_000, 600_000),
	"JobRequest.webhook_url":           {text: "Where to tell how the job ended (Standard Webhooks)", example: "https://example.com/hook"},
	"JobRequest.metadata":              {text: "Anything of yours; it comes back with the job", example: map[string]any{"order": "42"}},
	"JobRequest.priority":              {text: "Which jobs go first; left out: default", enum: []any{"high", "default", "low"}},
	"JobRequest.run_at":                say("When to begin; left out: now"),

	"Job.feature_type": {text: "What kind of generation", example: "text-to-image"},
	"Job.input_data":   {kind: "object", text: "What was asked for. Lists leave it out unless they are asked to include it"},
	"Job.user_id":      say("The user whom the request named"),
	"Job.provider_id":  say("Who serves the job now"),
	"Job.model":        say("The model in use"),
	"Job.priority":     say("high, default or low"),
	"Job.metadata":     say("As the request gave it"),
	"Job.run_at":       say("When it was asked to begin; null: at once"),
	"Job.warnings":     say("What did not stop the job, and should be known"),
	"Job.attempts":     say("Every try, the first one first"),
	"Job.deliveries":   say("The webhooks that were sent, or are to be"),
	"Job.created_at":   say("When the request was accepted"),
	"Job.updated_at":   say("When the job last changed"),
	"Job.started_at":   say("When it was first handed to a provider"),
	"Job.finished_at":  say("When it completed, failed or was canceled"),
	"Job.expires_at":   say("When the record will be erased; null: not foreseen"),

	"Progress.stage":          say("initializing, processing, finalizing or completed. A failed or canceled job keeps the stage that it reached"),
	"Progress.message":        say("What is going on, for people"),
	"Progress.eta":            say("When it should be done; null when nobody knows"),
	"Progress.queue_position": say("The place in the provider's queue; null when it does not say"),

	"Result.artifacts": say("The files, in our storage"),
	"Result.output":    {kind: "object", text: "What is not a file: seed, revised prompt, text"},

	"Artifact.index":       say("The n of GET /v1/jobs/{id}/artifacts/{n}"),
	"Artifact.kind":        say("image, video, audio or file"),
	"Artifact.url":         say("Where to download it; may carry a signature that expires"),
	"Artifact.media_type":  {text: "What the bytes are, whatever the provider claimed", example: "image/png"},
	"Artifact.bytes":       say("The size"),
	"Artifact.sha256":      say("The digest of the bytes, in hexadecimal"),
	"Artifact.width":       say("In pixels; null where it has none or it is not known"),
	"Artifact.height":      say("In pixels; null where it has none or it is not known"),
	"Artifact.duration_ms": say("Null where it has none or it is not known"),
	"Artifact.expires_at":  say("When the URL stops working; null: it does not"),

	"Failure.class":           {text: "What kind of failure it was", example: "content_policy"},
	"Failure.code":            say("The provider's own code"),
	"Failure.message":         say("What went wrong, for people"),
	"Failure.provider_id":     say("Where it went wrong"),
	"Failure.provider_status": say("The HTTP status that the provider answered; null where there was none"),
	"Failure.retryable":       say("Whether the same request may succeed later"),

	"Attempt.number":      say("Counts from 1"),
	"Attempt.provider_id": say("Who was asked"),
	"Attempt.model":       say("The model that was asked for"),
	"Attempt.remote_id":   say("The provider's id; null when there is none"),
	"Attempt.outcome":     say("pending, accepted, rejected or unknown"),
	"Attempt.started_at":  say("When the try began"),
	"Attempt.answered_at": say("When the provider answered the submission"),
	"Attempt.done_at":     say("When the provider had finished"),
	"Attempt.ended_at":    say("When the try was over"),

	"Cost.amount":   {text: "A decimal number", example: "0.040"},
	"Cost.currency": {text: "ISO 4217", example: "USD"},
	"Cost.basis":    say("reported by the provider, or estimated by us"),

	"Warning.code":    {text: "The kind of warning, for programs", example: "unknown_input"},
	"Warning.message": say("The same for people"),
	"Warning.pointer": say("Which part of the request it is about"),

	"Delivery.type":        {text: "The event that is told", example: "job.completed"},
	"Delivery.state":       say("pending, delivered or failed"),
	"Delivery.tries":       say("How often it was tried"),
	"Delivery.last_status": say("The receiver's last HTTP status; null when it was not reached"),
	"Delivery.last_error":  say("Why the last try failed"),
	"Delivery.next_at":     say("When it is tried next; null: not any more"),
	"Delivery.done_at":     say("When it was delivered or given up"),

	"URLs.self":   say("The job"),
	"URLs.events": say("Its event stream"),
	"URLs.cancel": say("What to post to cancel it"),
}

// mustJSON renders the document. It is made of our own types alone: that it
// cannot be encoded is a mistake that every start would show.
func mustJSON(document *huma.OpenAPI) []byte {
	raw, err := json.Marshal(document)
	if err != nil {
		panic("httpapi: the OpenAPI document cannot be encoded: " + err.Error())
	}
	return raw
}

func (s *server) serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-cache")
	// A client that has gone away is no failure of ours.
	_, _ = w.Write(s.document)
}
