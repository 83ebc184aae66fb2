package faults

import (
	"flag"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// mixed are jobs of every kind that comes to a good end or a permanent one.
func mixed(i int) tasks.Draft {
	switch i % 8 {
	case 0:
		return noop("")
	case 1:
		return noop(`{"sync":false,"duration_ms":800}`)
	case 2:
		return noop(`{"fail":"server","times":2}`)
	case 3:
		return noop(`{"fail":"rate_limit","times":1,"retry_after_ms":300}`)
	case 4:
		return noop(`{"sync":false,"duration_ms":300,"poll_blips":2}`)
	case 5:
		return noop(`{"fail":"content_policy"}`)
	case 6:
		return noop(`{"sync":false,"lose_answer":true,"duration_ms":500}`)
	default:
		return noop(`{"sync":false,"fail":"generation_failed","times":1,"duration_ms":200}`)
	}
}

// TestThousandMixedJobs runs jobs of every kind over several workers, some of
// which come and go as in a deploy.
func TestThousandMixedJobs(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	f.work(3)
	ids := f.enqueue(1000, mixed)
	f.workers[0].stop()
	f.work(1)
	f.workers[1].stop()
	f.work(2)
	for _, stopped := range f.workers[:2] {
		require.Zero(t, stopped.cmd.ProcessState.ExitCode(), "a worker that is asked to stop has not failed")
	}
	jobs := f.awaitRest(ids, 3*patience)
	f.requireBoughtOnce(jobs)
	for i, id := range ids {
		want := tasks.StatusCompleted
		if i%8 == 5 {
			want = tasks.StatusFailed
		}
		require.Equal(t, want, jobs[id].Status, "job %d: %+v", i, jobs[id].Error)
	}
}

// TestKilledWorker kills a worker in the middle of its jobs. Those that were
// not inside a paid call go on with another worker; the others are looked up.
func TestKilledWorker(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{SubmitTimeout: 10 * time.Second})
	f.work(1)
	ids := f.enqueue(200, func(i int) tasks.Draft {
		if i%4 == 0 {
			return noop(`{"sync":false,"hang_ms":1500,"duration_ms":500}`) // killed inside the paid call
		}
		return noop(`{"sync":false,"duration_ms":1500}`)
	})
	require.Eventually(t, func() bool {
		stats, err := f.provider.Stats()
		return err == nil && stats.Accepted >= 60
	}, time.Minute, 10*time.Millisecond)
	killed := time.Now()
	f.workers[0].kill()
	f.work(1)
	jobs := f.awaitRest(ids, 2*patience)
	f.requireBoughtOnce(jobs)
	var latest [2]time.Duration // jobs outside, and inside the paid call
	for i, id := range ids {
		job := jobs[id]
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
		inside := 0
		if i%4 == 0 {
			inside = 1
		}
		latest[inside] = max(latest[inside], job.FinishedAt.Sub(killed))
	}
	t.Logf("finished after the kill at the latest: outside a paid call %v, inside %v", latest[0], latest[1])
}

// TestKilledInsideAPaidCallThatNobodyCanLookUp leaves exactly the jobs that
// were inside the call unresolved, and buys none again.
func TestKilledInsideAPaidCallThatNobodyCanLookUp(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{OnUnknown: "hold", SubmitTimeout: 10 * time.Second})
	f.work(1)
	ids := f.enqueue(20, func(int) tasks.Draft { return noop(`{"sync":false,"hang_ms":4000,"duration_ms":100}`) })
	require.Eventually(t, func() bool {
		stats, err := f.provider.Stats()
		return err == nil && stats.Accepted >= 5
	}, time.Minute, 10*time.Millisecond)
	f.workers[0].kill()
	f.work(1)
	jobs := f.awaitRest(ids, 2*patience)
	unresolved := 0
	for _, job := range jobs {
		if job.Status == tasks.StatusUnresolved {
			unresolved++
			require.Contains(t, job.Error.Message, "may have been accepted")
		} else {
			require.Equal(t, tasks.StatusCompleted, job.Status)
		}
	}
	require.GreaterOrEqual(t, unresolved, 5)
	stats, err := f.provider.Stats()
	require.NoError(t, err)
	require.Zero(t, stats.Duplicates)
}

var pausedFor = flag.Duration("paused.for", 20*time.Second, "how long a worker is paused that is inside paid calls")

// TestPausedWorker stops a worker for longer than its lease while it is inside
// paid calls, and wakes it: what it brings then is a fact, and nothing is
// bought twice.
func TestPausedWorker(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{SubmitTimeout: 8 * time.Second})
	f.work(1)
	ids := f.enqueue(30, func(int) tasks.Draft { return noop(`{"sync":false,"hang_ms":1500,"duration_ms":200}`) })
	require.Eventually(t, func() bool {
		stats, err := f.provider.Stats()
		return err == nil && stats.Accepted >= 5
	}, time.Minute, 10*time.Millisecond)
	f.workers[0].signal(syscall.SIGSTOP)
	f.work(1)
	time.Sleep(*pausedFor) // longer than the lease, the submit time-out and the slack: that is the fault
	f.workers[0].signal(syscall.SIGCONT)
	jobs := f.awaitRest(ids, 2*patience)
	f.requireBoughtOnce(jobs)
}

// TestRedisKilled kills Redis under load and brings it back.
func TestRedisKilled(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	f.work(2)
	ids := f.enqueue(200, func(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":1000}`) })
	require.Eventually(t, func() bool {
		stats, err := f.provider.Stats()
		return err == nil && stats.Accepted >= 50
	}, time.Minute, 10*time.Millisecond)
	f.redis.Kill()
	f.redis.Restart()
	f.awaitReady()
	jobs := f.awaitRest(ids, 2*patience)
	f.requireBoughtOnce(jobs)
	for id, job := range jobs {
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", id, job.Error)
	}
}

// TestWaitingCostsNothing holds ten thousand jobs at a slow provider: what a
// worker keeps for them is no goroutine and next to no memory.
func TestWaitingCostsNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	f.work(1, "EASEL_METRICS_LISTEN=127.0.0.1:0", "GOGC=10")
	metrics := f.workers[0].address(t, "metrics")
	waiting := func(n int) {
		f.enqueue(n, func(int) tasks.Draft { return noop(`{"sync":false,"never":true}`) })
	}
	settle := func(n int) (goroutines, heap float64) {
		require.Eventually(t, func() bool {
			stats, err := f.provider.Stats()
			return err == nil && stats.Accepted == n
		}, 3*patience, 100*time.Millisecond, "the provider is to have all jobs")
		// The least of several looks: polls are under way at any of them, and
		// connections that the submits needed are still idle.
		goroutines, heap = 1e9, 1e12
		for range 100 {
			goroutines = min(goroutines, gauge(t, metrics, "go_goroutines"))
			heap = min(heap, gauge(t, metrics, "go_memstats_heap_alloc_bytes"))
			time.Sleep(250 * time.Millisecond)
		}
		return goroutines, heap
	}
	waiting(100)
	fewGoroutines, fewHeap := settle(100)
	waiting(9_900)
	manyGoroutines, manyHeap := settle(10_000)
	t.Log(repairs(t, metrics))
	t.Log(strings.TrimSpace(fmt.Sprintf("goroutines %v → %v, heap %.1f → %.1f MB", fewGoroutines, manyGoroutines, fewHeap/1e6, manyHeap/1e6)))
	require.LessOrEqual(t, manyGoroutines, fewGoroutines+20)
	require.LessOrEqual(t, manyHeap, fewHeap+20e6)
}
