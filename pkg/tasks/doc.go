// Package tasks holds the nouns of Easel: the [Job] and what belongs to it
// ([Request], [Attempt], [Submission], [Result], [Delivery]), the states a job
// moves through ([State], [Moves]), the [Task] that waits on the queue for one
// step of a job, and the [View] of a job that callers see.
//
// # What it refuses to know
//
// There is no HTTP, no Redis and no asynq here, and no clock: who needs the
// time passes it in. A record is a plain value; changing it safely under
// concurrency is the store's business, and deciding what to change is the
// orchestrator's.
package tasks
