package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
)

func TestProcess(t *testing.T) {
	t.Parallel()
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "easel.yaml")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	empty, broken, whole := file(""), file("workers: {}"), file(`redis: {url: "redis://127.0.0.1:1"}`)
	for _, test := range []struct {
		name, says string
		args       []string
		code       int
	}{
		{"unknown flag", "painter: unknown flag", []string{"--no-such-flag"}, exitUsage},
		{"another's flag", "painter: unknown flag", []string{"--listen", ":1"}, exitUsage},
		{"argument", "painter: takes flags only", []string{"now"}, exitUsage},
		{"missing file", "no such file", []string{"--config", filepath.Join(t.TempDir(), "none.yaml")}, exitUsage},
		{"unknown key", "workers: unknown key (did you mean worker?)", []string{"--config", broken, "--redis-url", "redis://127.0.0.1:1"}, exitUsage},
		{"no redis", "redis.url: is needed", []string{"--config", empty}, exitUsage},
		{"bad level", "log.level: must be one of", []string{"--config", whole, "--log-level", "loud"}, exitUsage},
		{"no such adapter", `there is no adapter "brush"`, []string{"--config", file(`{redis: {url: "redis://127.0.0.1:1"}, providers: [brush]}`)}, exitUsage},
		{"help", "--metrics-listen", []string{"--help"}, exitEnded},
		{"broken", "painter: the paint is out", []string{"--config", whole, "--metrics-listen", "127.0.0.1:2"}, exitFailed},
		{"ended", "", []string{"--config", whole}, exitEnded},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := Process{
				Name: "painter", Flags: []Flag{{Name: "metrics-listen", Setting: "metrics.listen", Usage: "`address` of its own for /metrics"}},
				Serve: func(_ context.Context, cfg *config.Config, log *zap.Logger, reload Reload) error {
					require.NotNil(t, log)
					again, err := reload()
					require.NoError(t, err)
					require.Same(t, cfg, again)
					if cfg.Metrics.Listen == "127.0.0.1:2" {
						return errors.New("the paint is out")
					}
					return nil
				},
			}
			var stderr bytes.Buffer
			require.Equal(t, test.code, p.run(t.Context(), test.args, &stderr))
			require.Contains(t, stderr.String(), test.says)
			if test.name == "ended" {
				require.Empty(t, stderr.String())
			}
		})
	}
}

// TestProcessIsStoppedWhileItStarts ends a process that has not come to serve.
func TestProcessIsStoppedWhileItStarts(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	p := Process{Name: "painter", Serve: func(ctx context.Context, _ *config.Config, _ *zap.Logger, _ Reload) error {
		stop()
		return fmt.Errorf("read server info: %w", ctx.Err())
	}}
	path := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`redis: {url: "redis://127.0.0.1:1"}`), 0o600))
	var stderr bytes.Buffer
	require.Equal(t, exitEnded, p.run(ctx, []string{"--config", path}, &stderr))
	require.Empty(t, stderr.String())
}
