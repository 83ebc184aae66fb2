// Package store keeps job records in Redis. Every change of a job is one Lua
// script that checks the record's version and maintains record, open index,
// purge index, listing indexes, counters and event stream together, so that a
// crash leaves either all of it or nothing.
//
// # A lost reply
//
// A script may have run although its reply never came, and the client sends the
// command again. So a script that changes a record carries an operation id,
// made once per call: the record remembers the last few, and a script that
// finds its own there answers success without doing anything twice. Scripts
// that only push scores ahead, or remove what is no longer there, are
// repeatable by nature.
//
// # A full Redis
//
// A server that has reached its memory limit refuses new records, but lets the
// jobs that were accepted go on: the scripts that move them start with a write
// that Redis allows then, after which it does not stop a script half-way.
//
// # What it refuses to know
//
// It does not know what a job's states mean, which task follows, or when
// something is due: it stores what it is given. It does not know asynq, whose
// keys lie in the same Redis. Redis Cluster is refused, since one script
// touches keys of many jobs.
package store

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

var _ orchestrator.Store = (*Store)(nil)

// Config says which Redis to use and how.
type Config struct {
	// URL is a URL for [NewClient]. It is not used when Client is given.
	URL string
	// Client is used, and left open by [Store.Close].
	Client *redis.Client
	// IntentDurability is what [Store.SaveIntent] waits for.
	IntentDurability Durability
	// OnRestored, if set, is told when Redis' data went back in time, from when
	// to when. Paid submits are held from then on.
	OnRestored func(from, to time.Time)
	// OnError, if set, is told of every failure of Redis.
	OnError func(operation string, err error)
}

// Store is an [orchestrator.Store]. Watches are served while [Store.Run] runs.
type Store struct {
	redis      *redis.Client
	owned      bool
	durability Durability
	onError    func(operation string, err error)
	onRestored func(from, to time.Time)
	tide       tide
	clock      clock
	watchers   watchers
}

// Open connects to Redis and makes sure that this build can use it: it refuses
// Redis Cluster, a server that is too old, and data of a newer layout.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{redis: cfg.Client, durability: cfg.IntentDurability, onError: cfg.OnError, onRestored: cfg.OnRestored}
	if s.redis == nil {
		client, err := NewClient(cfg.URL)
		if err != nil {
			return nil, err
		}
		s.redis, s.owned = client, true
	}
	if err := s.prepare(ctx); err != nil {
		_ = s.Close() // the first error is the one to tell
		return nil, err
	}
	s.watchTide()
	return s, nil
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.readTime(ctx); err != nil {
		return err
	}
	info, err := s.info(ctx)
	if err != nil {
		return err
	}
	if err := info.refuse(); err != nil {
		return err
	}
	if err := s.checkLayout(ctx); err != nil {
		return err
	}
	if err := s.checkDurability(ctx); err != nil {
		return err
	}
	return s.loadScripts(ctx)
}

// Close closes the connections, unless the client was given to [Open].
func (s *Store) Close() error {
	if !s.owned {
		return nil
	}
	return s.redis.Close()
}

// Ping reports whether Redis answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.redis.Ping(ctx).Err(); err != nil {
		return s.failed("ping", err)
	}
	return nil
}

// Now implements [orchestrator.Store].
func (s *Store) Now() time.Time { return s.clock.now(time.Now()) }

// readTime sets the clock, before any script has done so.
func (s *Store) readTime(ctx context.Context) error {
	sent := time.Now()
	now, err := s.redis.Time(ctx).Result()
	if err != nil {
		return s.failed("read time", err)
	}
	s.clock.observe(now.UnixMilli(), sent, time.Now())
	return nil
}

// failed wraps an error of Redis. A caller who went away is not Redis' fault.
func (s *Store) failed(operation string, err error) error {
	err = discreet(err)
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", operation, err)
	}
	if s.onError != nil {
		s.onError(operation, err)
	}
	return fmt.Errorf("%w: %s: %w", orchestrator.ErrUnavailable, operation, err)
}

// discreet replaces the errors that quote what was sent or received, since
// that may be a prompt.
func discreet(err error) error {
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "ERR unknown command"):
		name, _, _ := strings.Cut(text, ", with args")
		return errors.New(name)
	case strings.Contains(text, "redis: can't parse"), strings.Contains(text, "redis: invalid reply"):
		return errors.New("redis: reply cannot be parsed")
	default:
		return err
	}
}

// operationLength is the length of an operation id and the space behind it.
const operationLength = 12

// newOperation makes the id by which a script recognizes its own repetition.
func newOperation() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(id[:])
}
