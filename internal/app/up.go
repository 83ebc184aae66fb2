package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/embedded"
	"github.com/easel-jobs/easel/internal/httpapi"
)

// UpOptions say how [Up] starts.
type UpOptions struct {
	Log *zap.Logger
	// AnyPort lets a free port be taken where a configured one is in use.
	AnyPort bool
	// Reload brings the API's keys as they are now; nil: as they were.
	Reload Reload
}

// Running is a whole Easel in this process.
type Running struct {
	platform     *platform
	apiURL       string
	dashboardURL string
	redis        string
	redisServer  *embedded.Server
	stop         context.CancelFunc
	ended        chan struct{}
	err          error
	closeOnce    sync.Once
}

// Up starts API, worker and dashboard in this process, and with no Redis
// configured a Redis of its own. It returns once the API is listening; what was
// started ends with the context, or with [Running.Close].
func Up(ctx context.Context, cfg *config.Config, opts UpOptions) (_ *Running, err error) {
	if opts.Log == nil {
		opts.Log = zap.NewNop()
	}
	r := &Running{ended: make(chan struct{})}
	redisURL := cfg.Redis.URL.Reveal()
	if redisURL == "" {
		if redisURL, err = r.startRedis(ctx, cfg, opts.Log); err != nil {
			return nil, err
		}
	} else {
		r.redis = "the configured Redis"
	}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	if r.platform, err = open(ctx, cfg, opts.Log, redisURL); err != nil {
		return nil, err
	}
	r.platform.fleeting = r.redisServer != nil && !r.redisServer.Durable()
	api, err := listen(ctx, cfg.API.Listen, opts.AnyPort)
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	pages, err := listen(ctx, cfg.Dashboard.Listen, opts.AnyPort)
	if err != nil {
		_ = api.Close() // nothing was served
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	r.apiURL, r.dashboardURL = "http://"+api.Addr().String(), "http://"+pages.Addr().String()
	dashboardHandler, err := r.platform.dashboardHandler(redisURL, pages.Addr().String(), r.apiURL)
	if err != nil {
		_ = api.Close()
		_ = pages.Close()
		return nil, err
	}
	ctx, r.stop = context.WithCancel(ctx)
	go func() {
		defer close(r.ended)
		defer r.release()
		p := r.platform
		r.err = p.together(ctx,
			func(ctx context.Context) error {
				return serve(ctx, api, httpapi.Server(p.apiHandler(api.Addr().String(), opts.Reload)))
			},
			func(ctx context.Context) error { return serve(ctx, pages, pageServer(dashboardHandler)) },
			func(ctx context.Context) error { return p.work(ctx, redisURL) },
			p.serveMetrics, p.publish, r.redisLives,
		)
	}()
	return r, nil
}

// startRedis starts the Redis of this process. It outlives the context, since
// those who work with it must end first.
func (r *Running) startRedis(ctx context.Context, cfg *config.Config, log *zap.Logger) (string, error) {
	server, err := embedded.Start(context.WithoutCancel(ctx), embedded.Config{DataDir: cfg.DataDir, Logger: log.Named("redis")})
	if err != nil {
		return "", err
	}
	r.redisServer, r.redis = server, server.Describe()
	log.Info(r.redis)
	return server.URL(), nil
}

// redisLives ends everything when the Redis of this process has ended by itself.
func (r *Running) redisLives(ctx context.Context) error {
	if r.redisServer == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-r.redisServer.Done():
		return errors.New("the embedded Redis has ended")
	}
}

func (r *Running) release() {
	if r.platform != nil {
		r.platform.close()
	}
	if r.redisServer != nil {
		if err := r.redisServer.Close(); err != nil && r.platform != nil {
			r.platform.log.Warn("stop Redis", zap.Error(err))
		}
	}
}

// listen listens on the address, or, where that is in use and any port will do,
// on a free one.
func listen(ctx context.Context, address string, anyPort bool) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err == nil || !anyPort {
		return listener, err
	}
	host, _, splitErr := net.SplitHostPort(address)
	if splitErr != nil {
		return nil, err
	}
	return (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
}

// APIURL is where the API listens.
func (r *Running) APIURL() string { return r.apiURL }

// DashboardURL is where the dashboard listens.
func (r *Running) DashboardURL() string { return r.dashboardURL }

// DataDir is where this installation keeps its files.
func (r *Running) DataDir() string {
	dir, err := filepath.Abs(r.platform.cfg.DataDir)
	if err != nil {
		return r.platform.cfg.DataDir
	}
	return dir
}

// RedisDescription says in a line which Redis serves, and whether jobs survive.
func (r *Running) RedisDescription() string { return r.redis }

// Wait returns when everything has ended, with the reason if it was not asked
// for.
func (r *Running) Wait() error {
	<-r.ended
	return r.err
}

// Close stops everything and waits: requests and handlers end first, then
// Redis. It returns early with the context's error.
func (r *Running) Close(ctx context.Context) error {
	r.closeOnce.Do(r.stop)
	select {
	case <-r.ended:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}
