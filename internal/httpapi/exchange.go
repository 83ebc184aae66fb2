package httpapi

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// exchange is what we learn of one request while it is served: who asks, and
// what to write into the access log.
type exchange struct {
	id     string
	tenant string
	key    string // the key's name, never the key
	held   int64  // bytes of its body, see [memory]
	cause  error  // why we failed; for the log, not for the caller
}

type exchangeKey struct{}

// exchangeOf returns the request's exchange. Code that runs outside of
// [server.observe] gets an empty one.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// observe gives the request an id, turns a panic into a problem, and writes one
// line of access log. The line has the route's pattern and not its path, since
// paths of webhooks carry tokens and queries carry signatures.
func (s *server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{id: requestID(r)}
		began := time.Now()
		response := &responseWriter{ResponseWriter: w, controller: http.NewResponseController(w), writeTime: s.writeTime}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		response.Header().Set("X-Request-Id", x.id)
		response.Header().Set("X-Content-Type-Options", "nosniff")
		response.Header().Set("Cache-Control", "no-store")
		if r.ContentLength != 0 {
			// It holds for bodies that nobody reads as well: net/http waits for
			// the rest of those before it answers.
			setReadDeadline(response, began.Add(s.Limits.BodyTime))
		}
		defer func() { s.bodies.give(x.held) }()
		defer func() {
			broken := recover()
			if broken != nil && broken != http.ErrAbortHandler { //nolint:errorlint // a panic's value, which net/http compares so
				s.Logger.Error("panic while serving a request", zap.String("request_id", x.id),
					zap.String("route", route(r)), zap.Any("panic", broken), zap.StackSkip("stack", 1))
				if response.status == 0 {
					s.writeProblem(response, r, newProblem(codeInternal, "Something broke on our side."))
					broken = nil
				} else {
					broken = http.ErrAbortHandler // the answer is cut off: let the client see that
				}
			}
			s.logAccess(r, response, x, time.Since(began))
			if broken != nil {
				panic(broken)
			}
		}()
		next.ServeHTTP(response, r)
	})
}

func (s *server) logAccess(r *http.Request, response *responseWriter, x *exchange, took time.Duration) {
	level := zapcore.InfoLevel
	switch {
	case response.status >= 500 && !errors.Is(x.cause, context.Canceled):
		level = zapcore.ErrorLevel
	case isHealthCheck(r.URL.Path) || r.URL.Path == "/metrics":
		level = zapcore.DebugLevel
	}
	entry := s.Logger.Check(level, "request")
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.String("request_id", x.id), zap.String("method", r.Method), zap.String("route", route(r)),
		zap.Int("status", response.status), zap.Int64("bytes", response.bytes), zap.Duration("took", took),
		zap.String("remote", remoteHost(r)),
	}
	if x.tenant != "" {
		fields = append(fields, zap.String("tenant", x.tenant))
	}
	if x.key != "" {
		fields = append(fields, zap.String("key", x.key))
	}
	if x.cause != nil {
		fields = append(fields, zap.Error(x.cause))
	}
	entry.Write(fields...)
}

// route is the pattern that the request matched.
func route(r *http.Request) string {
	if r.Pattern == "" {
		return "unmatched"
	}
	return r.Pattern
}

func isHealthCheck(path string) bool { return path == "/healthz" || path == "/readyz" }

// remoteHost is the address of whoever is connected to us, without the port.
func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// requestID is the caller's, where it fits into a log line, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if id == "" || len(id) > 128 {
		return rand.Text()
	}
	for _, c := range []byte(id) {
		if !isNameByte(c) && c != ':' && c != '/' && c != '=' && c != '+' {
			return rand.Text()
		}
	}
	return id
}

// isNameByte reports whether c may stand in a name that we print or send back.
func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// writeTime is how long a client may take to receive what one write hands
// over, 32 KiB at most in a download.
const writeTime = 30 * time.Second

// responseWriter counts what is written and extends the connection's write
// deadline as it goes, so that a client that stops reading is cut off and one
// that reads slowly is not.
type responseWriter struct {
	http.ResponseWriter
	controller *http.ResponseController
	status     int
	bytes      int64
	writeTime  time.Duration
	extended   time.Time
}

// Unwrap lets http.ResponseController reach the connection.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if now := time.Now(); now.Sub(w.extended) > w.writeTime/30 {
		w.extended = now
		// A writer without deadlines (a test's recorder) has nothing to cut off.
		_ = w.controller.SetWriteDeadline(now.Add(w.writeTime))
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}
