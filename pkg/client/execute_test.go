//go:build !easel_http

package client_test

import (
	"bytes"
	"context"
	"errors"
	"image/png"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func picture(prompt string, more ...any) client.Request {
	input := map[string]any{"prompt": prompt, "size": "64x64"}
	for i := 0; i+1 < len(more); i += 2 {
		input[more[i].(string)] = more[i+1]
	}
	return client.Request{FeatureType: client.TextToImage, InputData: input}
}

// TestExecute follows jobs to each of their ends, over HTTP and through Redis.
func TestExecute(t *testing.T) {
	t.Parallel()
	install(t).both(func(t *testing.T, c *client.Client) {
		t.Run("completed", func(t *testing.T) {
			t.Parallel()
			var stages []tasks.Stage
			var last client.Progress
			r := picture("a red kite")
			r.UserID, r.Metadata, r.Timeout, r.RetryAttempts, r.RetryDelay = "u", map[string]string{"order": "42"}, time.Minute, 2, time.Second
			result, err := c.Execute(t.Context(), r, client.OnProgress(func(p client.Progress) {
				stages, last = append(stages, p.Stage), p
			}))
			require.NoError(t, err)
			require.Equal(t, tasks.StatusCompleted, result.Status)
			require.Equal(t, "sketch", result.ProviderID)
			require.Equal(t, 1, result.Attempts)
			require.Positive(t, result.Elapsed)
			require.Equal(t, tasks.StageCompleted, last.Stage)
			require.InDelta(t, 100, *last.Percent, 0)
			require.Equal(t, result.JobID, last.JobID)
			require.Equal(t, tasks.StageInitializing, stages[0])
			raw, err := result.ReadFile(t.Context(), 0)
			require.NoError(t, err)
			img, err := png.Decode(bytes.NewReader(raw))
			require.NoError(t, err)
			require.Equal(t, 64, img.Bounds().Dx())
			var output struct{ Seed *int64 }
			require.NoError(t, result.DecodeOutput(&output))
			require.NotNil(t, output.Seed)
			_, err = result.Open(t.Context(), 1)
			require.ErrorIs(t, err, client.ErrNoResult)

			job, err := c.Get(t.Context(), result.JobID)
			require.NoError(t, err)
			require.Equal(t, "u", job.UserID)
			require.Equal(t, "42", job.Metadata["order"])
			again, err := c.Attach(t.Context(), result.JobID)
			require.NoError(t, err)
			require.Equal(t, result.Artifacts[0].SHA256, again.Artifacts[0].SHA256)
		})
		t.Run("refused", func(t *testing.T) {
			t.Parallel()
			_, err := c.Execute(t.Context(), picture(""))
			require.True(t, client.IsInvalid(err))
			require.True(t, client.IsPermanentError(err))
			require.Equal(t, "#/input_data/prompt", client.ClassifyError(err).Field)
			_, err = c.Execute(t.Context(), client.Request{FeatureType: client.TextToImage, InputData: make(chan int)})
			require.ErrorContains(t, err, "InputData")
		})
		for class, is := range map[classify.Class]func(error) bool{
			classify.ContentPolicy: client.IsPermanentError, classify.GenerationFailed: client.IsTransientError,
			classify.Overloaded: client.IsTransientError, classify.Quota: client.IsPermanentError,
		} {
			t.Run("failed with "+string(class), func(t *testing.T) {
				t.Parallel()
				r := picture("x", "simulate", map[string]any{"fail": class})
				r.RetryAttempts = client.NoRetries
				_, err := c.Execute(t.Context(), r)
				failed, ok := errors.AsType[*client.JobError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, tasks.StatusFailed, failed.Job.Status)
				require.Len(t, failed.Job.Attempts, 1)
				require.Equal(t, class, client.ClassifyError(err).Class)
				require.True(t, is(err))
			})
		}
		t.Run("unresolved", func(t *testing.T) {
			t.Parallel()
			_, err := c.Execute(t.Context(), picture("x", "simulate", map[string]any{"lose_answer": true}))
			require.True(t, client.IsUnknownOutcome(err), "%v", err)
			require.False(t, client.IsTransientError(err))
			require.False(t, client.IsPermanentError(err))
		})
		t.Run("one name, one job", func(t *testing.T) {
			t.Parallel()
			r := picture("a kite with a name")
			r.IdempotencyKey = t.Name()
			first, err := c.Execute(t.Context(), r)
			require.NoError(t, err)
			second, err := c.Execute(t.Context(), r)
			require.NoError(t, err)
			require.Equal(t, first.JobID, second.JobID)
		})
		t.Run("its caller leaves", func(t *testing.T) {
			t.Parallel()
			for _, cancels := range []bool{false, true} {
				ctx, leave := context.WithCancel(t.Context())
				r := picture("slow", "simulate", map[string]any{"duration_ms": 1500})
				r.CancelWithContext = cancels
				r.OnProgress = func(p client.Progress) {
					if p.Status == tasks.StatusProcessing {
						leave()
					}
				}
				_, err := c.Execute(ctx, r)
				left, ok := errors.AsType[*client.DetachedError](err)
				require.True(t, ok, "%v", err)
				require.ErrorIs(t, err, context.Canceled)
				require.Equal(t, cancels, left.Canceled)
				if cancels {
					job, err := c.Get(t.Context(), left.JobID)
					require.NoError(t, err)
					require.Equal(t, tasks.StatusCanceled, job.Status)
					_, err = c.Attach(t.Context(), left.JobID)
					require.ErrorContains(t, err, "canceled")
					continue
				}
				result, err := c.Attach(t.Context(), left.JobID)
				require.NoError(t, err)
				require.Equal(t, left.JobID, result.JobID)
				require.Equal(t, 1, result.Attempts)
			}
		})
	})
}

// TestConfiguredDefaults reach the job where the request does not say.
func TestConfiguredDefaults(t *testing.T) {
	t.Parallel()
	i := install(t)
	config := client.WithOrchestratorConfig(client.OrchestratorConfig{
		DefaultProvider: "sketch", Timeout: 90 * time.Second, RetryAttempts: client.NoRetries, RetryDelay: time.Minute,
	})
	for _, c := range []*client.Client{i.dial(config), i.connect(config)} {
		_, err := c.Execute(t.Context(), picture("x", "simulate", map[string]any{"fail": "generation_failed"}))
		failed, ok := errors.AsType[*client.JobError](err)
		require.True(t, ok, "%v", err)
		require.Len(t, failed.Job.Attempts, 1, "no retries, and no wait of a minute before one")

		// The default is the client's: the request that names it is another
		// than the one that does not.
		far := time.Now().Add(time.Hour).Truncate(time.Second)
		d := draft(kite)
		d.RunAt = &far
		key := client.WithIdempotencyKey(time.Now().String())
		_, err = c.Enqueue(t.Context(), d, key)
		require.NoError(t, err)
		require.NoError(t, c.SetDefaultProvider(t.Context(), ""))
		_, err = c.Enqueue(t.Context(), d, key)
		require.True(t, client.IsConflict(err), "%v", err)
		require.ErrorIs(t, c.SetDefaultProvider(t.Context(), "nobody"), client.ErrNoProvider)
	}
}

func TestFeatures(t *testing.T) {
	t.Parallel()
	install(t).both(func(t *testing.T, c *client.Client) {
		ctx := t.Context()
		drawn, err := c.ExecuteImageFeature(ctx, client.TextToImage, client.ImageInput{Prompt: "a kite", Size: "64x64", N: 2, Seed: new(int64(7))})
		require.NoError(t, err)
		require.Len(t, drawn.Images, 2)
		require.Equal(t, 64, drawn.Images[0].Width)
		raw, err := drawn.ReadFile(ctx, 0)
		require.NoError(t, err)

		// The result of one is the input of the next.
		larger, err := c.ExecuteImageFeature(ctx, client.Upscale, client.ImageInput{Image: client.FileData(raw), Extra: map[string]any{"factor": 4}})
		require.NoError(t, err)
		require.Equal(t, 256, larger.Images[0].Width)

		film, err := c.ExecuteVideoFeature(ctx, client.ImageToVideo, client.VideoInput{Image: client.FileData(raw), Duration: 1, Size: "64x64"})
		require.NoError(t, err)
		require.Len(t, film.Videos, 1)

		speech, err := c.ExecuteAudioFeature(ctx, client.TextToSpeech, client.AudioInput{Text: "hello there"},
			func(r *client.Request) { r.UserID = "u" })
		require.NoError(t, err)
		require.Equal(t, "audio/wav", speech.Audio[0].MediaType)

		_, err = c.ExecuteImageFeature(ctx, client.TextToVideo, client.ImageInput{Prompt: "x"})
		_, wrong := errors.AsType[*client.KindError](err)
		require.True(t, wrong, "%v", err)
		_, err = c.ExecuteImageFeature(ctx, client.Upscale, client.ImageInput{Image: &client.File{}})
		require.ErrorContains(t, err, "neither Data nor a URL")

		for _, test := range []struct {
			has     func(context.Context, client.FeatureType) (bool, error)
			feature client.FeatureType
			want    bool
		}{
			{c.HasImageFeatureSupport, client.RemoveBackground, true},
			{c.HasImageFeatureSupport, "text-to-smell", false},
			{c.HasImageFeatureSupport, client.TextToVideo, false},
			{c.HasVideoFeatureSupport, client.TextToVideo, true},
			{c.HasVideoFeatureSupport, "video-upscale", false},
			{c.HasAudioFeatureSupport, client.TextToAudio, true},
			{c.HasAudioFeatureSupport, client.TextToImage, false},
		} {
			has, err := test.has(ctx, test.feature)
			require.NoError(t, err)
			require.Equal(t, test.want, has, test.feature)
		}
	})
}
