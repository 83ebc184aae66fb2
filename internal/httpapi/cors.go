package httpapi

import (
	"net/http"
	"slices"
)

// What pages of the configured origins may send and read (Fetch standard,
// "CORS protocol"). Keys travel in a header, never in a cookie, so credentials
// are not allowed.
const (
	corsMethods = "GET, POST, DELETE"
	corsHeaders = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Last-Event-ID, Prefer"
	corsExposed = "ETag, Idempotent-Replayed, Location, Preference-Applied, Retry-After, X-Request-Id"
	corsMaxAge  = "600"
)

// allowOrigins lets pages of the configured origins call the API. Without any
// the answer carries no CORS header, and browsers keep pages out.
func (s *server) allowOrigins(next http.Handler) http.Handler {
	if len(s.CORSOrigins) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if !slices.Contains(s.CORSOrigins, origin) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Expose-Headers", corsExposed)
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.Header().Set("Access-Control-Allow-Methods", corsMethods)
			w.Header().Set("Access-Control-Allow-Headers", corsHeaders)
			w.Header().Set("Access-Control-Max-Age", corsMaxAge)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
