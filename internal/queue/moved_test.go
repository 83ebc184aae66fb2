package queue

import (
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

func TestMovedTimes(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	args := []any{
		"1782907200", []byte("message"), at.Unix(), at.UnixNano(), 90 * 24 * 3600, int64(90 * 24 * 3600),
		int64(math.MaxInt64), 10_000, true,
	}
	kept := append([]any{}, args...)
	want := append([]any{}, args...)
	want[2], want[3] = at.Unix()-60, at.Add(-time.Minute).UnixNano()
	require.Equal(t, want, moved(args, -60), "times are moved, and nothing else")
	require.Equal(t, kept, args, "the caller's are as they were")
	require.Equal(t, kept, moved(args, 0))

	leases := []redis.Z{{Score: float64(at.Unix()), Member: "task"}}
	require.Equal(t, []redis.Z{{Score: float64(at.Unix() + 60), Member: "task"}}, movedScores(leases, 60))
	require.Equal(t, float64(at.Unix()), leases[0].Score)
}

// TestAgreeingClocksMoveNothing holds the difference to whole seconds: what
// clocks that agree differ by is none.
func TestAgreeingClocksMoveNothing(t *testing.T) {
	t.Parallel()
	for off, want := range map[time.Duration]int64{
		0: 0, 300 * time.Millisecond: 0, -300 * time.Millisecond: 0, time.Minute: 60, -time.Minute: -60,
	} {
		c := clocked{now: func() time.Time { return time.Now().Add(off) }}
		require.Equal(t, want, c.off(), off)
	}
	require.Nil(t, onTime(nil, nil), "nobody says what time it is")
}
