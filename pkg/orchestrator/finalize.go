package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// finalize copies the outputs of a finished generation into our storage. It is
// retried apart from the generation: a failed copy never buys a second one.
func (e *Engine) finalize(ctx context.Context, job *tasks.Job) Outcome {
	now := e.Store.Now()
	if job.Due.After(now.Add(early)) {
		return e.waiting(job)
	}
	s := succeededOne(job, e.Limits.Copies)
	if s == nil {
		return e.record(ctx, job, func(next *tasks.Job, now time.Time) error {
			if next.Step != job.Step {
				return errUnchanged
			}
			e.replan(next, now)
			return nil
		})
	}
	if len(s.Outputs) == 0 && !hasText(s.Data) {
		return e.record(ctx, job, e.remoteFailed(s.Number, &tasks.Failure{
			Class: classify.GenerationFailed, Code: "no_output", ProviderID: s.ProviderID, At: now,
			Message: "the provider finished without an output", Retryable: true,
		}))
	}
	copyCtx, cancel := context.WithTimeout(ctx, e.Timings.CopyTimeout)
	defer cancel()
	started := time.Now()
	artifacts, err := e.copyOutputs(copyCtx, job, s)
	if err != nil {
		return e.record(ctx, job, e.notCopied(job.Step, s.Number, tasks.NewFailure(err, e.Store.Now())))
	}
	e.Observer.StageTook("copy", job, time.Since(started))
	return e.recordResult(ctx, job, s.Number, e.stored(s.Number, artifacts, fewerThanAsked(job, len(artifacts))))
}

// notCopied says what a failed copy means. What the provider made is no media
// at all: its generation has failed. What may not be fetched, or is too large,
// will not become otherwise by trying again. All else is tried again.
func (e *Engine) notCopied(step int64, number int, failure *tasks.Failure) move {
	switch failure.Class {
	case classify.GenerationFailed:
		return e.remoteFailed(number, failure)
	case classify.Validation:
		return e.copyFailed(step, number, failure, false, e.Limits.Copies)
	default:
		return e.copyFailed(step, number, failure, failure.Class == classify.NotFound, 1)
	}
}

func succeededOne(job *tasks.Job, copies int) *tasks.Submission {
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Live() && s.Succeeded && s.Copies < copies {
			return s
		}
	}
	return nil
}

// hasText reports whether an answer without files holds something all the same,
// such as a transcript.
func hasText(data json.RawMessage) bool {
	var fields map[string]any
	if json.Unmarshal(data, &fields) != nil {
		return false
	}
	_, ok := fields["text"].(string)
	return ok
}

func (e *Engine) copyOutputs(ctx context.Context, job *tasks.Job, s *tasks.Submission) ([]tasks.Artifact, error) {
	artifacts := make([]tasks.Artifact, 0, len(s.Outputs))
	for i, out := range s.Outputs {
		stored, err := e.copyOutput(ctx, job, s, out, fmt.Sprintf("%s/%d.*", stagingPrefix(job.ID, s.Number), i))
		if err != nil {
			return nil, fmt.Errorf("copy output %d: %w", i, err)
		}
		artifacts = append(artifacts, artifactOf(i, out, stored))
	}
	return artifacts, nil
}

// artifactOf is an output that has been stored.
func artifactOf(index int, out tasks.Output, stored tasks.Artifact) tasks.Artifact {
	stored.Index = index
	if out.Kind == "video" && stored.MediaType == "image/gif" {
		stored.Kind = out.Kind // a film in an image format
	}
	return stored
}

func (e *Engine) copyOutput(ctx context.Context, job *tasks.Job, s *tasks.Submission, out tasks.Output, key string) (tasks.Artifact, error) {
	if e.kept(out) {
		return *out.Stored, nil
	}
	body, err := e.openOutput(ctx, job, s, out)
	if err != nil {
		return tasks.Artifact{}, err
	}
	defer func() { _ = body.Close() }() // its bytes are hashed: a cut body shows
	return e.Artifacts.Put(ctx, key, out.MediaType, body, e.Limits.ArtifactBytes)
}

// openOutput opens an output where it lies: in our staging area, behind the
// provider's own download, or at a URL.
func (e *Engine) openOutput(ctx context.Context, job *tasks.Job, s *tasks.Submission, out tasks.Output) (io.ReadCloser, error) {
	if out.Key != "" {
		return e.Artifacts.Open(ctx, out.Key)
	}
	started := time.Now()
	if entry, ok := e.Registry.Get(s.ProviderID); ok {
		if d, ok := entry.Provider.(providers.Downloader); ok {
			body, err := d.Download(ctx, refOf(job, s), providers.Output{
				Kind: out.Kind, MediaType: out.MediaType, URL: out.URL, Name: out.Name,
			})
			e.called(job, s.ProviderID, "download", err, started)
			return body, err
		}
	}
	if e.Fetcher == nil {
		return nil, &classify.Error{Class: classify.Unknown, Message: "no fetcher is configured for output URLs"}
	}
	body, err := e.Fetcher.Fetch(ctx, out.URL)
	e.called(job, s.ProviderID, "download", err, started)
	return body, err
}

// fewerThanAsked warns when the provider produced less than was asked for.
func fewerThanAsked(job *tasks.Job, got int) []tasks.Warning {
	var input struct {
		N float64 `json:"n"`
	}
	if json.Unmarshal(job.Request.InputData, &input) != nil || got >= int(input.N) {
		return nil
	}
	return []tasks.Warning{{
		Code: "fewer_outputs", Pointer: "/input_data/n",
		Message: fmt.Sprintf("%d outputs were asked for and %d produced", int(input.N), got),
	}}
}
