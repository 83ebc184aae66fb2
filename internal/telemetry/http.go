package telemetry

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// otherRoute is the label of requests that no route matches: a scanner must not
// be able to make a time series for every path it tries.
const otherRoute = "other"

// Middleware counts and times the requests that next answers, labelled with the
// one of the routes (patterns of [http.ServeMux]) that they match.
func (m *Metrics) Middleware(next http.Handler, routes ...string) http.Handler {
	table := http.NewServeMux()
	for _, route := range routes {
		table.Handle(route, http.NotFoundHandler())
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, route := methodLabel(r.Method), otherRoute
		if _, pattern := table.Handler(r); pattern != "" {
			route = pattern[strings.IndexByte(pattern, '/'):]
		}
		m.httpInFlight.Inc()
		defer m.httpInFlight.Dec()

		started, answer := time.Now(), &recorder{ResponseWriter: w}
		defer func() {
			// Also after a panic, which an outer layer or the server handles.
			m.httpRequests.WithLabelValues(method, route, strconv.Itoa(answer.code())).Inc()
			if !answer.streams() {
				m.httpTimes.WithLabelValues(method, route).Observe(time.Since(started).Seconds())
			}
		}()
		next.ServeHTTP(answer, r)
		answer.returned = true
	})
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut,
	http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

func methodLabel(method string) string {
	if slices.Contains(methods, method) {
		return method
	}
	return "OTHER"
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status   int
	returned bool
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(p)
}

// Unwrap lets [http.ResponseController] reach the writer below, for flushes and
// deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) code() int {
	switch {
	case r.status != 0:
		return r.status
	case r.returned:
		return http.StatusOK
	default:
		return http.StatusInternalServerError
	}
}

func (r *recorder) streams() bool {
	return strings.HasPrefix(r.Header().Get("Content-Type"), "text/event-stream")
}
