package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// shutdownMargin is what a worker needs after its longest submit to write the
// outcome down: a paid call must not be cut off by a deploy.
const shutdownMargin = 5 * time.Second

const shortestSecret = 16

// check reports every problem that one can see without opening anything. A path
// that has a problem already is left alone.
func (c *Config) check(found *problems) {
	k := &checker{found: found}
	c.Redis.check(k)
	k.that(c.DataDir != "", "data_dir", "must not be empty")
	c.checkSecretKey(k)
	c.API.check(k)
	if c.Metrics.Listen != "" {
		k.listen("metrics.listen", c.Metrics.Listen)
	}
	c.Dashboard.check(k)
	c.checkWorker(k)
	c.Artifacts.check(k)
	c.Webhooks.check(k)
	c.Retention.check(k)
	c.checkDefaults(k)
	c.checkProviders(k)
	c.checkOrder(k)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, LogConsole, LogJSON)
}

func (r *Redis) check(k *checker) {
	k.oneOf("redis.intent_durability", r.IntentDurability, DurabilityNone, DurabilityFsync, DurabilityReplica)
	if r.URL == "" {
		return
	}
	// The parser's own error would repeat the password.
	u, err := url.Parse(r.URL.Reveal())
	switch {
	case err != nil:
		k.add("redis.url", "is not a URL (special characters in a password must be percent-encoded)")
	case strings.Contains(u.Scheme, "cluster"):
		k.add("redis.url", "Redis Cluster is not supported: a job's keys must live on one server")
	case !slices.Contains([]string{"redis", "rediss", "redis+sentinel", "rediss+sentinel"}, u.Scheme):
		k.add("redis.url", "must begin with redis://, rediss:// or redis+sentinel://")
	case strings.HasSuffix(u.Scheme, "+sentinel") && u.Query().Get("master_name") == "":
		k.add("redis.url", "needs ?master_name=<name> to find the master through Sentinel")
	case u.Host == "":
		k.add("redis.url", "names no host")
	}
}

// RequireRedis refuses a configuration without a Redis of its own: processes
// that are started one by one find each other there.
func (c *Config) RequireRedis() error {
	if c.Redis.URL != "" {
		return nil
	}
	return &Error{Problems: []Problem{{
		Path:   "redis.url",
		Detail: "is needed by a process that runs on its own (set EASEL_REDIS_URL); easel up starts its own Redis",
	}}}
}

func (c *Config) checkSecretKey(k *checker) {
	for i, secret := range c.SecretKey {
		k.that(len(secret) >= shortestSecret, fmt.Sprintf("secret_key[%d]", i), "must have at least %d characters", shortestSecret)
	}
}

func (a *API) check(k *checker) {
	if k.listen("api.listen", a.Listen) {
		k.that(Loopback(a.Listen) || len(a.Keys) > 0, "api.keys",
			"are required when api.listen is not a loopback address: set EASEL_API_KEYS, or listen on 127.0.0.1")
	}
	if a.PublicURL != "" {
		k.webURL("api.public_url", a.PublicURL)
	}
	k.that(a.MaxBody > 0, "api.max_body", "must be more than 0")
	k.that(a.MaxFile > 0, "api.max_file", "must be more than 0")
	for i, origin := range a.CORSOrigins {
		k.origin(fmt.Sprintf("api.cors_origins[%d]", i), origin)
	}
	for i, origin := range a.FileOrigins {
		k.origin(fmt.Sprintf("api.file_origins[%d]", i), origin)
	}
	a.checkKeys(k)
}

func (a *API) checkKeys(k *checker) {
	for i, key := range a.Keys {
		path := fmt.Sprintf("api.keys[%d]", i)
		if k.found.has(path) {
			continue
		}
		k.that(key.Key != "", path+".key", "must not be empty")
		digest, hashed := strings.CutPrefix(key.Key.Reveal(), "sha256:")
		k.that(!hashed || hexDigest.MatchString(digest), path+".key", "must be sha256: and 64 hexadecimal digits, or the key itself")
		same := func(other APIKey) bool { return key.Key != "" && other.Key == key.Key }
		k.that(slices.IndexFunc(a.Keys, same) >= i || key.Key == "", path+".key", "is the same as another key")
		k.name(path+".tenant", key.Tenant)
		for j, scope := range key.Scopes {
			k.oneOf(fmt.Sprintf("%s.scopes[%d]", path, j), scope, ScopeJobs, ScopeOperate)
		}
	}
}

func (d *Dashboard) check(k *checker) {
	if k.listen("dashboard.listen", d.Listen) {
		k.that(Loopback(d.Listen) || d.Password != "", "dashboard.password",
			"is required when dashboard.listen is not a loopback address: set EASEL_DASHBOARD_PASSWORD, or listen on 127.0.0.1")
	}
	k.that(d.Password == "" || d.Username != "", "dashboard.username", "is required with a password")
	k.that(d.Username == "" || d.Password != "", "dashboard.password", "is required with a username")
}

func (c *Config) checkWorker(k *checker) {
	w := &c.Worker
	for path, n := range map[string]int{
		"worker.submit_concurrency":   w.SubmitConcurrency,
		"worker.poll_concurrency":     w.PollConcurrency,
		"worker.finalize_concurrency": w.FinalizeConcurrency,
		"worker.deliver_concurrency":  w.DeliverConcurrency,
	} {
		k.that(n >= 1, path, "must be at least 1")
	}
	k.that(w.SubmitTimeout > 0, "worker.submit_timeout", "must be more than 0")
	longest := w.SubmitTimeout
	for _, p := range c.Providers {
		longest = max(longest, p.SubmitTimeout)
	}
	k.that(w.ShutdownTimeout >= longest+shutdownMargin, "worker.shutdown_timeout",
		"must be at least %s: the longest submit time-out (%s) and %s to write its outcome down, so that a deploy never cuts off a paid call",
		longest+shutdownMargin, longest, shutdownMargin)
}

func (a *Artifacts) check(k *checker) {
	if a.URL != "" {
		u, err := url.Parse(a.URL)
		switch {
		case err != nil:
			k.add("artifacts.url", "is not a URL")
		case u.User != nil:
			k.add("artifacts.url", "must not hold credentials: they are read from the environment")
		case u.Scheme == "file":
			k.that(u.Host == "" && strings.HasPrefix(u.Path, "/"), "artifacts.url", "must name an absolute path: file:///var/lib/easel")
		case u.Scheme == "s3":
			k.that(u.Host != "", "artifacts.url", "must name a bucket: s3://bucket")
		default:
			k.add("artifacts.url", "must begin with file:// or s3://")
		}
	}
	k.that(a.URLTTL > 0, "artifacts.url_ttl", "must be more than 0")
	k.that(a.MaxBytes > 0, "artifacts.max_bytes", "must be more than 0")
}

func (w *Webhooks) check(k *checker) {
	for i, s := range w.Secrets {
		path := fmt.Sprintf("webhooks.secrets[%d]", i)
		if k.found.has(path) {
			continue
		}
		k.name(path+".tenant", s.Tenant)
		k.that(s.Secret != "", path+".secret", "must not be empty")
	}
	for i, origin := range w.AllowPrivate {
		k.origin(fmt.Sprintf("webhooks.allow_private[%d]", i), origin)
	}
}

func (r *Retention) check(k *checker) {
	k.that(r.Jobs >= 0, "retention.jobs", "must not be negative; 0 keeps")
	k.that(r.Artifacts >= 0, "retention.artifacts", "must not be negative; 0 keeps")
	k.that(r.Jobs <= 0 || r.Artifacts <= r.Jobs, "retention.artifacts", "must not be longer than retention.jobs: without its job nobody knows the file; 0 keeps")
	k.that(r.UnresolvedTimeout >= 0, "retention.unresolved_timeout", "must not be negative; 0 waits")
	k.that(r.Uploads > 0, "retention.uploads", "must be more than 0: nothing else would erase what nobody uses")
}

// The bounds are those of a request, see the draft of a job.
func (c *Config) checkDefaults(k *checker) {
	d := &c.Defaults
	k.that(d.Provider == "" || c.Provider(d.Provider) != nil, "defaults.provider", "%q is not configured under providers", d.Provider)
	k.that(d.Timeout >= time.Second && d.Timeout <= 7*24*time.Hour, "defaults.timeout", "must be between 1s and 168h")
	k.that(d.RetryAttempts >= 0 && d.RetryAttempts <= 100, "defaults.retry_attempts", "must be between 0 and 100")
	k.that(d.RetryDelay >= 0 && d.RetryDelay <= time.Hour, "defaults.retry_delay", "must be between 0 and 1h")
}

func (c *Config) checkProviders(k *checker) {
	for i := range c.Providers {
		p, path := &c.Providers[i], fmt.Sprintf("providers[%d]", i)
		if k.found.has(path) {
			continue
		}
		k.name(path+".name", p.Name)
		k.that(c.Provider(p.Name) == p || p.Name == "", path+".name", "%q is the name of another provider", p.Name)
		p.check(k, path)
	}
}

func (c *Config) checkOrder(k *checker) {
	seen := map[string]bool{}
	for i, order := range c.Order {
		path := fmt.Sprintf("order[%d]", i)
		if k.found.has(path) {
			continue
		}
		k.that(order.Feature != "", path+".feature", "must not be empty")
		k.that(!seen[order.Feature], path+".feature", "%q has an order already", order.Feature)
		seen[order.Feature] = true
		for j, name := range order.Providers {
			k.that(c.Provider(name) != nil, fmt.Sprintf("%s.providers[%d]", path, j), "%q is not configured", name)
		}
	}
}

func (p *Provider) check(k *checker, path string) {
	k.oneOf(path+".on_unknown", p.OnUnknown, OnUnknownHold, OnUnknownResubmit)
	k.that(p.Concurrency >= 1, path+".concurrency", "must be at least 1")
	k.that(p.MaxInFlight >= 0, path+".max_in_flight", "must not be negative; 0 is no limit")
	k.that(p.MaxBacklog >= 0, path+".max_backlog", "must not be negative; 0 is no limit")
	k.that(p.SubmitTimeout >= 0, path+".submit_timeout", "must not be negative; 0 is the worker's")
	if p.BaseURL != "" {
		k.webURL(path+".base_url", p.BaseURL)
	}
	features := map[string]bool{}
	for i, m := range p.Models {
		at := fmt.Sprintf("%s.models[%d]", path, i)
		k.that(m.Feature != "", at+".feature", "must not be empty")
		k.that(m.Model != "", at+".model", "must not be empty")
		k.that(!features[m.Feature], at+".feature", "%q has a model already", m.Feature)
		features[m.Feature] = true
	}
}

// Loopback reports whether only programs on the same machine can reach the
// address.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Unmap().IsLoopback()
}

var (
	names     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	hexDigest = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
)

// checker collects problems, one for each path.
type checker struct {
	found *problems
}

func (k *checker) add(path, format string, args ...any) {
	if !k.found.has(path) {
		k.found.add(path, format, args...)
	}
}

func (k *checker) that(ok bool, path, format string, args ...any) {
	if !ok {
		k.add(path, format, args...)
	}
}

func (k *checker) oneOf(path, value string, allowed ...string) {
	k.that(slices.Contains(allowed, value), path, "must be one of %s", strings.Join(allowed, ", "))
}

func (k *checker) name(path, name string) {
	k.that(names.MatchString(name), path, "must be a name of letters, digits, '.', '_' and '-'")
}

func (k *checker) listen(path, address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	k.that(err == nil, path, "must be an address such as 127.0.0.1:8080")
	return err == nil
}

func (k *checker) webURL(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		k.add(path, "must be an http:// or https:// URL")
	case u.User != nil:
		k.add(path, "must not hold a user or password")
	case u.RawQuery != "" || u.Fragment != "":
		k.add(path, "must not have a query or fragment")
	}
}

func (k *checker) origin(path, raw string) {
	u, err := url.Parse(raw)
	bare := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") &&
		u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == ""
	k.that(bare, path, "must be an origin such as https://example.com:8443")
}
