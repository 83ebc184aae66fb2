package faults

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// doorway is the public address of an API: what comes to it is noted and handed
// on, or lost.
type doorway struct {
	api string

	mu    sync.Mutex
	came  map[string]time.Time // the last webhook of a job
	codes map[int]int
	lose  bool
}

func (d *doorway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	d.mu.Lock()
	d.came[strings.Split(r.URL.Path, "/")[4]] = time.Now()
	lose := d.lose
	d.mu.Unlock()
	if lose {
		panic(http.ErrAbortHandler)
	}
	request, err := http.NewRequestWithContext(r.Context(), r.Method, d.api+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return
	}
	request.Header = r.Header
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = response.Body.Close() }()
	d.mu.Lock()
	d.codes[response.StatusCode]++
	d.mu.Unlock()
	w.WriteHeader(response.StatusCode)
}

// TestProviderWebhooks measures how long it takes from a provider's webhook to
// the end of its job, has webhooks come early, twice, late, forged and not at
// all, and expects the same end.
func TestProviderWebhooks(t *testing.T) {
	t.Parallel()
	f := newFleet(t, settings{})
	door := &doorway{api: f.apiURL, came: map[string]time.Time{}, codes: map[int]int{}}
	public := httptest.NewServer(door)
	t.Cleanup(func() { public.CloseClientConnections(); public.Close() })
	f.work(2, "EASEL_API_PUBLIC_URL="+public.URL)

	run := func(name, mode string, lose bool) []time.Duration {
		door.mu.Lock()
		door.lose = lose
		clear(door.codes)
		door.mu.Unlock()
		ids := f.enqueue(40, func(i int) tasks.Draft {
			// One after the other, so that none waits for the others.
			simulate := fmt.Sprintf(`"sync":false,"duration_ms":%d`, 1000+50*i)
			if mode != "" {
				simulate += fmt.Sprintf(`,"webhook":%q,"late_by_ms":4000`, mode)
			}
			return noop("{" + simulate + "}")
		})
		jobs := f.awaitRest(ids, 2*patience)
		var delays, waits []time.Duration
		for id, job := range jobs {
			require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %s: %+v", name, id, job.Error)
			require.Len(t, job.Attempts, 1)
			waits = append(waits, job.FinishedAt.Sub(job.Attempts[0].StartedAt))
			door.mu.Lock()
			if at, told := door.came[id]; told {
				delays = append(delays, job.FinishedAt.Sub(at))
			}
			door.mu.Unlock()
		}
		slices.Sort(delays)
		slices.Sort(waits)
		line := fmt.Sprintf("%-8s submitted to done: median %v", name, waits[len(waits)/2].Round(time.Millisecond))
		if len(delays) > 0 && mode == "" && !lose {
			line += fmt.Sprintf("; webhook to done: median %v, 95%% %v", delays[len(delays)/2].Round(time.Millisecond), delays[len(delays)*95/100].Round(time.Millisecond))
		}
		door.mu.Lock()
		t.Log(line, door.codes)
		door.mu.Unlock()
		f.requireNoDuplicates()
		return delays
	}
	delays := run("told", "", false)
	require.GreaterOrEqual(t, len(delays), 38, "nearly every job is told of before a poll finds it")
	run("early", "early", false)
	run("twice", "twice", false)
	run("late", "late", false)
	run("forged", "forged", false)
	// A token that is not the job's is told nothing.
	ids := f.enqueue(1, func(int) tasks.Draft { return noop(`{"sync":false,"duration_ms":1000}`) })
	response, err := http.Post(f.apiURL+"/v1/webhooks/sketch/"+ids[0]+"/guessed", "application/json", strings.NewReader(`{"id":"x"}`))
	require.NoError(t, err)
	_ = response.Body.Close()
	require.Equal(t, http.StatusNotFound, response.StatusCode)
	f.awaitRest(ids, patience)
	run("lost", "", true)
}

// requireNoDuplicates sees to it that no attempt was submitted twice.
func (f *fleet) requireNoDuplicates() {
	f.t.Helper()
	stats, err := f.provider.Stats()
	require.NoError(f.t, err)
	require.Zero(f.t, stats.Duplicates, "an attempt was submitted twice")
}
