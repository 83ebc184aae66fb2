package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// note is where the ward's workers note how far its Redis has come.
func (w *ward) note() string {
	w.Helper()
	identity, err := w.platform.store.Identity(w.Context())
	require.NoError(w, err)
	return filepath.Join(w.platform.cfg.DataDir, "artifacts", "easel-tide-"+identity+".txt")
}

func (w *ward) held() bool {
	w.Helper()
	since, err := w.platform.store.SubmitsHeld(w.Context())
	require.NoError(w, err)
	return !since.IsZero()
}

// look has a worker look for what is due, which raises the tide.
func (w *ward) look() {
	w.Helper()
	_, err := w.platform.store.Overdue(w.Context(), 1, time.Hour)
	require.NoError(w, err)
}

// TestTideMark starts a worker's note in every condition that it may be in. Only
// data that is older than a note about it holds submits, and nothing keeps a
// worker from starting.
func TestTideMark(t *testing.T) {
	t.Parallel()
	t.Run("it is written when a worker stops, and compared when one starts", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		w.accept("")
		mark := w.platform.openTideMark(t.Context())
		require.NoFileExists(t, w.note(), "there is nothing to note yet")
		w.look()
		mark.write(t.Context())
		require.FileExists(t, w.note())
		w.platform.openTideMark(t.Context())
		require.False(t, w.held())

		w.do("SET", "easel:tide", time.Now().Add(-time.Hour).UnixMilli())
		w.platform.openTideMark(t.Context())
		require.True(t, w.held())
		_, err := w.doctor.AfterRestore(t.Context())
		require.NoError(t, err)
		require.False(t, w.held())
		w.platform.openTideMark(t.Context())
		require.False(t, w.held(), "the doctor has been there")
		require.Empty(t, w.kinds(w.doctor.Examine(t.Context())), "the note is no job's file")
	})
	t.Run("it is about this Redis only", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		w.look()
		w.platform.openTideMark(t.Context()).write(t.Context())
		w.do("FLUSHALL")
		w.accept("")
		w.do("SET", "easel:tide", time.Now().Add(-time.Hour).UnixMilli())
		w.platform.openTideMark(t.Context())
		require.False(t, w.held())
	})
	t.Run("one that is no time is replaced", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		require.NoError(t, os.WriteFile(w.note(), []byte("half a li"), 0o600))
		mark := w.platform.openTideMark(t.Context())
		w.look()
		mark.write(t.Context())
		text, err := os.ReadFile(w.note())
		require.NoError(t, err)
		require.Contains(t, string(text), time.Now().UTC().Format("2006-01-02T"))
	})
	t.Run("one that cannot be read is read before it is written", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		w.accept("")
		require.NoError(t, os.Symlink(w.note(), w.note())) // leads nowhere, and is there
		mark := w.platform.openTideMark(t.Context())
		require.False(t, mark.compared)
		seen := time.Now().Add(-30 * time.Minute)
		w.do("SET", "easel:tide", seen.Add(-time.Hour).UnixMilli())
		w.look() // the worker has started, and has raised the tide
		require.NoError(t, os.Remove(w.note()))
		require.NoError(t, os.WriteFile(w.note(), []byte(seen.Format(time.RFC3339Nano)), 0o600))
		mark.write(t.Context())
		require.True(t, w.held(), "it is noticed late rather than never")
	})
	t.Run("a Redis that keeps nothing is not noted", func(t *testing.T) {
		t.Parallel()
		w := newWard(t)
		w.platform.fleeting = true
		mark := w.platform.openTideMark(t.Context())
		w.look()
		require.NoError(t, mark.keep(t.Context()))
		files, err := filepath.Glob(filepath.Join(w.platform.cfg.DataDir, "artifacts", "easel-tide-*"))
		require.NoError(t, err)
		require.Empty(t, files)
	})
}
