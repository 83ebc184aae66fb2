package store

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// encode writes a record as this build writes it.
func encode(job *tasks.Job) (string, error) {
	job.Schema = tasks.Schema
	raw, err := json.Marshal(job)
	if err != nil {
		return "", fmt.Errorf("encode job %s: %w", job.ID, err)
	}
	return string(raw), nil
}

func encodeRequest(job *tasks.Job) (string, error) {
	raw, err := json.Marshal(job.Request)
	if err != nil {
		return "", fmt.Errorf("encode request of job %s: %w", job.ID, err)
	}
	return string(raw), nil
}

// decode reads a record. One of a newer schema is refused before it is looked
// at: written back by this build it would lose what this build does not know.
func decode(id, schema, record, request string) (*tasks.Job, error) {
	if newer(schema) {
		return nil, fmt.Errorf("load job %s: %w", id, orchestrator.ErrNewerSchema)
	}
	var job tasks.Job
	if err := json.Unmarshal([]byte(record), &job); err != nil {
		return nil, fmt.Errorf("decode job %s: %w", id, err)
	}
	if err := json.Unmarshal([]byte(request), &job.Request); err != nil {
		return nil, fmt.Errorf("decode request of job %s: %w", id, err)
	}
	return &job, nil
}

// newer reports whether a record was written by a release after this one. A
// schema that is no number is nothing that this release wrote.
func newer(schema string) bool {
	n, err := strconv.Atoi(schema)
	return err != nil || n > tasks.Schema
}

// lane names the step at which a job's main lane stands.
func lane(kind tasks.Kind, step int64, gen int) string {
	if kind == "" {
		return ""
	}
	return fmt.Sprintf("%d:%d", step, gen)
}

// score is a time as the score of an index; empty takes the job out of it.
func score(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}
