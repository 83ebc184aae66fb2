package faults

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestStorageFails takes the artifact storage away under load and gives it back.
// Meanwhile nothing is submitted again and nothing is lost: copies are tried
// apart from the generation, what came at once lies in the spool, and who could
// not wait gets the result late.
func TestStorageFails(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{SubmitTimeout: 5 * time.Second})
	f.work(2)
	before := f.awaitRest(f.enqueue(10, short), patience)
	back := f.takeStorageAway()
	patient := f.enqueue(60, func(i int) tasks.Draft {
		return noop([]string{
			`{"sync":true,"duration_ms":300}`, `{"sync":false,"duration_ms":300}`, `{"sync":false,"lose_answer":true,"duration_ms":300}`,
		}[i%3])
	})
	hurried := f.enqueue(20, func(i int) tasks.Draft {
		draft, limit := noop([]string{`{"sync":true}`, `{"sync":false,"duration_ms":300}`}[i%2]), int64(6000)
		draft.TimeoutMS = &limit
		return draft
	})
	for id, job := range f.awaitRest(hurried, patience) {
		require.Equal(t, tasks.StatusFailed, job.Status, "%s: there is no storage: %+v", id, job)
		require.Equal(t, "deadline_exceeded", job.Error.Code, "%+v", job.Error)
	}
	records := f.records()
	for i, id := range patient {
		if i%3 != 2 { // what was lost is looked up once storage can say that nothing of it lies there
			f.awaitCopies(records, id, 2)
		}
	}
	for _, id := range patient {
		job, err := f.api.Get(t.Context(), id)
		require.NoError(t, err)
		require.False(t, job.Status.AtRest(), "%s waits for storage: %+v", id, job)
	}
	back()

	jobs := f.awaitRest(append(patient, hurried...), 2*patience)
	for _, id := range patient {
		require.Equal(t, tasks.StatusCompleted, jobs[id].Status, "%s: %+v", id, jobs[id].Error)
	}
	for _, id := range hurried {
		jobs[id] = f.awaitLateResult(id)
	}
	for id, job := range before {
		jobs[id] = job
	}
	f.requireBoughtOnce(jobs)
	for id, job := range jobs {
		require.Len(t, job.Attempts, 1, "a failed copy buys nothing: %+v", job)
		f.requireWhole(id, job)
	}
}

// takeStorageAway puts a file where the directory of the artifacts is, until
// back is called. Permissions would not do: who runs as root has all of them.
func (f *fleet) takeStorageAway() (back func()) {
	f.t.Helper()
	dir := filepath.Join(f.dir, "data", "artifacts")
	require.NoError(f.t, os.Rename(dir, dir+".away"))
	require.NoError(f.t, os.WriteFile(dir, []byte("no directory"), 0o600))
	return func() {
		require.NoError(f.t, os.Remove(dir))
		require.NoError(f.t, os.Rename(dir+".away", dir))
	}
}

// awaitCopies waits until the outputs of the job were tried to be copied so often.
func (f *fleet) awaitCopies(records *store.Store, id string, tries int) {
	f.t.Helper()
	require.Eventually(f.t, func() bool {
		job, err := records.Load(f.t.Context(), id)
		return err == nil && len(job.Submissions) == 1 && job.Submissions[0].Copies >= tries
	}, patience, 20*time.Millisecond, "the outputs of %s are not tried to be copied", id)
}

func (f *fleet) awaitLateResult(id string) client.Job {
	f.t.Helper()
	var job *client.Job
	require.Eventually(f.t, func() bool {
		var err error
		job, err = f.api.Get(f.t.Context(), id)
		return err == nil && job.Result != nil
	}, patience, 20*time.Millisecond, "the result of %s is not attached", id)
	require.True(f.t, job.Result.Late)
	require.Equal(f.t, tasks.StatusFailed, job.Status)
	return *job
}

// requireWhole reads the artifact of a job.
func (f *fleet) requireWhole(id string, job client.Job) {
	f.t.Helper()
	require.Len(f.t, job.Result.Artifacts, 1)
	artifact, err := f.api.Open(f.t.Context(), id, 0)
	require.NoError(f.t, err)
	defer func() { require.NoError(f.t, artifact.Close()) }()
	n, err := io.Copy(io.Discard, artifact)
	require.NoError(f.t, err)
	require.Equal(f.t, job.Result.Artifacts[0].Bytes, n)
}
