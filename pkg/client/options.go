package client

import (
	"context"
	"crypto/rand"
	"net/http"
	"time"
)

// OpenOption says how [Dial], [Connect] or [Embedded] opens a client. One that
// has no meaning for the function that it is given to is refused by it.
type OpenOption func(*opening)

// opening is what the options of the three ways in come to.
type opening struct {
	config    OrchestratorConfig
	retries   int
	http      *http.Client
	userAgent string
	engine    engineOptions
	// over are the ways in that the options given are for; see [opening.only].
	over map[string][]string
}

// The ways in, as errors name them.
const (
	byDial     = "Dial"
	byConnect  = "Connect"
	byEmbedded = "Embedded"
)

// only notes that an option is for some ways in.
func (o *opening) only(option string, ways ...string) {
	if o.over == nil {
		o.over = map[string][]string{}
	}
	o.over[option] = ways
}

// WithRetries sets how often a call is repeated that may be repeated; 0 tries
// once.
func WithRetries(n int) OpenOption {
	return func(o *opening) { o.retries = max(n, 0) }
}

// WithOrchestratorConfig sets what requests get that do not say.
func WithOrchestratorConfig(config OrchestratorConfig) OpenOption {
	return func(o *opening) { o.config = config }
}

// WithHTTPClient sends requests through h, which should not have a Timeout of
// its own: that would cut off [Client.Watch]. For [Dial].
func WithHTTPClient(h *http.Client) OpenOption {
	return func(o *opening) {
		o.http = h
		o.only("WithHTTPClient", byDial)
	}
}

// WithUserAgent names the program in the requests' User-Agent. For [Dial].
func WithUserAgent(name string) OpenOption {
	return func(o *opening) {
		o.userAgent = name
		o.only("WithUserAgent", byDial)
	}
}

// Option changes one call.
type Option func(*callOptions)

// callOptions are what the options of one call come to.
type callOptions struct {
	key     string // idempotency key
	keyed   bool
	wait    time.Duration
	waits   bool
	version int64 // 0: any
}

// WithIdempotencyKey names the request, so that another process, or this one
// after a restart, can repeat it and get the same job. Without it every call has
// a key of its own.
func WithIdempotencyKey(key string) Option {
	return func(o *callOptions) { o.key, o.keyed = key, true }
}

// WithWait asks [Client.Enqueue] to answer only when the job is at rest, or
// after d, at most a minute. It saves a short job a second request.
func WithWait(d time.Duration) Option {
	return func(o *callOptions) { o.wait, o.waits = d, true }
}

// IfVersion has a verb refused ([IsVersionMismatch]) when the job has changed
// since that version.
func IfVersion(version int64) Option {
	return func(o *callOptions) { o.version = version }
}

func gather(options []Option) callOptions {
	var o callOptions
	for _, option := range options {
		option(&o)
	}
	return o
}

// gatherKeyed is gather with an idempotency key in any case.
func gatherKeyed(options []Option) callOptions {
	o := gather(options)
	if !o.keyed {
		o.key, o.keyed = rand.Text(), true
	}
	return o
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
