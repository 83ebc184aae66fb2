package httpapi

import (
	"net/http"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// view shows a job to a caller. Callers who share our disk are told where the
// files lie.
func (s *server) view(r *http.Request, job *tasks.Job) tasks.View {
	view := tasks.NewView(job, s.Links)
	if s.LocalPath == nil || view.Result == nil || !isSameMachine(r) {
		return view
	}
	for i := range view.Result.Artifacts {
		view.Result.Artifacts[i].Path = s.LocalPath(job.Result.Artifacts[i].Key)
	}
	return view
}
