package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// A Doctor lays records, indexes, tasks and files side by side and reports, or
// mends, where they disagree. Workers may run meanwhile.
type Doctor struct {
	Engine *Engine
	Ledger Ledger
	Board  Board
	Files  Files // nil: storage is not looked through

	// Patience is how long a lane without a task must stay so to count: between
	// two writes of a running worker every job looks like that. Zero takes what
	// running workers need to mend it themselves.
	Patience time.Duration
	// FilesAge is how old files without a job must be: the inputs of a job are
	// stored before its record. Zero: an hour.
	FilesAge time.Duration
}

// Examination is what a [Doctor] has found.
type Examination struct {
	Records int     `json:"records"` // records, index entries and keys that were looked at
	Tasks   int     `json:"tasks"`
	Open    int     `json:"open"` // jobs that owe work
	Drifts  []Drift `json:"drifts"`
	// Remaining are those that are still there after a repair.
	Remaining int `json:"remaining"`
}

// Clean reports whether nothing is left to mend.
func (x *Examination) Clean() bool { return x.Remaining == 0 }

// Examine looks for drift and changes nothing.
func (d *Doctor) Examine(ctx context.Context) (*Examination, error) {
	return d.examine(ctx, false)
}

// Repair looks for drift, mends what it finds, and looks once more.
func (d *Doctor) Repair(ctx context.Context) (*Examination, error) {
	first, err := d.examine(ctx, true)
	if err != nil || len(first.Drifts) == 0 {
		return first, err
	}
	again, err := d.examine(ctx, false)
	if err != nil {
		return first, err
	}
	first.Remaining = len(again.Drifts)
	for _, drift := range again.Drifts {
		if !first.names(drift) {
			first.Drifts = append(first.Drifts, drift)
		}
	}
	return first, nil
}

// names reports whether the drift is among those found, and takes back that it
// was mended.
func (x *Examination) names(drift Drift) bool {
	for i := range x.Drifts {
		if known := &x.Drifts[i]; known.Kind == drift.Kind && known.JobID == drift.JobID && known.TaskID == drift.TaskID && known.Place == drift.Place {
			known.Mended = false
			return true
		}
	}
	return false
}

// examine asks one ledger after the other. The order matters for a repair: a
// task that only seems to wait goes first, so that its job's lane shows that
// nothing runs there; a job must stand in the open index to have its lanes
// looked at.
func (d *Doctor) examine(ctx context.Context, repair bool) (*Examination, error) {
	x := &Examination{Drifts: []Drift{}}
	for _, ledger := range []struct {
		name    string
		looked  *int
		auditor Auditor
	}{
		{"the queues", &x.Tasks, d.Board},
		{"the records", &x.Records, d.Ledger},
		{"the lanes", &x.Open, lanes{d}},
		{"waiting tasks", new(int), visitors{d}},
		{"files", new(int), remains{d}},
	} {
		found, seen := []Drift{}, map[Drift]bool{}
		looked, err := ledger.auditor.Audit(ctx, func(drift Drift) {
			if !seen[drift] { // a scan may bring a key twice
				seen[drift] = true
				found = append(found, drift)
			}
		})
		*ledger.looked += looked
		if err != nil {
			return x, fmt.Errorf("look through %s: %w", ledger.name, err)
		}
		for i := range found {
			if !repair {
				break
			}
			if found[i].Mended, err = ledger.auditor.Mend(ctx, found[i]); err != nil {
				return x, fmt.Errorf("mend %s: %w", found[i].Kind, err)
			}
		}
		x.Drifts = append(x.Drifts, found...)
	}
	x.Remaining = len(x.Drifts)
	return x, nil
}

// patience is longer than running workers take to find a lost step.
func (d *Doctor) patience() time.Duration {
	if d.Patience > 0 {
		return d.Patience
	}
	t := d.Engine.Timings
	return t.Lease + t.Grace + 2*t.Reconcile
}

// lanes compares what the open jobs wait for with the queue.
type lanes struct{ *Doctor }

// Audit implements [Auditor]. Whoever seems lost is looked at again after a
// while: a job that moves, or that a worker mends, is not.
func (l lanes) Audit(ctx context.Context, found func(Drift)) (looked int, err error) {
	suspects := map[string]map[Drift]bool{}
	err = l.Ledger.Owing(ctx, func(ids []string) error {
		for _, id := range ids {
			looked++
			lost, err := l.Engine.lostLanes(ctx, id)
			if err != nil {
				return err
			}
			for _, drift := range lost {
				if suspects[id] == nil {
					suspects[id] = map[Drift]bool{}
				}
				suspects[id][drift] = true
			}
		}
		return nil
	})
	if err != nil || len(suspects) == 0 {
		return looked, err
	}
	if !sleep(ctx, l.patience()) {
		return looked, ctx.Err()
	}
	for id, before := range suspects {
		lost, err := l.Engine.lostLanes(ctx, id)
		if err != nil {
			return looked, err
		}
		for _, drift := range lost {
			if before[drift] {
				found(drift)
			}
		}
	}
	return looked, nil
}

// Mend implements [Auditor].
func (l lanes) Mend(ctx context.Context, d Drift) (bool, error) {
	lost, err := l.Engine.lostLanes(ctx, d.JobID)
	if err != nil {
		return false, err
	}
	for _, drift := range lost {
		if drift == d {
			return l.Engine.restoreLane(ctx, d)
		}
	}
	return false, nil
}

// lostLanes are the lanes of a job for which no task will run.
func (e *Engine) lostLanes(ctx context.Context, id string) ([]Drift, error) {
	job, err := e.Store.Load(ctx, id)
	switch {
	case errors.Is(err, ErrUnavailable), ctx.Err() != nil:
		return nil, err
	case err != nil:
		return nil, nil // a record that is gone or cannot be read is the ledger's to report
	}
	var lost []Drift
	for kind, task := range e.owedTasks(job) {
		state, err := e.Queue.State(ctx, task)
		if err != nil {
			return nil, err
		}
		runs, err := e.runs(ctx, id, state)
		if err != nil {
			return nil, err
		}
		if !runs {
			lost = append(lost, Drift{Kind: kind, JobID: id, TaskID: task.ID(), Place: task.Queue, Found: "the task is " + string(state)})
		}
	}
	return lost, nil
}

// owedTasks yields the task of every lane that has something to do.
func (e *Engine) owedTasks(job *tasks.Job) func(yield func(DriftKind, tasks.Task) bool) {
	return func(yield func(DriftKind, tasks.Task) bool) {
		now := e.Store.Now()
		if job.Kind != "" && !yield(DriftStepLost, job.MainTask(0)) {
			return
		}
		for i := range job.Outbox {
			if d := &job.Outbox[i]; d.State == tasks.DeliveryPending && !yield(DriftDeliveryLost, deliverTask(job, d, now)) {
				return
			}
		}
		for i := range job.Submissions {
			if s := &job.Submissions[i]; s.Revoke == tasks.RevokeWanted && !yield(DriftRevokeLost, revokeTask(job, s, now)) {
				return
			}
		}
	}
}

// runs reports whether a task in that state runs, or will. An active one does
// while somebody tends its job.
func (e *Engine) runs(ctx context.Context, id string, state TaskState) (bool, error) {
	if state != TaskActive {
		return state.Waiting(), nil
	}
	touch, err := e.Store.Touched(ctx, id)
	return touch.After(e.Store.Now()), err
}

// restoreLane gives a lane a task again, if it is still the one that was found
// lost.
func (e *Engine) restoreLane(ctx context.Context, d Drift) (bool, error) {
	job, err := e.Store.Load(ctx, d.JobID)
	if err != nil {
		return false, err
	}
	for kind, task := range e.owedTasks(job) {
		if kind != d.Kind || task.ID() != d.TaskID {
			continue
		}
		state, err := e.Queue.State(ctx, task)
		if err != nil || state.Waiting() {
			return false, err
		}
		switch kind {
		case DriftDeliveryLost:
			return true, e.restoreSideTask(ctx, job, task, raiseDelivery(task))
		case DriftRevokeLost:
			return true, e.restoreSideTask(ctx, job, task, raiseRevoke(task))
		default:
			return true, e.restoreStep(ctx, job, state)
		}
	}
	return false, nil
}
