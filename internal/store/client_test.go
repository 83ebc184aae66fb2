package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/store"
)

func TestNewClient(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://127.0.0.1:6379/0",
		"redis://user:secret@127.0.0.1/3",
		"rediss://:secret@redis.example.com:6380",
		"redis+sentinel://:secret@s1:26379,s2:26379,s3/1?master_name=main",
		"redis+sentinel://s1/1?master_name=main",
		"rediss+sentinel://s1,s2?master_name=main",
		"redis://s1:26379?master_name=main&addr=s2:26379",
	} {
		client, err := store.NewClient(url)
		require.NoError(t, err, url)
		o := client.Options()
		require.Equal(t, time.Second, o.DialTimeout, url)
		require.Equal(t, 2*time.Second, o.ReadTimeout, url)
		require.Equal(t, 2*time.Second, o.WriteTimeout, url)
		require.Equal(t, 1, o.MaxRetries, url)
		require.Equal(t, 1, o.DialerRetries, url)
		require.True(t, o.ContextTimeoutEnabled, url)
		require.GreaterOrEqual(t, o.PoolSize, 64, url)
		require.NoError(t, client.Close())
	}

	client, err := store.NewClient("redis://127.0.0.1/5?read_timeout=7s&pool_size=3")
	require.NoError(t, err)
	require.Equal(t, 7*time.Second, client.Options().ReadTimeout)
	require.Equal(t, 3, client.Options().PoolSize)
	require.Equal(t, 5, client.Options().DB)
	require.NoError(t, client.Close())
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "localhost:6379", "http://:secret@host", "redis://:secret@host:port", "redis://:sec%ret@host",
		"redis://:secret@host/zero", "redis://:secret@host?surprise=1", "redis+sentinel://:secret@host",
		"redis://:secret@host/secret?master_name=m",
	} {
		_, err := store.NewClient(url)
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "sec", "no error quotes the password")
	}
}
