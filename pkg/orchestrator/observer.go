package orchestrator

import (
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// An Observer is told what happens, for logs and metrics. It must not block.
type Observer interface {
	// JobAccepted is called when a job's record has been written.
	JobAccepted(job *tasks.Job)
	// JobRested is called when a job has come to rest.
	JobRested(job *tasks.Job)
	// ProviderCalled is called after every call to a provider. Call is submit,
	// poll, lookup, cancel or download; the class is empty when it succeeded.
	ProviderCalled(provider, call string, class classify.Class, took time.Duration)
	// StageTook is called when a job has passed a stage: queue, submit,
	// provider, copy or total.
	StageTook(stage string, job *tasks.Job, took time.Duration)
	// Repaired is called when the reconciler has mended something.
	Repaired(what string, job *tasks.Job)
	// PutBack is called when a task was given back because this release or
	// this worker cannot handle it.
	PutBack(reason string)
	// PutOff is called when a job finds no room at its provider and waits for
	// its turn.
	PutOff(provider string)
	// Delivered is called after every try of a webhook.
	Delivered(job *tasks.Job, status int, err error)
	// Alert is called when an operator must act: a key is refused, money is out.
	Alert(provider string, failure *tasks.Failure)
	// Failed is called with errors that end here: they are logged once, by it.
	Failed(doing string, jobID string, err error)
}

// Unobserved is an [Observer] that ignores everything.
type Unobserved struct{}

// JobAccepted implements [Observer].
func (Unobserved) JobAccepted(*tasks.Job) {}

// JobRested implements [Observer].
func (Unobserved) JobRested(*tasks.Job) {}

// ProviderCalled implements [Observer].
func (Unobserved) ProviderCalled(string, string, classify.Class, time.Duration) {}

// StageTook implements [Observer].
func (Unobserved) StageTook(string, *tasks.Job, time.Duration) {}

// Repaired implements [Observer].
func (Unobserved) Repaired(string, *tasks.Job) {}

// PutBack implements [Observer].
func (Unobserved) PutBack(string) {}

// PutOff implements [Observer].
func (Unobserved) PutOff(string) {}

// Delivered implements [Observer].
func (Unobserved) Delivered(*tasks.Job, int, error) {}

// Alert implements [Observer].
func (Unobserved) Alert(string, *tasks.Failure) {}

// Failed implements [Observer].
func (Unobserved) Failed(string, string, error) {}
