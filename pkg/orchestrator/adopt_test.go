package orchestrator

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func (w *world) adopt(a Adoption) (*tasks.Job, bool, error) {
	return w.engine.Adopt(context.Background(), tasks.DefaultTenant, a)
}

func TestAdopt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	job, replayed, err := w.adopt(Adoption{ProviderID: "lumen", RemoteID: "r-7", Metadata: map[string]string{"order": "42"}, WebhookURL: "https://hook.test/"})
	require.NoError(t, err)
	require.False(t, replayed)
	require.Equal(t, tasks.Processing, job.State)
	require.Equal(t, tasks.TextToImage, job.Request.FeatureType)
	require.Equal(t, "feature_assumed", job.Warnings[0].Code)

	again, replayed, err := w.adopt(Adoption{ProviderID: "lumen", RemoteID: "r-7", UserID: "u"})
	require.NoError(t, err)
	require.True(t, replayed)
	require.Equal(t, job.ID, again.ID)

	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, []tasks.Kind{poll, poll, finalize, tasks.KindDeliver}, w.steps)
	require.Equal(t, "r-7", job.Submissions[0].RemoteID)
	require.NotEmpty(t, job.Result.Artifacts)
	require.Len(t, w.notifier.received, 1)
	require.Zero(t, total(w.paid))

	stranger, replayed, err := w.engine.Adopt(context.Background(), "somebody else", Adoption{ProviderID: "lumen", RemoteID: "r-7"})
	require.NoError(t, err)
	require.False(t, replayed, "another tenant's job is none of theirs")
	require.NotEqual(t, job.ID, stranger.ID)
}

// TestAdoptedJobsBuyNothing has the generation end badly in each class, and its
// owner ask for more.
func TestAdoptedJobsBuyNothing(t *testing.T) {
	t.Parallel()
	for _, class := range classify.Classes {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			failed := reply{status: providers.Status{State: providers.Failed, Failure: &classify.Error{Class: class, Message: "no"}}}
			w := newWorld(t, pending, failed, atOnce, finished)
			job, _, err := w.adopt(Adoption{ProviderID: "lumen", RemoteID: "r-7"})
			require.NoError(t, err)
			job = w.run(job.ID)
			require.Equal(t, tasks.Failed, job.State)
			for _, mode := range []RetryMode{RetryDefault, RetryRegenerate} {
				_, err = w.retry(job.ID, mode)
				requireConflict(t, err, CodeAdopted)
			}
			_, err = w.retry(job.ID, RetryResume)
			requireConflict(t, err, CodeNothingToDo)
			_, err = w.engine.RunTask(context.Background(), fmt.Sprintf("%s:%d:%d", job.ID, job.Step, job.Gen))
			requireConflict(t, err, CodeAdopted)
			require.Zero(t, total(w.paid))
		})
	}
}

// TestAdoptedJobResumes goes on with a generation that took longer than the job.
func TestAdoptedJobResumes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.provider.script = make([]reply, 40)
	for i := range w.provider.script {
		w.provider.script[i] = pending
	}
	job, _, err := w.adopt(Adoption{ProviderID: "lumen", RemoteID: "r-7", TimeoutMS: new(int64(20_000))})
	require.NoError(t, err)
	for w.get(job.ID).State != tasks.Failed {
		w.step()
	}
	require.Equal(t, classify.Timeout, w.get(job.ID).Error.Class)
	_, err = w.retry(job.ID, RetryDefault)
	require.NoError(t, err)
	w.provider.script = nil // everything is finished
	job = w.run(job.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Zero(t, total(w.paid))
}

func TestAdoptRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, test := range []struct {
		adoption Adoption
		fields   []string
	}{
		{Adoption{}, []string{"/provider_id"}},
		{Adoption{ProviderID: "nobody", RemoteID: "r-1"}, []string{"/provider_id"}},
		{Adoption{ProviderID: "lumen"}, []string{"/remote_id"}},
		{Adoption{ProviderID: "lumen", RemoteID: "a\nb"}, []string{"/remote_id"}},
		{Adoption{ProviderID: "lumen", RemoteID: strings.Repeat("x", 256)}, []string{"/remote_id"}},
		{Adoption{ProviderID: "lumen", RemoteID: "r-1", FeatureType: tasks.TextToVideo}, []string{"/feature_type"}},
		{Adoption{ProviderID: "lumen", RemoteID: "r-1", FeatureType: "A", UserID: "\x01", TimeoutMS: new(int64(1))}, []string{"/feature_type", "/user_id", "/timeout_ms"}},
	} {
		_, _, err := w.adopt(test.adoption)
		var wrong *InvalidError
		require.ErrorAs(t, err, &wrong)
		var fields []string
		for _, f := range wrong.Fields {
			fields = append(fields, f.Pointer)
		}
		require.Equal(t, test.fields, fields)
	}
	w.provider.synchronous = true
	_, _, err := w.adopt(Adoption{ProviderID: "lumen", RemoteID: "r-1"})
	require.ErrorContains(t, err, "answers at once")
	require.Empty(t, w.store.records)
}

// TestPowerCutOfAnAdoption cuts the power before and after each call.
func TestPowerCutOfAnAdoption(t *testing.T) {
	t.Parallel()
	journey := func(t *testing.T, at int, late bool) int {
		w := newWorld(t, pending, finished)
		w.cutAt, w.cutLate = at, late
		var job *tasks.Job
		adopt := func() {
			var err error
			job, _, err = w.adopt(Adoption{ProviderID: "lumen", RemoteID: "r-7", WebhookURL: "https://hook.test/"})
			require.NoError(t, err)
		}
		if !w.power(adopt) {
			adopt() // whoever got no answer asks again, and it is the same job
		}
		job = w.run(job.ID)
		require.Equal(t, tasks.Completed, job.State)
		require.Zero(t, total(w.paid))
		require.NotEmpty(t, w.notifier.received)
		require.Len(t, w.store.records, 1)
		return w.calls
	}
	calls := journey(t, 0, false)
	require.Greater(t, calls, 8)
	for at := 1; at <= calls; at++ {
		journey(t, at, false)
		journey(t, at, true)
	}
}
