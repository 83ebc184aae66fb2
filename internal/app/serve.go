package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// drainTime is how long requests that are under way may take to end.
const drainTime = 10 * time.Second

// serve serves until the context ends, then lets the requests that are under
// way finish.
func serve(ctx context.Context, listener net.Listener, server *http.Server) error {
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	err := server.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	<-failed //nolint:errcheck // it says no more than that the server was closed
	return err
}

// metricsServer serves numbers only: small requests, short answers.
func metricsServer(metrics http.Handler) *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics)
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
}
