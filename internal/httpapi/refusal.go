package httpapi

import (
	"fmt"
	"slices"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// What this file exports is for callers that reach the engine without HTTP and
// are to be told the same: package client, through Redis.

// MaxBatch is how many jobs a batch may have.
const MaxBatch = 1000

// Refusal is the problem that the API would answer to an error of the engine.
func Refusal(err error) *Problem { return problem(err) }

// ItemRefusal is the problem that the API would answer to one item of a batch.
func ItemRefusal(err error, index int) *Problem { return problemAt(err, itemPointer(index)) }

// CheckKey refuses an idempotency key that the API would refuse.
func CheckKey(key string) error {
	if fault := keyFault(key); fault != "" {
		return badKeyHeader(fault)
	}
	return nil
}

// CheckBatch refuses a number of jobs that the API would refuse.
func CheckBatch(jobs int) error {
	if jobs == 0 || jobs > MaxBatch {
		return invalid(Fault{Pointer: "#/jobs", Detail: fmt.Sprintf("must have from 1 to %d items", MaxBatch)})
	}
	return nil
}

// CheckSize refuses a request body that is larger than the API takes.
func CheckSize(bytes, limit int64) error {
	if bytes > limit {
		return newProblem(codeTooLarge, fmt.Sprintf("The body may have at most %d bytes.", limit))
	}
	return nil
}

// CheckQuery refuses a list that the API would refuse.
func CheckQuery(query orchestrator.Query) error {
	var faults []Fault
	for i, status := range query.Statuses {
		if !slices.Contains(tasks.Statuses, status) {
			faults = append(faults, Fault{Parameter: fmt.Sprintf("status[%d]", i), Detail: "must be a status"})
		}
	}
	if query.Limit < 1 || query.Limit > 100 {
		faults = append(faults, Fault{Parameter: "limit", Detail: "must be from 1 to 100"})
	}
	if len(faults) > 0 {
		return invalid(faults...)
	}
	return nil
}

// CheckMode refuses a retry that the API would refuse.
func CheckMode(mode orchestrator.RetryMode) error {
	switch mode {
	case orchestrator.RetryDefault, orchestrator.RetryResume, orchestrator.RetryRegenerate:
		return nil
	}
	return invalid(Fault{Pointer: "#/mode", Detail: "must be resume or regenerate"})
}

// Providers is the list of providers as the API shows it.
func Providers(infos []orchestrator.ProviderInfo) ProviderList {
	list := ProviderList{Providers: make([]Provider, 0, len(infos))}
	for _, info := range infos {
		list.Providers = append(list.Providers, viewProvider(info))
	}
	return list
}

// Features turns the providers' features around: per feature who offers it.
func Features(infos []orchestrator.ProviderInfo) FeatureList {
	list := FeatureList{Features: []FeatureInfo{}}
	for _, info := range infos {
		for _, offered := range info.Capabilities.Features {
			feature := featureNamed(&list, offered.Feature)
			feature.Providers = append(feature.Providers, FeatureProvider{
				ProviderID: info.Name, Models: modelsOf(info, offered), InputSchema: schemaOrAny(offered.Input),
			})
		}
	}
	return list
}
