package orchestrator

import (
	"context"
	"math"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// reporter takes what a provider can say while it is still at a submission: how
// far it is. It answers whether the job is still wanted. Progress is worth
// telling, not worth failing for: while the store is away nothing is told, and
// the generation goes on.
func (e *Engine) reporter(id string, number int) func(context.Context, *float64, string) bool {
	return func(ctx context.Context, percent *float64, message string) bool {
		job, err := e.Store.Load(ctx, id)
		if err != nil {
			return true
		}
		after, err := e.change(ctx, job, func(next *tasks.Job, now time.Time) error {
			s := next.Submission(number)
			if s == nil || s.State != tasks.SubmissionIntent || next.State != tasks.Submitting || !tell(&next.Progress, percent, message) {
				return errUnchanged
			}
			next.Touch = now.Add(e.Timings.Lease)
			return nil
		})
		if err != nil {
			return true
		}
		return after.State != tasks.Canceled
	}
}

// tell moves the progress on, and reports whether that is news: whole percents
// are, and what goes back is not.
func tell(p *tasks.Progress, percent *float64, message string) bool {
	told := *p
	p.Stage, p.Message = tasks.StageProcessing, message
	if percent != nil && (p.Percent == nil || math.Floor(*percent) > *p.Percent) {
		whole := math.Floor(*percent)
		p.Percent = &whole
	}
	return told.Stage != p.Stage || told.Message != p.Message || told.Percent != p.Percent
}
