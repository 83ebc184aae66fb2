package config_test

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
)

func TestReloader(t *testing.T) {
	t.Parallel()
	path := write(t, "api: {keys: [first]}")
	reload := config.Reloader(config.LoadOptions{File: path, LookupEnv: env{}.lookup})
	before, err := reload()
	require.NoError(t, err)
	require.Len(t, before.API.Keys, 1)

	require.NoError(t, os.WriteFile(path, []byte("api: {keys: [first, second]}"), 0o600))
	after, err := reload()
	require.NoError(t, err)
	require.Len(t, after.API.Keys, 2, "at once")

	replaced := write(t, "api: {keys: [first, other1]}") // as long as the one before
	require.NoError(t, os.Rename(replaced, path))
	after, err = reload()
	require.NoError(t, err)
	require.Equal(t, "other1", after.API.Keys[1].Key.Reveal())

	require.NoError(t, os.Remove(path))
	_, err = reload()
	require.Error(t, err)
	require.NoError(t, os.WriteFile(path, []byte("api: {keys: [last]}"), 0o600))
	after, err = reload()
	require.NoError(t, err)
	require.Len(t, after.API.Keys, 1)
}

// TestReloaderReadsAgainWhatLooksTheSame has a file whose key was replaced
// between two ticks of the file system's clock.
func TestReloaderReadsAgainWhatLooksTheSame(t *testing.T) {
	t.Parallel()
	path := write(t, "api: {keys: [first]}")
	info, err := os.Stat(path)
	require.NoError(t, err)
	reload := config.Reloader(config.LoadOptions{File: path, LookupEnv: env{}.lookup})
	_, err = reload()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte("api: {keys: [other]}"), 0o600))
	require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
	require.Eventually(t, func() bool {
		c, err := reload()
		return err == nil && c.API.Keys[0].Key.Reveal() == "other"
	}, 10*time.Second, 10*time.Millisecond)
}
