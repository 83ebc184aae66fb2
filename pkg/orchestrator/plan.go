package orchestrator

import (
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// plan derives the main lane's next step from the record alone: what the job
// owes most urgently, and when that is due. An empty kind means nothing.
func (e *Engine) plan(job *tasks.Job, now time.Time) (tasks.Kind, time.Time) {
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Live() && s.Succeeded && s.Copies < e.Limits.Copies {
			return tasks.KindFinalize, now
		}
	}
	if job.State == tasks.Queued {
		return tasks.KindSubmit, later(job.Due, now)
	}
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Live() && !s.Succeeded {
			return tasks.KindPoll, now.Add(e.firstPoll(job, s, now))
		}
	}
	for i := range job.Submissions {
		if s := &job.Submissions[i]; s.Open() && e.canLookUp(s) {
			return tasks.KindLookup, e.lookupDue(s, now)
		}
	}
	return "", time.Time{}
}

// advance raises the step to a new follow-up. The task of the old step becomes
// a no-op.
func advance(job *tasks.Job, kind tasks.Kind, due time.Time) {
	job.Step++
	job.Gen = 0
	job.Kind = kind
	job.Due = due
	job.Waits, job.InLine = 0, false
}

// replan raises the step to whatever the record now calls for.
func (e *Engine) replan(job *tasks.Job, now time.Time) {
	kind, due := e.plan(job, now)
	advance(job, kind, due)
}

// canLookUp reports whether anybody can be asked what became of a submission:
// its provider, or our own staging area.
func (e *Engine) canLookUp(s *tasks.Submission) bool {
	entry, ok := e.Registry.Get(s.ProviderID)
	if !ok {
		return false
	}
	_, finds := entry.Provider.(providers.Finder)
	return finds || entry.ResubmitOnUnknown || entry.Provider.Capabilities().Synchronous
}

// lookupDue is when a look-up of the submission is worth its while: soon after
// the answer was lost, but not while the call may still be under way.
func (e *Engine) lookupDue(s *tasks.Submission, now time.Time) time.Time {
	if s.State == tasks.SubmissionIntent {
		return later(s.Deadline.Add(e.Timings.Slack), now)
	}
	return later(s.LookupAt, now)
}

// firstPoll is how long after its acceptance a submission is polled first.
func (e *Engine) firstPoll(job *tasks.Job, s *tasks.Submission, now time.Time) time.Duration {
	policy := e.patience(job, s, now)
	if s.Polls == 0 {
		return policy.First
	}
	return policy.Interval
}

func (e *Engine) pollPolicy(s *tasks.Submission) providers.PollPolicy {
	policy := providers.PollPolicy{}
	if entry, ok := e.Registry.Get(s.ProviderID); ok {
		policy = entry.Provider.Capabilities().Poll
	}
	if policy.First <= 0 {
		policy.First = 2 * time.Second
	}
	if policy.Interval <= 0 {
		policy.Interval = 2 * time.Second
	}
	if policy.Ceiling < policy.Interval {
		policy.Ceiling = max(policy.Interval, 30*time.Second)
	}
	return policy
}

// pollDelay is how long to wait for the next poll: what the provider asked
// for, else a quarter of the generation's age within the policy's bounds,
// stretched by failed polls, spread by a fifth so that a burst of submits does
// not become a burst of polls.
func (e *Engine) pollDelay(job *tasks.Job, s *tasks.Submission, asked time.Duration, now time.Time) time.Duration {
	policy := e.patience(job, s, now)
	if asked > 0 {
		return max(asked, policy.Interval)
	}
	delay := min(max(now.Sub(s.AcceptedAt)/4, policy.Interval), policy.Ceiling)
	if s.Blips > 0 {
		delay = max(delay, e.backoff(policy.Interval, s.Blips))
	}
	return spread(delay, job.ID, s.Polls)
}

// backoff doubles with every failure, up to the ceiling.
func (e *Engine) backoff(first time.Duration, failures int) time.Duration {
	delay := first
	for range min(failures-1, 20) {
		delay *= 2
		if delay >= e.Timings.MaxBackoff {
			return e.Timings.MaxBackoff
		}
	}
	return delay
}

// spread moves a delay by up to a tenth either way. It is a function of the job
// and a counter, so that a redelivery computes the same.
func spread(delay time.Duration, id string, n int) time.Duration {
	hash := uint32(2166136261)
	for i := range len(id) {
		hash = (hash ^ uint32(id[i])) * 16777619
	}
	hash = (hash ^ uint32(n)) * 16777619
	hash ^= hash >> 15
	return delay + time.Duration(int64(delay)/1000*(int64(hash%200)-100))
}
