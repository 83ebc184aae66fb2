package dashboard

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	sessionCookie = "easel_session"
	sessionLife   = 12 * time.Hour

	loginTries  = 5           // that may fail
	loginWindow = time.Minute // within this
	maxVisitors = 10_000      // whose failures are remembered
)

// sessions signs operators in and out. A session is a cookie that says when it
// ends, signed with a key made of the secret and the credentials, so that a new
// password ends every session. What was signed out is remembered here until it
// would have ended; another dashboard process does not know of it.
type sessions struct {
	username, password string
	key                []byte
	now                func() time.Time

	mu       sync.Mutex
	ended    map[sessionID]time.Time // until when
	failures map[netip.Prefix]*failures
}

type sessionID [16]byte

// failures counts the failed logins of one visitor.
type failures struct {
	count int
	until time.Time
}

func newSessions(cfg Config) *sessions {
	mac := hmac.New(sha256.New, cfg.Secret)
	for _, part := range []string{"dashboard session", cfg.Username, cfg.Password} {
		mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
		mac.Write([]byte(part))
	}
	return &sessions{
		username: cfg.Username, password: cfg.Password, key: mac.Sum(nil), now: cfg.Now,
		ended: map[sessionID]time.Time{}, failures: map[netip.Prefix]*failures{},
	}
}

// A token is an expiry in Unix seconds, an id, and the signature of both.
const tokenSize = 8 + len(sessionID{}) + sha256.Size

func (s *sessions) issue() string {
	token := binary.BigEndian.AppendUint64(nil, uint64(s.now().Add(sessionLife).Unix()))
	var id sessionID
	rand.Read(id[:])
	token = append(token, id[:]...)
	return base64.RawURLEncoding.EncodeToString(append(token, s.sign(token)...))
}

func (s *sessions) sign(body []byte) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(body)
	return mac.Sum(nil)
}

// read returns the session that the request's cookie holds, and whether it is
// ours and has not ended.
func (s *sessions) read(r *http.Request) (id sessionID, expires time.Time, ok bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return id, expires, false
	}
	token, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(token) != tokenSize {
		return id, expires, false
	}
	body, signature := token[:tokenSize-sha256.Size], token[tokenSize-sha256.Size:]
	if !hmac.Equal(signature, s.sign(body)) {
		return id, expires, false
	}
	copy(id[:], body[8:])
	expires = time.Unix(int64(binary.BigEndian.Uint64(body)), 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ended := s.ended[id]
	return id, expires, !ended && s.now().Before(expires)
}

func (s *sessions) valid(r *http.Request) bool {
	_, _, ok := s.read(r)
	return ok
}

// end signs the request's session out.
func (s *sessions) end(r *http.Request) {
	id, expires, ok := s.read(r)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, until := range s.ended {
		if !s.now().Before(until) {
			delete(s.ended, other)
		}
	}
	s.ended[id] = expires
}

// matches compares the credentials in a time that does not tell how much of
// them was right.
func (s *sessions) matches(username, password string) bool {
	u := subtle.ConstantTimeCompare(s.sign([]byte(username)), s.sign([]byte(s.username)))
	p := subtle.ConstantTimeCompare(s.sign([]byte(password)), s.sign([]byte(s.password)))
	return u&p == 1
}

// admit reports whether the visitor may try to sign in, and counts the try as
// failed until [sessions.forgive]. When it may not, it says how long to wait.
func (s *sessions) admit(visitor netip.Prefix) (wait time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	f := s.failures[visitor]
	if f == nil || !now.Before(f.until) {
		if f == nil && !s.room(now) {
			return loginWindow, false
		}
		f = &failures{until: now.Add(loginWindow)}
		s.failures[visitor] = f
	}
	if f.count >= loginTries {
		return f.until.Sub(now), false
	}
	f.count++
	return 0, true
}

// room drops what is over when too many visitors are remembered.
func (s *sessions) room(now time.Time) bool {
	if len(s.failures) < maxVisitors {
		return true
	}
	for visitor, f := range s.failures {
		if !now.Before(f.until) {
			delete(s.failures, visitor)
		}
	}
	return len(s.failures) < maxVisitors
}

func (s *sessions) forgive(visitor netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.failures, visitor)
}

// visitorOf is the address that a request comes from; of IPv6 the network,
// since one host has as many addresses as it likes. Behind a proxy all visitors
// are one, since a header that names them could be made up.
func visitorOf(r *http.Request) netip.Prefix {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{}
	}
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// loginPage is what the login shows.
type loginPage struct {
	Next, Username, Problem string
	AskUsername             bool
}

func (s *server) showLogin(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if s.sessions == nil || s.sessions.valid(r) {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.render(w, r, http.StatusOK, "login", "Sign in", loginPage{Next: next, AskUsername: s.Username != ""})
}

func (s *server) login(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.PostFormValue("next"))
	if s.sessions == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	username := r.PostFormValue("username")
	page := loginPage{Next: next, Username: username, AskUsername: s.Username != ""}
	visitor := visitorOf(r)
	wait, ok := s.sessions.admit(visitor)
	if !ok {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		page.Problem = "Too many tries. Please wait a minute."
		s.render(w, r, http.StatusTooManyRequests, "login", "Sign in", page)
		return
	}
	if !s.sessions.matches(username, r.PostFormValue("password")) {
		s.Logger.Warn("dashboard login failed", zap.Stringer("from", visitor))
		page.Problem = "That is not right."
		s.render(w, r, http.StatusUnauthorized, "login", "Sign in", page)
		return
	}
	s.sessions.forgive(visitor)
	s.Logger.Info("dashboard login", zap.Stringer("from", visitor))
	http.SetCookie(w, cookie(r, s.sessions.issue(), int(sessionLife/time.Second)))
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	if s.sessions != nil {
		s.sessions.end(r)
		http.SetCookie(w, cookie(r, "", -1))
	}
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// cookie is Secure wherever the browser came by https. A proxy's word is good
// enough for that: it can only make the cookie stricter.
func cookie(r *http.Request, value string, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
}
