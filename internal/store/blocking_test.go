package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// TestFault10DefaultsBlock asks a server that hangs, with little patience. As it
// comes, go-redis does not heed the caller's deadline while it waits for an
// answer; Easel's clients do.
func TestFault10DefaultsBlock(t *testing.T) {
	t.Parallel()
	url, server := serve(t)
	raw := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = raw.Close() })
	ours := newClient(t, url)
	for _, client := range []*redis.Client{raw, ours} {
		require.NoError(t, client.Ping(t.Context()).Err())
	}
	server.Pause()
	defer server.Resume()
	blocks := func(client *redis.Client) time.Duration {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		require.Error(t, client.Ping(ctx).Err())
		return time.Since(began)
	}
	require.Greater(t, blocks(raw), 2*time.Second)
	require.Less(t, blocks(ours), 2*time.Second)
}
