package classify

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait that we let a provider ask for. A header
// that says more, by mistake or by a clock that is off, counts as this.
const MaxRetryAfter = 10 * time.Minute

// RetryAfter reads how long the sender of the header asks us to wait:
// Retry-After-Ms, else Retry-After in seconds, fractions of seconds or as an
// HTTP date (RFC 9110 §10.2.3). It reports false when the header does not say,
// or says nothing that can be understood.
func RetryAfter(header http.Header, now time.Time) (time.Duration, bool) {
	if wait, ok := decimal(header.Get("Retry-After-Ms"), time.Millisecond); ok {
		return wait, true
	}
	value := header.Get("Retry-After")
	if wait, ok := decimal(value, time.Second); ok {
		return wait, true
	}
	at, err := http.ParseTime(strings.TrimSpace(value))
	if err != nil {
		return 0, false
	}
	return clamp(at.Sub(now)), true
}

// decimal reads digits with at most one point: no signs, exponents or "Inf",
// which [strconv.ParseFloat] would take.
func decimal(text string, unit time.Duration) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	if text == "" || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	// Out of range parses as infinity, and asks for the longest wait.
	n, err := strconv.ParseFloat(text, 64)
	if err != nil && n == 0 {
		return 0, false
	}
	if n >= MaxRetryAfter.Seconds()*float64(time.Second/unit) {
		return MaxRetryAfter, true
	}
	return clamp(time.Duration(n * float64(unit))), true
}

func clamp(wait time.Duration) time.Duration {
	return min(max(wait, 0), MaxRetryAfter)
}
