package dashboard_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/dashboard"
)

const secret = "a secret of enough bytes"

func locked(e *engine) dashboard.Config {
	cfg := config(e, idle)
	cfg.Username, cfg.Password, cfg.Secret = "ada", "correct horse", []byte(secret)
	return cfg
}

func credentials(password string) url.Values {
	return url.Values{"username": {"ada"}, "password": {password}, "next": {"/jobs?status=failed"}}
}

func TestNewRefusesToBeOpen(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*dashboard.Config){
		"no password beyond loopback": func(c *dashboard.Config) { c.Loopback = false },
		"no secret":                   func(c *dashboard.Config) { c.Password = "x" },
		"no operator":                 func(c *dashboard.Config) { c.Operator = nil },
		"strange API URL":             func(c *dashboard.Config) { c.APIURL = "javascript:alert(1)" },
	} {
		cfg := config(&engine{}, idle)
		change(&cfg)
		_, err := dashboard.New(cfg)
		require.Error(t, err, name)
	}
	_, err := dashboard.New(config(&engine{}, idle))
	require.NoError(t, err)
}

func TestLogin(t *testing.T) {
	t.Parallel()
	v := open(t, locked(gallery(noon)))

	away := v.get("/jobs?status=failed")
	require.Equal(t, http.StatusSeeOther, away.StatusCode)
	require.Equal(t, "/login?next=%2Fjobs%3Fstatus%3Dfailed", away.Header.Get("Location"))
	require.Equal(t, http.StatusUnauthorized, v.get("/queues/api/queues").StatusCode)
	require.Equal(t, http.StatusSeeOther, v.post("/jobs/job_failed/retry", url.Values{"version": {"3"}}).StatusCode)
	require.Equal(t, http.StatusOK, v.get("/healthz").StatusCode)
	require.Equal(t, http.StatusOK, v.get("/assets/fonts/roboto-latin.woff2").StatusCode)

	wrong := v.post("/login", credentials("wrong"))
	require.Equal(t, http.StatusUnauthorized, wrong.StatusCode)
	require.Empty(t, wrong.Cookies())
	require.NotContains(t, wrong.text, "wrong\"", "the password is never echoed")

	right := v.post("/login", credentials("correct horse"))
	require.Equal(t, http.StatusSeeOther, right.StatusCode)
	require.Equal(t, "/jobs?status=failed", right.Header.Get("Location"))
	cookie := right.Cookies()[0]
	require.True(t, cookie.HttpOnly)
	require.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
	require.False(t, cookie.Secure)
	require.Equal(t, http.StatusOK, v.get("/").StatusCode)

	require.Equal(t, http.StatusSeeOther, v.post("/logout", nil).StatusCode)
	require.Equal(t, http.StatusSeeOther, v.get("/").StatusCode)
	stolen := v.do("GET", "/", "", "Cookie", cookie.Name+"="+cookie.Value)
	require.Equal(t, http.StatusSeeOther, stolen.StatusCode, "a session that was signed out is over, whoever kept its cookie")
}

func TestSecureCookieBehindHTTPS(t *testing.T) {
	t.Parallel()
	v := open(t, locked(gallery(noon)))
	right := v.do("POST", "/login", credentials("correct horse").Encode(),
		"Content-Type", "application/x-www-form-urlencoded", "X-Forwarded-Proto", "https")
	require.True(t, right.Cookies()[0].Secure)
}

func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	cfg := locked(gallery(noon))
	cfg.Now = func() time.Time { return noon.Add(time.Duration(clock.Load())) }
	v := open(t, cfg)
	cookie := v.post("/login", credentials("correct horse")).Cookies()[0]
	pair := cookie.Name + "=" + cookie.Value
	require.Equal(t, http.StatusOK, v.do("GET", "/", "", "Cookie", pair).StatusCode)

	for name, change := range map[string]func(*dashboard.Config){
		"another password": func(c *dashboard.Config) { c.Password = "another" },
		"another secret":   func(c *dashboard.Config) { c.Secret = []byte(strings.ToUpper(secret)) },
		"another username": func(c *dashboard.Config) { c.Username = "eve" },
	} {
		other := cfg
		change(&other)
		require.Equal(t, http.StatusSeeOther, open(t, other).do("GET", "/", "", "Cookie", pair).StatusCode, name)
	}
	forged := cookie.Name + "=" + "f" + cookie.Value[1:]
	if forged == pair {
		forged = cookie.Name + "=" + "g" + cookie.Value[1:]
	}
	require.Equal(t, http.StatusSeeOther, open(t, cfg).do("GET", "/", "", "Cookie", forged).StatusCode)

	clock.Store(int64(13 * time.Hour))
	require.Equal(t, http.StatusSeeOther, v.do("GET", "/", "", "Cookie", pair).StatusCode, "sessions expire")
}

func TestLoginIsRateLimited(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	cfg := locked(gallery(noon))
	cfg.Now = func() time.Time { return noon.Add(time.Duration(clock.Load())) }
	v := open(t, cfg)
	for range 5 {
		require.Equal(t, http.StatusUnauthorized, v.post("/login", credentials("guess")).StatusCode)
	}
	limited := v.post("/login", credentials("correct horse"))
	require.Equal(t, http.StatusTooManyRequests, limited.StatusCode)
	require.NotEmpty(t, limited.Header.Get("Retry-After"))

	clock.Store(int64(time.Minute))
	require.Equal(t, http.StatusSeeOther, v.post("/login", credentials("correct horse")).StatusCode)
	for range 4 {
		v.post("/login", credentials("guess"))
	}
	require.Equal(t, http.StatusSeeOther, v.post("/login", credentials("correct horse")).StatusCode, "a success forgives")
}

func TestLoginLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	for _, next := range []string{"https://evil.example/", "//evil.example", "///evil.example", `/\evil.example`, "javascript:alert(1)", "/\t/evil.example", "evil", ""} {
		v := open(t, locked(gallery(noon)))
		form := credentials("correct horse")
		form.Set("next", next)
		require.Equal(t, "/", v.post("/login", form).Header.Get("Location"), "next=%q", next)
	}
}

func TestPasswordAlone(t *testing.T) {
	t.Parallel()
	cfg := locked(gallery(noon))
	cfg.Username = ""
	v := open(t, cfg)
	require.NotContains(t, v.get("/login").text, "Username")
	require.Equal(t, http.StatusSeeOther, v.post("/login", url.Values{"password": {"correct horse"}}).StatusCode)
	require.Equal(t, http.StatusOK, v.get("/").StatusCode)
}
