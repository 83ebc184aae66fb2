//go:build !easel_http

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func draft(input string) tasks.Draft {
	return tasks.Draft{FeatureType: tasks.TextToImage, InputData: json.RawMessage(input)}
}

const kite = `{"prompt":"a red kite","size":"64x64"}`

// told is what a caller sees of an outcome, in a line.
func told(value any, err error) string {
	var problem *client.Problem
	switch {
	case errors.As(err, &problem):
		places := ""
		for _, fault := range problem.Errors {
			places += " " + fault.Pointer + fault.Parameter + fault.Header
		}
		return fmt.Sprintf("%d %s%s", problem.Status, problem.Code, places)
	case err != nil:
		return "error: " + err.Error()
	}
	switch value := value.(type) {
	case *client.Job:
		return fmt.Sprintf("job %s of %s by %s", value.Status, value.UserID, value.ProviderID)
	case []client.BatchResult:
		text := "batch"
		for _, r := range value {
			if r.Problem != nil {
				text += " [" + told(nil, r.Problem) + "]"
				continue
			}
			text += fmt.Sprintf(" [%d]", r.Status)
		}
		return text
	default:
		raw, _ := json.Marshal(value)
		return string(raw)
	}
}

// TestConformance has each verb answer the same over HTTP and through Redis,
// what goes well and what does not.
func TestConformance(t *testing.T) {
	t.Parallel()
	i := install(t)
	far := time.Now().Add(time.Hour)
	waiting := tasks.Draft{FeatureType: tasks.TextToImage, InputData: json.RawMessage(kite), UserID: "u", RunAt: &far}
	enqueue := func(ctx context.Context, c *client.Client, d tasks.Draft) string {
		job, err := c.Enqueue(ctx, d)
		require.NoError(t, err)
		return job.ID
	}
	done := func(ctx context.Context, c *client.Client, input string) string {
		id := enqueue(ctx, c, draft(input))
		job, err := c.Wait(ctx, id)
		require.NoError(t, err)
		require.True(t, job.Status.AtRest())
		return id
	}
	failing := `{"prompt":"x","size":"64x64","simulate":{"fail":"validation"}}`
	for _, test := range []struct {
		name string
		call func(context.Context, *client.Client) (any, error)
		want string
	}{
		{"enqueue", func(ctx context.Context, c *client.Client) (any, error) { return c.Enqueue(ctx, waiting) }, "job queued of u by sketch"},
		{"enqueue and wait", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, draft(kite), client.WithWait(time.Minute))
		}, "job completed of  by sketch"},
		{"the same key", func(ctx context.Context, c *client.Client) (any, error) {
			first, err := c.Enqueue(ctx, waiting, client.WithIdempotencyKey("k-same"))
			require.NoError(t, err)
			second, err := c.Enqueue(ctx, waiting, client.WithIdempotencyKey("k-same"))
			if err == nil && first.ID != second.ID {
				err = errors.New("two jobs")
			}
			return second, err
		}, "job queued of u by sketch"},
		{"the same key for another request", func(ctx context.Context, c *client.Client) (any, error) {
			_, err := c.Enqueue(ctx, waiting, client.WithIdempotencyKey("k-other"))
			require.NoError(t, err)
			return c.Enqueue(ctx, draft(kite), client.WithIdempotencyKey("k-other"))
		}, "409 idempotency_key_reused"},
		{"a key that is none", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, waiting, client.WithIdempotencyKey(""))
		}, "400 malformed_request Idempotency-Key"},
		{"a key that is too long", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, waiting, client.WithIdempotencyKey(strings.Repeat("k", 256)))
		}, "400 malformed_request Idempotency-Key"},
		{"no input", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, tasks.Draft{FeatureType: tasks.TextToImage})
		}, "422 invalid_request #/input_data"},
		{"an input that the adapter refuses", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, draft(`{"prompt":"","size":"64x64"}`))
		}, "422 invalid_request #/input_data/prompt"},
		{"an unknown provider", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, tasks.Draft{FeatureType: tasks.TextToImage, InputData: json.RawMessage(kite), ProviderID: "nobody"})
		}, "422 invalid_request #/provider_id"},
		{"an unknown feature", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, tasks.Draft{FeatureType: "text-to-smell", InputData: json.RawMessage(kite)})
		}, "422 invalid_request #/feature_type"},
		{"several mistakes", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Enqueue(ctx, tasks.Draft{FeatureType: "A b", Priority: "urgent", TimeoutMS: new(int64(1))})
		}, "422 invalid_request #/feature_type #/input_data #/timeout_ms #/priority"},
		{"batch", func(ctx context.Context, c *client.Client) (any, error) {
			return c.EnqueueBatch(ctx, []tasks.Draft{waiting, {FeatureType: tasks.TextToImage, InputData: json.RawMessage(`{}`)}, waiting})
		}, "batch [202] [422 invalid_request #/jobs/1/input_data/prompt] [202]"},
		{"batch again", func(ctx context.Context, c *client.Client) (any, error) {
			_, err := c.EnqueueBatch(ctx, []tasks.Draft{waiting}, client.WithIdempotencyKey("k-batch"))
			require.NoError(t, err)
			return c.EnqueueBatch(ctx, []tasks.Draft{waiting}, client.WithIdempotencyKey("k-batch"))
		}, "batch [200]"},
		{"empty batch", func(ctx context.Context, c *client.Client) (any, error) { return c.EnqueueBatch(ctx, nil) }, "422 invalid_request #/jobs"},
		{"get nothing", func(ctx context.Context, c *client.Client) (any, error) { return c.Get(ctx, "job_none") }, "404 not_found"},
		{"get a strange id", func(ctx context.Context, c *client.Client) (any, error) { return c.Get(ctx, "../x") }, "404 not_found"},
		{"watch nothing", func(ctx context.Context, c *client.Client) (any, error) { return c.Wait(ctx, "job_none") }, "404 not_found"},
		{"list too much", func(ctx context.Context, c *client.Client) (any, error) { return c.List(ctx, client.Query{Limit: 101}) }, "422 invalid_request limit"},
		{"list with a bad cursor", func(ctx context.Context, c *client.Client) (any, error) {
			return c.List(ctx, client.Query{Cursor: "no"})
		}, "422 invalid_request cursor"},
		{"list a status that is none", func(ctx context.Context, c *client.Client) (any, error) {
			return c.List(ctx, client.Query{Statuses: []tasks.Status{"completed", "done"}})
		}, "422 invalid_request status[1]"},
		{"cancel", func(ctx context.Context, c *client.Client) (any, error) {
			id := enqueue(ctx, c, waiting)
			_, err := c.Cancel(ctx, id)
			require.NoError(t, err)
			return c.Cancel(ctx, id)
		}, "job canceled of u by sketch"},
		{"cancel at another version", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Cancel(ctx, enqueue(ctx, c, waiting), client.IfVersion(99))
		}, "412 version_mismatch"},
		{"cancel what is done", func(ctx context.Context, c *client.Client) (any, error) { return c.Cancel(ctx, done(ctx, c, kite)) }, "409 job_final"},
		{"retry what is done", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Retry(ctx, done(ctx, c, kite), client.RetryDefault)
		}, "409 job_final"},
		{"retry what waits", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Retry(ctx, enqueue(ctx, c, waiting), client.RetryDefault)
		}, "409 job_not_at_rest"},
		{"resume what is nowhere", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Retry(ctx, done(ctx, c, failing), client.Resume)
		}, "409 nothing_to_resume"},
		{"retry what failed", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Retry(ctx, done(ctx, c, failing), client.Regenerate)
		}, "job queued of  by sketch"},
		{"retry in a mode that is none", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Retry(ctx, enqueue(ctx, c, waiting), "harder")
		}, "422 invalid_request #/mode"},
		{"resolve what is not unresolved", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Resolve(ctx, enqueue(ctx, c, waiting), client.NotCreated())
		}, "409 job_not_unresolved"},
		{"resolve with an id that is none", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Resolve(ctx, enqueue(ctx, c, waiting), client.Created("../x"))
		}, "422 invalid_request #/remote_id"},
		{"adopt an id that is none", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Adopt(ctx, client.Adoption{ProviderID: "sketch", RemoteID: "../x"})
		}, "422 invalid_request #/remote_id"},
		{"adopt from nobody", func(ctx context.Context, c *client.Client) (any, error) {
			return c.Adopt(ctx, client.Adoption{ProviderID: "nobody", RemoteID: "x", FeatureType: "B"})
		}, "422 invalid_request #/provider_id #/feature_type"},
		{"delete what waits", func(ctx context.Context, c *client.Client) (any, error) {
			return nil, c.Delete(ctx, enqueue(ctx, c, waiting))
		}, "409 job_not_at_rest"},
		{"delete", func(ctx context.Context, c *client.Client) (any, error) {
			id := done(ctx, c, kite)
			require.NoError(t, c.Delete(ctx, id))
			return c.Get(ctx, id)
		}, "404 not_found"},
		{"open nothing", func(ctx context.Context, c *client.Client) (any, error) { return c.Open(ctx, done(ctx, c, kite), 7) }, "404 not_found"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			i.on(t).both(func(t *testing.T, c *client.Client) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				// Keys belong to the installation: each way in has its own.
				value, err := test.call(ctx, c)
				require.Equal(t, test.want, told(value, err))
			})
		})
	}
}

// TestResultsConform reads one job's result both ways.
func TestResultsConform(t *testing.T) {
	t.Parallel()
	i := install(t)
	overHTTP, throughRedis := i.dial(), i.connect()
	job, err := throughRedis.Enqueue(t.Context(), draft(kite))
	require.NoError(t, err)
	var stages []tasks.Stage
	for seen, err := range throughRedis.Watch(t.Context(), job.ID) {
		require.NoError(t, err)
		stages = append(stages, seen.Progress.Stage)
		job = &seen
	}
	require.Equal(t, tasks.StageCompleted, stages[len(stages)-1])
	same, err := overHTTP.Get(t.Context(), job.ID)
	require.NoError(t, err)
	// Links carry the time of their making.
	same.Result.Artifacts[0].URL, same.Result.Artifacts[0].ExpiresAt = "", nil
	job.Result.Artifacts[0].URL, job.Result.Artifacts[0].ExpiresAt = "", nil
	require.Equal(t, same, job)

	var bytes [][]byte
	for _, c := range []*client.Client{overHTTP, throughRedis} {
		artifact, err := c.Open(t.Context(), job.ID, 0)
		require.NoError(t, err)
		raw, err := io.ReadAll(artifact)
		require.NoError(t, err)
		require.NoError(t, artifact.Close())
		require.Equal(t, "image/png", artifact.MediaType)
		require.EqualValues(t, job.Result.Artifacts[0].Bytes, artifact.Size)
		bytes = append(bytes, raw)

		page, err := c.List(t.Context(), client.Query{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, job.ID, page.Jobs[0].ID)
		require.Nil(t, page.Jobs[0].InputData)
		page, err = c.List(t.Context(), client.Query{Limit: 1, IncludeInput: true})
		require.NoError(t, err)
		require.JSONEq(t, kite, string(page.Jobs[0].InputData))
	}
	require.Equal(t, bytes[0], bytes[1])

	for _, list := range []func(*client.Client) (any, error){
		func(c *client.Client) (any, error) { return c.Providers(t.Context()) },
		func(c *client.Client) (any, error) { return c.Features(t.Context()) },
	} {
		here, err := list(overHTTP)
		require.NoError(t, err)
		there, err := list(throughRedis)
		require.NoError(t, err)
		require.Equal(t, here, there)
	}
}

// TestOptionsAreForTheirWayIn says so, and does not ignore what it cannot do.
func TestOptionsAreForTheirWayIn(t *testing.T) {
	t.Parallel()
	_, err := client.Dial("http://127.0.0.1:1", "", client.WithWorker())
	require.ErrorIs(t, err, client.ErrUnsupported)
	_, err = client.Connect(t.Context(), "redis://127.0.0.1:1", client.WithUserAgent("x"))
	require.ErrorIs(t, err, client.ErrUnsupported)
	_, err = client.Connect(t.Context(), "")
	require.ErrorIs(t, err, client.ErrUnsupported)
	_, err = client.Dial("http://127.0.0.1:1", "", client.WithOrchestratorConfig(client.OrchestratorConfig{
		RetryAttempts: -2, Polling: client.PollingConfig{Factor: 0.5},
	}))
	require.ErrorContains(t, err, "OrchestratorConfig.RetryAttempts")
	require.ErrorContains(t, err, "Polling.Factor")

	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err = client.Connect(ctx, "redis://127.0.0.1:1")
	require.ErrorIs(t, err, client.ErrUnreachable)
}
