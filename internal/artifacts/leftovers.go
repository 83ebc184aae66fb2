package artifacts

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"gocloud.dev/blob"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

var _ orchestrator.Files = (*Store)(nil)

// ownersPortion is how many jobs are looked at together.
const ownersPortion = 200

// Owners implements [orchestrator.Files].
func (s *Store) Owners(ctx context.Context, look func(ids []string) error) error {
	var ids []string
	err := s.each(ctx, "", func(o *blob.ListObject) error {
		if !o.IsDir {
			return nil
		}
		if ids = append(ids, strings.TrimSuffix(o.Key, "/")); len(ids) < ownersPortion {
			return nil
		}
		full := ids
		ids = nil
		return look(full)
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	return look(ids)
}

// Leftovers implements [orchestrator.Files]: the files of the request, and the
// staged bytes of each submission.
func (s *Store) Leftovers(ctx context.Context, jobID string) (map[string]time.Time, error) {
	if err := checkKey(jobID); err != nil {
		return nil, nil //nolint:nilerr // what has such a name is not ours
	}
	written := map[string]time.Time{}
	it := s.bucket.List(&blob.ListOptions{Prefix: jobID + "/"})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return nil, storageError(ctx, "list", jobID, err)
		}
		segments := strings.Split(o.Key, "/")
		prefix := ""
		switch {
		case len(segments) > 2 && segments[1] == "inputs":
			prefix = jobID + "/inputs"
		case len(segments) > 3 && segments[2] == "staged":
			prefix = strings.Join(segments[:3], "/")
		}
		if prefix != "" && o.ModTime.After(written[prefix]) {
			written[prefix] = o.ModTime
		}
	}
}

func (s *Store) each(ctx context.Context, prefix string, look func(*blob.ListObject) error) error {
	it := s.bucket.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"})
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return storageError(ctx, "list", prefix, err)
		}
		if err := look(o); err != nil {
			return err
		}
	}
}
