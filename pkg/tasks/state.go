package tasks

import "fmt"

// State is where a job stands in its life. It is finer than the [Status] that
// callers see.
type State string

const (
	// Queued jobs owe a submission: now, at run_at, or after a delay.
	Queued State = "queued"
	// Submitting jobs have a written intent. A provider may be working for us
	// although we do not know its answer yet.
	Submitting State = "submitting"
	// Processing jobs were accepted by a provider; they wait for it, or for
	// their outputs to be copied.
	Processing State = "processing"
	// Unresolved jobs are at rest: a submission may have been accepted and
	// nobody could tell us. A late answer or an operator moves them on.
	Unresolved State = "unresolved"
	// Completed jobs have their result in our storage. Final.
	Completed State = "completed"
	// Failed jobs ended without a result; a retry may start them again.
	Failed State = "failed"
	// Canceled jobs were ended by their caller. Final.
	Canceled State = "canceled"
)

// States lists every state, in the order of a job's life.
var States = []State{Queued, Submitting, Processing, Unresolved, Completed, Failed, Canceled}

// Final reports whether the job has ended: completed, failed or canceled.
func (s State) Final() bool { return s == Completed || s == Failed || s == Canceled }

// AtRest reports whether nothing more is expected to happen by itself: the job
// is final, or unresolved.
func (s State) AtRest() bool { return s.Final() || s == Unresolved }

// Status is the public face of the state.
func (s State) Status() Status {
	if s == Submitting {
		return StatusProcessing
	}
	return Status(s)
}

// Status is what callers see of a [State].
type Status string

// The public statuses. Clients must ignore values they do not know.
const (
	StatusQueued     Status = "queued"
	StatusProcessing Status = "processing"
	StatusCompleted  Status = "completed"
	StatusFailed     Status = "failed"
	StatusCanceled   Status = "canceled"
	StatusUnresolved Status = "unresolved"
)

// Statuses lists every public status.
var Statuses = []Status{StatusQueued, StatusProcessing, StatusCompleted, StatusFailed, StatusCanceled, StatusUnresolved}

// AtRest reports whether a job with this status changes no more by itself.
func (s Status) AtRest() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCanceled || s == StatusUnresolved
}

// Event is what happened to a job. Together with the state it decides where the
// job may go.
type Event string

// The events of a job's life, in the order of docs/state-machine.md.
const (
	EventAdopt        Event = "adopt"         // born with a submission that somebody else has made
	EventStart        Event = "start"         // the intent of a submission was written
	EventWait         Event = "wait"          // no room at the provider, or run too early
	EventAccepted     Event = "accepted"      // the provider took the submission
	EventRejected     Event = "rejected"      // the provider refused it
	EventNotCalled    Event = "not called"    // surely nothing was sent
	EventLost         Event = "answer lost"   // something may have been sent
	EventFound        Event = "found"         // look-up, webhook or operator brought the id
	EventAbsent       Event = "absent"        // look-up is sure that nothing was created
	EventHold         Event = "hold"          // nobody can tell; wait for an answer or an operator
	EventResubmit     Event = "resubmit"      // nobody can tell; the operator chose to submit again
	EventLookup       Event = "look up"       // ask the provider once more
	EventNotCreated   Event = "not created"   // an operator says that nothing was created
	EventRunning      Event = "running"       // the provider works on it, or did not answer a poll
	EventSucceeded    Event = "succeeded"     // the provider is done
	EventRemoteFailed Event = "remote failed" // the provider gave up
	EventStored       Event = "stored"        // the outputs are in our storage
	EventCopyFailed   Event = "copy failed"   // the outputs could not be copied
	EventDeadline     Event = "deadline"      // the job's time is over
	EventCancel       Event = "cancel"        // the caller wants no more of it
	EventLate         Event = "late"          // an answer came after the end
	EventResume       Event = "resume"        // retry what is already paid for
	EventRegenerate   Event = "regenerate"    // retry with a new submission
	EventCrashed      Event = "crashed"       // five starts in a row ended in a crash
	EventOverdue      Event = "overdue"       // a step was lost and is enqueued again
	EventTold         Event = "told"          // a delivery or a provider cancel moved on
)

// A Move says that an event may take a job from one state to another.
type Move struct {
	From  State
	Event Event
	To    State
}

// Moves is the whole state machine: what is not listed cannot happen. The
// drawing in docs/state-machine.md is generated from it.
var Moves = []Move{
	{Queued, EventAdopt, Processing},

	{Queued, EventStart, Submitting},
	{Queued, EventWait, Queued},

	{Submitting, EventAccepted, Processing},
	{Submitting, EventRejected, Queued},
	{Submitting, EventRejected, Failed},
	{Submitting, EventNotCalled, Queued},
	{Submitting, EventLost, Submitting},
	{Submitting, EventLookup, Submitting},
	{Submitting, EventFound, Processing},
	{Submitting, EventAbsent, Queued},
	{Submitting, EventAbsent, Failed},
	{Submitting, EventHold, Unresolved},
	{Submitting, EventResubmit, Queued},

	{Unresolved, EventLookup, Unresolved},
	{Unresolved, EventLost, Unresolved},
	{Unresolved, EventAccepted, Processing},
	{Unresolved, EventFound, Processing},
	{Unresolved, EventRejected, Queued},
	{Unresolved, EventRejected, Failed},
	{Unresolved, EventNotCalled, Queued},
	{Unresolved, EventAbsent, Queued},
	{Unresolved, EventAbsent, Failed},
	{Unresolved, EventResubmit, Queued},
	{Unresolved, EventNotCreated, Queued},
	{Unresolved, EventDeadline, Failed},

	{Queued, EventAccepted, Processing},
	{Queued, EventFound, Processing},

	{Processing, EventRunning, Processing},
	{Processing, EventAccepted, Processing},
	{Processing, EventFound, Processing},
	{Processing, EventSucceeded, Processing},
	{Processing, EventRemoteFailed, Processing},
	{Processing, EventRemoteFailed, Queued},
	{Processing, EventRemoteFailed, Failed},
	{Processing, EventRejected, Queued},
	{Processing, EventRejected, Failed},
	{Processing, EventNotCalled, Queued},
	{Processing, EventAbsent, Queued},
	{Processing, EventAbsent, Failed},
	{Processing, EventStored, Completed},
	{Processing, EventCopyFailed, Processing},
	{Processing, EventCopyFailed, Failed},

	{Queued, EventDeadline, Failed},
	{Submitting, EventDeadline, Failed},
	{Processing, EventDeadline, Failed},

	{Queued, EventCancel, Canceled},
	{Submitting, EventCancel, Canceled},
	{Processing, EventCancel, Canceled},
	{Unresolved, EventCancel, Canceled},

	{Completed, EventLate, Completed},
	{Failed, EventLate, Failed},
	{Canceled, EventLate, Canceled},

	{Failed, EventResume, Processing},
	{Failed, EventResume, Unresolved},
	{Failed, EventRegenerate, Queued},

	{Queued, EventCrashed, Failed},
	{Queued, EventCrashed, Unresolved},
	{Submitting, EventCrashed, Failed},
	{Submitting, EventCrashed, Unresolved},
	{Processing, EventCrashed, Failed},

	{Queued, EventOverdue, Queued},
	{Submitting, EventOverdue, Submitting},
	{Processing, EventOverdue, Processing},
	{Unresolved, EventOverdue, Unresolved},
	{Completed, EventOverdue, Completed},
	{Failed, EventOverdue, Failed},
	{Canceled, EventOverdue, Canceled},

	{Queued, EventTold, Queued},
	{Submitting, EventTold, Submitting},
	{Processing, EventTold, Processing},
	{Unresolved, EventTold, Unresolved},
	{Completed, EventTold, Completed},
	{Failed, EventTold, Failed},
	{Canceled, EventTold, Canceled},
}

// allowed is Moves as a set.
var allowed = func() map[Move]bool {
	set := make(map[Move]bool, len(Moves))
	for _, m := range Moves {
		set[m] = true
	}
	return set
}()

// Move takes the job to another state because of an event. A move that the
// table does not list is refused and changes nothing: it is a bug of the
// caller, never the user's fault.
func (j *Job) Move(event Event, to State) error {
	if !allowed[Move{j.State, event, to}] {
		return fmt.Errorf("job %s: %q may not take it from %s to %s", j.ID, event, j.State, to)
	}
	j.State = to
	return nil
}
