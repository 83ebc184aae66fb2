// Package providers says what a generation API must do to serve Easel, keeps
// the registry of those that are configured, and holds the one HTTP client that
// adapters speak through. There is one package below it per provider, and
// providertest, which is this contract as a test suite.
//
// # What it refuses to know
//
// Jobs, queues, retries and storage. An adapter makes one call, translates the
// answer and classifies the failure; it never retries, never sleeps and never
// remembers.
package providers

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// A Provider starts generations and reports on them.
//
// It makes one call per method, never retries and never sleeps. An error means
// that we do not know how the generation fares; a [Status] that has [Failed]
// means that we do. Errors carry a class (see [classify.Error]). Methods are
// called concurrently.
type Provider interface {
	// Capabilities says what the provider can do. It does not change while
	// the process runs.
	Capabilities() Capabilities

	// Submit starts a generation. It is the paid call: an error whose class
	// is classify.UnknownOutcome says that it may have been accepted, any
	// other class that it was surely not. A provider that answers at once
	// returns a Status that has already Succeeded.
	Submit(ctx context.Context, req Request) (Status, error)

	// Poll reports on a generation that Submit started. "Gone" (the provider
	// does not know the id) is an error of class classify.NotFound. Purely
	// synchronous providers return an error of class classify.NotFound.
	Poll(ctx context.Context, ref Ref) (Status, error)
}

// A Canceler can tell its provider that nobody wants a generation any more.
type Canceler interface {
	// Cancel asks for the end. A generation that has already ended, or that
	// the provider does not know, is no error. That Cancel succeeded does not
	// mean that nothing will be produced or billed.
	Cancel(ctx context.Context, ref Ref) error
}

// A Finder can find out what became of a submission whose answer was lost.
type Finder interface {
	// Find looks the submission up by its client id, its webhook URL or what
	// was asked for. It answers [ErrAbsent] when the provider can be trusted to
	// list every submission and this one is not there; any other error means
	// that we still do not know.
	Find(ctx context.Context, lost Lost) (Status, error)

	// ListLag is how long after a submission the provider may take to list it.
	ListLag() time.Duration
}

// A WebhookReader understands what its provider posts to our webhook URL.
type WebhookReader interface {
	// ReadWebhook verifies the post where the provider signs it and says
	// which remote id it is about. What else it says is not believed: it is a
	// hint to poll now. The context bounds the fetch of a provider's public
	// keys, which the adapter keeps.
	ReadWebhook(ctx context.Context, header http.Header, body []byte) (Hint, error)
}

// A Downloader fetches outputs that a plain GET without credentials cannot.
type Downloader interface {
	// Download opens an output of a finished generation. The caller closes it.
	Download(ctx context.Context, ref Ref, out Output) (Body, error)
}

// An InputChecker can tell before the paid call that an input is wrong.
type InputChecker interface {
	// CheckInput returns an error of class classify.Validation that names the
	// field (classify.Error.Field, as /input_data/size).
	CheckInput(feature tasks.Feature, model string, input map[string]any) error
}

// A RemoteIDChecker knows what its provider's ids look like.
type RemoteIDChecker interface {
	// ValidRemoteID reports whether id can be one of the provider's.
	ValidRemoteID(id string) bool
}

// Request is one submission: what is asked for, and under which names.
type Request struct {
	JobID      string
	ClientID   string // stable over submissions of one attempt; a key where the provider takes one
	Submission int
	Feature    tasks.Feature
	Model      string
	Input      map[string]any
	Files      []File // the parts of the input that are files, referred to by {"$file": index}
	UserID     string
	WebhookURL string // where the provider may report; empty when there is no public URL
	// Report takes what a provider that answers Submit with the result can say
	// meanwhile: how far it is, nil where it does not know. It answers whether
	// somebody still wants the generation; a provider that can end it then does,
	// and returns an error of class classify.Canceled. It may be nil.
	Report func(ctx context.Context, percent *float64, message string) (wanted bool)
}

// File is an input file, ready to be sent: its bytes or, where the provider is to
// fetch it (see [Capabilities.Fetches]) and can reach us, its URL.
type File struct {
	Pointer   string // where it stood in input_data, such as /image
	MediaType string
	Data      []byte // nil where there is a URL
	// URL opens the file without a key, for as long as the job may need it. It
	// is a secret: it belongs into the submission and nowhere else.
	URL    string
	SHA256 string
}

// File returns the input file that stood at the top-level key, or nil.
func (r *Request) File(key string) *File {
	for i := range r.Files {
		if r.Files[i].Pointer == "/"+key {
			return &r.Files[i]
		}
	}
	return nil
}

// Text returns a string of the input, or the fallback.
func (r *Request) Text(key, fallback string) string {
	if s, ok := r.Input[key].(string); ok && s != "" {
		return s
	}
	return fallback
}

// Ref names a generation at its provider.
type Ref struct {
	RemoteID  string
	PollURL   string
	CancelURL string
	Feature   tasks.Feature
	Model     string
	ClientID  string
	SentAt    time.Time
}

// Lost is a submission whose answer never came.
type Lost struct {
	Request Request
	SentAt  time.Time
}

// State is how a generation fares.
type State string

// The states of a generation. What the provider calls something else that we
// do not know is an error, never Running.
const (
	Queued    State = "queued"
	Running   State = "running"
	Succeeded State = "succeeded"
	Failed    State = "failed"
	Canceled  State = "canceled"
)

// Done reports whether the generation has ended.
func (s State) Done() bool { return s == Succeeded || s == Failed || s == Canceled }

// Status is what a provider says of a generation.
type Status struct {
	State         State
	RemoteID      string // set by Submit and Find of asynchronous providers
	PollURL       string
	CancelURL     string
	Percent       *float64 // 0 to 100, nil when the provider does not say
	QueuePosition *int
	Message       string
	ETA           time.Duration // 0 when the provider does not say
	PollAfter     time.Duration // how long the provider asks us to wait, 0 when it does not say
	Outputs       []Output
	Data          map[string]any // what is not a file: seed, revised prompt, text
	Failure       *classify.Error
	Cost          *tasks.Cost
	Warnings      []tasks.Warning
}

// Output is one produced file: either its bytes, or where to fetch them.
type Output struct {
	Kind      string // image, video, audio, file
	MediaType string // what the provider claims; it is sniffed again
	URL       string
	Data      []byte
	Name      string
}

// Hint is what a webhook told us: look at this generation now.
type Hint struct {
	RemoteID string
	EventID  string // for deduplication, empty when the provider has none
}

// Capabilities says what a provider can do.
type Capabilities struct {
	Features []FeatureCapability
	Poll     PollPolicy
	// Synchronous providers answer Submit with the result.
	Synchronous bool
	// Demo providers are never chosen by capability beside another provider:
	// only by name, or as the sole one.
	Demo bool
	// Webhooks says that the provider reports to Request.WebhookURL.
	Webhooks bool
	// Files says how the bytes of input files reach the provider; empty where
	// no feature takes any.
	Files Handover
	// LargestInline is how many bytes of a file the provider takes inside a
	// request; it has to fetch a larger one. 0 when it does not say.
	LargestInline int64
	// ResultLifetime is how long the provider keeps outputs after the end of a
	// generation; 0 when it does not say. Results are copied as soon as they
	// are known, so this is what a late look-up can still count on.
	ResultLifetime time.Duration
}

// Handover is how an adapter hands the bytes of an input file over.
type Handover string

// The ways of handing over.
const (
	HandoverUpload  Handover = "upload"   // as they are: in a form, or uploaded first
	HandoverDataURI Handover = "data_uri" // inside the request's JSON, as a data URI or base64
	HandoverURL     Handover = "url"      // not at all: the provider fetches https URLs
)

// Fetches reports whether the provider takes a file of that size only by
// fetching it from a URL.
func (c Capabilities) Fetches(bytes int64) bool {
	return c.Files == HandoverURL || c.LargestInline > 0 && bytes > c.LargestInline
}

// FeatureCapability is one feature that a provider offers.
type FeatureCapability struct {
	Feature tasks.Feature
	// Models lists what can be asked for, the default first. Empty means that
	// the provider has no models, or takes any.
	Models []string
	// Input is the JSON Schema of input_data.
	Input json.RawMessage
}

// Feature returns the capability for a feature, or nil.
func (c Capabilities) Feature(f tasks.Feature) *FeatureCapability {
	for i := range c.Features {
		if c.Features[i].Feature == f {
			return &c.Features[i]
		}
	}
	return nil
}

// PollPolicy says how often to ask. The interval grows from Interval by a
// quarter of the generation's age, up to Ceiling.
type PollPolicy struct {
	First    time.Duration // after the submission
	Interval time.Duration // the least between two polls
	Ceiling  time.Duration
}

// Body is an opened output.
type Body interface {
	Read(p []byte) (int, error)
	Close() error
	// MediaType is what the server claims, empty when it does not.
	MediaType() string
	// Size is the length in bytes, -1 when the server does not say.
	Size() int64
}
