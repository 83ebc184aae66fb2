package main

import (
	"context"
	"io"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/telemetry"
)

// server is a whole Easel in this process; [app.Running] is one.
type server interface {
	APIURL() string
	DashboardURL() string
	DataDir() string
	RedisDescription() string
	Wait() error
	Close(ctx context.Context) error
}

// upOptions say how a server is started.
type upOptions struct {
	log     io.Writer
	anyPort bool // take a free port where a configured one is in use
	reload  func() (*config.Config, error)
}

// up starts a server: the one place that knows how.
func up(ctx context.Context, cfg *config.Config, options upOptions) (server, error) {
	log, err := telemetry.NewLogger(options.log, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return nil, err
	}
	running, err := app.Up(ctx, cfg, app.UpOptions{Log: log, AnyPort: options.anyPort, Reload: options.reload})
	if err != nil {
		return nil, err
	}
	return running, nil
}

// version is the release that this binary is.
func version() string { return app.Version }
