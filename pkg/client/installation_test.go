//go:build !easel_http

package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/client"
)

// installation is a whole Easel over a real Redis: API, worker, dashboard.
type installation struct {
	t      *testing.T
	Redis  *redistest.Server
	APIURL string

	clients map[string]*client.Client // opened once, for all parts
}

// operatorKey opens everything.
const operatorKey = "operator-key-0123456789abcdef0123"

func install(t *testing.T, change ...func(*config.Config)) *installation {
	t.Helper()
	db := redistest.Start(t)
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.API.Listen, cfg.Dashboard.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.API.Keys = []config.APIKey{{Name: "operator", Key: operatorKey, Tenant: "default", Scopes: []string{config.ScopeJobs, config.ScopeOperate}}}
	cfg.Redis.URL = config.URL(db.URL())
	cfg.Providers = []config.Provider{{
		Name: "sketch", Use: "sketch", OnUnknown: config.OnUnknownHold, Concurrency: 64,
		Options: map[string]any{"allow_simulate": true, "lookup": false, "min_duration_ms": 100, "max_duration_ms": 200},
	}}
	cfg.Defaults.RetryDelay = 100 * time.Millisecond
	for _, apply := range change {
		apply(cfg)
	}
	running, err := app.Up(context.WithoutCancel(t.Context()), cfg, app.UpOptions{Log: zap.NewNop()})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, running.Close(ctx))
	})
	i := &installation{t: t, Redis: db, APIURL: running.APIURL()}
	i.clients = map[string]*client.Client{"http": i.dial(), "redis": i.connect()}
	return i
}

func (i *installation) dial(options ...client.OpenOption) *client.Client {
	i.t.Helper()
	c, err := client.Dial(i.APIURL, operatorKey, options...)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { require.NoError(i.t, c.Close()) })
	return c
}

func (i *installation) connect(options ...client.OpenOption) *client.Client {
	i.t.Helper()
	c, err := client.Connect(i.t.Context(), i.Redis.URL(), options...)
	require.NoError(i.t, err)
	i.t.Cleanup(func() { require.NoError(i.t, c.Close()) })
	return c
}

// on is the same installation for a part of the test.
func (i *installation) on(t *testing.T) *installation {
	return &installation{t, i.Redis, i.APIURL, i.clients}
}

// both runs a test over HTTP and through Redis.
func (i *installation) both(test func(t *testing.T, c *client.Client)) {
	i.t.Helper()
	for name, c := range i.clients {
		i.t.Run(name, func(t *testing.T) { test(t, c) })
	}
}
