package providers

import (
	"fmt"
	"time"
)

// Limits bound what one provider is asked for by all workers together. Zero
// fields do not.
type Limits struct {
	// Rate bounds the submissions in any interval of its length.
	Rate Rate
	// MaxInFlight bounds the submissions that the provider has accepted, or
	// may have, and has not ended.
	MaxInFlight int
}

// Any reports whether there is a limit.
func (l Limits) Any() bool { return l.Rate.Requests > 0 || l.MaxInFlight > 0 }

// Rate is so many requests in any interval of that length. The zero Rate is no
// limit.
type Rate struct {
	Requests int
	Per      time.Duration
}

// String writes the rate as the configuration does: 10/s, 600/m, 100/10s.
func (r Rate) String() string {
	if r.Requests == 0 {
		return ""
	}
	switch r.Per {
	case time.Second:
		return fmt.Sprintf("%d/s", r.Requests)
	case time.Minute:
		return fmt.Sprintf("%d/m", r.Requests)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.Requests)
	default:
		return fmt.Sprintf("%d/%s", r.Requests, r.Per)
	}
}
