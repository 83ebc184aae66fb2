package faults

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// easelBinary is the command line of this tree, built once.
var easelBinary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(binaries, "easel")
	build := exec.Command("go", "build", "-o", path, "../../cmd/easel")
	build.Stderr = os.Stderr
	return path, build.Run()
})

// easel runs one command line with the fleet's configuration, and returns what
// it said.
func (f *fleet) easel(args ...string) string {
	f.t.Helper()
	path, err := easelBinary()
	require.NoError(f.t, err)
	out, err := exec.CommandContext(f.t.Context(), path, append(args, "--config", f.config)...).CombinedOutput()
	require.NoError(f.t, err, "%s", out)
	return string(out)
}

// backup copies Redis' append-only file, and returns how to put it back in the
// place of a Redis that is dead.
func (f *fleet) backup() (restore func()) {
	f.t.Helper()
	live, kept := filepath.Join(f.redis.Dir(), "appendonlydir"), filepath.Join(f.t.TempDir(), "appendonlydir")
	require.NoError(f.t, os.CopyFS(kept, os.DirFS(live)))
	return func() {
		f.redis.Kill()
		require.NoError(f.t, os.RemoveAll(live))
		require.NoError(f.t, os.CopyFS(live, os.DirFS(kept)))
		f.redis.Restart()
	}
}

func (f *fleet) accepted() int {
	stats, err := f.provider.Stats()
	require.NoError(f.t, err)
	require.Zero(f.t, stats.Duplicates, "an attempt was submitted twice")
	return stats.Accepted
}

// TestRestoreDrill restores an append-only file that was copied before a hundred
// submits, and does what docs/operations.md says.
func TestRestoreDrill(t *testing.T) {
	t.Parallel()
	const jobs = 120
	draft := func(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":1500}`) }

	t.Run("a provider that can be asked", func(t *testing.T) {
		t.Parallel()
		f := newFleet(t, settings{SubmitTimeout: 3 * time.Second})
		ids := f.enqueue(jobs, draft)
		restore := f.backup()
		f.work(1)
		require.Eventually(t, func() bool { return f.accepted() >= 100 }, patience, 5*time.Millisecond)
		f.workers[0].kill()
		bought := f.accepted()
		restore()

		said := f.easel("doctor", "--after-restore")
		t.Log(said)
		require.Contains(t, said, "120 jobs of the backup are open")
		require.Contains(t, said, "Nothing differs.")
		require.Equal(t, bought, f.accepted(), "the doctor buys nothing")
		f.work(2)
		rested := f.awaitRest(ids, 3*patience)
		f.requireBoughtOnce(rested)
		require.Equal(t, jobs, f.accepted(), "each is bought once: before the restore, or after it")
		for id, job := range rested {
			require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		}
	})
	t.Run("a provider that cannot be asked", func(t *testing.T) {
		t.Parallel()
		f := newFleet(t, settings{SubmitTimeout: 3 * time.Second, OnUnknown: "hold"})
		ids := f.enqueue(jobs, draft)
		restore := f.backup()
		f.work(1)
		require.Eventually(t, func() bool { return f.accepted() == jobs }, patience, 5*time.Millisecond)
		f.workers[0].kill()
		restore()

		require.Contains(t, f.easel("doctor", "--after-restore"), "120 are held as unresolved")
		f.work(2)
		for id, job := range f.awaitRest(ids, patience) {
			require.Equal(t, tasks.StatusUnresolved, job.Status, "%s: %+v", id, job.Error)
			require.Contains(t, job.Error.Message, "restored from a backup")
		}
		require.Equal(t, jobs, f.accepted())
		// What the operator knows not to exist is bought then, and once.
		_, err := f.api.Resolve(t.Context(), ids[0], client.NotCreated())
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			stats, err := f.provider.Stats()
			return err == nil && stats.Accepted == jobs+1
		}, patience, 50*time.Millisecond)
	})
}

// TestRestoreBeforeTheStartIsNoticed stops all workers, restores the backup and
// starts workers afresh: nobody has seen newer data (the API never looks), and
// nobody has asked the doctor. They compare with what their predecessors noted
// beside the artifacts.
func TestRestoreBeforeTheStartIsNoticed(t *testing.T) {
	t.Parallel()
	const jobs = 60
	f := newFleet(t, settings{SubmitTimeout: 3 * time.Second})
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })
	held := func() bool { return rdb.Exists(t.Context(), "easel:hold").Val() == 1 }
	f.work(1) // gives the data its name, which a backup has as soon as it has jobs
	f.awaitRest(f.enqueue(1, func(int) tasks.Draft { return noop("") }), patience)
	f.workers[0].stop()
	f.work(1)
	f.awaitRest(f.enqueue(1, func(int) tasks.Draft { return noop("") }), patience)
	f.workers[1].stop()
	require.False(t, held(), "a restart without a loss is nothing to notice")

	ids := f.enqueue(jobs, func(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":500}`) })
	// A backup is older than a test is long, so this one is made to look so.
	tide := rdb.Get(t.Context(), "easel:tide").Val()
	require.NoError(t, rdb.Set(t.Context(), "easel:tide", time.Now().Add(-time.Hour).UnixMilli(), 0).Err())
	restore := f.backup()
	require.NoError(t, rdb.Set(t.Context(), "easel:tide", tide, 0).Err())
	f.work(2)
	f.awaitRest(ids, patience)
	bought := f.accepted()
	for _, w := range f.workers[2:] {
		w.stop()
	}
	restore()

	f.work(2)
	require.Eventually(t, held, patience, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		waiting, err := rdb.ZCard(t.Context(), "asynq:{submit:default}:retry").Result()
		return err == nil && waiting == jobs
	}, patience, 20*time.Millisecond)
	require.Equal(t, bought, f.accepted())
	said := false
	for _, w := range f.workers[4:] {
		said = said || strings.Contains(w.tail(), "Redis went back in time")
	}
	require.True(t, said)

	require.Contains(t, f.easel("doctor", "--after-restore", "--skip-files"), "60 had been submitted since the backup")
	for id, job := range f.awaitRest(ids, patience) {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
	}
	require.Equal(t, bought, f.accepted())

	// Once the doctor has been there nobody is told again: not at the next start,
	// and not where all work had ended before it came.
	f.workers[4].stop()
	f.workers[5].stop()
	f.work(1)
	f.awaitRest(f.enqueue(5, func(int) tasks.Draft { return noop("") }), patience)
	require.False(t, held())
}

// TestRestoreIsNoticed restores the backup under workers that run on and are
// told nothing: they see that Redis went back in time, and buy nothing until
// the doctor has been there.
func TestRestoreIsNoticed(t *testing.T) {
	t.Parallel()
	const jobs = 100
	f := newFleet(t, settings{SubmitTimeout: 3 * time.Second})
	ids := f.enqueue(jobs, func(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":500}`) })
	restore := f.backup()
	f.work(2)
	f.awaitRest(ids, patience)
	require.Equal(t, jobs, f.accepted())
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })

	restore()
	require.Eventually(t, func() bool {
		held, err := rdb.Exists(t.Context(), "easel:hold").Result()
		return err == nil && held == 1
	}, patience, 20*time.Millisecond)
	// The hundred tasks of the backup are pending: all are taken, and come back
	// for want of a permission to submit.
	require.Eventually(t, func() bool {
		waiting, err := rdb.ZCard(t.Context(), "asynq:{submit:default}:retry").Result()
		return err == nil && waiting == jobs
	}, patience, 20*time.Millisecond)
	require.Equal(t, jobs, f.accepted())
	said := false // by whoever noticed it first, at least
	for _, w := range f.workers {
		log, err := os.ReadFile(w.log)
		require.NoError(t, err)
		said = said || strings.Contains(string(log), "Redis went back in time")
	}
	require.True(t, said)

	require.Contains(t, f.easel("doctor", "--after-restore", "--skip-files"), "100 had been submitted since the backup")
	for id, job := range f.awaitRest(ids, patience) {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
	}
	require.Equal(t, jobs, f.accepted())
	require.Equal(t, int64(0), rdb.Exists(t.Context(), "easel:hold").Val())

	// A restart without a loss is nothing to notice.
	f.redis.Kill()
	f.redis.Restart()
	f.awaitReady()
	more := f.enqueue(10, func(int) tasks.Draft { return noop("") })
	f.awaitRest(more, patience)
	require.Equal(t, int64(0), rdb.Exists(t.Context(), "easel:hold").Val())
	require.False(t, strings.Contains(f.easel("doctor"), "submits_held"))
}
