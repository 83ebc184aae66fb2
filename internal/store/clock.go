package store

import (
	"sync"
	"time"
)

// clock follows the clock of Redis without asking it: every script's reply
// brings the time, and in between the local monotonic clock counts on.
//
// A reply bounds the time at which it came: not before what it says, and not
// later than that plus the round trip. The clock moves only when it lies
// outside these bounds. It never jumps back: if Redis' clock was set back, it
// stands still until Redis has caught up.
type clock struct {
	mu   sync.Mutex
	base time.Time // Redis' time at mark
	mark time.Time // local, with its monotonic reading
	last time.Time // the latest time that was told
}

// observe takes in what a reply said.
func (c *clock) observe(millis int64, sent, received time.Time) {
	earliest := time.UnixMilli(millis).UTC()
	// The millisecond is one that had begun.
	latest := earliest.Add(received.Sub(sent) + time.Millisecond)

	c.mu.Lock()
	defer c.mu.Unlock()
	switch estimate := c.base.Add(received.Sub(c.mark)); {
	case c.base.IsZero():
		c.base, c.mark = earliest.Add(received.Sub(sent)/2), received
	case estimate.Before(earliest):
		c.base, c.mark = earliest, received
	case estimate.After(latest):
		c.base, c.mark = latest, received
	}
}

// now is Redis' time at the given local time.
func (c *clock) now(local time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.base.Add(local.Sub(c.mark)); t.After(c.last) {
		c.last = t
	}
	return c.last
}
