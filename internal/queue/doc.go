// Package queue runs Easel's tasks on asynq: [Client] puts them there and is
// the orchestrator's Queue, [Servers] take them off and hand them to a Handler,
// [Inspector] counts what lies there and repairs what asynq cannot.
//
// It is the one place that knows how asynq behaves at its edges: completion
// writes that are never repeated (completion.go), task ids that stay taken
// (client.go), queues that its clients forget to announce (register.go), ids
// whose task is gone (ghosts.go), looks at empty queues that take a while
// (bell.go). asynq delivers at least once, sometimes twice
// at a time, sometimes never; nothing here promises more than that.
//
// # What it refuses to know
//
// What a task does, what a job is beyond its id, and whether a retry is worth
// it: an [orchestrator.Outcome] says what to do with the task, and settle.go
// obeys. Payloads hold ids and a trace context, never a prompt or a key.
package queue
