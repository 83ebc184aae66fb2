// Package orchestrator moves jobs through their states: it accepts requests,
// hands them to providers, asks how they fare, copies what they produced, tells
// the caller, and repairs whatever was cut off in between.
//
// # Three doors, one room
//
// A provider's answer comes through one of three doors: the reply to a submit,
// the reply to a poll (or look-up), and the provider's webhook. All three lead
// into one room (answer.go), where the answer is applied to the newest record
// as a fact about one submission, whatever the job has become meanwhile, and
// from where the next step is derived (plan.go) and enqueued.
//
// # Two ledgers
//
// The record says what is true; the queue only says when to look again. Every
// handler reads the record first and changes it by compare-and-set; a task
// whose step the job has passed does nothing but make sure that the job's next
// step exists. So a task may run twice, late, or never: the reconciler
// (reconcile.go) goes through the jobs that owe work and puts back what is
// missing.
//
// # What it refuses to know
//
// HTTP, Redis, asynq and the providers' APIs. It knows only the interfaces of
// ports.go and the contract of package providers. Go services talk to it
// through package client.
package orchestrator
