package store

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestClock(t *testing.T) {
	t.Parallel()
	local := time.Now()
	const trip = 10 * time.Millisecond
	base := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var c clock
	// reply arrives at the local time, from a Redis whose clock shows t.
	reply := func(after time.Duration, t time.Time) {
		c.observe(t.UnixMilli(), local.Add(after-trip), local.Add(after))
	}
	now := func(after time.Duration) time.Time { return c.now(local.Add(after)) }

	reply(0, base)
	require.Equal(t, base.Add(trip/2), now(0))
	require.Equal(t, base.Add(trip/2+time.Second), now(time.Second), "it counts on by itself")
	require.Equal(t, time.UTC, now(time.Second).Location())

	reply(2*time.Second, base.Add(2*time.Second))
	require.Equal(t, base.Add(trip/2+2*time.Second), now(2*time.Second), "a reply that agrees moves nothing")

	reply(3*time.Second, base.Add(13*time.Second))
	require.Equal(t, base.Add(13*time.Second), now(3*time.Second), "Redis is ahead: it follows at once")

	reply(4*time.Second, base.Add(12*time.Second))
	require.Equal(t, base.Add(13*time.Second), now(4*time.Second), "Redis was set back: it never jumps back")
	require.Equal(t, base.Add(13*time.Second), now(4500*time.Millisecond), "but waits")
	require.Equal(t, base.Add(14*time.Second+trip+time.Millisecond), now(6*time.Second), "and goes on with Redis")
	require.Equal(t, base.Add(14*time.Second+trip+time.Millisecond), now(5*time.Second), "for every caller")
}

func TestDiscreet(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ERR unknown command 'EVALSHA', with args beginning with: 'prompt'": "ERR unknown command 'EVALSHA'",
		`redis: can't parse "prompt"`:                                       "redis: reply cannot be parsed",
		"LOADING Redis is loading":                                          "LOADING Redis is loading",
		"redis: invalid reply: \"prompt\"":                                  "redis: reply cannot be parsed",
	} {
		require.EqualError(t, discreet(errors.New(text)), want)
	}
}

func TestServerInfo(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{
		"6.0.16": false, "6.2.0": true, "6.10.1": true, "7.0.15": true, "5.9": false, "255.255.255": true, "10.1": true,
	} {
		info := serverInfo{"redis_version": version}
		require.Equal(t, ok, info.refuse() == nil, version)
	}
	require.NoError(t, serverInfo{}.refuse())
	require.ErrorIs(t, serverInfo{"redis_version": "7.2.4", "redis_mode": "cluster"}.refuse(), errCluster)
	require.Equal(t, []Warning{{WarningReadOnly, "the server is a replica: nothing can be written to it"}},
		serverInfo{"redis_version": "7.2.4", "role": "slave"}.warnings())
}
