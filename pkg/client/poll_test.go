//go:build !easel_http

package client_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// gallery is a generation API elsewhere, that others use as well.
type gallery struct {
	*httptest.Server
	orders atomic.Int64
}

func newGallery(t *testing.T) *gallery {
	t.Helper()
	service, err := sketch.NewService(sketch.ServiceConfig{AllowSimulate: true, MinDuration: 100 * time.Millisecond, MaxDuration: 200 * time.Millisecond})
	require.NoError(t, err)
	g := &gallery{}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/v1/generations" {
			g.orders.Add(1)
		}
		service.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		g.Close()
		require.NoError(t, service.Close())
	})
	return g
}

// order starts a generation there, not through Easel.
func (g *gallery) order(t *testing.T, input string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+"/v1/generations",
		strings.NewReader(`{"client_id":"`+rand.Text()+`","feature":"text-to-image","input":`+input+`}`))
	require.NoError(t, err)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	var made struct {
		ID string `json:"id"`
	}
	require.NoError(t, json.NewDecoder(response.Body).Decode(&made))
	require.NotEmpty(t, made.ID)
	return made.ID
}

// TestAdopted polls generations that Easel did not start, by the provider's own
// ids.
func TestAdopted(t *testing.T) {
	t.Parallel()
	g := newGallery(t)
	i := install(t, func(c *config.Config) { c.Providers[0].BaseURL = g.URL })
	i.both(func(t *testing.T, c *client.Client) {
		remoteID := g.order(t, kite)
		before := g.orders.Load()
		poller := c.NewJobPoller(client.PollJobOptions{JobID: remoteID, Provider: "sketch", FeatureType: client.TextToImage})
		require.NoError(t, poller.Start(t.Context()))
		result, err := poller.Wait(t.Context())
		require.NoError(t, err)
		require.Equal(t, tasks.StatusCompleted, result.Status)
		raw, err := result.Result.ReadFile(t.Context(), 0)
		require.NoError(t, err)
		require.NotEmpty(t, raw)
		again, err := c.PollJob(t.Context(), client.PollJobOptions{JobID: remoteID, Provider: "sketch"})
		require.NoError(t, err)
		require.Equal(t, result.JobID, again.JobID)

		failing := g.order(t, `{"prompt":"x","size":"64x64","simulate":{"fail":"generation_failed","stage":"poll"}}`)
		failed, err := c.Adopt(t.Context(), client.Adoption{ProviderID: "sketch", RemoteID: failing})
		require.NoError(t, err)
		_, err = c.Attach(t.Context(), failed.ID)
		require.True(t, client.IsTransientError(err), "%v", err)
		_, err = c.Retry(t.Context(), failed.ID, client.Regenerate)
		require.True(t, client.IsConflict(err))
		require.Equal(t, before+1, g.orders.Load(), "only what the test has ordered itself")

		_, err = c.PollJob(t.Context(), client.PollJobOptions{JobID: "not-one-of-theirs", Provider: "sketch"})
		require.True(t, client.IsInvalid(err))
	})
}

func TestPollJob(t *testing.T) {
	t.Parallel()
	install(t).both(func(t *testing.T, c *client.Client) {
		job, err := c.Enqueue(t.Context(), draft(`{"prompt":"slow","size":"64x64","simulate":{"duration_ms":1000}}`))
		require.NoError(t, err)
		result, err := c.PollJob(t.Context(), client.PollJobOptions{JobID: job.ID})
		require.NoError(t, err)
		require.False(t, result.Status.AtRest())
		require.Nil(t, result.Result)
		require.NoError(t, result.Err)
		require.Equal(t, 1, result.Attempts)
		_, err = c.PollJob(t.Context(), client.PollJobOptions{JobID: "job_none"})
		require.True(t, client.IsNotFound(err))
		_, err = c.Wait(t.Context(), job.ID)
		require.NoError(t, err)
		result, err = c.PollJob(t.Context(), client.PollJobOptions{JobID: job.ID})
		require.NoError(t, err)
		require.Len(t, result.Result.Artifacts, 1)
	})
}

// TestPollerListens hears of the job by its events: it reads nothing itself.
func TestPollerListens(t *testing.T) {
	t.Parallel()
	install(t).both(func(t *testing.T, c *client.Client) {
		job, err := c.Enqueue(t.Context(), draft(kite))
		require.NoError(t, err)
		var progress []client.Progress
		completed := make(chan *client.PollJobResult, 1)
		poller := c.NewJobPoller(client.PollJobOptions{
			JobID: job.ID, Interval: time.Minute,
			OnProgress: func(p client.Progress) { progress = append(progress, p) },
			OnComplete: func(r *client.PollJobResult) { completed <- r },
			OnError:    func(err error) { t.Error(err) },
		})
		require.NoError(t, poller.Start(t.Context()))
		require.Error(t, poller.Start(t.Context()))
		result := <-completed
		<-poller.Done()
		require.Zero(t, result.Attempts)
		require.Positive(t, result.Elapsed)
		require.NotNil(t, result.Result)
		require.Equal(t, tasks.StageCompleted, progress[len(progress)-1].Stage)
		require.Equal(t, result, poller.Result())
		poller.Stop()

		failing, err := c.Enqueue(t.Context(), draft(`{"prompt":"x","size":"64x64","simulate":{"fail":"content_policy"}}`))
		require.NoError(t, err)
		failed := make(chan error, 1)
		poller = c.NewJobPoller(client.PollJobOptions{JobID: failing.ID, OnError: func(err error) { failed <- err }})
		require.NoError(t, poller.Start(t.Context()))
		require.Equal(t, "content_policy", string(client.ClassifyError(<-failed).Class))
	})
}

// deaf is an installation behind a proxy that lets no events through.
func deaf(t *testing.T, i *installation, refuse func(*http.Request) bool) *client.Client {
	t.Helper()
	target, err := url.Parse(i.APIURL)
	require.NoError(t, err)
	through := httputil.NewSingleHostReverseProxy(target)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/events"):
			<-r.Context().Done()
		case refuse != nil && refuse(r):
			w.WriteHeader(http.StatusInternalServerError)
		default:
			through.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(proxy.Close)
	c, err := client.Dial(proxy.URL, operatorKey, client.WithRetries(0))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// TestPollerFallsBack reads the job itself where no events come.
func TestPollerFallsBack(t *testing.T) {
	t.Parallel()
	i := install(t)
	c := deaf(t, i, nil)
	never := draft(`{"prompt":"x","size":"64x64","simulate":{"never":true}}`)

	t.Run("to the end", func(t *testing.T) {
		t.Parallel()
		job, err := c.Enqueue(t.Context(), draft(kite))
		require.NoError(t, err)
		poller := c.NewJobPoller(client.PollJobOptions{JobID: job.ID, Interval: 50 * time.Millisecond, Ceiling: 100 * time.Millisecond})
		require.NoError(t, poller.Start(t.Context()))
		result, err := poller.Wait(t.Context())
		require.NoError(t, err)
		require.Positive(t, result.Attempts)
		require.NotNil(t, result.Result)
	})
	for name, test := range map[string]struct {
		options client.PollJobOptions
		want    error
	}{
		"until its attempts are used up": {client.PollJobOptions{MaxAttempts: 3, Interval: 10 * time.Millisecond}, client.ErrPollAttempts},
		"until its time is over":         {client.PollJobOptions{Timeout: 300 * time.Millisecond, Interval: 50 * time.Millisecond}, client.ErrPollTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job, err := c.Enqueue(t.Context(), never)
			require.NoError(t, err)
			test.options.JobID = job.ID
			told := make(chan error, 1)
			test.options.OnError = func(err error) { told <- err }
			poller := c.NewJobPoller(test.options)
			require.NoError(t, poller.Start(t.Context()))
			require.ErrorIs(t, <-told, test.want)
			if test.options.MaxAttempts > 0 {
				require.Equal(t, test.options.MaxAttempts, poller.Result().Attempts)
			}
			_, err = c.Cancel(t.Context(), job.ID)
			require.NoError(t, err, "the job had gone on")
		})
	}
	t.Run("until it is stopped", func(t *testing.T) {
		t.Parallel()
		job, err := c.Enqueue(t.Context(), never)
		require.NoError(t, err)
		poller := c.NewJobPoller(client.PollJobOptions{JobID: job.ID})
		require.NoError(t, poller.Start(t.Context()))
		poller.Stop()
		_, err = poller.Wait(t.Context())
		require.ErrorIs(t, err, client.ErrPollStopped)

		poller = c.NewJobPoller(client.PollJobOptions{JobID: job.ID})
		poller.Stop()
		require.Error(t, poller.Start(t.Context()))
	})
	t.Run("until its caller ends", func(t *testing.T) {
		t.Parallel()
		ctx, leave := context.WithCancelCause(t.Context())
		job, err := c.Enqueue(t.Context(), never)
		require.NoError(t, err)
		poller := c.NewJobPoller(client.PollJobOptions{JobID: job.ID})
		require.NoError(t, poller.Start(ctx))
		gone := errors.New("gone")
		leave(gone)
		<-poller.Done()
		require.ErrorIs(t, poller.Result().Err, gone)
	})
	t.Run("until too many reads have failed", func(t *testing.T) {
		t.Parallel()
		var reads atomic.Int64
		c := deaf(t, i, func(r *http.Request) bool { return r.Method == http.MethodGet && reads.Add(1) > 2 })
		job, err := c.Enqueue(t.Context(), never)
		require.NoError(t, err)
		poller := c.NewJobPoller(client.PollJobOptions{JobID: job.ID, Interval: 10 * time.Millisecond, ConsecutiveErrors: 4})
		require.NoError(t, poller.Start(t.Context()))
		result, err := poller.Wait(t.Context())
		require.ErrorContains(t, err, "4 reads in a row failed")
		require.Equal(t, 6, result.Attempts)
	})
}
