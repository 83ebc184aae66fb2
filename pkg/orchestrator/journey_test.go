package orchestrator

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	submit   = tasks.KindSubmit
	lookup   = tasks.KindLookup
	poll     = tasks.KindPoll
	finalize = tasks.KindFinalize
)

// TestJourneys follows jobs from their acceptance to their rest: what the
// provider says, how it ends, and the steps it takes.
func TestJourneys(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		script []reply
		finds  bool
		ends   tasks.State
		class  classify.Class
		steps  []tasks.Kind
		paid   int
	}{
		{"at once", []reply{atOnce}, true, tasks.Completed, "", []tasks.Kind{submit}, 1},
		{"polled", []reply{pending, pending, finished}, true, tasks.Completed, "", []tasks.Kind{submit, poll, poll, finalize}, 1},
		{"throttled", []reply{throttle, atOnce}, true, tasks.Completed, "", []tasks.Kind{submit, submit}, 1},
		{"busy, then well", []reply{busy, busy, atOnce}, true, tasks.Completed, "", []tasks.Kind{submit, submit, submit}, 1},
		{"budget spent", []reply{busy, busy, busy}, true, tasks.Failed, classify.Server, []tasks.Kind{submit, submit, submit}, 0},
		{"refused", []reply{refusal}, true, tasks.Failed, classify.ContentPolicy, []tasks.Kind{submit}, 0},
		{"no key", []reply{noKey}, true, tasks.Failed, classify.Authentication, []tasks.Kind{submit}, 0},
		{"a blip is not a failure", []reply{pending, busy, offline, finished}, true, tasks.Completed, "", []tasks.Kind{submit, poll, poll, poll, finalize}, 1},
		{"failed there, then well", []reply{pending, broken, atOnce}, true, tasks.Completed, "", []tasks.Kind{submit, poll, submit}, 2},
		{"failed in the answer", []reply{broken, atOnce}, true, tasks.Completed, "", []tasks.Kind{submit, submit}, 2},
		{"lost and found", []reply{cutOff, finished}, true, tasks.Completed, "", []tasks.Kind{submit, lookup, poll, finalize}, 1},
		{"lost, nobody can tell", []reply{cutOff}, false, tasks.Unresolved, classify.UnknownOutcome, []tasks.Kind{submit}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, test.script...)
			w.provider.finds = test.finds
			w.open()
			job := w.run(w.accept(Entry{Draft: draft()}).ID)
			require.Equal(t, test.ends, job.State, "%+v", job)
			require.Equal(t, test.steps, w.steps)
			if test.class != "" {
				require.Equal(t, test.class, job.Error.Class)
				require.Len(t, w.queue.archived(), 1, "the failed step must lie in the archive")
				require.Contains(t, w.queue.archived()[0], string(test.class))
			} else {
				require.Nil(t, job.Error)
				require.NotEmpty(t, job.Result.Artifacts)
			}
			require.Equal(t, test.paid, total(w.paid))
			accepted := 0
			for _, a := range job.Attempts {
				if a.Outcome == tasks.OutcomeAccepted {
					accepted++
				}
			}
			if test.ends != tasks.Unresolved {
				require.Equal(t, test.paid, accepted, "what the provider accepted is what the attempts record")
			}
		})
	}
}

func total(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n += c
	}
	return n
}

func TestRateLimitCostsNoAttempt(t *testing.T) {
	t.Parallel()
	script := slices.Repeat([]reply{throttle}, 10)
	w := newWorld(t, append(script, atOnce)...)
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Zero(t, job.Spent)
	require.Len(t, job.Attempts, 1)
}

func TestRetryAfterIsObeyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, throttle, pending)
	job := w.accept(Entry{Draft: draft()})
	started := w.now
	w.step()
	held := w.queue.tasks[job.ID+":1:0"]
	require.Equal(t, TaskRetry, held.state)
	require.ErrorContains(t, held.err, "slow down")
	require.Equal(t, 7*time.Second, held.due.Sub(started))
}

// TestAbsentIsSubmittedAnew loses an answer to a submission that was never
// created: only after its deadline, the slack and the provider's lag may it be
// made again, and no budget is spent.
func TestAbsentIsSubmittedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, unheard, atOnce)
	w.provider.lag = time.Minute
	accepted := w.accept(Entry{Draft: draft()})
	job := w.run(accepted.ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Zero(t, job.Spent)
	require.Len(t, job.Attempts, 1)
	require.Len(t, job.Submissions, 2)
	require.Equal(t, tasks.SubmissionAbsent, job.Submissions[0].State)
	require.Equal(t, job.Submissions[0].ClientID, job.Submissions[1].ClientID, "the provider can tell that it is the same attempt")
	timings := w.engine.Timings
	require.GreaterOrEqual(t, job.Submissions[1].SentAt.Sub(accepted.CreatedAt), timings.SubmitTimeout+timings.Slack+time.Minute)
	require.Equal(t, 1, total(w.paid))
}

// TestSpooledBytesAreCopied has storage fail when a synchronous answer comes:
// its bytes lie on the worker's disk, and a step of its own copies them.
func TestSpooledBytesAreCopied(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	w.artifacts.spools, w.artifacts.fails = true, 2
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, 1, total(w.paid))
	require.Equal(t, []tasks.Kind{submit, finalize, finalize, finalize}, w.steps)
	require.Empty(t, w.artifacts.staged, "the manifest is forgotten")
}

// TestTooLargeForOneBreath leaves bytes that are larger than allowed to the
// copy, which refuses them.
func TestTooLargeForOneBreath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	w.engine.Limits.ArtifactBytes = 1
	w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Contains(t, w.steps, finalize)
}

// TestFailedCopyNeverBuysAgain lets storage fail while the outputs are copied.
func TestFailedCopyNeverBuysAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pending, finished)
	w.artifacts.fails = 4
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Equal(t, 1, total(w.paid))
	require.Equal(t, []tasks.Kind{submit, poll, finalize, finalize, finalize, finalize, finalize}, w.steps)
}

// TestGoneOnlyAfterAGrace ends a submission that the provider does not know any
// more, but not at the first such answer.
func TestGoneOnlyAfterAGrace(t *testing.T) {
	t.Parallel()
	script := append([]reply{pending}, slices.Repeat([]reply{gone}, 100)...)
	w := newWorld(t, script...)
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Failed, job.State)
	require.Equal(t, classify.NotFound, job.Error.Class)
	require.GreaterOrEqual(t, job.FinishedAt.Sub(job.StartedAt), w.engine.Timings.GoneGrace)
	require.Equal(t, 1, total(w.paid))
}

func TestDeadlineKeepsTheSubmissionAndAttachesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, append(slices.Repeat([]reply{pending}, 30), finished)...)
	d := draft()
	timeout := (20 * time.Second).Milliseconds()
	d.TimeoutMS, d.WebhookURL = &timeout, "https://hook.test/"
	job := w.run(w.accept(Entry{Draft: d}).ID)
	require.Equal(t, tasks.Failed, job.State)
	require.Equal(t, "deadline_exceeded", job.Error.Code)
	require.NotNil(t, job.Result, "what was paid for is attached")
	require.True(t, job.Result.Late)
	require.Equal(t, []string{EventTypeFailed, EventTypeLateResult}, w.notifier.received)
}

func TestWebhookIsToldUntilItIsHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	w.notifier.answers = []int{500, 503, 200}
	d := draft()
	d.WebhookURL = "https://hook.test/"
	job := w.run(w.accept(Entry{Draft: d}).ID)
	require.Equal(t, slices.Repeat([]string{EventTypeCompleted}, 3), w.notifier.received)
	require.Equal(t, tasks.DeliveryDelivered, job.Outbox[0].State)
	require.Equal(t, 3, job.Outbox[0].Tries)
}

func TestGoneReceiverIsToldNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	w.notifier.answers = []int{410}
	d := draft()
	d.WebhookURL = "https://hook.test/"
	job := w.run(w.accept(Entry{Draft: d}).ID)
	require.Equal(t, tasks.DeliveryFailed, job.Outbox[0].State)
	require.Len(t, w.notifier.received, 1)
}

// TestRunAtIsNotBefore accepts a job for later: it is queued until then, its time
// counts from then, and an operator's "run" takes it at once.
func TestRunAtIsNotBefore(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC)
	d := draft()
	d.RunAt = &at
	w := newWorld(t, atOnce)
	job := w.accept(Entry{Draft: d})
	require.Equal(t, tasks.Queued, job.State)
	require.Equal(t, at.Add(job.Request.Timeout), job.Deadline)
	done := w.run(job.ID)
	require.Equal(t, tasks.Completed, done.State)
	require.False(t, done.StartedAt.Before(at))

	w = newWorld(t, atOnce)
	job = w.accept(Entry{Draft: d})
	_, err := w.engine.RunTask(t.Context(), job.ID+":1:0")
	require.NoError(t, err)
	require.True(t, w.run(job.ID).StartedAt.Before(at))
}

// TestRunTooEarlyStaysDue runs the task of a job for later again and again before
// its time, as a worker whose clock is ahead does: each time it is put back, and
// the job stays due when it was.
func TestRunTooEarlyStaysDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, atOnce)
	at := w.now.Add(time.Hour).Truncate(time.Millisecond)
	d := draft()
	d.RunAt = &at
	job := w.accept(Entry{Draft: d})
	for range 20 {
		w.engine.Handle(t.Context(), job.MainTask(0))
		after := w.get(job.ID)
		require.Greater(t, after.Step, job.Step)
		require.Equal(t, tasks.Queued, after.State)
		require.WithinDuration(t, at, after.Due, 0)
		job = after
	}
	require.False(t, w.run(job.ID).StartedAt.Before(at))
}

// TestLargeOutputStaysOutOfTheRecord drops what a provider says beside its files
// when it is more than a record should hold.
func TestLargeOutputStaysOutOfTheRecord(t *testing.T) {
	t.Parallel()
	large := finished
	large.status.Data = map[string]any{"log": strings.Repeat("x", DefaultLimits().OutputData)}
	w := newWorld(t, pending, large)
	job := w.run(w.accept(Entry{Draft: draft()}).ID)
	require.Equal(t, tasks.Completed, job.State)
	require.Empty(t, job.Result.Output)
	require.Equal(t, "output_dropped", job.Warnings[0].Code)
}
