package classify

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		seconds, milliseconds string
		want                  time.Duration
		ok                    bool
	}{
		"none":                   {"", "", 0, false},
		"seconds":                {"7", "", 7 * time.Second, true},
		"spaces":                 {" 7 ", "", 7 * time.Second, true},
		"zero":                   {"0", "", 0, true},
		"fraction":               {"1.5", "", 1500 * time.Millisecond, true},
		"milliseconds":           {"", "250", 250 * time.Millisecond, true},
		"milliseconds win":       {"7", "250.5", 250500 * time.Microsecond, true},
		"bad milliseconds":       {"7", "soon", 7 * time.Second, true},
		"long milliseconds":      {"", "86400000", MaxRetryAfter, true},
		"date":                   {"Mon, 04 May 2026 12:00:30 GMT", "", 30 * time.Second, true},
		"date in the past":       {"Mon, 04 May 2026 11:00:00 GMT", "", 0, true},
		"date far away":          {"Mon, 04 May 2099 12:00:00 GMT", "", MaxRetryAfter, true},
		"date of RFC 850":        {"Monday, 04-May-26 12:01:00 GMT", "", time.Minute, true},
		"too long":               {"86400", "", MaxRetryAfter, true},
		"longer than a duration": {"99999999999999999999", "", MaxRetryAfter, true},
		"negative":               {"-5", "", 0, false},
		"exponent":               {"1e3", "", 0, false},
		"infinity":               {"Inf", "", 0, false},
		"words":                  {"a while", "", 0, false},
		"a point":                {".", "", 0, false},
		"two points":             {"1.2.3", "", 0, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			header := http.Header{}
			header.Set("Retry-After", tt.seconds)
			header.Set("Retry-After-Ms", tt.milliseconds)
			wait, ok := RetryAfter(header, noon)
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.want, wait)
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "7", "1.5", "-1", "1e9", "99999999999999999999", "NaN", "Mon, 04 May 2026 12:00:30 GMT", "."} {
		f.Add(seed, "")
		f.Add("", seed)
	}
	f.Fuzz(func(t *testing.T, seconds, milliseconds string) {
		header := http.Header{"Retry-After": {seconds}, "Retry-After-Ms": {milliseconds}}
		wait, ok := RetryAfter(header, noon)
		require.GreaterOrEqual(t, wait, time.Duration(0))
		require.LessOrEqual(t, wait, MaxRetryAfter)
		if !ok {
			require.Zero(t, wait)
		}
	})
}
