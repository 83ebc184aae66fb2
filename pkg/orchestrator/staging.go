package orchestrator

import (
	"context"
	"fmt"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// stagingPrefix is where the bytes of a synchronous answer lie until they are
// copied.
func stagingPrefix(jobID string, submission int) string {
	return fmt.Sprintf("%s/%d/staged", jobID, submission)
}

// keepOutputs makes sure that a finished generation's outputs can be copied
// later: bytes that came with the answer are staged, since they cannot be
// fetched again; URLs are noted.
func (e *Engine) keepOutputs(ctx context.Context, job *tasks.Job, number int, st providers.Status) ([]tasks.Output, error) {
	if len(st.Outputs) > e.Limits.Outputs {
		st.Outputs = st.Outputs[:e.Limits.Outputs]
	}
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
