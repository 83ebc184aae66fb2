package orchestrator

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// TestNegativeAnswerAppliesToItsOwnSubmission lets a worker that was thought
// dead bring a refusal after its submission was found to be accepted: the
// refusal is of something else, and nothing is bought again.
func TestNegativeAnswerAppliesToItsOwnSubmission(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending, finished)
	job := w.accept(Entry{Draft: draft()})
	w.step() // submit: accepted
	failure := &tasks.Failure{Class: classify.Server, Message: "late refusal", At: w.now}
	after, err := w.engine.change(context.Background(), w.get(job.ID), w.engine.rejected(1, failure, 0))
	require.NoError(t, err)
	require.Equal(t, tasks.Processing, after.State)
	require.Equal(t, tasks.SubmissionAccepted, after.Submissions[0].State)
	after, err = w.engine.change(context.Background(), after, w.engine.absent(1))
	require.NoError(t, err)
	require.Equal(t, tasks.Processing, after.State)
	require.Equal(t, tasks.Completed, w.run(job.ID).State)
	require.Equal(t, 1, total(w.paid))
}

// TestRefusalOfOneSubmissionLeavesAnotherAlone refuses an old submission while a
// newer one is inside its paid call.
func TestRefusalOfOneSubmissionLeavesAnotherAlone(t *testing.T) {
	t.Parallel()
	answer := pending
	answer.before = func(w *world) {
		for id := range w.store.records {
			job := w.get(id)
			old := *job.Current()
			old.Number, old.State = 77, tasks.SubmissionUnknown
			job.Submissions = append([]tasks.Submission{old}, job.Submissions...)
			w.store.write(job)
			after, err := w.engine.change(context.Background(), job, w.engine.rejected(77, &tasks.Failure{Class: classify.Server}, 0))
			require.NoError(w.t, err)
			require.Equal(w.t, tasks.Submitting, after.State, "a second call would be made beside the first")
		}
	}
	w := newWorld(t, answer, finished)
	require.Equal(t, tasks.Completed, w.run(w.accept(Entry{Draft: draft()}).ID).State)
	require.Equal(t, 1, total(w.paid))
}

// TestFinalJobsThatOweStandInTheIndex loses the task that polls a canceled job's
// submission: the index brings it back, and what was paid for is attached.
func TestFinalJobsThatOweStandInTheIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	job := w.accept(Entry{Draft: draft()})
	w.step()
	_, err := w.cancel(job.ID)
	require.NoError(t, err)
	clear(w.queue.tasks)
	require.Contains(t, w.store.open, job.ID)
	done := w.run(job.ID)
	require.Equal(t, tasks.Canceled, done.State)
	require.True(t, done.Result.Late)
	require.NotContains(t, w.store.open, job.ID, "it owes nothing any more")
}

// TestStagedBytesAreFound kills the worker after the bytes of a synchronous
// answer were staged and before the outcome is written. Nobody can be asked:
// what is staged is all there is, and it is found.
func TestStagedBytesAreFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	w.provider.finds = false
	w.provider.synchronous = true
	w.open()
	job := w.accept(Entry{Draft: draft()})
	w.cutAt, w.cutLate = w.calls+4, true // claim, intent, the paid call, staging
	done := w.run(job.ID)
	require.Len(t, done.Submissions, 1)
	require.Equal(t, tasks.Completed, done.State, "%+v", done.Error)
	require.Equal(t, 1, total(w.paid))
}

// TestLostTouchIsNoProofThatNothingWasSent has a worker fall silent inside its
// paid call, be looked up, and answer after all.
func TestLostTouchIsNoProofThatNothingWasSent(t *testing.T) {
	t.Parallel()
	answer := pending
	answer.before = func(w *world) {
		// While the call is under way nobody pushes the touch; what the
		// provider has not accepted yet cannot be found.
		for id := range w.store.records {
			for w.now.Sub(w.get(id).CreatedAt) < time.Minute {
				w.now = w.now.Add(time.Second)
				w.engine.pass(context.Background())
				if next := w.queue.next(); next != nil && !next.runsAt().After(w.now) {
					w.handle(next)
				}
			}
			require.Equal(w.t, tasks.Submitting, w.get(id).State)
		}
	}
	w := newWorld(t, answer, pending, finished)
	done := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, done.State)
	require.Len(t, done.Submissions, 1)
	require.Equal(t, 1, total(w.paid))
	require.Zero(t, done.Spent)
}

// TestCrashLoopEndsTheJob has the handlers of a step die again and again.
func TestCrashLoopEndsTheJob(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending)
	job := w.accept(Entry{Draft: draft()})
	w.step()
	crashes := 0
	for !w.get(job.ID).State.AtRest() {
		if next := w.queue.next(); next != nil && next.state.Waiting() {
			w.now = later(w.now, next.runsAt())
			w.cutAt, w.cutLate = w.calls+1, true // dies as it claims the job
			w.handle(next)
			crashes++
		}
		w.now = w.now.Add(4 * time.Second)
		w.engine.pass(context.Background())
	}
	require.Equal(t, "crash_loop", w.get(job.ID).Error.Code)
	require.Equal(t, w.engine.Limits.Crashes, crashes)
	require.Zero(t, w.get(job.ID).Spent, "a crash consumes no attempt")
}

// TestResubmitIsTheOperatorsChoice submits again what nobody can tell about,
// only once the call cannot be under way, and a bounded number of times.
func TestResubmitIsTheOperatorsChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, unheard, atOnce)
	w.provider.finds = false
	w.resubmit = true
	w.open()
	accepted := w.accept(Entry{Draft: draft()})
	job := w.run(accepted.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, 1, job.Resubmits)
	require.GreaterOrEqual(t, job.Submissions[1].SentAt.Sub(accepted.CreatedAt), w.engine.Timings.SubmitTimeout+w.engine.Timings.Slack)

	w = newWorld(t, unheard, unheard, unheard, unheard, unheard)
	w.provider.finds = false
	w.resubmit = true
	w.open()
	job = w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Unresolved, job.State)
	require.Equal(t, w.engine.Limits.Resubmits, job.Resubmits)
}

// TestPassedStepDoesNothing delivers a poll again whose step the job has passed:
// the provider is not asked, and the chain of polls does not fork.
func TestPassedStepDoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, pending, pending)
	job := w.accept(Entry{Draft: draft()})
	w.step() // submit
	stale := w.get(job.ID).MainTask(0)
	w.step() // the poll
	before := w.get(job.ID)
	asked := len(w.provider.script)
	require.Equal(t, Done, w.engine.Handle(context.Background(), stale))
	require.Len(t, w.provider.script, asked)
	require.Equal(t, before.Version, w.get(job.ID).Version)
	require.Len(t, w.queue.tasks, 1)
}

// TestTaskDeliveredTwiceAtOnce runs the same submit in two workers, as asynq does
// when it takes a living worker for a dead one. The second one comes wherever it
// may between the calls of the first: one of them buys, the other does nothing.
func TestTaskDeliveredTwiceAtOnce(t *testing.T) {
	t.Parallel()
	for at := 1; at <= 8; at++ {
		for name, answers := range map[string][]reply{"taken": {pending, finished}, "refused": {refusal}, "lost": {cutOff, finished}} {
			w := newWorld(t, answers...)
			job := w.accept(Entry{Draft: draft()})
			task, calls := job.MainTask(0), w.calls
			w.meddle = func() {
				if w.calls-calls == at {
					w.meddle = nil
					w.engine.Handle(context.Background(), task)
				}
			}
			w.step()
			w.meddle = nil
			w.run(job.ID)
			require.Equal(t, 1, w.provider.submits, "%s, the second one comes at call %d", name, at)
		}
	}
}

// TestLateResultIsTheResult retries a job whose result has come late: there is
// nothing to buy. Only who asks for another one gets another one.
func TestLateResultIsTheResult(t *testing.T) {
	t.Parallel()
	late := func() (*world, string) {
		w := newWorld(t, append(slices.Repeat([]reply{pending}, 8), finished)...)
		d := draft()
		limit := int64(5000)
		d.TimeoutMS = &limit
		job := w.run(w.accept(Entry{Draft: d}).ID)
		require.Equal(t, tasks.Failed, job.State)
		require.True(t, job.Result.Late)
		return w, job.ID
	}
	for _, mode := range []RetryMode{RetryDefault, RetryResume} {
		w, id := late()
		_, err := w.retry(id, mode)
		require.NoError(t, err)
		job := w.run(id)
		require.Equal(t, tasks.Completed, job.State)
		require.Nil(t, job.Error)
		require.NotEmpty(t, job.Result.Artifacts)
		require.Equal(t, 1, total(w.paid))
	}
	w, id := late()
	_, err := w.retry(id, RetryRegenerate)
	require.NoError(t, err)
	require.NotNil(t, w.get(id).Result, "it is kept until there is a new one")
	job := w.run(id)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, 2, job.Result.Submission)
	require.Equal(t, 2, total(w.paid))
}

// TestNobodyLooksInVain cancels a job whose submission is unknown, at a provider
// that cannot be asked and where the operator chose to submit again: it is not
// submitted any more, and looked at only now and then.
func TestNobodyLooksInVain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, unheard)
	w.provider.finds, w.resubmit = false, true
	w.open()
	job := w.accept(Entry{Draft: draft()})
	w.step() // submit: the answer is lost
	_, err := w.cancel(job.ID)
	require.NoError(t, err)
	for n := 0; w.now.Before(job.CreatedAt.Add(2 * time.Hour)); n++ {
		require.Less(t, n, 500, "steps in two hours")
		w.step()
	}
	require.LessOrEqual(t, len(w.steps), 80, "looks in two hours")
	require.Zero(t, total(w.paid))
	for n := 0; w.get(job.ID).Owes(); n++ {
		require.Less(t, n, 1000)
		w.step()
	}
	require.WithinDuration(t, job.CreatedAt.Add(w.engine.Timings.Settle), w.now, time.Hour, "until nobody would keep it any longer")
}

// TestAnswerIsStoredOnceTheStoreIsBack has the store go away during the paid
// call, at a provider that cannot be asked: the worker that has the answer holds
// on to it.
func TestAnswerIsStoredOnceTheStoreIsBack(t *testing.T) {
	t.Parallel()
	answer := pending
	answer.before = func(w *world) { w.store.refuses = 3 }
	w := newWorld(t, answer, finished)
	w.provider.finds = false
	w.open()
	job := w.accept(Entry{Draft: draft()})
	w.step()
	require.Equal(t, tasks.Processing, w.get(job.ID).State, "the step ends when its answer is stored")
	require.Equal(t, tasks.Completed, w.run(job.ID).State)
	require.Equal(t, 1, total(w.paid))
}

// TestEveryLiveSubmissionIsPolled lets a submission turn out to be alive after
// another one was made: both are asked about, and the first result wins.
func TestEveryLiveSubmissionIsPolled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, cutOff, pending)
	w.provider.finds, w.resubmit = false, true
	w.open(func(cfg *Config) {
		registry, err := providers.NewRegistry([]providers.Entry{
			{Name: "lumen", Adapter: "lumen", Provider: hinted{w.provider}, ResubmitOnUnknown: true},
		}, "")
		require.NoError(t, err)
		cfg.Registry = registry
	})
	job := w.accept(Entry{Draft: draft()})
	for w.get(job.ID).LastSubmission < 2 || w.get(job.ID).State != tasks.Processing {
		w.step()
	}
	w.provider.script = []reply{pending, pending, pending, finished, pending} // the webhook is checked; two rounds of polls
	require.NoError(t, w.engine.Hint(context.Background(), "lumen", job.ID, job.ID+"-1", nil, []byte("r-first")))
	for w.get(job.ID).Submissions[0].Polls == 0 {
		w.step()
	}
	for _, s := range w.get(job.ID).Submissions {
		require.True(t, s.Live())
		require.Equal(t, 1, s.Polls, "submission %d", s.Number)
	}
	done := w.run(job.ID)
	require.Equal(t, tasks.Completed, done.State)
	require.Equal(t, 1, done.Result.Submission)
}

// TestOverdueIsNotLost leaves a task waiting in a queue that nobody serves, for
// long: the job is overdue all the time, and nothing is done about it.
func TestOverdueIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	job := w.accept(Entry{Draft: draft()})
	for w.now.Before(job.CreatedAt.Add(30 * time.Minute)) {
		w.now = later(w.now.Add(time.Second), w.store.nextTouch())
		w.engine.pass(context.Background())
	}
	require.Len(t, w.queue.tasks, 1)
	require.Equal(t, job.Version, w.get(job.ID).Version)
	require.Equal(t, tasks.Completed, w.run(job.ID).State)
}
