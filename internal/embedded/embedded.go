// Package embedded is the Redis that Easel brings along for those who have
// configured none: a redis-server or valkey-server of the machine, started as a
// child and durable, or else one inside the process whose jobs end with it.
//
// Both listen on a free loopback port behind a password that is made at each
// start, so that other users of the machine cannot reach them. One data
// directory serves one process at a time.
//
// # What it refuses to know
//
// What is kept in Redis, and who asks for it: callers get a URL. It is for
// development and small installations on one machine; a production Redis is
// configured, not embedded.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Config says where the data lies and how to find a server.
type Config struct {
	// DataDir is the data directory of this installation. It is made if it is
	// not there; the server's files go into its subdirectory redis.
	DataDir string
	// Logger hears of what nobody asked for: a stale server that was stopped,
	// a server that ended by itself. May be nil.
	Logger *zap.Logger
	// LookPath finds a program, exec.LookPath when nil.
	LookPath func(name string) (string, error)
	// StartTimeout bounds the wait for the server, which reads all its data
	// before it answers. One minute when zero.
	StartTimeout time.Duration
}

// programs are the servers that can be started, the first one found wins.
var programs = []string{"redis-server", "valkey-server"}

// Server is a running Redis.
type Server struct {
	lock     *lock
	engine   engine
	address  string
	password string

	close    sync.Once
	closeErr error
	stop     func() bool // unties the server from its context
}

// engine is what serves: a child process or this process.
type engine interface {
	durable() bool
	describe() string
	// ended is closed when the engine has stopped, for whatever reason.
	ended() <-chan struct{}
	// end stops the engine and waits until it has.
	end() error
}

// Start runs a Redis until ctx ends or [Server.Close] is called. Whoever works
// with it should be given time to finish first: pass a context that ends after
// theirs, or one that never does, and close last.
//
// A server of this machine that does not start is an error, not a reason to
// continue with jobs that would not last. A data directory that another process
// uses is [ErrInUse].
func Start(ctx context.Context, cfg Config) (*Server, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	held, err := acquire(filepath.Join(cfg.DataDir, "easel.lock"))
	if err != nil {
		return nil, err
	}
	s := &Server{lock: held, password: rand.Text()}
	if err := s.start(ctx, cfg); err != nil {
		return nil, errors.Join(err, held.release())
	}
	s.stop = context.AfterFunc(ctx, func() {
		if err := s.end(); err != nil {
			cfg.Logger.Error("embedded redis", zap.Error(err))
		}
	})
	return s, nil
}

func (c Config) complete() (Config, error) {
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	if c.LookPath == nil {
		c.LookPath = exec.LookPath
	}
	if c.StartTimeout == 0 {
		c.StartTimeout = time.Minute
	}
	var err error
	if c.DataDir, err = filepath.Abs(c.DataDir); err != nil {
		return c, fmt.Errorf("data directory: %w", err)
	}
	if err := os.MkdirAll(c.redisDir(), 0o700); err != nil {
		return c, fmt.Errorf("data directory: %w", err)
	}
	return c, nil
}

func (c Config) redisDir() string { return filepath.Join(c.DataDir, "redis") }

func (s *Server) start(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	program, unusable := findProgram(ctx, cfg.LookPath)
	if program == "" {
		return s.startMemory(cfg, unusable)
	}
	c, err := startChild(ctx, cfg, program, s.password)
	if err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	s.engine, s.address = c, c.address
	return nil
}

// findProgram returns the path of a server, or else why there is none.
func findProgram(ctx context.Context, lookPath func(string) (string, error)) (path, unusable string) {
	unusable = "there is no " + strings.Join(programs, " or ") + " on the PATH"
	for _, name := range programs {
		path, err := lookPath(name)
		if err != nil {
			continue
		}
		if err := checkVersion(ctx, path); err != nil {
			unusable = err.Error()
			continue
		}
		return path, ""
	}
	return "", unusable
}

func (s *Server) startMemory(cfg Config, why string) error {
	if keptJobs(cfg) {
		cfg.Logger.Warn("jobs of an earlier start are on disk and stay there", zap.String("dir", cfg.redisDir()), zap.String("why", why))
	}
	m, err := startMemory(s.password, why)
	if err != nil {
		return fmt.Errorf("start in-process redis: %w", err)
	}
	s.engine, s.address = m, m.address
	return nil
}

// keptJobs reports whether a durable server has run here before.
func keptJobs(cfg Config) bool {
	_, ok, err := readSettings(cfg.redisDir())
	return ok || err != nil
}

// URL is where the server listens. It holds the password: not for logs.
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", s.password), Host: s.address, Path: "/0"}
	return u.String()
}

// Durable reports whether jobs survive the end of this process.
func (s *Server) Durable() bool { return s.engine.durable() }

// Describe says in one line what serves and whether it lasts.
func (s *Server) Describe() string { return s.engine.describe() }

// Done is closed when the server has ended, also by itself: nothing works
// without it, so that its process should end too.
func (s *Server) Done() <-chan struct{} { return s.engine.ended() }

// Close stops the server, waits until it has written everything and is gone,
// and frees the data directory.
func (s *Server) Close() error {
	s.stop()
	return s.end()
}

// end stops the server once; everybody who calls it waits for that.
func (s *Server) end() error {
	s.close.Do(func() { s.closeErr = errors.Join(s.engine.end(), s.lock.release()) })
	return s.closeErr
}
