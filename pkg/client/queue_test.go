//go:build !easel_http

package client_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
)

// outcomes collects what a queue tells.
type outcomes struct {
	mu   sync.Mutex
	done map[string][]client.QueueJob
	news chan struct{}
}

func newOutcomes() *outcomes {
	return &outcomes{done: map[string][]client.QueueJob{}, news: make(chan struct{}, 1000)}
}

func (o *outcomes) config(name string, concurrency int) client.QueueConfig {
	note := func(j client.QueueJob) {
		o.mu.Lock()
		o.done[j.ID] = append(o.done[j.ID], j)
		o.mu.Unlock()
		o.news <- struct{}{}
	}
	return client.QueueConfig{
		Name: name, Concurrency: concurrency, OnJobComplete: note, OnJobError: func(j client.QueueJob, _ error) { note(j) },
	}
}

func (o *outcomes) of(id string) []client.QueueJob {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done[id]
}

func (o *outcomes) await(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-o.news:
		case <-time.After(time.Minute):
			require.Fail(t, "the queue does not get on")
		}
	}
}

func queues(t *testing.T, i *installation, test func(t *testing.T, c *client.Client, name string)) {
	for kind, open := range map[string]struct {
		c    *client.Client
		name string
	}{
		"its own, http": {i.clients["http"], ""}, "its own, redis": {i.clients["redis"], ""}, "shared": {i.clients["redis"], "shop"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, open.c, open.name)
		})
	}
}

func TestQueue(t *testing.T) {
	t.Parallel()
	i := install(t)
	queues(t, i, func(t *testing.T, c *client.Client, name string) {
		told := newOutcomes()
		q, err := c.NewQueue(told.config(name, 2))
		require.NoError(t, err)
		var stages atomic.Int64
		good := picture("a kite")
		good.OnProgress = func(client.Progress) { stages.Add(1) }
		first, err := q.Add(t.Context(), good)
		require.NoError(t, err)
		bad, err := q.Add(t.Context(), picture("x", "simulate", map[string]any{"fail": "content_policy"}))
		require.NoError(t, err)
		refused, err := q.Add(t.Context(), picture(""))
		require.NoError(t, err)
		dropped, err := q.Add(t.Context(), picture("never"))
		require.NoError(t, err)
		require.NoError(t, q.CancelJob(t.Context(), dropped))
		entry, err := q.JobStatus(t.Context(), first)
		require.NoError(t, err)
		require.Equal(t, client.StatusQueued, entry.Status)
		require.Empty(t, entry.JobID, "what waits before Start is not asked for")

		require.NoError(t, q.Start(t.Context()))
		defer q.Stop()
		require.Error(t, q.Start(t.Context()))
		told.await(t, 3)
		require.NotNil(t, told.of(first)[0].Result)
		require.Positive(t, stages.Load())
		require.Equal(t, "content_policy", string(client.ClassifyError(told.of(bad)[0].Err).Class))
		require.True(t, client.IsInvalid(told.of(refused)[0].Err))

		require.Eventually(t, func() bool {
			entry, err := q.JobStatus(t.Context(), refused)
			return err == nil && entry.Status == client.StatusFailed && entry.Err != nil
		}, time.Minute, 10*time.Millisecond)
		entry, err = q.JobStatus(t.Context(), first)
		require.NoError(t, err)
		require.Equal(t, client.StatusCompleted, entry.Status)
		require.Len(t, entry.Result.Artifacts, 1)
		entry, err = q.JobStatus(t.Context(), dropped)
		require.NoError(t, err)
		require.Equal(t, client.StatusCanceled, entry.Status)
		_, err = q.JobStatus(t.Context(), "q_none")
		require.ErrorIs(t, err, client.ErrNotQueued)
		require.ErrorIs(t, q.CancelJob(t.Context(), "q_none"), client.ErrNotQueued)
		require.True(t, client.IsConflict(q.CancelJob(t.Context(), first)))

		// What was taken out is asked for after all; what failed is retried as
		// the same job.
		require.NoError(t, q.RetryJob(t.Context(), dropped))
		require.Error(t, q.RetryJob(t.Context(), dropped), "it has not ended")
		before := told.of(bad)[0].JobID
		require.Eventually(t, func() bool { return q.RetryJob(t.Context(), bad) == nil }, time.Minute, 10*time.Millisecond)
		told.await(t, 2)
		require.NotNil(t, told.of(dropped)[0].Result)
		require.Len(t, told.of(bad), 2)
		require.Equal(t, before, told.of(bad)[1].JobID)
	})
}

// TestQueueHoldsItsConcurrency counts what is under way at the provider.
func TestQueueHoldsItsConcurrency(t *testing.T) {
	t.Parallel()
	var now, most, calls atomic.Int64
	gate := make(chan struct{}, 100)
	spec := echo("busy")
	spec.Execute = func(_ context.Context, r client.ProviderRequest) (*client.ProviderResult, error) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		calls.Add(1)
		<-gate
		return &client.ProviderResult{Files: []client.File{{Data: []byte("done"), MediaType: "text/plain"}}}, nil
	}
	c, err := client.Embedded(t.Context(), client.WithProvider(spec))
	require.NoError(t, err)
	defer c.Close()
	defer close(gate) // whoever still waits when the test has failed
	for _, name := range []string{"", "shared"} {
		now.Store(0)
		most.Store(0)
		calls.Store(0)
		told := newOutcomes()
		var opened []*client.Queue
		for range 2 { // two processes, if it has a name
			q, err := c.NewQueue(told.config(name, 3))
			require.NoError(t, err)
			require.NoError(t, q.Start(t.Context()))
			opened = append(opened, q)
			if name == "" {
				break
			}
		}
		for range 9 {
			_, err := opened[0].Add(t.Context(), client.Request{FeatureType: "text-to-text", InputData: []byte(`{}`)})
			require.NoError(t, err)
		}
		require.Eventually(t, func() bool { return now.Load() == 3 }, time.Minute, 5*time.Millisecond)
		for range 9 {
			gate <- struct{}{}
		}
		told.await(t, 9)
		require.EqualValues(t, 3, most.Load())
		require.EqualValues(t, 9, calls.Load())
		for _, q := range opened {
			q.Stop()
		}
		require.Len(t, told.done, 9)
	}
}

// TestQueueGoesOnElsewhere stops a queue whose job is under way: another takes
// it over, and nothing is bought twice.
func TestQueueGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	i := install(t)
	first, second := newOutcomes(), newOutcomes()
	q, err := i.connect().NewQueue(first.config("relay", 1))
	require.NoError(t, err)
	require.NoError(t, q.Start(t.Context()))
	running, err := q.Add(t.Context(), picture("slow", "simulate", map[string]any{"duration_ms": 1500}))
	require.NoError(t, err)
	waiting, err := q.Add(t.Context(), picture("later"))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		entry, err := q.JobStatus(t.Context(), running)
		return err == nil && entry.Status == client.StatusProcessing
	}, time.Minute, 10*time.Millisecond)
	q.Stop()

	other, err := i.connect().NewQueue(second.config("relay", 1))
	require.NoError(t, err)
	require.NoError(t, other.Start(t.Context()))
	defer other.Stop()
	second.await(t, 2)
	require.Empty(t, first.done)
	require.NotNil(t, second.of(running)[0].Result)
	require.NotNil(t, second.of(waiting)[0].Result)
	require.Equal(t, 1, second.of(running)[0].Result.Attempts)
	page, err := i.connect().List(t.Context(), client.Query{})
	require.NoError(t, err)
	require.Len(t, page.Jobs, 2)

	// One of its own goes on where it was.
	told := newOutcomes()
	q, err = i.dial().NewQueue(told.config("", 1))
	require.NoError(t, err)
	require.NoError(t, q.Start(t.Context()))
	id, err := q.Add(t.Context(), picture("slow", "simulate", map[string]any{"duration_ms": 1000}))
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		entry, err := q.JobStatus(t.Context(), id)
		return err == nil && entry.Status == client.StatusProcessing
	}, time.Minute, 10*time.Millisecond)
	q.Stop()
	require.Empty(t, told.done)
	require.NoError(t, q.Start(t.Context()))
	defer q.Stop()
	told.await(t, 1)
	require.NotNil(t, told.of(id)[0].Result)

	_, err = i.dial().NewQueue(client.QueueConfig{Name: "relay"})
	require.ErrorIs(t, err, client.ErrUnsupported)
	_, err = i.connect().NewQueue(client.QueueConfig{Name: "a b"})
	require.Error(t, err)
	_, err = i.connect().NewQueue(client.QueueConfig{Concurrency: -1})
	require.Error(t, err)
}

// TestQueueCancelsWhatRuns cancels the job at the provider.
func TestQueueCancelsWhatRuns(t *testing.T) {
	t.Parallel()
	i := install(t)
	queues(t, i, func(t *testing.T, c *client.Client, name string) {
		told := newOutcomes()
		q, err := c.NewQueue(told.config(name, 1))
		require.NoError(t, err)
		require.NoError(t, q.Start(t.Context()))
		defer q.Stop()
		id, err := q.Add(t.Context(), picture("x", "simulate", map[string]any{"never": true}))
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			entry, err := q.JobStatus(t.Context(), id)
			return err == nil && entry.Status == client.StatusProcessing
		}, time.Minute, 10*time.Millisecond)
		require.NoError(t, q.CancelJob(t.Context(), id))
		told.await(t, 1)
		require.Equal(t, client.StatusCanceled, told.of(id)[0].Status)
	})
}
