//go:build !easel_http

package client_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/client"
)

// eventsChannel is where jobs' changes are told.
const eventsChannel = "easel:events"

// TestExecuteWithAThousandCallers has a thousand callers of one client wait at
// once. They share one subscription, each gets the result of what it asked for,
// and nothing of them is left. It runs beside no other test, so that every
// goroutine that is left is its own.
func TestExecuteWithAThousandCallers(t *testing.T) {
	const callers = 1000
	server := redistest.Start(t)
	db := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer db.Close()
	require.NoError(t, db.Ping(t.Context()).Err())
	before := goleak.IgnoreCurrent()

	dir := t.TempDir()
	file := filepath.Join(dir, "easel.yaml")
	require.NoError(t, os.WriteFile(file, []byte("data_dir: "+dir+"\nproviders:\n  - {name: sketch, use: sketch, concurrency: 64}\n"), 0o600))
	c, err := client.Connect(t.Context(), server.URL(), client.WithWorker(), client.WithConfigFile(file))
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	type outcome struct {
		result *client.GenerationResult
		err    error
	}
	outcomes := make([]outcome, callers)
	var following, calling sync.WaitGroup
	following.Add(callers)
	release := make(chan struct{})
	for i := range callers {
		calling.Go(func() {
			// Nobody goes on before everybody follows a job.
			follows := sync.OnceFunc(func() {
				following.Done()
				<-release
			})
			defer follows()
			result, err := c.Execute(ctx, client.Request{
				FeatureType: client.TextToImage, Model: "sketch-noop", UserID: strconv.Itoa(i),
				InputData: map[string]any{"prompt": "a kite", "seed": i},
			}, client.OnProgress(func(client.Progress) { follows() }))
			outcomes[i] = outcome{result, err}
		})
	}
	following.Wait()
	counts, countErr := db.PubSubNumSub(ctx, eventsChannel).Result()
	close(release)
	calling.Wait()
	require.NoError(t, countErr)
	require.EqualValues(t, 1, counts[eventsChannel], "subscriptions of %d callers", callers)

	ids := map[string]bool{}
	for i, o := range outcomes {
		require.NoError(t, o.err, i)
		var output struct{ Seed *int }
		require.NoError(t, o.result.DecodeOutput(&output))
		require.Equal(t, i, *output.Seed, "another caller's result")
		require.Len(t, o.result.Artifacts, 1)
		require.Equal(t, 1, o.result.Attempts)
		ids[o.result.JobID] = true
	}
	require.Len(t, ids, callers)
	for job, err := range c.All(ctx, client.Query{Limit: 100}) {
		require.NoError(t, err)
		user, err := strconv.Atoi(job.UserID)
		require.NoError(t, err)
		require.Equal(t, outcomes[user].result.JobID, job.ID)
		delete(ids, job.ID)
	}
	require.Empty(t, ids, "jobs that are not in the list")

	require.NoError(t, c.Close())
	counts, err = db.PubSubNumSub(ctx, eventsChannel).Result()
	require.NoError(t, err)
	require.Zero(t, counts[eventsChannel])
	goleak.VerifyNone(t, before)
}
