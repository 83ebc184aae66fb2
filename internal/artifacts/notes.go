package artifacts

import (
	"context"
	"fmt"
	"io"
	"strings"

	"gocloud.dev/gcerrors"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// noteSize bounds what is read of a note: it is a line or two.
const noteSize = 4 << 10

// WriteNote keeps a line of the installation's own in storage, beside the files
// of the jobs, in the place of the last of that name. It is on disk when it
// returns.
func (s *Store) WriteNote(ctx context.Context, name, text string) error {
	return s.write(ctx, name, "text/plain", strings.NewReader(text+"\n"))
}

// ReadNote reads it back. ErrNoArtifact when there is none.
func (s *Store) ReadNote(ctx context.Context, name string) (string, error) {
	r, err := s.bucket.NewReader(ctx, name, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return "", fmt.Errorf("read %s: %w", name, orchestrator.ErrNoArtifact)
	}
	if err != nil {
		return "", storageError(ctx, "read", name, err)
	}
	defer func() { _ = r.Close() }() // it was only read
	raw, err := io.ReadAll(io.LimitReader(r, noteSize))
	if err != nil {
		return "", storageError(ctx, "read", name, err)
	}
	return strings.TrimSpace(string(raw)), nil
}
