package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// open is the scope of operations that need no key.
const open = ""

// tags group the operations in the documentation.
var tags = []*huma.Tag{
	{Name: "Jobs", Description: "Ask for generations, and watch them to their end."},
	{Name: "Files", Description: "Bring files for requests to be made from."},
	{Name: "Operations", Description: "Settle what a program cannot."},
	{Name: "Catalog", Description: "What can be asked for, and who does it."},
	{Name: "Webhooks", Description: "Where providers report."},
	{Name: "Health", Description: "For load balancers and monitoring."},
}

// routes is the API.
func (s *server) routes(api huma.API) {
	huma.Register(api, op("create-job", "POST", "/v1/jobs", ScopeJobs, createDoc), s.createJob)
	huma.Register(api, op("create-jobs", "POST", "/v1/jobs/batch", ScopeJobs, batchDoc), s.createJobs)
	huma.Register(api, op("adopt-job", "POST", "/v1/jobs/adopt", ScopeOperate, adoptDoc), s.adoptJob)
	huma.Register(api, op("list-jobs", "GET", "/v1/jobs", ScopeJobs, listDoc), s.listJobs)
	huma.Register(api, op("get-job", "GET", "/v1/jobs/{id}", ScopeJobs, getDoc), s.getJob)
	huma.Register(api, op("watch-job", "GET", "/v1/jobs/{id}/events", ScopeJobs, watchDoc), s.watchJob)
	huma.Register(api, op("cancel-job", "POST", "/v1/jobs/{id}/cancel", ScopeJobs, cancelDoc), s.cancelJob)
	huma.Register(api, op("retry-job", "POST", "/v1/jobs/{id}/retry", ScopeJobs, retryDoc), s.retryJob)
	huma.Register(api, op("resolve-job", "POST", "/v1/jobs/{id}/resolve", ScopeOperate, resolveDoc), s.resolveJob)
	huma.Register(api, op("delete-job", "DELETE", "/v1/jobs/{id}", ScopeJobs, deleteDoc), s.deleteJob)
	huma.Register(api, op("get-artifact", "GET", "/v1/jobs/{id}/artifacts/{n}", ScopeJobs, artifactDoc), s.getArtifact)
	huma.Register(api, op("get-input", "GET", "/v1/jobs/{id}/inputs/{n}", ScopeJobs, inputDoc), s.getInput)

	if s.Files != nil {
		huma.Register(api, op("upload-file", "POST", "/v1/files", ScopeJobs, uploadDoc), s.upload)
		huma.Register(api, op("get-file", "GET", "/v1/files/{id}", ScopeJobs, fileDoc), s.getFile)
		huma.Register(api, op("delete-file", "DELETE", "/v1/files/{id}", ScopeJobs, deleteFileDoc), s.deleteFile)
	}

	huma.Register(api, op("list-providers", "GET", "/v1/providers", ScopeJobs, providersDoc), s.listProviders)
	huma.Register(api, op("pause-provider", "POST", "/v1/providers/{name}/pause", ScopeOperate, pauseDoc), s.pauseProvider)
	huma.Register(api, op("resume-provider", "POST", "/v1/providers/{name}/resume", ScopeOperate, resumeDoc), s.resumeProvider)
	huma.Register(api, op("list-features", "GET", "/v1/features", ScopeJobs, featuresDoc), s.listFeatures)

	huma.Register(api, op("take-webhook", "POST", "/v1/webhooks/{provider}/{job}/{token}", open, webhookDoc), s.takeWebhook)

	huma.Register(api, op("live", "GET", "/healthz", open, liveDoc), s.live)
	huma.Register(api, op("ready", "GET", "/readyz", open, readyDoc), s.ready)
	if s.Metrics != nil {
		huma.Register(api, op("metrics", "GET", "/metrics", s.metricsScope(), metricsDoc), s.metrics)
	}
}

// metricsScope is open on loopback: elsewhere the numbers tell about all
// tenants.
func (s *server) metricsScope() string {
	if s.Loopback {
		return open
	}
	return ScopeOperate
}

// doc is what an operation's types do not tell.
type doc struct {
	tag, summary, description string
	status                    int            // of success, where it is not 200
	also                      map[int]string // further answers without a body
	problems                  []int          // beside those that every operation has
	content                   string         // media type of an answer that is not JSON
	strictQuery               bool           // a misspelt filter must not list everything
	signedLinks               bool
}

var (
	createDoc = doc{
		tag: "Jobs", summary: "Create a job", status: http.StatusAccepted,
		description: "Answers at once with a job that will come to rest, whatever happens to the server. Ask for the result with the job's links, by a webhook, or wait for it with the header Prefer. Only feature_type and input_data are required.",
		also:        map[int]string{200: "The job that an idempotency key led to, or one that came to rest while the request waited"},
		problems:    []int{400, 409, 413, 415, 422},
	}
	batchDoc = doc{
		tag: "Jobs", summary: "Create up to 1,000 jobs",
		description: "Every item is answered in its place, with the status that it would have had by itself. A bad item does not sink the others.",
		problems:    []int{400, 413, 415, 422},
	}
	adoptDoc = doc{
		tag: "Operations", summary: "Adopt a generation that was started elsewhere", status: http.StatusAccepted,
		description: "Makes a generation at a provider a job, by the provider's own id: it is polled, and its result copied and told. Nothing is bought for it, now or later. Adopting the same id again answers with the same job.",
		also:        map[int]string{200: "The job that the same id was made before"},
		problems:    []int{400, 413, 415, 422},
	}
	listDoc = doc{
		tag: "Jobs", summary: "List jobs", strictQuery: true,
		description: "Newest first. A page may be short, even empty, while next_cursor says that there is more.",
		problems:    []int{422},
	}
	getDoc = doc{
		tag: "Jobs", summary: "Get a job",
		also: map[int]string{304: "The job is still at the version of If-None-Match"}, problems: []int{404},
	}
	watchDoc = doc{
		tag: "Jobs", summary: "Watch a job", content: "text/event-stream",
		description: "Server-sent events: `event: job`, `id:` the version, `data:` the job on one line. It is a stream of states, in which versions may be skipped. It ends once the job is at rest.",
		also:        map[int]string{204: "The job is at rest and Last-Event-ID is its last version: do not come back"},
		problems:    []int{404},
	}
	cancelDoc = doc{
		tag: "Jobs", summary: "Cancel a job",
		description: "Cancels for good, at the provider too where that is possible. Canceling a canceled job changes nothing.",
		problems:    []int{404, 409, 412},
	}
	retryDoc = doc{
		tag: "Jobs", summary: "Retry a failed or unresolved job",
		description: "Resumes what is already paid for, or generates anew. An unresolved job is only looked up again: it must be resolved before it can be bought a second time.",
		problems:    []int{400, 404, 409, 412, 415, 422},
	}
	resolveDoc = doc{
		tag: "Operations", summary: "Settle an unresolved job",
		description: "Tells whether the provider created the generation whose answer was lost.",
		problems:    []int{400, 404, 409, 412, 415, 422},
	}
	deleteDoc = doc{
		tag: "Jobs", summary: "Erase a job at rest",
		description: "Erases the record, the inputs and the artifacts.",
		status:      http.StatusNoContent, problems: []int{404, 409, 412},
	}
	artifactDoc = doc{
		tag: "Jobs", summary: "Download a file that a job produced", content: "application/octet-stream", signedLinks: true,
		description: "The bytes, whole or in ranges. A signed link, as it stands in the job, needs no key. Images, video and audio are shown in place, everything else is a download.",
		also:        map[int]string{206: "The range that was asked for", 304: "The file is the one of If-None-Match"},
		problems:    []int{404, 416},
	}
	inputDoc = doc{
		tag: "Jobs", summary: "Download a file that a job is made from", content: "application/octet-stream", signedLinks: true,
		description: "The bytes, whole or in ranges. Providers that take files only by fetching them get a signed link, which needs no key and lasts as long as the job may need it.",
		also:        map[int]string{206: "The range that was asked for", 304: "The file is the one of If-None-Match"},
		problems:    []int{404, 416},
	}
	uploadDoc = doc{
		tag: "Files", summary: "Upload a file", status: http.StatusCreated,
		description: "The body is the file itself. Requests name it in input_data where they would hold a data URL: {\"file\": \"file_…\"}. It expires by itself; jobs that were made from it keep a copy of their own.",
		problems:    []int{400, 413, 415, 422},
	}
	fileDoc       = doc{tag: "Files", summary: "Describe an uploaded file", problems: []int{404}}
	deleteFileDoc = doc{
		tag: "Files", summary: "Erase an uploaded file", status: http.StatusNoContent,
		description: "Jobs that were made from it keep a copy of their own.", problems: []int{404},
	}
	providersDoc = doc{tag: "Catalog", summary: "List providers", description: "What is configured, what it can do, and how it fares."}
	pauseDoc     = doc{
		tag: "Operations", summary: "Pause a provider",
		description: "Stops spending at once, on all workers: nothing more is submitted to the provider until it is resumed. Jobs wait, which costs them no attempt but counts towards their timeout. What it was given already is polled, copied and canceled as ever. Pausing a paused provider changes nothing.",
		problems:    []int{404},
	}
	resumeDoc = doc{
		tag: "Operations", summary: "Resume a paused provider",
		description: "Jobs that waited go on in the order in which they came, as fast as the provider's limits allow.",
		problems:    []int{404},
	}
	featuresDoc = doc{tag: "Catalog", summary: "List features", description: "Per feature the providers that offer it, and the JSON Schema of its input."}
	webhookDoc  = doc{
		tag: "Webhooks", summary: "Take a provider's webhook",
		description: "Providers are given this URL. What they post is a hint to look now; it is not believed.",
		problems:    []int{404, 413},
	}
	liveDoc    = doc{tag: "Health", summary: "Is the process alive?"}
	readyDoc   = doc{tag: "Health", summary: "Can it serve?", description: "Whether Redis can be reached.", problems: []int{503}}
	metricsDoc = doc{tag: "Health", summary: "Prometheus metrics", content: "text/plain", description: "Needs a key with the scope operate, except on loopback."}
)

// op makes an operation. Its scope stands in the document under security, and
// that is where [server.authorize] reads it.
func op(id, method, path, scope string, d doc) huma.Operation {
	operation := huma.Operation{
		OperationID: id, Method: method, Path: path, DefaultStatus: d.status,
		Summary: d.summary, Description: d.description, Tags: []string{d.tag},
		RejectUnknownQueryParameters: d.strictQuery,
		Metadata:                     map[string]any{signedLinks: d.signedLinks},
		Responses:                    map[string]*huma.Response{"default": problemResponse("A problem")},
	}
	problems := d.problems
	if scope != open {
		operation.Security = []map[string][]string{{securityScheme: {scope}}}
		problems = append(slices.Clone(problems), 401, 403, 429, 503)
	}
	for _, status := range problems {
		operation.Responses[strconv.Itoa(status)] = problemResponse(http.StatusText(status))
	}
	for _, status := range slices.Sorted(maps.Keys(d.also)) {
		operation.Responses[strconv.Itoa(status)] = &huma.Response{Description: d.also[status]}
	}
	if d.content != "" {
		operation.Responses["200"] = &huma.Response{
			Description: "OK",
			Content:     map[string]*huma.MediaType{d.content: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}
	}
	return operation
}

func problemResponse(description string) *huma.Response {
	return &huma.Response{
		Description: description,
		Content: map[string]*huma.MediaType{
			"application/problem+json": {Schema: &huma.Schema{Ref: schemaPrefix + "Problem"}},
		},
	}
}
