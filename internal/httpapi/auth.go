package httpapi

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// Key opens the API to one tenant.
type Key struct {
	Name   string // for the log
	Secret string // the key itself, or "sha256:" and the hex digest of it
	Tenant string // empty: the default tenant
	Scopes []string
}

// The scopes of a [Key].
const (
	ScopeJobs    = "jobs"    // everything that a tenant does with its jobs
	ScopeOperate = "operate" // what decides over money: resolve; and metrics
)

// securityScheme is the name of bearer keys in the OpenAPI document. The scopes
// that an operation lists under it are those that [server.authorize] asks for.
const securityScheme = "key"

const digestPrefix = "sha256:"

// digest is the SHA-256 of the key. A malformed stored digest matches nothing.
func (k Key) digest() (sum [sha256.Size]byte, ok bool) {
	stored, hashed := strings.CutPrefix(k.Secret, digestPrefix)
	if !hashed {
		return sha256.Sum256([]byte(k.Secret)), k.Secret != ""
	}
	raw, err := hex.DecodeString(stored)
	if err != nil || len(raw) != sha256.Size {
		return sum, false
	}
	return [sha256.Size]byte(raw), true
}

// find returns the key that the token is. It compares digests with every key,
// so that the time it takes tells nothing.
func find(keys []Key, token string) (found Key, ok bool) {
	presented := sha256.Sum256([]byte(token))
	for _, key := range keys {
		sum, usable := key.digest()
		if subtle.ConstantTimeCompare(presented[:], sum[:]) == 1 && usable && !ok {
			found, ok = key, true
		}
	}
	return found, ok
}

// authorize lets a request through to an operation that needs a scope, and
// notes whose request it is. It runs before anything of the request is decoded.
func (s *server) authorize(ctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(ctx)
	operation := ctx.Operation()
	if len(operation.Security) == 0 {
		next(ctx)
		return
	}
	x := exchangeOf(r.Context())
	switch p := s.admit(r, operation, x); {
	case p == nil:
		next(ctx)
	default:
		s.writeProblem(w, r, p)
	}
}

// admit decides over a request; nil admits it.
func (s *server) admit(r *http.Request, operation *huma.Operation, x *exchange) *Problem {
	keys := s.keys()
	if len(keys) == 0 && s.Loopback {
		x.tenant = tasks.DefaultTenant
		return nil
	}
	token, given := bearer(r)
	if !given && operation.Metadata[signedLinks] == true && s.LinkVerifier != nil && s.LinkVerifier(r) {
		x.tenant, x.key = anyTenant, "signed link"
		return nil
	}
	key, ok := find(keys, token)
	if !ok || !given {
		p := s.refuse(r, given)
		if !given && operation.Metadata[signedLinks] == true && r.URL.RawQuery != "" {
			p.Detail = "The request carries no key, and its link has expired or is not one of this server's."
		}
		return p
	}
	x.key = key.Name
	x.tenant = key.Tenant
	if x.tenant == "" {
		x.tenant = tasks.DefaultTenant
	}
	for _, scope := range operation.Security[0][securityScheme] {
		if !slices.Contains(key.Scopes, scope) {
			p := newProblem(codeForbidden, "The key lacks the scope "+strconv.Quote(scope)+".")
			p.header.Set("WWW-Authenticate", challenge+`, error="insufficient_scope", scope="`+scope+`"`)
			return p
		}
	}
	return nil
}

// anyTenant is whose artifacts a signed link opens: those of whoever owns the
// job that the link names.
const anyTenant = ""

// signedLinks marks the operations that a signed link opens without a key.
const signedLinks = "signed links"

const challenge = `Bearer realm="easel"`

// refuse answers a request without a good key. A caller that only forgot its
// key is not counted; one that tries wrong keys is slowed down.
//
// A good key is never refused because of others: behind a proxy all callers
// have one address, and one of them with an outdated key must not lock out the
// rest. Against guessing the keys' own length protects.
func (s *server) refuse(r *http.Request, given bool) *Problem {
	if given {
		if wait := s.failures.note(remoteHost(r)); wait > 0 {
			p := newProblem(codeTooMany, "Too many requests with a wrong key came from this address.")
			p.header.Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
			return p
		}
	}
	p := newProblem(codeUnauthorized, "The request carries no key.")
	p.header.Set("WWW-Authenticate", challenge)
	if given {
		p.Detail = "The key is not one of this server's."
		p.header.Set("WWW-Authenticate", challenge+`, error="invalid_token"`)
	}
	return p
}

func (s *server) keys() []Key {
	if s.Keys == nil {
		return nil
	}
	return s.Keys()
}

// bearer is the token of the Authorization header.
func bearer(r *http.Request) (token string, given bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

const (
	failureWindow = time.Minute
	failureLimit  = 20     // wrong keys of one address in a window
	failureHosts  = 10_000 // addresses that we remember
)

// failures counts wrong keys by remote address in windows of a minute.
type failures struct {
	now func() time.Time

	mu    sync.Mutex
	hosts map[string]failureCount
}

type failureCount struct {
	since time.Time
	count int
}

func newFailures(now func() time.Time) *failures {
	return &failures{now: now, hosts: map[string]failureCount{}}
}

// note counts one failure. It returns how long the address should wait, zero
// while it is within its limit.
func (f *failures) note(host string) time.Duration {
	host = network(host)
	now := f.now()
	f.mu.Lock()
	defer f.mu.Unlock()
	entry, known := f.hosts[host]
	if !known && len(f.hosts) >= failureHosts {
		f.forget(now)
	}
	if !known || now.Sub(entry.since) >= failureWindow {
		entry = failureCount{since: now}
	}
	entry.count++
	f.hosts[host] = entry
	if entry.count <= failureLimit {
		return 0
	}
	return failureWindow - now.Sub(entry.since)
}

// forget makes room: windows that are over, and all of them when none is.
func (f *failures) forget(now time.Time) {
	for host, entry := range f.hosts {
		if now.Sub(entry.since) >= failureWindow {
			delete(f.hosts, host)
		}
	}
	if len(f.hosts) >= failureHosts {
		clear(f.hosts)
	}
}

// network is what one party holds: an IPv4 address, or an IPv6 /64.
func network(host string) string {
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Unmap().Is4() {
		return host
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return host
	}
	return prefix.String()
}
