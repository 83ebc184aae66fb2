package orchestrator

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// choice is a provider and a model.
type choice struct{ provider, model string }

// candidates are, in order, who may serve the job, each with its model.
func (e *Engine) candidates(job *tasks.Job) []choice {
	r := job.Request
	var choices []choice
	for _, entry := range e.Registry.Candidates(r.FeatureType, r.ProviderID, r.FallbackProviderIDs) {
		model, ok := entry.Serves(r.FeatureType, r.Model, r.ProviderID == "" && len(r.FallbackProviderIDs) == 0)
		if ok && e.takes(entry, job, model) {
			choices = append(choices, choice{entry.Name, model})
		}
	}
	return choices
}

// takes reports whether the provider has nothing against the input, as far as it
// can tell before a call.
func (e *Engine) takes(entry providers.Entry, job *tasks.Job, model string) bool {
	checker, ok := entry.Provider.(providers.InputChecker)
	if e.checkHandover(entry, job.Request.Files) != nil {
		return false
	}
	if !ok || len(job.Request.Files) > 0 {
		return true // what was a file is a reference by now
	}
	var input map[string]any
	if json.Unmarshal(job.Request.InputData, &input) != nil {
		return true
	}
	return checker.CheckInput(job.Request.FeatureType, model, input) == nil
}

// alternative is the next provider that the job may be taken to: one that no
// attempt has used yet, a healthy one before others, or none but a healthy one.
func (e *Engine) alternative(job *tasks.Job, known condition, healthy bool) (choice, bool) {
	unused := slices.DeleteFunc(e.candidates(job), func(c choice) bool {
		return c.provider == job.ProviderID || slices.ContainsFunc(job.Attempts, func(a tasks.Attempt) bool { return a.ProviderID == c.provider })
	})
	now := e.Store.Now()
	for _, c := range unused {
		if known.well(c.provider, c.model, now) {
			return c, true
		}
	}
	if len(unused) == 0 || healthy {
		return choice{}, false
	}
	return unused[0], true
}

// comeAround is the next of the providers that were all tried, after the job's
// own, whose last failure may be over by now.
func (e *Engine) comeAround(job *tasks.Job) (choice, bool) {
	candidates := e.candidates(job)
	own := slices.IndexFunc(candidates, func(c choice) bool { return c.provider == job.ProviderID })
	for i := range candidates {
		c := candidates[(own+1+i)%len(candidates)]
		if c.provider == job.ProviderID {
			continue
		}
		for j := len(job.Attempts) - 1; j >= 0; j-- {
			if a := &job.Attempts[j]; a.ProviderID == c.provider {
				if a.Error == nil || a.Error.Class.Policy().Retry {
					return c, true
				}
				break
			}
		}
	}
	return choice{}, false
}

// hop takes the job to another provider, with a submit task of its own.
func hop(job *tasks.Job, next choice, due time.Time) {
	job.ProviderID, job.Model = next.provider, next.model
	job.Progress = tasks.Progress{Stage: tasks.StageInitializing, Message: "trying " + next.provider}
	advance(job, tasks.KindSubmit, due)
}
