package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRunRefuses(t *testing.T) {
	t.Parallel()
	broken := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(broken, []byte("workers: {}"), 0o600))
	empty := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, test := range []struct {
		name, problem string
		args          []string
	}{
		{"unknown flag", "unknown flag", []string{"--no-such-flag"}},
		{"argument", "takes flags only", []string{"now"}},
		{"missing file", "no such file", []string{"--config", filepath.Join(t.TempDir(), "none.yaml")}},
		{"unknown key", "workers: unknown key (did you mean worker?)", []string{"--config", broken, "--redis-url", "redis://127.0.0.1:1"}},
		{"no redis", "redis.url: is needed", []string{"--config", empty}},
		{"bad level", "log.level: must be one of", []string{"--config", empty, "--log-level", "loud"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var stderr bytes.Buffer
			require.ErrorContains(t, run(t.Context(), test.args, &stderr), test.problem)
		})
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	var stderr bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"--help"}, &stderr))
	require.Contains(t, stderr.String(), "--redis-url")
}
