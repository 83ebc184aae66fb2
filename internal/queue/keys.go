package queue

import "github.com/easel-jobs/easel/pkg/orchestrator"

// The keys that asynq v0.26 keeps. They are its own affair: what is read here
// is read because asynq offers no way that takes a context or survives a
// missing task, and what is written is only ever removed.

// queuesKey is the set of queues that asynq's inspectors, and so asynqmon, see.
const queuesKey = "asynq:queues"

func queuePrefix(queue string) string { return "asynq:{" + queue + "}:" }

func taskPrefix(queue string) string { return queuePrefix(queue) + "t:" }

// stateKey is the list or set of the ids of a queue's tasks in that state.
func stateKey(queue string, state orchestrator.TaskState) string {
	return queuePrefix(queue) + string(state)
}

func leaseKey(queue string) string { return queuePrefix(queue) + "lease" }

func pausedKey(queue string) string { return queuePrefix(queue) + "paused" }

// listed reports whether the ids of that state are in a list; the others are in
// sorted sets.
func listed(state orchestrator.TaskState) bool {
	return state == orchestrator.TaskPending || state == orchestrator.TaskActive
}
