package artifacts

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// TestNotes keeps a note beside the files of jobs, where it is none of theirs.
func TestNotes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *Store) {
		_, err := s.ReadNote(t.Context(), "note.txt")
		require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
		for _, text := range []string{"one", "another"} {
			require.NoError(t, s.WriteNote(t.Context(), "note.txt", text))
			read, err := s.ReadNote(t.Context(), "note.txt")
			require.NoError(t, err)
			require.Equal(t, text, read)
		}
		require.NoError(t, s.Owners(t.Context(), func(ids []string) error {
			require.Empty(t, ids)
			return nil
		}))
		require.Error(t, s.WriteNote(t.Context(), "../note.txt", "outside"))
	})
}
