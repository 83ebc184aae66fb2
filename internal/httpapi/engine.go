package httpapi

import (
	"context"
	"iter"
	"net/http"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Jobs is what the API asks of the engine. A job of another tenant is
// orchestrator.ErrNotFound, like one that does not exist.
type Jobs interface {
	// Accept takes one request. It reports whether an idempotency key led to
	// a job that was there before.
	Accept(ctx context.Context, tenant string, entry orchestrator.Entry) (job *tasks.Job, replayed bool, err error)
	// AcceptBatch takes many, and answers each in its place.
	AcceptBatch(ctx context.Context, tenant string, entries []orchestrator.Entry) []orchestrator.Accepted
	Get(ctx context.Context, tenant, id string) (*tasks.Job, error)
	List(ctx context.Context, query orchestrator.Query) (orchestrator.Page, error)
	// Wait returns the job once it is at rest, or as it is when d or ctx is
	// over.
	Wait(ctx context.Context, tenant, id string, d time.Duration) (*tasks.Job, error)
	// Watch yields each version newer than after that it sees, and ends after
	// one at rest.
	Watch(ctx context.Context, tenant, id string, after int64) iter.Seq2[*tasks.Job, error]
	// Adopt makes a generation that somebody else has started a job. It
	// reports whether it was one before.
	Adopt(ctx context.Context, tenant string, adoption orchestrator.Adoption) (job *tasks.Job, replayed bool, err error)
	// The verbs apply to any version when ifVersion is 0, and answer
	// orchestrator.ErrVersion when the job has another.
	Cancel(ctx context.Context, tenant, id string, ifVersion int64) (*tasks.Job, error)
	Retry(ctx context.Context, tenant, id string, mode orchestrator.RetryMode, key string, ifVersion int64) (job *tasks.Job, replayed bool, err error)
	Resolve(ctx context.Context, tenant, id string, resolution orchestrator.Resolution, ifVersion int64) (*tasks.Job, error)
	Erase(ctx context.Context, tenant, id string, ifVersion int64) error
	// OpenArtifact opens one of a job's files. An empty tenant stands for
	// whoever owns the job: the caller has shown a link that we signed.
	OpenArtifact(ctx context.Context, tenant, id string, index int) (tasks.Artifact, orchestrator.ArtifactReader, error)
	// OpenInput opens one of the files that a job is made from, likewise.
	OpenInput(ctx context.Context, tenant, id string, index int) (tasks.File, orchestrator.ArtifactReader, error)
	// Hint takes a provider's webhook. Whatever is wrong with it is
	// orchestrator.ErrNotFound.
	Hint(ctx context.Context, provider, jobID, token string, header http.Header, body []byte) error
	// ProviderInfos lists what is configured.
	ProviderInfos(ctx context.Context) ([]orchestrator.ProviderInfo, error)
	// ProviderInfo describes one of them. It answers, like the two below it,
	// orchestrator.ErrNoProvider where there is none of that name.
	ProviderInfo(ctx context.Context, name string) (orchestrator.ProviderInfo, error)
	PauseProvider(ctx context.Context, name string) error
	ResumeProvider(ctx context.Context, name string) error
}
