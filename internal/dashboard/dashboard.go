// Package dashboard is what operators see: an overview, the jobs with all that
// is known of them, and asynqmon for the queues, behind one login.
//
// What asynqmon is asked to do with a task is mapped onto the task's job (see
// actions.go), since a task is only a nudge and the job's record is the truth.
// Everything the pages need is served from here, so that they work without
// internet.
//
// # What it refuses to know
//
// It holds no rules about jobs and reads no record by itself: the engine's
// verbs come in as small interfaces, and what they refuse is shown as they say
// it. asynq is imported for asynqmon alone, and Redis is not known at all.
package dashboard

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/hibiken/asynq"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Operator carries out what is asked of a task by acting on its job. Both
// methods answer a [orchestrator.ConflictError] with
// [orchestrator.CodeJobMoved] when the task is not its job's current step, and
// [orchestrator.ErrNotFound] when there is no such job.
type Operator interface {
	// RunTask retries the job of an archived task, and makes a waiting one due.
	RunTask(ctx context.Context, taskID string) (*tasks.Job, error)
	// DropTask cancels the task's job, at the provider too.
	DropTask(ctx context.Context, taskID string) (*tasks.Job, error)
}

// Jobs is what the job pages ask of the engine. Verbs take the tenant of the
// job that was looked up, and the version they apply to (0: any).
type Jobs interface {
	// List returns a page of one tenant's jobs, newest first.
	List(ctx context.Context, query orchestrator.Query) (orchestrator.Page, error)
	// Cancel ends the job.
	Cancel(ctx context.Context, tenant, id string, ifVersion int64) (*tasks.Job, error)
	// Retry starts a failed or unresolved job again. The key makes a repeated
	// click the same retry.
	Retry(ctx context.Context, tenant, id string, mode orchestrator.RetryMode, key string, ifVersion int64) (*tasks.Job, bool, error)
	// Resolve settles an unresolved job.
	Resolve(ctx context.Context, tenant, id string, r orchestrator.Resolution, ifVersion int64) (*tasks.Job, error)
	// OpenArtifact reads one of the job's files.
	OpenArtifact(ctx context.Context, tenant, id string, index int) (tasks.Artifact, orchestrator.ArtifactReader, error)
}

// SharedRedis lends asynqmon a go-redis client that somebody else owns, so that
// it has the time-outs of the rest of the program.
type SharedRedis struct {
	Client any // a redis.UniversalClient
}

// MakeRedisClient implements [asynq.RedisConnOpt].
func (s SharedRedis) MakeRedisClient() any { return s.Client }

// Config is what a dashboard needs. All fields are required except where they
// say otherwise.
type Config struct {
	// Redis is where asynq's queues are, usually a [SharedRedis]. The dashboard
	// never closes it.
	Redis    asynq.RedisConnOpt
	Operator Operator
	Jobs     Jobs
	// Lookup returns a job, whoever owns it. Operators see all tenants.
	Lookup func(ctx context.Context, id string) (*tasks.Job, error)
	// Overview gathers the numbers of the first page. It may return what it
	// has beside an error.
	Overview func(ctx context.Context) (Overview, error)
	// RepairGhosts removes task ids that have lost their task from asynq's
	// lists, and says how many there were. Optional.
	RepairGhosts func(ctx context.Context) (int, error)
	// Tenants whose jobs can be listed. Empty means [tasks.DefaultTenant].
	Tenants []string

	// Username and Password are the operator's. Without a password the
	// dashboard is open, which is allowed on loopback only; without a username
	// the password is all that is asked for.
	Username, Password string
	// Loopback says that only this machine can reach the listener.
	Loopback bool
	// Secret signs the sessions. Whoever holds it can make one.
	Secret []byte

	// APIURL is where a browser finds the HTTP API, for its documentation.
	// Optional.
	APIURL string
	// Now is the time by which sessions expire and ages are told. Optional.
	Now func() time.Time
	// Logger is told who did what, and of failures. Optional.
	Logger *zap.Logger
}

// server holds what the handlers share.
type server struct {
	Config
	sessions *sessions
	pages    *pages
}

// New returns the dashboard. It answers an error when the configuration would
// leave it open to others than this machine, or unable to sign sessions.
func New(cfg Config) (http.Handler, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	pages, err := newPages(cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	s := &server{Config: cfg, pages: pages}
	if cfg.Password != "" {
		s.sessions = newSessions(cfg)
	}
	return s.guard(s.routes()), nil
}

func (c *Config) complete() error {
	var errs []error
	if c.Redis == nil || c.Operator == nil || c.Jobs == nil || c.Lookup == nil || c.Overview == nil {
		errs = append(errs, errors.New("all of Redis, Operator, Jobs, Lookup and Overview are required"))
	}
	if c.Password == "" && !c.Loopback {
		errs = append(errs, errors.New("a password is required when not bound to loopback"))
	}
	if c.Password != "" && len(c.Secret) < 16 {
		errs = append(errs, errors.New("a secret of at least 16 bytes is required to sign sessions"))
	}
	if c.APIURL != "" {
		if u, err := url.Parse(c.APIURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") {
			errs = append(errs, errors.New("the API's URL must be http or https"))
		}
	}
	if len(c.Tenants) == 0 {
		c.Tenants = []string{tasks.DefaultTenant}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return errors.Join(errs...)
}

func (s *server) routes() http.Handler {
	queues := newQueues(s.Config)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", alive)
	mux.Handle("GET /assets/", assets())
	mux.HandleFunc("GET /favicon.ico", favicon)

	mux.HandleFunc("GET /login", s.showLogin)
	mux.HandleFunc("POST /login", s.login)
	mux.HandleFunc("POST /logout", s.logout)

	mux.HandleFunc("GET /{$}", s.showOverview)
	mux.HandleFunc("GET /jobs", s.listJobs)
	mux.HandleFunc("GET /jobs/{id}", s.showJob)
	mux.HandleFunc("POST /jobs/{id}/cancel", s.cancelJob)
	mux.HandleFunc("POST /jobs/{id}/retry", s.retryJob)
	mux.HandleFunc("POST /jobs/{id}/resolve", s.resolveJob)
	mux.HandleFunc("GET /jobs/{id}/artifacts/{index}", s.showArtifact)

	mux.Handle(queuesPath+"/", queues)
	mux.HandleFunc("/", s.showMissing)
	return mux
}

func alive(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok")
}

// newKey returns a token that nobody else has, for idempotency keys and nonces.
func newKey() string { return rand.Text() }
