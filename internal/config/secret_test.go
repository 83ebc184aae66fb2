package config_test

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/easel-jobs/easel/internal/config"
)

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	type holder struct {
		Key config.Secret
		URL config.URL
	}
	h := holder{Key: "hunter2", URL: "redis+sentinel://:hunter2@a:1,b:2/0?master_name=m&sentinel_password=hunter2"}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		require.NotContains(t, fmt.Sprintf(verb, h), "hunter2", verb)
		require.NotContains(t, fmt.Sprintf(verb, &h), "hunter2", verb)
		require.NotContains(t, fmt.Sprintf(verb, h.Key), "hunter2", verb)
		require.NotContains(t, fmt.Sprintf(verb, h), "68756e74657232", verb)
	}
	raw, err := json.Marshal(h)
	require.NoError(t, err)
	require.NotContains(t, string(raw), "hunter2")

	core, logged := observer.New(zapcore.DebugLevel)
	zap.New(core).Info("x", zap.Any("key", h.Key), zap.Stringer("url", h.URL))
	require.NotContains(t, fmt.Sprint(logged.All()[0].ContextMap()), "hunter2")

	require.Equal(t, "hunter2", h.Key.Reveal())
	require.Empty(t, config.Secret("").String(), "an empty secret shows that it is empty")
	require.Equal(t, "[redacted]", config.URL("redis://:hunter2%zz@a").String(), "what cannot be parsed is not shown")
}

func TestSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{
		"0": 0, "1024": 1024, "32MiB": 32 << 20, "32 mib": 32 << 20, "1GB": 1e9, "1.5KiB": 1536, "7B": 7, "2TiB": 2 << 40,
	} {
		got, err := config.ParseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		again, err := config.ParseSize(got.String())
		require.NoError(t, err)
		require.Equal(t, want, again, "printed as %s", got)
	}
	for _, text := range []string{"", "MiB", "-1", "1XB", "NaN", "1e30", "Inf", "9999999TiB"} {
		_, err := config.ParseSize(text)
		require.Error(t, err, text)
	}
	require.Equal(t, "32MiB", (32 * config.Mebibyte).String())
}
