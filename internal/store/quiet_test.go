package store_test

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/store"
)

// TestDriverWritesNoLog asks for a Redis that is not there in a process of its
// own, since the driver's logger holds on to the stderr that it was born with.
func TestDriverWritesNoLog(t *testing.T) {
	t.Parallel()
	const asked = "EASEL_TEST_ASK_NOBODY"
	if os.Getenv(asked) != "" {
		client, err := store.NewClient("redis://127.0.0.1:1")
		require.NoError(t, err)
		require.Error(t, client.Ping(t.Context()).Err())
		require.NoError(t, client.Close())
		return
	}
	var stderr bytes.Buffer
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestDriverWritesNoLog$")
	child.Env, child.Stderr = append(os.Environ(), asked+"=1"), &stderr
	require.NoError(t, child.Run())
	require.Empty(t, stderr.String())
}
