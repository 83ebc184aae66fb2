package httpapi

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Config is what the API is made of. Jobs is required.
type Config struct {
	Jobs   Jobs
	Files  Files       // nil: nothing can be uploaded
	Links  tasks.Links // nil: relative links
	Logger *zap.Logger // nil: no log

	// Keys returns the keys that open the API now; it is asked on every
	// request, so that a revoked key stops at once. Without keys the API
	// serves the default tenant, and only when it is bound to Loopback.
	Keys func() []Key
	// Loopback says that the server listens on this machine only.
	Loopback bool
	// PublicURL is where callers reach the server, empty when nobody said.
	PublicURL string

	Limits  Limits
	Version string

	// Ready reports why the server cannot serve; nil means that it always can.
	Ready func(context.Context) error
	// Metrics serves /metrics; nil leaves the route out.
	Metrics http.Handler
	// Measure counts and times requests by the route that they match; nil does
	// not.
	Measure func(next http.Handler, routes ...string) http.Handler
	// CORSOrigins are the origins whose pages may call the API.
	CORSOrigins []string
	// LocalPath says where an artifact lies on this machine's disk; nil where
	// storage is no disk. Only callers on this machine are told.
	LocalPath func(key string) string
	// LinkVerifier reports whether the request carries a signature of ours
	// for its path that is still valid. Nil: links are not signed.
	LinkVerifier func(*http.Request) bool
	Now          func() time.Time
}

// Limits bound what callers may bring and hold. Zero fields get their default.
type Limits struct {
	JobBytes     int64         // body of one job; inputs may hold files as data URLs: 32 MiB
	BatchBytes   int64         // body of a batch: 64 MiB
	WebhookBytes int64         // body of a provider's webhook: 1 MiB
	BatchJobs    int           // jobs in a batch: 1,000
	Streams      int           // event streams open at a time: 10,000
	Waits        int           // requests that wait for their job at a time: 10,000
	BodyTime     time.Duration // how long a body may take to arrive: 2 minutes
	BodyMemory   int64         // all bodies that are read and worked on at a time: 256 MiB
	FileBytes    int64         // one uploaded file: 32 MiB
	Uploads      int           // files that are being uploaded at a time: 64
	UploadTime   time.Duration // how long an upload may take: 15 minutes
}

func (l Limits) withDefaults() Limits {
	return Limits{
		JobBytes:     cmp.Or(l.JobBytes, 32<<20),
		BatchBytes:   cmp.Or(l.BatchBytes, 64<<20),
		WebhookBytes: cmp.Or(l.WebhookBytes, 1<<20),
		BatchJobs:    cmp.Or(l.BatchJobs, MaxBatch),
		Streams:      cmp.Or(l.Streams, 10_000),
		Waits:        cmp.Or(l.Waits, 10_000),
		BodyTime:     cmp.Or(l.BodyTime, 2*time.Minute),
		BodyMemory:   cmp.Or(l.BodyMemory, 256<<20),
		FileBytes:    cmp.Or(l.FileBytes, 32<<20),
		Uploads:      cmp.Or(l.Uploads, 64),
		UploadTime:   cmp.Or(l.UploadTime, 15*time.Minute),
	}
}

// server holds what the handlers share.
type server struct {
	Config
	failures *failures
	streams  *crowd
	waits    *crowd
	uploads  *crowd
	bodies   memory
	// writeTime is how long a client may take to receive one write.
	writeTime time.Duration
	// uploadIdle is how long an upload may bring nothing.
	uploadIdle time.Duration
	// heartbeat ticks when a silent event stream should be heard of.
	heartbeat func() (tick <-chan time.Time, stop func())

	operations []*huma.Operation // in the order of the routes
	document   []byte            // OpenAPI
	docs       []byte            // the same as a page
}

// New returns the API as a handler.
func New(cfg Config) http.Handler { return newServer(cfg).handler() }

func newServer(cfg Config) *server {
	if cfg.Links == nil {
		cfg.Links = tasks.RelativeLinks{}
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Limits = cfg.Limits.withDefaults()
	cfg.PublicURL = strings.TrimSuffix(cfg.PublicURL, "/")
	cfg.CORSOrigins = slices.Clone(cfg.CORSOrigins)
	for i, origin := range cfg.CORSOrigins {
		cfg.CORSOrigins[i] = strings.TrimSuffix(origin, "/") // as browsers write them
	}
	return &server{
		Config:     cfg,
		failures:   newFailures(cfg.Now),
		streams:    newCrowd(cfg.Limits.Streams),
		waits:      newCrowd(cfg.Limits.Waits),
		uploads:    newCrowd(cfg.Limits.Uploads),
		bodies:     memory{limit: cfg.Limits.BodyMemory},
		writeTime:  writeTime,
		uploadIdle: uploadIdle,
		heartbeat:  every(heartbeatInterval),
	}
}

// handler builds the routes and the layers around them. The outermost layer
// sees every answer: it gives the request its id, writes the access log and
// turns a panic into a problem.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	api := humago.New(mux, s.humaConfig())
	api.UseMiddleware(s.authorize)
	s.routes(api)
	s.complete(api)
	mux.HandleFunc("GET /openapi.json", s.serveDocument)
	mux.HandleFunc("GET /docs", s.serveDocs)
	mux.HandleFunc("GET /{$}", s.serveRoot)
	return s.measured(s.observe(s.allowOrigins(s.protectLocal(s.routed(mux)))))
}

func (s *server) measured(next http.Handler) http.Handler {
	if s.Measure == nil {
		return next
	}
	routes := make([]string, 0, len(s.operations))
	for _, o := range s.operations {
		routes = append(routes, o.Method+" "+o.Path)
	}
	return s.Measure(next, routes...)
}

// humaConfig leaves out what huma would add by itself: $schema members, links
// to schemas, and documentation pages that load their scripts from elsewhere.
func (s *server) humaConfig() huma.Config {
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Easel",
				Version:     cmp.Or(s.Version, "dev"),
				Description: documentDescription,
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry(schemaPrefix, schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					securityScheme: {Type: "http", Scheme: "bearer", Description: "A key of the configuration. Not needed where the server is bound to loopback and has no keys."},
				},
			},
			Tags: tags,
			OnAddOperation: []huma.AddOpFunc{func(_ *huma.OpenAPI, operation *huma.Operation) {
				s.operations = append(s.operations, operation)
			}},
		},
		// The second name is what huma looks for under application/problem+json.
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{s.translate},
	}
	if s.PublicURL != "" {
		config.Servers = []*huma.Server{{URL: s.PublicURL}}
	}
	return config
}

// routed answers what no route matches with problems instead of the mux's
// plain text.
func (s *server) routed(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refusal, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		var seen headerOnly
		refusal.ServeHTTP(&seen, r)
		if seen.status != http.StatusMethodNotAllowed {
			s.writeProblem(w, r, newProblem(codeNotFound, "There is nothing at this path."))
			return
		}
		p := newProblem(codeMethodNotAllowed, "The path does not take this method.")
		p.header.Set("Allow", seen.Header().Get("Allow"))
		s.writeProblem(w, r, p)
	})
}

// headerOnly takes an answer's status and header and drops its body.
type headerOnly struct {
	header http.Header
	status int
}

func (h *headerOnly) Header() http.Header {
	if h.header == nil {
		h.header = http.Header{}
	}
	return h.header
}
func (h *headerOnly) WriteHeader(status int)      { h.status = status }
func (h *headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// Server returns an HTTP server for the handler, bounded where a client could
// hold it up. There is no overall write time-out: artifacts may be large and
// event streams long, so the handler extends the deadline with every write that
// succeeds. Its Shutdown ends event streams and waits, which would otherwise
// keep it until the last job is at rest.
func Server(handler http.Handler) *http.Server {
	drain, begin := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.Background(), drainKey{}, drain)
		},
	}
	server.RegisterOnShutdown(begin)
	return server
}

type drainKey struct{}

// drainContext ends when the server begins to shut down. Under a server that
// [Server] did not make it never ends.
func drainContext(ctx context.Context) context.Context {
	if drain, ok := ctx.Value(drainKey{}).(context.Context); ok {
		return drain
	}
	return context.Background()
}

// publicHost is the host name of PublicURL, empty when there is none.
func (s *server) publicHost() string {
	if u, err := url.Parse(s.PublicURL); err == nil {
		return u.Hostname()
	}
	return ""
}
