package app_test

import (
	"bytes"
	"context"
	"image/gif"
	"image/png"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// start runs a whole Easel on free ports, with its own data directory.
func start(t *testing.T, change ...func(*config.Config)) *client.Client {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.API.Listen, cfg.Dashboard.Listen = "127.0.0.1:0", "127.0.0.1:0"
	for _, apply := range change {
		apply(cfg)
	}
	running, err := app.Up(context.WithoutCancel(t.Context()), cfg, app.UpOptions{Log: zaptest.NewLogger(t)})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, running.Close(ctx))
	})
	api, err := client.Dial(running.APIURL(), "")
	require.NoError(t, err)
	return api
}

func TestOneOfEachKind(t *testing.T) {
	t.Parallel()
	api := start(t)
	tests := []struct {
		feature tasks.Feature
		input   string
		check   func(*testing.T, []byte)
	}{
		{tasks.TextToImage, `{"prompt":"a red kite over the dunes"}`, func(t *testing.T, b []byte) {
			img, err := png.Decode(bytes.NewReader(b))
			require.NoError(t, err)
			require.Greater(t, img.Bounds().Dx(), 63)
		}},
		{tasks.TextToVideo, `{"prompt":"waves at night"}`, func(t *testing.T, b []byte) {
			film, err := gif.DecodeAll(bytes.NewReader(b))
			require.NoError(t, err)
			require.GreaterOrEqual(t, len(film.Image), 8)
		}},
		{tasks.TextToSpeech, `{"text":"hello there"}`, func(t *testing.T, b []byte) {
			require.Equal(t, "RIFF", string(b[:4]))
			require.Greater(t, len(b), 20_000)
		}},
	}
	for _, test := range tests {
		t.Run(string(test.feature), func(t *testing.T) {
			t.Parallel()
			job, err := api.Enqueue(t.Context(), tasks.Draft{FeatureType: test.feature, InputData: []byte(test.input)})
			require.NoError(t, err)
			job, err = api.Wait(t.Context(), job.ID)
			require.NoError(t, err)
			require.Equal(t, tasks.StatusCompleted, job.Status, "%+v", job.Error)
			require.NotEmpty(t, job.Result.Artifacts[0].Path, "on one machine the file is named")
			artifact, err := api.OpenArtifact(t.Context(), job.ID, 0)
			require.NoError(t, err)
			defer artifact.Close()
			data, err := io.ReadAll(artifact)
			require.NoError(t, err)
			require.EqualValues(t, job.Result.Artifacts[0].Bytes, len(data))
			test.check(t, data)
		})
	}
}
