package app

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/httpapi"
)

// API runs the HTTP API until the context ends. Its keys are those that reload
// brings.
func API(ctx context.Context, cfg *config.Config, log *zap.Logger, reload Reload) error {
	p, err := open(ctx, cfg, log, cfg.Redis.URL.Reveal())
	if err != nil {
		return err
	}
	defer p.close()
	listener, err := net.Listen("tcp", cfg.API.Listen)
	if err != nil {
		return fmt.Errorf("api: %w", err)
	}
	log.Info("api is listening", zap.String("address", listener.Addr().String()))
	return p.together(ctx, func(ctx context.Context) error {
		return serve(ctx, listener, httpapi.Server(p.apiHandler(listener.Addr().String(), reload)))
	}, p.serveMetrics, p.publish)
}

// apiHandler is the API as it is served at an address.
func (p *platform) apiHandler(address string, reload Reload) http.Handler {
	cfg := httpapi.Config{
		Jobs: p.engine, Files: p.engine, Links: p.links, Logger: p.log.Named("api"), Keys: newKeyring(p.cfg, reload, p.log).current,
		Loopback: loopback(address), PublicURL: p.cfg.API.PublicURL, Version: Version,
		Limits:       httpapi.Limits{JobBytes: int64(p.cfg.API.MaxBody), FileBytes: int64(p.cfg.API.MaxFile)},
		Ready:        p.store.Ping,
		LinkVerifier: p.links.verify,
		LocalPath:    p.artifacts.Path,
		Measure:      p.metrics.Middleware,
		CORSOrigins:  p.cfg.API.CORSOrigins,
	}
	if p.cfg.Metrics.Listen == "" {
		cfg.Metrics = p.metricsHandler()
	}
	return httpapi.New(cfg)
}
