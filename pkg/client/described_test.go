//go:build !easel_http

package client_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// recorder stands before a server and keeps what it is asked.
type recorder struct {
	mu       sync.Mutex
	requests []providertest.Recorded
}

// before starts a proxy of the server, which keeps every request.
func (r *recorder) before(t *testing.T, server string) string {
	t.Helper()
	target, err := url.Parse(server)
	require.NoError(t, err)
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(p *httputil.ProxyRequest) { p.SetURL(target) },
		FlushInterval: -1, // event streams
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.mu.Lock()
		r.requests = append(r.requests, providertest.Recorded{
			Method: q.Method, Path: q.URL.EscapedPath(), Query: q.URL.RawQuery, Header: q.Header.Clone(), Body: body,
		})
		r.mu.Unlock()
		q.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, q)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// notOurs are operations that no client of the Go package asks for.
var notOurs = map[string]string{
	"GET /healthz": "for who runs the server",
	"GET /readyz":  "for who runs the server",
	"GET /metrics": "for who runs the server",
	"POST /v1/webhooks/{provider}/{job}/{token}": "for providers",
	"GET /v1/jobs/{id}/inputs/{n}":               "for providers",
	"GET /v1/files/{id}":                         "an upload is used, not managed",
	"DELETE /v1/files/{id}":                      "an upload is used, not managed",
}

// TestRequestsAreDescribed holds every request that the client makes over HTTP,
// by every verb and option, to the server's own description, and asks for every
// operation in it that is for a client.
func TestRequestsAreDescribed(t *testing.T) {
	t.Parallel()
	i := install(t)
	var seen recorder
	server := seen.before(t, i.APIURL)
	c, err := client.Dial(server, operatorKey)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	askForEverything(ctx, t, c, server)
	require.NoError(t, c.Close())

	description := providertest.ReadDescription(t, "../../docs/openapi.json")
	asked := map[string]bool{}
	for _, request := range seen.requests {
		description.Require(t, request)
		operation, err := description.Operation(request)
		require.NoError(t, err)
		require.NotContains(t, notOurs, operation)
		asked[operation] = true
	}
	for _, operation := range description.Operations() {
		require.True(t, asked[operation] || notOurs[operation] != "", "%s was not asked for", operation)
	}

	// The description does refuse what is not in it.
	for _, wrong := range []providertest.Recorded{
		{Method: http.MethodPost, Path: "/v1/jobs", Body: []byte(`{"input_data": {}}`)},
		{Method: http.MethodPost, Path: "/v1/jobs", Body: []byte(`{"feature_type": "upscale", "input_data": {}, "timeout_ms": "1m"}`)},
		{Method: http.MethodGet, Path: "/v1/jobs", Query: "limit=many"},
		{Method: http.MethodPut, Path: "/v1/jobs/job_1"},
		{Method: http.MethodPost, Path: "/v1/jobs/job_1/finish"},
	} {
		wrong.Header = http.Header{"Content-Type": {"application/json"}}
		require.Error(t, description.Check(wrong), "%s %s %s", wrong.Method, wrong.Path, wrong.Body)
	}
}

// askForEverything makes every request that there is; what the server answers
// is other tests' business, where the next request does not need it.
func askForEverything(ctx context.Context, t *testing.T, c *client.Client, server string) {
	t.Helper()
	full := picture("a kite", "seed", 7)
	full.UserID, full.ProviderID, full.Model, full.FallbackProviderIDs = "u", "sketch", "sketch-1", []string{"sketch"}
	full.RetryAttempts, full.RetryDelay, full.Timeout, full.Priority = client.NoRetries, time.Second, time.Minute, tasks.PriorityHigh
	full.Metadata, full.IdempotencyKey = map[string]string{"order": "42"}, `a "quoted" name`
	full.RunAt = time.Now().Add(time.Hour)
	d, err := full.Draft()
	require.NoError(t, err)
	_, err = c.Enqueue(ctx, d, client.WithIdempotencyKey(full.IdempotencyKey), client.WithWait(time.Second))
	require.NoError(t, err)

	result, err := c.Execute(ctx, picture("a kite"), client.OnProgress(func(client.Progress) {}))
	require.NoError(t, err)
	raw, err := result.ReadFile(ctx, 0)
	require.NoError(t, err)
	upload, err := client.Upload(ctx, server, operatorKey, "image/png", bytes.NewReader(raw))
	require.NoError(t, err)
	_, err = c.ExecuteImageFeature(ctx, client.Upscale, client.ImageInput{Extra: map[string]any{"image": client.UploadInput(upload.ID), "factor": 2}})
	require.NoError(t, err)
	_, err = c.ExecuteImageFeature(ctx, client.Upscale, client.ImageInput{Extra: map[string]any{"image": client.ArtifactInput(result.JobID, 0), "factor": 2}})
	require.NoError(t, err)

	batch, err := c.EnqueueBatch(ctx, []tasks.Draft{d, d})
	require.NoError(t, err)
	waiting := batch[0].Job.ID
	_, err = c.Get(ctx, waiting)
	require.NoError(t, err)
	_, err = c.List(ctx, client.Query{
		Statuses: []tasks.Status{tasks.StatusQueued, tasks.StatusProcessing}, UserID: "u", FeatureType: client.TextToImage, ProviderID: "sketch",
		CreatedAfter: time.Now().Add(-time.Hour), CreatedBefore: time.Now().Add(time.Hour), Limit: 1, IncludeInput: true,
	})
	require.NoError(t, err)
	for _, err := range c.All(ctx, client.Query{Limit: 2}) {
		require.NoError(t, err)
	}
	_, err = c.Cancel(ctx, waiting, client.IfVersion(batch[0].Job.Version))
	require.NoError(t, err)
	for _, mode := range []client.RetryMode{client.RetryDefault, client.Resume, client.Regenerate} {
		_, err = c.Retry(ctx, waiting, mode, client.IfVersion(99))
		require.Error(t, err)
	}
	for _, resolution := range []client.Resolution{client.NotCreated(), client.Created("remote-1")} {
		_, err = c.Resolve(ctx, waiting, resolution, client.IfVersion(99))
		require.Error(t, err)
	}
	_, err = c.Adopt(ctx, client.Adoption{ProviderID: "sketch", RemoteID: "../x", FeatureType: client.TextToImage, Model: "sketch-1"})
	require.True(t, client.IsInvalid(err), "%v", err)
	require.NoError(t, c.Delete(ctx, waiting))

	_, err = c.Features(ctx)
	require.NoError(t, err)
	_, err = c.Providers(ctx)
	require.NoError(t, err)
	_, err = c.PauseProvider(ctx, "sketch")
	require.NoError(t, err)
	_, err = c.ResumeProvider(ctx, "sketch")
	require.NoError(t, err)
}
