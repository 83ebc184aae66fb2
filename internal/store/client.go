package store

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// The limits of one call. They are short, because a request waits on them and
// every call can be repeated safely: a server that hangs is told apart within
// seconds. A URL may set others (dial_timeout, read_timeout, max_retries, …).
const (
	dialTimeout  = time.Second
	readTimeout  = 2 * time.Second
	writeTimeout = 2 * time.Second
	maxRetries   = 1
	minPoolSize  = 64
)

// NewClient makes a client for a URL of one of these forms:
//
//	redis://[user:password@]host[:port][/db]
//	rediss://…                                      with TLS
//	redis+sentinel://[user:password@]host[:port][,host…][/db]?master_name=name
//	redis://host:port/db?master_name=name&addr=host:port     Sentinel too
//
// It does not connect yet. An error never quotes the URL, which holds a
// password.
//
// The driver is made to write no log of its own: it goes to stderr past ours,
// several lines a second while a server is away, and says nothing that the
// errors of the calls do not say.
func NewClient(rawURL string) (*redis.Client, error) {
	logging.Disable()
	rawURL, others := cutHosts(rawURL)
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" && u.Scheme != "unix" {
		return nil, errors.New("redis URL cannot be parsed: want redis://, rediss:// or redis+sentinel://")
	}
	query := u.Query()
	if scheme, ok := strings.CutSuffix(u.Scheme, "+sentinel"); ok {
		u.Scheme = scheme
		if query.Get("master_name") == "" {
			return nil, errors.New("redis URL: a Sentinel URL needs ?master_name=")
		}
	}
	if !query.Has("master_name") {
		options, err := redis.ParseURL(u.String())
		if err != nil {
			return nil, fmt.Errorf("redis URL: %w", withoutPassword(err, u))
		}
		tune(options)
		return redis.NewClient(options), nil
	}
	u.Host = withPort(u.Host)
	for _, sentinel := range others {
		query.Add("addr", withPort(sentinel))
	}
	u.RawQuery = query.Encode()
	options, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return nil, fmt.Errorf("redis URL: %w", withoutPassword(err, u))
	}
	tuneFailover(options)
	return redis.NewFailoverClient(options), nil
}

// cutHosts takes all but the first of several comma-separated hosts out of a
// URL: net/url knows of one only.
func cutHosts(rawURL string) (withOne string, others []string) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return rawURL, nil
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	start := strings.LastIndexByte(authority, '@') + 1
	hosts := strings.Split(authority[start:], ",")
	return scheme + "://" + authority[:start] + hosts[0] + rest[end:], hosts[1:]
}

// withPort adds the port that sentinels listen on by default.
func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), "26379")
}

func withoutPassword(err error, u *url.URL) error {
	password, _ := u.User.Password()
	if password == "" {
		return err
	}
	return errors.New(strings.ReplaceAll(err.Error(), password, "***"))
}

func tune(o *redis.Options) {
	o.DialTimeout = either(o.DialTimeout, dialTimeout)
	o.ReadTimeout = either(o.ReadTimeout, readTimeout)
	o.WriteTimeout = either(o.WriteTimeout, writeTimeout)
	o.MaxRetries = either(o.MaxRetries, maxRetries)
	o.PoolSize = either(o.PoolSize, poolSize())
	// Dialing is repeated by MaxRetries already; five tries each would make a
	// black hole take minutes.
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	// With RESP3 go-redis waits for push notifications before each reply; we
	// use none of them.
	o.Protocol = 2
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// tuneFailover does the same for a client that asks sentinels for the master.
func tuneFailover(o *redis.FailoverOptions) {
	o.DialTimeout = either(o.DialTimeout, dialTimeout)
	o.ReadTimeout = either(o.ReadTimeout, readTimeout)
	o.WriteTimeout = either(o.WriteTimeout, writeTimeout)
	o.MaxRetries = either(o.MaxRetries, maxRetries)
	o.PoolSize = either(o.PoolSize, poolSize())
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.Protocol = 2
}

func poolSize() int { return max(minPoolSize, 10*runtime.GOMAXPROCS(0)) }

// either is value, or fallback when the URL did not set it.
func either[T comparable](value, fallback T) T {
	var unset T
	if value == unset {
		return fallback
	}
	return value
}
