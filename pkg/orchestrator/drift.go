package orchestrator

import (
	"context"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// A Drift is one difference between a record and what stands beside it: an
// index, a task, a key, a file. The record is the truth; mending brings the
// rest up to it.
type Drift struct {
	Kind   DriftKind `json:"kind"`
	JobID  string    `json:"job_id,omitempty"`
	TaskID string    `json:"task_id,omitempty"`
	Place  string    `json:"place,omitempty"` // the key, queue or directory that it is about
	Found  string    `json:"found,omitempty"` // what is there instead of what should be
	Mended bool      `json:"mended"`
}

// DriftKind says which two things disagree, and how.
type DriftKind string

// The kinds of drift: first the store's, about jobs and about what jobs share;
// then the queue's, then those that show when both are laid side by side.
const (
	DriftRecordUnreadable DriftKind = "record_unreadable"
	DriftFieldsStale      DriftKind = "fields_stale"
	DriftOpenMissing      DriftKind = "open_missing"
	DriftOpenNeedless     DriftKind = "open_needless"
	DriftOpenAsleep       DriftKind = "open_asleep"
	DriftPurgeMissing     DriftKind = "purge_missing"
	DriftPurgeNeedless    DriftKind = "purge_needless"
	DriftListMissing      DriftKind = "list_missing"
	DriftIndexStray       DriftKind = "index_stray"
	DriftCountsOff        DriftKind = "counts_off"
	DriftKeyMissing       DriftKind = "idempotency_key_missing"
	DriftKeyDangling      DriftKind = "idempotency_key_dangling"
	DriftKeyTaken         DriftKind = "idempotency_key_taken"

	DriftPlaceMissing      DriftKind = "place_missing"
	DriftPlaceStray        DriftKind = "place_stray"
	DriftWaitingMissing    DriftKind = "waiting_missing"
	DriftWaitingStray      DriftKind = "waiting_stray"
	DriftLineMissing       DriftKind = "line_missing"
	DriftLineStray         DriftKind = "line_stray"
	DriftCircuitUnreadable DriftKind = "circuit_unreadable"
	DriftCircuitAsleep     DriftKind = "circuit_asleep"
	DriftQueueItemLost     DriftKind = "queue_item_lost"
	DriftQueueItemStray    DriftKind = "queue_item_stray"

	DriftTaskGhost    DriftKind = "task_ghost"
	DriftTaskOrphaned DriftKind = "task_orphaned"
	DriftTaskStuck    DriftKind = "task_stuck"
	DriftQueueHidden  DriftKind = "queue_hidden"

	DriftStepLost       DriftKind = "step_lost"
	DriftDeliveryLost   DriftKind = "delivery_lost"
	DriftRevokeLost     DriftKind = "revoke_lost"
	DriftTaskWithoutJob DriftKind = "task_without_job"
	DriftFilesLeft      DriftKind = "files_without_job"
)

// Explanation is a kind of drift in words for operators.
type Explanation struct {
	What   string `json:"what"`   // what it is
	Why    string `json:"why"`    // why it matters
	Repair string `json:"repair"` // what a repair does
}

// Explanations says of every kind what it is, why it matters, and what a repair
// does about it.
var Explanations = map[DriftKind]Explanation{
	DriftRecordUnreadable: {
		"The job's record cannot be read.",
		"Nothing can move the job, and nobody can say what it may have bought.",
		"Nothing: it takes a backup, or a look at the record by hand.",
	},
	DriftFieldsStale: {
		"The fields beside the record do not say what the record says.",
		"Lists filter by them, and claims and saves compare them, so that the job may be shown wrongly or stand still.",
		"The fields are written again from the record.",
	},
	DriftOpenMissing: {
		"The job owes work and does not stand in the open index.",
		"If its task is lost too, nobody ever looks at it again, and what it bought is dropped.",
		"It is put into the open index, due now, so that a worker looks at it.",
	},
	DriftOpenNeedless: {
		"The job owes nothing and stands in the open index.",
		"An empty open index no longer means that nothing is owed, and workers look at the job in vain.",
		"It is taken out of the open index.",
	},
	DriftOpenAsleep: {
		"The job's next look lies far behind the time that its record names.",
		"If its task is lost, it is missed only then. A clock that once ran ahead leaves this behind.",
		"Its next look is set to what the record says.",
	},
	DriftPurgeMissing: {
		"The job has a time to go and does not stand in the purge index.",
		"It is never removed, and takes memory for ever.",
		"It is put into the purge index at its time.",
	},
	DriftPurgeNeedless: {
		"The job has no time to go and stands in the purge index.",
		"Workers look at it in vain; they do not remove it.",
		"It is taken out of the purge index.",
	},
	DriftListMissing: {
		"The job is missing from a list that it belongs in.",
		"Callers and operators who list jobs do not see it.",
		"It is added to its lists.",
	},
	DriftIndexStray: {
		"An index names a job that does not exist, or that belongs in another.",
		"Lists and looks waste time on it, and counts are too high.",
		"The entry is removed.",
	},
	DriftCountsOff: {
		"The counters of jobs by state differ from the lists.",
		"Metrics, alerts and the dashboard show wrong numbers.",
		"The counters are set to what the lists hold.",
	},
	DriftKeyMissing: {
		"The idempotency key of the job is not kept.",
		"A caller who sends the same request again gets a second job, and pays for it.",
		"The key is written again.",
	},
	DriftKeyDangling: {
		"An idempotency key points to a job that does not exist or does not hold it.",
		"It takes memory for ever; a request that brings it is accepted as a new one.",
		"The key is removed.",
	},
	DriftKeyTaken: {
		"The idempotency key of the job points to another job that holds it too.",
		"The same request was accepted twice, and perhaps bought twice.",
		"Nothing: cancel the job that is one too many.",
	},
	DriftPlaceMissing: {
		"A provider works for the job, or may, and its place there does not count.",
		"More is in flight than max_in_flight allows, and the provider refuses what comes too much.",
		"The place counts again, until the time that the record names.",
	},
	DriftPlaceStray: {
		"A place in flight at a provider counts for a submission that no job has under way.",
		"Fewer jobs than max_in_flight allows are submitted, until the place's time is over.",
		"The place is given back.",
	},
	DriftWaitingMissing: {
		"The job waits for its provider and does not count against its backlog.",
		"More jobs are accepted than max_backlog allows. Jobs of a release that did not count them look like this.",
		"It counts.",
	},
	DriftWaitingStray: {
		"A job counts against a provider's backlog and does not wait for it.",
		"New jobs are refused although there is room.",
		"It counts no more.",
	},
	DriftLineMissing: {
		"The job waits for its turn and does not stand in the line before its provider.",
		"Nobody calls it up: it waits until it looks by itself, which may take an hour.",
		"It is put into the line at the time at which it came.",
	},
	DriftLineStray: {
		"The line before a provider, or its turns, name a job that does not wait there.",
		"More jobs seem to wait than do, and a turn that nobody takes holds up the others.",
		"It leaves the line, and its turn is free.",
	},
	DriftCircuitUnreadable: {
		"A provider's circuit cannot be read.",
		"Nobody learns of any open circuit: jobs go on to providers that are known to fail.",
		"The circuit is closed; failures open it again.",
	},
	DriftCircuitAsleep: {
		"A provider's circuit is open for longer than any circuit is before it is probed.",
		"The provider is passed over although it may be well. A clock that once ran ahead leaves this behind.",
		"The circuit is closed; failures open it again.",
	},
	DriftQueueItemLost: {
		"An item of a named queue waits or runs, and the queue does not list it.",
		"Nobody ever takes it, and who asked for it waits for ever.",
		"One that waits is the next to be taken; one that runs is taken up by whoever comes next.",
	},
	DriftQueueItemStray: {
		"A named queue lists an item that does not exist, or is not what it is listed as.",
		"Who takes it finds nothing to do, and it counts against what may run at a time.",
		"The entry is removed.",
	},
	DriftTaskGhost: {
		"A queue lists a task that does not exist.",
		"The dashboard's queue pages answer with an error, and an active one never ends.",
		"The id is removed from the list; the job behind it gets a new task.",
	},
	DriftTaskOrphaned: {
		"A task exists that no list of its queue names.",
		"It never runs, and yet looks as if it waited, so that its job stands still for ever.",
		"The task is deleted; the job behind it gets a new one.",
	},
	DriftTaskStuck: {
		"A task counts as being worked on, and nobody has a lease on it.",
		"The queue never gives it to another worker, and its id stays taken.",
		"The task is deleted; the job behind it gets a new one once its handler is surely gone.",
	},
	DriftQueueHidden: {
		"A queue holds tasks and is not announced.",
		"Its tasks run, but neither the dashboard nor asynq's tools show them.",
		"The queue is announced.",
	},
	DriftStepLost: {
		"The job's next step has no task that will run.",
		"The job stands still until a worker looks at it; without workers, for ever.",
		"The step gets a new task; a submission that was cut off is looked up, or held, but never bought again.",
	},
	DriftDeliveryLost: {
		"The caller is owed a webhook and no task delivers it.",
		"The caller waits for news that do not come.",
		"The delivery gets a new task.",
	},
	DriftRevokeLost: {
		"The provider is to be told to stop and no task tells it.",
		"It goes on working, and may bill for it.",
		"The cancel gets a new task.",
	},
	DriftTaskWithoutJob: {
		"A task waits for a job that does not exist.",
		"It does nothing when it runs, and takes memory until then.",
		"The task is deleted.",
	},
	DriftFilesLeft: {
		"Input or staged files lie in storage and their job does not exist.",
		"They take space, and may be what somebody wanted erased; after a restore they may be what jobs since the backup have bought.",
		"The files are deleted. Finished artifacts are left alone: those may be kept beyond their job.",
	},
}

// An Auditor looks through one ledger for what disagrees with itself. Each
// difference is read in one piece, so that running workers cause no false alarm,
// and is mended by a script that looks once more before it changes anything.
type Auditor interface {
	// Audit calls found with every difference, and returns how many entries it
	// has looked at.
	Audit(ctx context.Context, found func(Drift)) (looked int, err error)
	// Mend repairs a difference that Audit has found. It reports false when
	// there was nothing to mend, or nothing can be done.
	Mend(ctx context.Context, d Drift) (bool, error)
}

// A Ledger is a [Store] that can be looked through as a whole.
type Ledger interface {
	Auditor
	// Owing calls look with the jobs of the open index, in portions.
	Owing(ctx context.Context, look func(ids []string) error) error
	// HoldSubmits keeps intents of paid calls from being written, in all
	// processes, until ReleaseSubmits. It returns since when they are held.
	HoldSubmits(ctx context.Context) (since time.Time, err error)
	// ReleaseSubmits lets them be written again.
	ReleaseSubmits(ctx context.Context) error
	// Missing returns those of the jobs that have no record.
	Missing(ctx context.Context, ids []string) ([]string, error)
}

// A Board is a [Queue] that can be looked through as a whole.
type Board interface {
	Auditor
	// Waiting calls look with the tasks that wait, in portions.
	Waiting(ctx context.Context, look func([]tasks.Task) error) error
}

// Files are [Artifacts] that can be looked through.
type Files interface {
	// Owners calls look with the jobs that have files, in portions.
	Owners(ctx context.Context, look func(ids []string) error) error
	// Leftovers returns the prefixes of a job's files that are of use only
	// while it has a record, and when each was last written to.
	Leftovers(ctx context.Context, jobID string) (map[string]time.Time, error)
	// Delete removes everything under prefix.
	Delete(ctx context.Context, prefix string) error
}
