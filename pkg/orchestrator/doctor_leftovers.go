package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// visitors are the tasks that wait for a job that does not exist. A record is
// written before its first task and outlives the last, so that none is seen
// without one by accident.
type visitors struct{ *Doctor }

// Audit implements [Auditor].
func (v visitors) Audit(ctx context.Context, found func(Drift)) (looked int, err error) {
	err = v.Board.Waiting(ctx, func(waiting []tasks.Task) error {
		looked += len(waiting)
		ids := make([]string, len(waiting))
		for i, task := range waiting {
			ids[i] = task.JobID
		}
		missing, err := v.missing(ctx, ids)
		if err != nil {
			return err
		}
		for _, task := range waiting {
			if missing[task.JobID] {
				found(Drift{Kind: DriftTaskWithoutJob, JobID: task.JobID, TaskID: task.ID(), Place: task.Queue})
			}
		}
		return nil
	})
	return looked, err
}

// Mend implements [Auditor].
func (v visitors) Mend(ctx context.Context, d Drift) (bool, error) {
	mended := false
	err := v.Board.Waiting(ctx, func(waiting []tasks.Task) error {
		for _, task := range waiting {
			if task.ID() != d.TaskID || task.Queue != d.Place || mended {
				continue
			}
			mended = true
			if err := v.Engine.Queue.Delete(ctx, task); err != nil {
				return err
			}
		}
		return nil
	})
	return mended, err
}

func (d *Doctor) missing(ctx context.Context, ids []string) (map[string]bool, error) {
	missing, err := d.Ledger.Missing(ctx, ids)
	set := make(map[string]bool, len(missing))
	for _, id := range missing {
		set[id] = true
	}
	return set, err
}

// remains are files that only a record makes use of, without one.
type remains struct{ *Doctor }

// Audit implements [Auditor].
func (r remains) Audit(ctx context.Context, found func(Drift)) (looked int, err error) {
	if r.Files == nil {
		return 0, nil
	}
	err = r.Files.Owners(ctx, func(ids []string) error {
		looked += len(ids)
		missing, err := r.missing(ctx, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if !missing[id] {
				continue
			}
			prefixes, err := r.old(ctx, id)
			if err != nil {
				return err
			}
			for _, prefix := range prefixes {
				found(Drift{Kind: DriftFilesLeft, JobID: id, Place: prefix})
			}
		}
		return nil
	})
	return looked, err
}

// old are the leftovers of a job that nobody is about to write a record for.
func (r remains) old(ctx context.Context, id string) ([]string, error) {
	age := r.FilesAge
	if age == 0 {
		age = time.Hour
	}
	written, err := r.Files.Leftovers(ctx, id)
	var prefixes []string
	for prefix, at := range written {
		if r.Engine.Store.Now().Sub(at) >= age {
			prefixes = append(prefixes, prefix)
		}
	}
	return prefixes, err
}

// Mend implements [Auditor].
func (r remains) Mend(ctx context.Context, d Drift) (bool, error) {
	if _, err := r.Engine.Store.Load(ctx, d.JobID); !errors.Is(err, ErrNotFound) {
		return false, err
	}
	return true, r.Files.Delete(ctx, d.Place)
}
