package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// readyTime bounds the readiness check: a probe that hangs says nothing.
const readyTime = 3 * time.Second

type healthOutput struct {
	Body Health
}

// Health is the answer of a probe.
type Health struct {
	Status  string `json:"status" example:"ok"`
	Version string `json:"version" doc:"The server's release"`
}

// live says that the process serves requests. It asks nobody, so that an outage
// of Redis does not make an orchestrator restart what is in order.
func (s *server) live(context.Context, *struct{}) (*healthOutput, error) {
	return &healthOutput{Body: Health{Status: "ok", Version: s.Version}}, nil
}

// ready says whether requests would be served. The reason why not goes into the
// log, since anybody may ask.
func (s *server) ready(ctx context.Context, in *struct{}) (*healthOutput, error) {
	if s.Ready == nil {
		return s.live(ctx, in)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		return nil, unavailable("The server is not ready.", 2, err)
	}
	return s.live(ctx, in)
}

func (s *server) metrics(_ context.Context, in *httpRequest) (*huma.StreamResponse, error) {
	return &huma.StreamResponse{Body: func(huma.Context) { s.Metrics.ServeHTTP(in.w, in.r) }}, nil
}

// serveRoot shows a browser the documentation, and a program where it is.
func (s *server) serveRoot(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		http.Redirect(w, r, "/docs", http.StatusSeeOther)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	// A client that has gone away is no failure of ours.
	_ = json.NewEncoder(w).Encode(map[string]string{
		"name": "easel", "version": s.Version, "docs": s.PublicURL + "/docs", "openapi": s.PublicURL + "/openapi.json",
	})
}
