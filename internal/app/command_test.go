package app_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// withCommand configures a program as a generator.
func withCommand(name string, command map[string]any) func(*config.Config) {
	return func(cfg *config.Config) {
		cfg.Providers = append(cfg.Providers, config.Provider{
			Name: name, Use: "command", Concurrency: 2, Options: map[string]any{"commands": []any{command}},
		})
	}
}

// TestEspeakSpeaks runs a real generator, without a key: from the request over
// the HTTP API to the sound in storage.
func TestEspeakSpeaks(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("espeak-ng"); err != nil {
		if out, err := exec.CommandContext(t.Context(), "../../scripts/require", "espeak-ng").CombinedOutput(); err != nil {
			t.Skipf("espeak-ng cannot be had: %s", out)
		}
	}
	api := start(t, withCommand("espeak", map[string]any{
		"feature": "text-to-speech", "program": "espeak-ng",
		"arguments": []any{"-v", "{voice}", []any{"-s", "{speed}"}, "-w", "{output}/speech.wav", "--", "{text}"},
		"input": []any{
			map[string]any{"name": "text", "required": true, "max_length": 2000},
			map[string]any{"name": "voice", "default": "en", "pattern": "[a-z]{2,3}(-[a-z0-9]+)*"},
			map[string]any{"name": "speed", "type": "integer", "minimum": 80, "maximum": 450},
		},
		"timeout": "1m", "memory_limit": 1 << 30,
	}))
	say := func(input string) (*client.Job, []byte) {
		job, err := api.Enqueue(t.Context(), tasks.Draft{FeatureType: tasks.TextToSpeech, ProviderID: "espeak", InputData: []byte(input)})
		require.NoError(t, err)
		job, err = api.Wait(t.Context(), job.ID)
		require.NoError(t, err)
		require.Equal(t, tasks.StatusCompleted, job.Status, "%+v", job.Error)
		require.Len(t, job.Result.Artifacts, 1)
		require.Equal(t, "audio", job.Result.Artifacts[0].Kind)
		require.Equal(t, "audio/wav", job.Result.Artifacts[0].MediaType)
		sound, err := api.OpenArtifact(t.Context(), job.ID, 0)
		require.NoError(t, err)
		defer sound.Close()
		data, err := io.ReadAll(sound)
		require.NoError(t, err)
		return job, data
	}
	_, short := say(`{"text":"Hello."}`)
	_, long := say(`{"text":"Every job you hand me comes to rest, whatever happens meanwhile.","voice":"en-gb","speed":120}`)
	require.Equal(t, "RIFF", string(short[:4]))
	require.Greater(t, len(short), 10_000)
	require.Greater(t, len(long), 3*len(short), "it says what it was given")
	_, dash := say(`{"text":"--help"}`)
	require.Equal(t, "RIFF", string(dash[:4]), "behind -- it is a text")

	_, err := api.Enqueue(t.Context(), tasks.Draft{
		FeatureType: tasks.TextToSpeech, ProviderID: "espeak", InputData: []byte(`{"text":"x","voice":"--path=/etc"}`),
	})
	require.ErrorContains(t, err, "/input_data/voice")
}

// TestProgramTellsProgressAndIsCanceled follows a program by what it writes, and
// ends it.
func TestProgramTellsProgressAndIsCanceled(t *testing.T) {
	t.Parallel()
	api := start(t, withCommand("steps", map[string]any{
		"feature": "text-to-image", "program": "/bin/sh",
		"arguments": []any{"-c", "echo step 1 of 4; exec sleep 31415"},
		"progress":  `step (?P<done>\d+) of (?P<total>\d+)`,
	}))
	job, err := api.Enqueue(t.Context(), tasks.Draft{FeatureType: tasks.TextToImage, ProviderID: "steps", InputData: []byte(`{}`)})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		job, err = api.Get(t.Context(), job.ID)
		return err == nil && job.Progress.Percent != nil && *job.Progress.Percent == 25
	}, time.Minute, 20*time.Millisecond)
	require.False(t, job.Progress.Estimated, "the program has said so")
	require.Equal(t, tasks.StatusProcessing, job.Status)

	_, err = api.Cancel(t.Context(), job.ID)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		job, err = api.Get(t.Context(), job.ID)
		return err == nil && job.Attempts[0].Outcome != tasks.OutcomePending
	}, time.Minute, 20*time.Millisecond, "the call ends with the program")
	require.Equal(t, tasks.StatusCanceled, job.Status)
	out, _ := exec.CommandContext(context.WithoutCancel(t.Context()), "ps", "-eo", "args").Output()
	require.NotContains(t, strings.Split(string(out), "\n"), "sleep 31415")
}

// TestProgramOfAKilledWorker kills the whole of a one-process Easel while a
// program runs. The program ends with it, and the next Easel finds by its mark
// that it has, and runs it again.
func TestProgramOfAKilledWorker(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a program outlives its worker here")
	}
	dir := t.TempDir()
	api, kill := spawn(t, dir)
	job, err := api.Enqueue(t.Context(), tasks.Draft{FeatureType: "text-to-poem", ProviderID: "once", InputData: []byte(`{}`)})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := os.Stat(filepath.Join(dir, "ran"))
		return err == nil
	}, time.Minute, 5*time.Millisecond)
	kill()

	api, _ = spawn(t, dir)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	done, err := api.Wait(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, tasks.StatusCompleted, done.Status, "%+v", done.Error)
	artifact, err := api.OpenArtifact(ctx, job.ID, 0)
	require.NoError(t, err)
	defer artifact.Close()
	said, err := io.ReadAll(artifact)
	require.NoError(t, err)
	require.Equal(t, "again\n", string(said))
	out, _ := exec.CommandContext(ctx, "ps", "-eo", "args").Output()
	require.NotContains(t, strings.Split(string(out), "\n"), "sleep 27182", "what the killed worker had begun is over")
}
