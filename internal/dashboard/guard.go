package dashboard

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// pagePolicy is the content security policy of our own pages: nothing inline,
// nothing from elsewhere.
const pagePolicy = "default-src 'none'; style-src 'self'; script-src 'self'; font-src 'self'; img-src 'self'; " +
	"media-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// maxForm bounds what a form or an action may send. asynqmon's own bound, too.
const maxForm = 1 << 20

// guard stands in front of every route: headers, the Host check of an open
// dashboard, the refusal of cross-origin requests, and the login.
func (s *server) guard(next http.Handler) http.Handler {
	if s.sessions != nil {
		next = s.requireSession(next)
	}
	next = refuseCrossOrigin(next)
	if s.sessions == nil {
		next = requireLocalHost(next)
	}
	return secureHeaders(next)
}

func secureHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		next.ServeHTTP(w, r)
	})
}

// refuseCrossOrigin keeps other sites from driving the dashboard through an
// operator's browser. It looks at Sec-Fetch-Site and Origin of every request
// that may change something.
func refuseCrossOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "This request came from another site and was refused.", http.StatusForbidden)
	}))
	return protection.Handler(next)
}

// requireLocalHost keeps a web page from reaching an open dashboard by a name of
// its own that it lets point to this machine (DNS rebinding).
func requireLocalHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) {
			http.Error(w, "This dashboard has no password and answers to localhost only.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// requireSession lets the signed-in through, and sends the others to the login.
func (s *server) requireSession(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case public(r.URL.Path) || s.sessions.valid(r):
			next.ServeHTTP(w, withOperator(r, s.Username))
		case strings.HasPrefix(r.URL.Path, queuesPath+"/api/"):
			http.Error(w, "Please sign in again.", http.StatusUnauthorized)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		}
	})
}

// public are the paths that a login page needs, and the one that a load
// balancer asks.
func public(path string) bool {
	return path == "/login" || path == "/healthz" || path == "/favicon.ico" || strings.HasPrefix(path, "/assets/")
}

// operatorKey finds the operator's name in a request's context.
type operatorKey struct{}

func withOperator(r *http.Request, name string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), operatorKey{}, name))
}

// operatorName is who is signed in, for the log.
func operatorName(ctx context.Context) string {
	if name, _ := ctx.Value(operatorKey{}).(string); name != "" {
		return name
	}
	return "operator"
}

// localPath returns where to go after a login: a path of this dashboard, never
// another site, whatever the query said.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || u.Opaque != "" ||
		!strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\t\r\n") {
		return "/"
	}
	return next
}
