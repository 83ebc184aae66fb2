package orchestrator

import (
	"context"
	"fmt"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// stagingPrefix is where the files of a submission lie. The manifest of a
// synchronous answer stands beside them until the record says the same.
func stagingPrefix(jobID string, submission int) string {
	return fmt.Sprintf("%s/%d", jobID, submission)
}

// keepOutputs makes sure that a finished generation's outputs can be copied
// later: bytes that came with the answer are staged, since they cannot be
// fetched again; URLs are noted.
func (e *Engine) keepOutputs(ctx context.Context, job *tasks.Job, number int, st providers.Status) ([]tasks.Output, error) {
	for _, out := range st.Outputs {
		if len(out.Data) > 0 {
			return e.Artifacts.Stage(ctx, stagingPrefix(job.ID, number), st)
		}
	}
	outputs := make([]tasks.Output, 0, len(st.Outputs))
	for _, out := range st.Outputs {
		outputs = append(outputs, tasks.Output{Kind: out.Kind, MediaType: out.MediaType, URL: out.URL, Name: out.Name})
	}
	return outputs, nil
}

// finished records that the provider was done at once. Where its outputs lie in
// our storage already there is nothing left to copy, and the result is recorded
// in the same breath; otherwise they are copied by a step of their own.
func (e *Engine) finished(number int, event tasks.Event, st providers.Status, outputs []tasks.Output) move {
	accept := e.accepted(number, event, st, outputs)
	artifacts, whole := e.artifactsOf(outputs)
	if !whole {
		return accept
	}
	return func(job *tasks.Job, now time.Time) error {
		if err := accept(job, now); err != nil {
			return err
		}
		return e.stored(number, artifacts, fewerThanAsked(job, len(artifacts)))(job, now)
	}
}

// artifactsOf are outputs that have become artifacts, all of them or none.
func (e *Engine) artifactsOf(outputs []tasks.Output) ([]tasks.Artifact, bool) {
	artifacts := make([]tasks.Artifact, 0, len(outputs))
	for i, out := range outputs {
		if !e.kept(out) {
			return nil, false
		}
		artifacts = append(artifacts, artifactOf(i, out, *out.Stored))
	}
	return artifacts, len(artifacts) > 0
}

// kept reports whether the output is an artifact already. One that is larger
// than allowed is left to the copy, which refuses it.
func (e *Engine) kept(out tasks.Output) bool {
	return out.Stored != nil && (e.Limits.ArtifactBytes <= 0 || out.Stored.Bytes <= e.Limits.ArtifactBytes)
}

// unstage forgets manifests that the record has made superfluous. What is left
// over goes with the job.
func (e *Engine) unstage(ctx context.Context, job *tasks.Job, number int) {
	s := job.Submission(number)
	if s == nil || !s.Stored || !staged(s) {
		return
	}
	if err := e.Artifacts.Unstage(ctx, stagingPrefix(job.ID, number)); err != nil {
		e.Observer.Failed("forget a manifest", job.ID, err)
	}
}

// staged reports whether the submission's outputs came with the answer.
func staged(s *tasks.Submission) bool {
	for _, out := range s.Outputs {
		if out.Key != "" {
			return true
		}
	}
	return false
}
