package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// verbs is the tenant's view of an engine.
func (w *world) get(id string) *tasks.Job {
	job, err := w.engine.Get(context.Background(), tasks.DefaultTenant, id)
	require.NoError(w.t, err)
	return job
}

func (w *world) cancel(id string) (*tasks.Job, error) {
	return w.engine.Cancel(context.Background(), tasks.DefaultTenant, id, 0)
}

func (w *world) retry(id string, mode RetryMode) (*tasks.Job, error) {
	job, _, err := w.engine.Retry(context.Background(), tasks.DefaultTenant, id, mode, "", 0)
	return job, err
}

func (w *world) resolve(id string, r Resolution) (*tasks.Job, error) {
	return w.engine.Resolve(context.Background(), tasks.DefaultTenant, id, r, 0)
}

func requireConflict(t *testing.T, err error, code string) {
	t.Helper()
	var conflict *ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, code, conflict.Code)
}

func TestCancelQueued(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	job := w.accept(Entry{Draft: draft()})
	canceled, err := w.cancel(job.ID)
	require.NoError(t, err)
	require.Equal(t, tasks.Canceled, canceled.State)
	require.Empty(t, w.queue.tasks, "its task waits for nothing")
	again, err := w.cancel(job.ID)
	require.NoError(t, err)
	require.Equal(t, canceled.Version, again.Version)
	require.Zero(t, total(w.paid))
}

func TestCancelAtProviderIsToldAndLateResultAttached(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending, finished)
	job := w.accept(Entry{Draft: draft()})
	w.step() // submit
	_, err := w.cancel(job.ID)
	require.NoError(t, err)
	done := w.run(job.ID)
	require.Equal(t, tasks.Canceled, done.State)
	require.Equal(t, 1, w.provider.cancels)
	require.NotNil(t, done.Result, "the provider finished all the same: it is paid for")
	require.True(t, done.Result.Late)
}

// TestCancelDuringThePaidCall cancels while the answer is on its way: the answer
// is a fact and is stored, whatever the job has become.
func TestCancelDuringThePaidCall(t *testing.T) {
	t.Parallel()
	answer := pending
	answer.before = func(w *world) {
		for id := range w.store.records {
			_, err := w.cancel(id)
			require.NoError(w.t, err)
		}
	}
	w := newWorld(t, answer, finished)
	done := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Canceled, done.State)
	require.Equal(t, tasks.SubmissionEnded, done.Submissions[0].State)
	require.NotEmpty(t, done.Submissions[0].RemoteID)
	require.True(t, done.Result.Late)
	require.Equal(t, 1, total(w.paid))
}

func TestFinalJobsRefuseVerbs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	_, err := w.cancel(job.ID)
	requireConflict(t, err, CodeJobFinal)
	_, err = w.retry(job.ID, RetryDefault)
	requireConflict(t, err, CodeJobFinal)
	_, err = w.resolve(job.ID, Resolution{Outcome: NotCreated})
	requireConflict(t, err, CodeNotUnresolved)
	_, err = w.engine.Cancel(context.Background(), tasks.DefaultTenant, job.ID, job.Version-1)
	require.ErrorIs(t, err, ErrVersion)
	_, err = w.engine.Get(context.Background(), "somebody else", job.ID)
	require.ErrorIs(t, err, ErrNotFound)
}

func TestRetryRegeneratesWithAFreshBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t, busy, busy, busy, busy, atOnce)
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Failed, job.State)
	_, err := w.retry(job.ID, RetryResume)
	requireConflict(t, err, CodeNothingToDo)
	retried, replayed, err := w.engine.Retry(context.Background(), tasks.DefaultTenant, job.ID, RetryDefault, "key", 0)
	require.NoError(t, err)
	require.False(t, replayed)
	require.Equal(t, tasks.Queued, retried.State)
	require.Empty(t, w.queue.archived(), "the archive no longer tells the truth about it")
	_, replayed, err = w.engine.Retry(context.Background(), tasks.DefaultTenant, job.ID, RetryDefault, "key", 0)
	require.NoError(t, err)
	require.True(t, replayed)
	_, _, err = w.engine.Retry(context.Background(), tasks.DefaultTenant, job.ID, RetryResume, "key", 0)
	requireConflict(t, err, CodeKeyReused)
	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, 1, job.Spent)
}

func TestRetryResumesWhatIsPaidFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	w.artifacts.fails = DefaultLimits().Copies
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Failed, job.State)
	_, err := w.retry(job.ID, RetryRegenerate)
	requireConflict(t, err, CodeUnresolved)
	_, err = w.retry(job.ID, RetryDefault)
	require.NoError(t, err)
	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, 1, total(w.paid))
}

// TestUnresolvedIsNeverBoughtByAClick tries every door of an unresolved job.
func TestUnresolvedIsNeverBoughtByAClick(t *testing.T) {
	t.Parallel()
	w := newWorld(t, cutOff)
	w.provider.finds = false
	w.open()
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Unresolved, job.State)

	_, err := w.retry(job.ID, RetryRegenerate)
	requireConflict(t, err, CodeUnresolved)
	for _, knock := range []func() error{
		func() error { _, err := w.retry(job.ID, RetryDefault); return err },
		func() error { _, err := w.retry(job.ID, RetryResume); return err },
		func() error {
			_, err := w.engine.RunTask(context.Background(), fmt.Sprintf("%s:%d:0", job.ID, w.get(job.ID).ArchivedStep))
			return err
		},
	} {
		require.NoError(t, knock())
		require.Equal(t, tasks.Unresolved, w.run(job.ID).State)
		require.Equal(t, 1, total(w.paid))
	}
	requireConflict(t, w.engine.Erase(context.Background(), tasks.DefaultTenant, job.ID, 0), CodeUnresolved)

	spent := w.get(job.ID).Spent
	_, err = w.resolve(job.ID, Resolution{Outcome: NotCreated})
	require.NoError(t, err)
	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, spent, job.Spent)
}

func TestResolveCreatedPollsTheID(t *testing.T) {
	t.Parallel()
	w := newWorld(t, cutOff, pending, finished)
	w.provider.finds = false
	w.open()
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	_, err := w.resolve(job.ID, Resolution{Outcome: CreatedAs})
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "/remote_id", invalid.Fields[0].Pointer)
	_, err = w.resolve(job.ID, Resolution{Outcome: CreatedAs, RemoteID: "r-1"})
	require.NoError(t, err)
	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, "r-1", job.Submissions[0].RemoteID)
	require.Equal(t, 1, total(w.paid))
}

// hinted makes the scripted provider one whose webhooks can be read.
type hinted struct{ *scripted }

func (hinted) ReadWebhook(_ context.Context, _ http.Header, body []byte) (providers.Hint, error) {
	return providers.Hint{RemoteID: string(body)}, nil
}

// hintedFindable can be asked for lost submissions, too.
type hintedFindable struct{ findable }

func (hintedFindable) ReadWebhook(_ context.Context, _ http.Header, body []byte) (providers.Hint, error) {
	return providers.Hint{RemoteID: string(body)}, nil
}

// hintedRegistry holds the scripted provider, which posts webhooks.
func hintedRegistry(t tester, w *world) *providers.Registry {
	var provider providers.Provider = hinted{w.provider}
	if w.provider.finds {
		provider = hintedFindable{findable{w.provider}}
	}
	registry, err := providers.NewRegistry([]providers.Entry{{Name: "lumen", Adapter: "lumen", Provider: provider}}, "")
	require.NoError(t, err)
	return registry
}

func TestLateWebhookSettlesAnUnresolvedJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, cutOff, gone, finished)
	w.provider.finds = false
	w.open(func(cfg *Config) { cfg.Registry = hintedRegistry(t, w) })
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Unresolved, job.State)

	hint := func(provider, token, id string) error {
		return w.engine.Hint(context.Background(), provider, job.ID, token, nil, []byte(id))
	}
	require.ErrorIs(t, hint("lumen", "forged", "r-9"), ErrNotFound)
	require.ErrorIs(t, hint("other", job.ID+"-1", "r-9"), ErrNotFound)
	require.ErrorIs(t, hint("lumen", job.ID+"-1", "r-8"), ErrNotFound, "the provider knows no such generation")
	require.Equal(t, tasks.Unresolved, w.get(job.ID).State)
	require.NoError(t, hint("lumen", job.ID+"-1", "r-9"))
	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.NoError(t, hint("lumen", job.ID+"-1", "r-9"), "a repeated one does no harm")
	require.Equal(t, 1, total(w.paid))
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	first := w.accept(Entry{Draft: draft(), IdempotencyKey: "k"})
	again, replayed, err := w.engine.Accept(context.Background(), tasks.DefaultTenant, Entry{Draft: draft(), IdempotencyKey: "k"})
	require.NoError(t, err)
	require.True(t, replayed)
	require.Equal(t, first.ID, again.ID)
	other := draft()
	other.InputData = json.RawMessage(`{"prompt":"something else"}`)
	_, _, err = w.engine.Accept(context.Background(), tasks.DefaultTenant, Entry{Draft: other, IdempotencyKey: "k"})
	requireConflict(t, err, CodeKeyReused)
	require.Len(t, w.store.records, 1)
}

func TestRefusedRequestsNameTheirFieldsAndLeaveNothing(t *testing.T) {
	t.Parallel()
	tests := map[string]func(*tasks.Draft){
		"/feature_type":            func(d *tasks.Draft) { d.FeatureType = "No Such" },
		"/input_data":              func(d *tasks.Draft) { d.InputData = json.RawMessage(`[]`) },
		"/provider_id":             func(d *tasks.Draft) { d.ProviderID = "nobody" },
		"/retry_attempts":          func(d *tasks.Draft) { n := 101; d.RetryAttempts = &n },
		"/timeout_ms":              func(d *tasks.Draft) { n := int64(1); d.TimeoutMS = &n },
		"/priority":                func(d *tasks.Draft) { d.Priority = "urgent" },
		"/metadata":                func(d *tasks.Draft) { d.Metadata = map[string]string{"": "x"} },
		"/user_id":                 func(d *tasks.Draft) { d.UserID = "a\x00b" },
		"/run_at":                  func(d *tasks.Draft) { at := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC); d.RunAt = &at },
		"/webhook_url":             func(d *tasks.Draft) { d.WebhookURL = "http://127.0.0.1/" },
		"/fallback_provider_ids/0": func(d *tasks.Draft) { d.FallbackProviderIDs = []string{"nobody"} },
	}
	for pointer, spoil := range tests {
		t.Run(pointer, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.open(func(cfg *Config) {
				cfg.CheckURL = func(string) error { return &classify.Error{Class: classify.Validation, Message: "must be public"} }
			})
			d := draft()
			spoil(&d)
			_, _, err := w.engine.Accept(context.Background(), tasks.DefaultTenant, Entry{Draft: d})
			var invalid *InvalidError
			require.ErrorAs(t, err, &invalid)
			require.Equal(t, pointer, invalid.Fields[0].Pointer)
			require.Empty(t, w.store.records)
			require.Empty(t, w.artifacts.files)
		})
	}
}

func TestMisspeltInputIsWarnedOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := draft()
	d.InputData = json.RawMessage(`{"prompt":"a","promt":"b"}`)
	job := w.accept(Entry{Draft: d})
	require.Len(t, job.Warnings, 1)
	require.Equal(t, "/input_data/promt", job.Warnings[0].Pointer)
}

func TestOperatorsHandsApplyToTheCurrentStepOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending)
	job := w.accept(Entry{Draft: draft()})
	w.step() // submit: the poll is step 2
	for _, stale := range []string{job.ID + ":1:0", job.ID + ":2:7", job.ID + ":deliver-3:0"} {
		_, err := w.engine.DropTask(context.Background(), stale)
		require.Error(t, err)
		require.Equal(t, tasks.Processing, w.get(job.ID).State)
	}
	_, err := w.engine.DropTask(context.Background(), job.ID+":2:0")
	require.NoError(t, err)
	require.Equal(t, tasks.Canceled, w.get(job.ID).State)
}
