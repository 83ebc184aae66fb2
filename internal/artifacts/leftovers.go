package artifacts

import (
	"context"
	"errors"
	"io"
	"maps"
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

// Leftovers implements [orchestrator.Files]: the files of the request, and what
// was staged. A manifest tells that the outcome beside it was never recorded: one
// that was has its manifest removed before its record goes.
func (s *Store) Leftovers(ctx context.Context, jobID string) (map[string]time.Time, error) {
	if err := checkKey(jobID); err != nil {
		return nil, nil // what has such a name is not ours
	}
	written, staged := map[string]time.Time{}, map[string]bool{}
	for object, err := range objects(ctx, s.bucket, jobID+"/") {
		if err != nil {
			return nil, storageError(ctx, "list", jobID, err)
		}
		prefix, name, _ := strings.Cut(strings.TrimPrefix(object.Key, jobID+"/"), "/")
		if prefix = jobID + "/" + prefix; object.ModTime.After(written[prefix]) {
			written[prefix] = object.ModTime
		}
		staged[prefix] = staged[prefix] || name == manifestName
	}
	maps.DeleteFunc(written, func(prefix string, _ time.Time) bool { return prefix != jobID+"/inputs" && !staged[prefix] })
	return written, nil
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
