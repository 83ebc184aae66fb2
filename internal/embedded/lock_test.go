package embedded

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Between fork and exec a child holds copies of every descriptor, also of those
// that it will not keep.
func TestAReleasedLockIsFreeWhileAChildHoldsACopyOfItsDescriptor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "easel.lock")
	held, err := acquire(path)
	require.NoError(t, err)
	inherited, err := syscall.Dup(int(held.file.Fd()))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, syscall.Close(inherited)) })
	_, err = acquire(path)
	require.ErrorIs(t, err, ErrInUse)

	require.NoError(t, held.release())

	again, err := acquire(path)
	require.NoError(t, err)
	require.NoError(t, again.release())
}
