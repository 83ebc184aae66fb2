package tasks

import (
	"fmt"
	"time"
)

// Kind says what a task does for its job.
type Kind string

// The kinds. The first four are steps of the main lane; revoke and deliver run
// beside it with counters of their own, so that a retry does not fence them out.
const (
	KindSubmit   Kind = "job:submit"   // hand the job to a provider
	KindLookup   Kind = "job:lookup"   // find out what became of a submission
	KindPoll     Kind = "job:poll"     // ask the provider how it is going
	KindFinalize Kind = "job:finalize" // copy the outputs into our storage
	KindRevoke   Kind = "job:revoke"   // tell the provider that we want no more
	KindDeliver  Kind = "job:deliver"  // tell the caller
)

// Kinds lists every kind.
var Kinds = []Kind{KindSubmit, KindLookup, KindPoll, KindFinalize, KindRevoke, KindDeliver}

// The queues. Each family is served by its own asynq servers, so that a slow
// submit never holds up a poll, nor a poll a webhook.
const (
	QueueSubmitHigh    = "submit:high"
	QueueSubmitDefault = "submit:default"
	QueueSubmitLow     = "submit:low"
	QueuePoll          = "poll"
	QueueFinalize      = "finalize"
	QueueDeliver       = "deliver"
)

// Queues lists every queue.
var Queues = []string{QueueSubmitHigh, QueueSubmitDefault, QueueSubmitLow, QueuePoll, QueueFinalize, QueueDeliver}

// Queue is where tasks of this kind wait. Only submits have priorities.
func (k Kind) Queue(p Priority) string {
	switch k {
	case KindSubmit:
		if !p.Valid() {
			p = PriorityDefault
		}
		return "submit:" + string(p)
	case KindFinalize:
		return QueueFinalize
	case KindDeliver:
		return QueueDeliver
	default:
		return QueuePoll
	}
}

// Main reports whether tasks of this kind are steps of a job's main lane.
func (k Kind) Main() bool { return k != KindRevoke && k != KindDeliver }

// Task is one step of one job as it waits on the queue. It is a nudge to look
// at the record, never the truth: a task whose step the job has passed does
// nothing.
type Task struct {
	Kind  Kind   `json:"-"`
	JobID string `json:"job"`
	// Step is the step of the main lane that the task was made for. In the
	// side lanes it is the number of the submission to revoke, or the version
	// of the event to deliver.
	Step int64 `json:"step"`
	// Gen is raised when the task of a step was lost: asynq holds a dead
	// worker's task id for one to three minutes.
	Gen int `json:"gen,omitempty"`
	// Trace is the W3C traceparent of the request that asked for the job.
	Trace string `json:"trace,omitempty"`

	Queue string        `json:"-"`
	Delay time.Duration `json:"-"` // how long to wait before it may run
}

// ID is the task's id on the queue: <job>:<step>:<gen>, and
// <job>:revoke-<submission>:<gen>, <job>:deliver-<version>:<gen> beside it.
func (t Task) ID() string {
	switch t.Kind {
	case KindRevoke:
		return fmt.Sprintf("%s:revoke-%d:%d", t.JobID, t.Step, t.Gen)
	case KindDeliver:
		return fmt.Sprintf("%s:deliver-%d:%d", t.JobID, t.Step, t.Gen)
	default:
		return fmt.Sprintf("%s:%d:%d", t.JobID, t.Step, t.Gen)
	}
}
