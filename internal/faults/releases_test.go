package faults

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// nextRelease builds worker and API of a release that does not exist yet: this
// tree, but for records of the next schema. It returns their directory.
var nextRelease = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(binaries, "next")
	source, err := filepath.Abs("../../pkg/tasks/job.go")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	changed := strings.Replace(string(text), "\nconst Schema = 1\n", "\nconst Schema = 2\n", 1)
	if changed == string(text) {
		return "", errors.New("pkg/tasks/job.go does not say const Schema = 1")
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{source: filepath.Join(dir, "job.go")}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "job.go"), []byte(changed), 0o600),
		os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600)); err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", dir+"/", "../../cmd/api", "../../cmd/worker")
	build.Stderr = os.Stderr
	return dir, build.Run()
})

// TestReleasesSideBySide rolls a release with records of a newer schema out
// under load, workers first. The older ones put back what they do not
// understand, count it, and break nothing.
func TestReleasesSideBySide(t *testing.T) {
	t.Parallel()
	_, err := nextRelease()
	require.NoError(t, err)
	f := newFleet(t, settings{})
	f.work(1, "EASEL_METRICS_LISTEN=127.0.0.1:0")
	require.NoError(t, os.Mkdir(filepath.Join(f.dir, "next"), 0o700)) // for the logs
	older, metrics := f.workers[0], f.workers[0].address(t, "metrics")
	rdb := redis.NewClient(&redis.Options{Addr: f.redis.Addr()})
	t.Cleanup(func() { _ = rdb.Close() })

	draft := func(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":2000}`) }
	ids := f.enqueue(150, draft)
	newer := f.spawn("next/worker")
	require.Eventually(t, func() bool {
		return putBack(t, metrics, "newer_schema")
	}, patience, 20*time.Millisecond, "the older worker meets a newer record")
	ids = append(ids, f.enqueue(50, draft)...) // through the older API, all the while

	// A kind of task that only a release after both knows is put back by both.
	_, err = asynq.NewClientFromRedisClient(rdb).Enqueue(asynq.NewTask("job:polish", []byte(`{"job":"job_x","step":1}`)),
		asynq.Queue(tasks.QueuePoll), asynq.TaskID("job_x:1:0"), asynq.MaxRetry(1000))
	require.NoError(t, err)
	unknown := func() string { return rdb.HGet(t.Context(), "asynq:{poll}:t:job_x:1:0", "state").Val() }
	require.Eventually(t, func() bool { return unknown() == "retry" }, patience, 20*time.Millisecond)

	// The older API does not guess at a newer record.
	require.Eventually(t, func() bool {
		for _, id := range ids {
			if rdb.HGet(t.Context(), "easel:job:"+id, "sv").Val() == "2" {
				response, err := http.Get(f.apiURL + "/v1/jobs/" + id)
				require.NoError(t, err)
				_ = response.Body.Close()
				require.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
				require.NotEmpty(t, response.Header.Get("Retry-After"))
				return true
			}
		}
		return false
	}, patience, 20*time.Millisecond)

	older.stop()
	f.apiURL = "http://" + f.spawn("next/api").address(t, "api is listening")
	f.api, err = client.Dial(f.apiURL, "")
	require.NoError(t, err)
	f.awaitReady()
	jobs := f.awaitRest(ids, 3*patience)
	f.requireBoughtOnce(jobs)
	for id, job := range jobs {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		require.Len(t, job.Attempts, 1)
	}
	require.Equal(t, "retry", unknown(), "it waits for who knows it")

	// Rolled back: what only the newer release understands waits for it.
	newer.stop()
	f.work(1)
	after := f.spawn("api")
	back, err := client.Dial("http://"+after.address(t, "api is listening"), "")
	require.NoError(t, err)
	job, err := back.Enqueue(t.Context(), draft(0))
	require.NoError(t, err)
	done, err := back.Wait(t.Context(), job.ID)
	require.NoError(t, err)
	require.Equal(t, tasks.StatusCompleted, done.Status)

	// A newer layout of the keys is refused at once, and says what to do.
	require.NoError(t, rdb.Set(t.Context(), "easel:schema", "99", 0).Err())
	out, err := exec.CommandContext(t.Context(), filepath.Join(binaries, "worker"), "--config", f.config).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "run a newer release")
}

// putBack reports whether a worker has put tasks back for a reason.
func putBack(t *testing.T, address, reason string) bool {
	t.Helper()
	for line := range strings.Lines(metricsOf(t, address)) {
		if strings.HasPrefix(line, "easel_tasks_put_back_total{") && strings.Contains(line, `"`+reason+`"`) {
			return true
		}
	}
	return false
}
