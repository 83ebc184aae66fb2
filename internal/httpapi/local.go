package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"go.uber.org/zap"
)

// protectLocal guards a server that has no keys. Whoever is on the machine may
// use it, and so might a web page in a browser there: one that another site
// serves (a cross-origin request), or one whose name was rebound to the loopback
// address (a foreign Host). Both are refused, but for pages of the origins that
// were configured.
func (s *server) protectLocal(next http.Handler) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	for _, origin := range s.CORSOrigins {
		if err := crossOrigin.AddTrustedOrigin(origin); err != nil {
			s.Logger.Warn("a configured origin is none", zap.Error(err)) // it stays refused
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(s.keys()) > 0 {
			next.ServeHTTP(w, r)
			return
		}
		if !s.isOwnName(hostname(r.Host)) && !isHealthCheck(r.URL.Path) {
			s.writeProblem(w, r, newProblem(codeHostNotAllowed, "The server has no keys and answers only to its own names."))
			return
		}
		if crossOrigin.Check(r) != nil {
			s.writeProblem(w, r, newProblem(codeCrossOrigin, "The server has no keys and takes no requests from other web pages."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isOwnName reports whether the server without keys answers to the name.
func (s *server) isOwnName(host string) bool {
	return isLoopbackName(host) || host != "" && strings.EqualFold(host, s.publicHost())
}

// hostname is a Host header without its port and brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.Trim(host, "[]")
}

// isLoopbackName reports whether the name cannot mean another machine.
func isLoopbackName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// forwarded are headers that a proxy adds.
var forwarded = []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"}

// isSameMachine reports whether the caller shares our disk: it is connected
// over loopback, by a loopback name, and no proxy says that it stands between.
func isSameMachine(r *http.Request) bool {
	for _, name := range forwarded {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	return isLoopbackName(remoteHost(r)) && isLoopbackName(hostname(r.Host))
}
