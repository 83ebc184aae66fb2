package config_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

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

func TestRate(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		requests int
		per      time.Duration
	}{
		"10/s": {10, time.Second}, "600/m": {600, time.Minute}, "5000 / h": {5000, time.Hour}, "100/10s": {100, 10 * time.Second},
		"0": {}, "": {},
	} {
		rate, err := config.ParseRate(text)
		require.NoError(t, err, text)
		requests, per := rate.Limit()
		require.Equal(t, want.requests, requests, text)
		require.Equal(t, want.per, per, text)
	}
	for _, text := range []string{"10", "s", "/s", "0/s", "-1/s", "10/", "10/x", "10/1ms", "1/48h", "1e9/s", "200000/s"} {
		_, err := config.ParseRate(text)
		require.Error(t, err, text)
	}
	c, err := load(t, "providers: [{name: a, rate: 10/s, max_in_flight: 20}, {name: b, rate: 0}]", nil)
	require.NoError(t, err)
	require.Equal(t, config.Rate("10/s"), c.Providers[0].Rate)
	require.Equal(t, 20, c.Providers[0].MaxInFlight)
	require.Empty(t, c.Providers[1].Rate)
	_, err = load(t, "providers: [{name: a, rate: fast, max_in_flight: -1}]", nil)
	require.ErrorContains(t, err, "providers[0].rate: must be requests per interval")
	_, err = load(t, "providers: [{name: a, max_in_flight: -1}]", nil)
	require.ErrorContains(t, err, "providers[0].max_in_flight: must not be negative")
	_, err = load(t, "providers: [{name: a, max_backlog: -1}]", nil)
	require.ErrorContains(t, err, "providers[0].max_backlog: must not be negative")
}
