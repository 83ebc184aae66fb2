package app_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// standAloneDir makes this test binary an Easel of its own, to be killed.
const standAloneDir = "EASEL_TEST_STAND_ALONE_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(standAloneDir); dir != "" {
		if err := standAlone(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// standAlone runs an Easel on a data directory, says where, and stays.
func standAlone(dir string) error {
	cfg := config.Default()
	cfg.DataDir = dir
	cfg.API.Listen, cfg.Dashboard.Listen = "127.0.0.1:0", "127.0.0.1:0"
	// A job that is killed between its intent and the provider's answer is
	// known to be absent only once its call cannot be under way any more.
	cfg.Worker.SubmitTimeout, cfg.Worker.ShutdownTimeout = 10*time.Second, 15*time.Second
	cfg.Providers[0].Options = map[string]any{"min_duration_ms": 3000, "max_duration_ms": 4000}
	withCommand("once", map[string]any{
		"feature": "text-to-poem", "program": "/bin/sh", "timeout": "1m",
		"arguments": []any{"-c", `if test -e "$1/ran"; then echo again >"$2/a.txt"; else touch "$1/ran"; sleep 27182; fi`, "sh", dir, "{output}"},
	})(cfg)
	cfg.Providers[1].SubmitTimeout = 5 * time.Second
	cfg.Defaults.Provider = "sketch"
	running, err := app.Up(context.Background(), cfg, app.UpOptions{Log: zap.NewNop()})
	if err != nil {
		return err
	}
	fmt.Println(running.APIURL())
	return running.Wait()
}

// spawn starts the stand-alone Easel and returns how to kill it, with every
// process that it has started.
func spawn(t *testing.T, dir string) (*client.Client, func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), standAloneDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	killed := false
	kill := func() {
		if !killed {
			killed = true
			_ = cmd.Process.Kill() // it may have ended already
			_ = cmd.Wait()
		}
	}
	t.Cleanup(kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	api, err := client.Dial(strings.TrimSpace(line), "")
	require.NoError(t, err)
	return api, kill
}

// TestJobsSurviveKill kills the whole of a one-process Easel, its Redis with it,
// in the middle of jobs, starts it again on the same data directory and sees
// them finished, each submitted once.
func TestJobsSurviveKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	api, kill := spawn(t, dir)
	var ids []string
	for i := range 12 {
		job, err := api.Enqueue(t.Context(), tasks.Draft{
			FeatureType: tasks.TextToImage, InputData: fmt.Appendf(nil, `{"prompt":"kite %d","size":"64x64"}`, i),
		})
		require.NoError(t, err)
		ids = append(ids, job.ID)
	}
	require.Eventually(t, func() bool {
		job, err := api.Get(t.Context(), ids[len(ids)-1])
		return err == nil && job.Status == tasks.StatusProcessing
	}, time.Minute, 10*time.Millisecond)
	kill()

	api, _ = spawn(t, dir)
	for _, id := range ids {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		job, err := api.Wait(ctx, id)
		cancel()
		require.NoError(t, err)
		require.Equal(t, tasks.StatusCompleted, job.Status, "%+v", job.Error)
		require.Len(t, job.Attempts, 1)
		require.FileExists(t, job.Result.Artifacts[0].Path)
	}
}
