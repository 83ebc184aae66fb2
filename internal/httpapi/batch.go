package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

type batchInput struct {
	httpRequest
	IdempotencyKey string `header:"Idempotency-Key" doc:"Gives every item without a key of its own the key <this>/<index>"`
}

type batchOutput struct {
	Body BatchResponse
}

// BatchRequest is many requests at once.
type BatchRequest struct {
	Jobs []BatchItem `json:"jobs" minItems:"1" maxItems:"1000"`
}

// BatchItem is one request of a batch.
type BatchItem struct {
	tasks.Draft
	IdempotencyKey string `json:"idempotency_key,omitempty" maxLength:"255" doc:"As the header of POST /v1/jobs, for this item"`
}

// BatchResponse answers a batch, item by item and in its order.
type BatchResponse struct {
	Results []BatchResult `json:"results"`
}

// BatchResult is what POST /v1/jobs would have answered to one item.
type BatchResult struct {
	Status int         `json:"status" doc:"202 for a new job, 200 for one that an idempotency key led to, else the status of the problem"`
	Job    *tasks.View `json:"job,omitempty"`
	Error  *Problem    `json:"error,omitempty"`
}

// createJobs accepts what can be accepted. An item that cannot even be decoded
// keeps its place and its problem; the others go to the engine together.
func (s *server) createJobs(ctx context.Context, in *batchInput) (*batchOutput, error) {
	key, err := idempotencyKey(in.r.Header)
	if err != nil {
		return nil, err
	}
	raw, err := s.readJSON(in.httpRequest, s.Limits.BatchBytes)
	if err != nil {
		return nil, err
	}
	items, err := s.decodeBatch(raw)
	if err != nil {
		return nil, err
	}
	results := make([]BatchResult, len(items))
	entries := make([]orchestrator.Entry, 0, len(items))
	places := make([]int, 0, len(items))
	for i, item := range items {
		entry, err := decodeItem(item, i, key)
		if err != nil {
			results[i] = s.itemProblem(in.r, i, err)
			continue
		}
		entries, places = append(entries, entry), append(places, i)
	}
	if len(entries) > 0 {
		answers := s.Jobs.AcceptBatch(ctx, exchangeOf(ctx).tenant, entries)
		if err := outage(answers); err != nil {
			return nil, problem(err)
		}
		for k, accepted := range answers {
			results[places[k]] = s.itemResult(in.r, places[k], accepted)
		}
	}
	return &batchOutput{Body: BatchResponse{Results: results}}, nil
}

// outage is why none of the entries could be accepted, where that is nothing of
// theirs: the caller is to come back with all of them, as with a single one.
func outage(answers []orchestrator.Accepted) error {
	for _, accepted := range answers {
		if !errors.Is(accepted.Err, orchestrator.ErrUnavailable) {
			return nil
		}
	}
	return answers[0].Err
}

func (s *server) decodeBatch(raw json.RawMessage) (items []json.RawMessage, err error) {
	err = decode(raw, func(o *object) {
		items = o.array("jobs")
		if len(*o.faults) == 0 && (len(items) == 0 || len(items) > s.Limits.BatchJobs) {
			o.fault(o.below("jobs"), fmt.Sprintf("must have from 1 to %d items", s.Limits.BatchJobs))
		}
	})
	return items, err
}

func decodeItem(raw json.RawMessage, index int, batchKey string) (orchestrator.Entry, error) {
	var (
		faults []Fault
		entry  orchestrator.Entry
		o      = readObject(raw, itemPointer(index), &faults)
	)
	if len(faults) == 0 {
		entry.Draft = readDraft(o)
		o.text("idempotency_key", &entry.IdempotencyKey)
		if _, given := o.member("idempotency_key"); given && len(faults) == 0 {
			if fault := keyFault(entry.IdempotencyKey); fault != "" {
				o.fault(o.below("idempotency_key"), fault)
			}
		}
		o.done()
	}
	if len(faults) > 0 {
		return entry, invalid(faults...)
	}
	if entry.IdempotencyKey == "" && batchKey != "" {
		entry.IdempotencyKey = batchKey + "/" + strconv.Itoa(index)
	}
	return entry, nil
}

func itemPointer(index int) string { return "#/jobs/" + strconv.Itoa(index) }

func (s *server) itemResult(r *http.Request, index int, accepted orchestrator.Accepted) BatchResult {
	if accepted.Err != nil {
		return s.itemProblem(r, index, accepted.Err)
	}
	view := s.view(r, accepted.Job)
	if accepted.Replayed {
		return BatchResult{Status: http.StatusOK, Job: &view}
	}
	return BatchResult{Status: http.StatusAccepted, Job: &view}
}

// itemProblem answers one item. Pointers lead into the body of the batch.
func (s *server) itemProblem(r *http.Request, index int, err error) BatchResult {
	p := problemAt(err, itemPointer(index))
	return BatchResult{Status: p.Status, Error: s.addressed(r, p)}
}
