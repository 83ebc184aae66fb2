package faults

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/queue"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// calm is how long after the last fault everything is to have come to rest.
const calm = 3 * time.Minute

// account holds the run to the promises once the faults are over: first as the
// jobs have come to rest by themselves, then after an operator has told of each
// unresolved one what the provider's bill says.
func (c *chaos) account() {
	began := time.Now()
	records := c.records()
	jobs := c.awaitSettled(records)
	quiet := time.Since(began).Round(100 * time.Millisecond)
	rest := fmt.Sprintf("everything was at rest %v after the last fault, at last one job that is %s", quiet, c.last)
	unresolved := c.resolveAll(jobs)
	// What was resolved as not created is submitted, and may lose that answer.
	for left := unresolved; len(left) > 0; {
		jobs = c.awaitSettled(records)
		left = c.resolveAll(jobs)
	}
	bills := c.bills()
	c.requireEnds(jobs)
	c.requireBoughtAtMostOnce(bills)
	missing := c.requireNothingPaidForIsMissing(jobs, bills)
	c.requireToldOf(jobs)
	c.requireNothingOwed(records, jobs)
	c.requireNoJobTwice()
	c.figures(jobs, bills, len(unresolved), missing, rest)
}

// settledJob reports whether nothing will change any more, or not soon: the job
// is at rest, and whatever can be asked has been.
func settledJob(job *tasks.Job) bool {
	for i := range job.Outbox {
		if job.Outbox[i].State == tasks.DeliveryPending && !longWait(job.Outbox[i]) {
			return false
		}
	}
	for i := range job.Submissions {
		if job.Submissions[i].Revoke == tasks.RevokeWanted {
			return false
		}
	}
	return job.State.AtRest() && job.Kind == "" && !job.HasLive()
}

// longWait is a delivery that has failed twice, the second time because its
// worker was paused: the next try is minutes away.
func longWait(d tasks.Delivery) bool {
	return d.State == tasks.DeliveryPending && d.Tries >= 2 && time.Until(d.NextAt) > 30*time.Second
}

func (c *chaos) awaitSettled(records *store.Store) map[string]*tasks.Job {
	jobs := map[string]*tasks.Job{}
	deadline := time.Now().Add(calm)
	for len(jobs) < len(c.asked) {
		for _, r := range c.asked {
			if jobs[r.id] != nil {
				continue
			}
			job, err := records.Load(c.t.Context(), r.id)
			require.NoError(c.t, err)
			if settledJob(job) {
				jobs[r.id] = job
				if len(jobs) == len(c.asked) {
					c.last = fmt.Sprintf("%s at %s, %d submissions", r.kind, r.place, len(job.Submissions))
				}
			}
		}
		if time.Now().After(deadline) {
			for _, r := range c.asked {
				if jobs[r.id] == nil {
					job, _ := records.Load(c.t.Context(), r.id)
					c.t.Logf("%s (%s at %s) is not settled: %+v", r.id, r.kind, r.place, job)
				}
			}
			require.Failf(c.t, "jobs do not come to rest", "%d of %d do", len(jobs), len(c.asked))
		}
		time.Sleep(200 * time.Millisecond) // the pace of the look
	}
	return jobs
}

// resolveAll does as an operator who reads the provider's bill.
func (c *chaos) resolveAll(jobs map[string]*tasks.Job) (ids []string) {
	bills := c.bills()
	for _, r := range c.asked {
		job := jobs[r.id]
		if job.State != tasks.Unresolved {
			continue
		}
		require.NotEqual(c.t, "asked", r.place, "%s can be looked up and is unresolved: %+v", r.id, job)
		ids = append(ids, r.id)
		r.resolved = true
		resolution := client.NotCreated()
		for _, s := range job.Submissions {
			for _, g := range bills[r.place] {
				if s.Open() && g.ClientID == s.ClientID {
					resolution = client.Created(g.ID)
				}
			}
		}
		require.NoError(c.t, c.insist(func(ctx context.Context) error {
			_, err := c.api.Resolve(ctx, r.id, resolution)
			return err
		}))
	}
	return ids
}

func (c *chaos) bills() map[string][]sketch.Generation {
	bills := map[string][]sketch.Generation{}
	for name, service := range c.providers {
		bill, err := service.Bill()
		require.NoError(c.t, err)
		bills[name] = bill
	}
	return bills
}

// requireEnds compares where each job came to rest with what its kind comes to.
func (c *chaos) requireEnds(jobs map[string]*tasks.Job) {
	for _, r := range c.asked {
		job := jobs[r.id]
		status := job.State.Status()
		switch {
		case r.canceled:
			require.Equal(c.t, tasks.StatusCanceled, status, "%s was canceled: %+v", r.id, job)
		case r.ends == status:
		case r.ends == tasks.StatusCanceled && r.kind == "canceled" && status == tasks.StatusCompleted: // the job was faster
		case r.kind == "too late" && status == tasks.StatusCompleted: // Redis was away at its deadline, or it was given its time again
		case r.kind == "retried" && r.resolved && status == tasks.StatusFailed: // its retry had only looked it up
		case crashLoop(job):
		default:
			require.Failf(c.t, "a job ended otherwise than it should", "%s, %s at %s, is %s: %+v", r.id, r.kind, r.place, status, job)
		}
		if status == tasks.StatusCompleted {
			require.NotNil(c.t, job.Result, r.id)
			require.NotEmpty(c.t, job.Result.Artifacts, r.id)
		}
	}
}

func crashLoop(job *tasks.Job) bool {
	return job.State == tasks.Failed && job.Error != nil && job.Error.Code == "crash_loop"
}

// requireBoughtAtMostOnce looks for attempts that were accepted twice. Only where
// the operator chose to submit again there may be some, and not many.
func (c *chaos) requireBoughtAtMostOnce(bills map[string][]sketch.Generation) {
	for place, bill := range bills {
		most := 1
		if place == "again" {
			most += orchestrator.DefaultLimits().Resubmits
		}
		bought := map[string]int{}
		for _, g := range bill {
			bought[g.ClientID]++
			require.LessOrEqual(c.t, bought[g.ClientID], most, "%s was bought again at %s", g.ClientID, place)
		}
	}
}

// requireNothingPaidForIsMissing looks for each generation that a provider has
// finished where it went. It returns how many nobody can know of: their jobs
// were canceled while nobody could tell whether they had been accepted.
func (c *chaos) requireNothingPaidForIsMissing(jobs map[string]*tasks.Job, bills map[string][]sketch.Generation) (unknowable int) {
	for place, bill := range bills {
		for _, g := range bill {
			job := jobs[g.Reference]
			require.NotNil(c.t, job, "%s was bought for a job that nobody asked for", g.ID)
			known := slices.ContainsFunc(job.Submissions, func(s tasks.Submission) bool { return s.RemoteID == g.ID })
			waived := slices.ContainsFunc(job.Submissions, func(s tasks.Submission) bool { return s.Waived })
			if !known && place != "asked" && job.State.Final() && (job.HasOpen() || waived) {
				unknowable++
				continue
			}
			require.True(c.t, known, "%s at %s is on the bill and not in the record: %+v", g.ID, place, job)
			if g.Status == "succeeded" {
				require.NotNil(c.t, job.Result, "%s at %s was paid for and is finished, and its job has no result: %+v", g.ID, place, job)
			}
		}
	}
	return unknowable
}

// requireToldOf looks for the rest of each job among the webhooks that came.
func (c *chaos) requireToldOf(jobs map[string]*tasks.Job) {
	c.receiver.requireNoFaults()
	c.receiver.mu.Lock()
	defer c.receiver.mu.Unlock()
	told := map[string]bool{}
	for _, p := range c.receiver.posts {
		told[p.job+" "+p.kind] = true
	}
	for _, r := range c.asked {
		if r.draft.WebhookURL == "" {
			continue
		}
		kind := "job." + string(jobs[r.id].State.Status())
		require.True(c.t, told[r.id+" "+kind], "nobody was told %s of %s", kind, r.id)
		if result := jobs[r.id].Result; result != nil && result.Late {
			require.True(c.t, told[r.id+" job.late_result"], "nobody was told of the late result of %s", r.id)
		}
	}
}

// requireNothingOwed compares the open index and asynq's queues with the jobs.
func (c *chaos) requireNothingOwed(records *store.Store, jobs map[string]*tasks.Job) {
	owing, deliveries := 0, int64(0)
	for _, job := range jobs {
		if job.Owes() {
			owing++ // a submission that nobody can tell of, or a delivery
		}
		for _, d := range job.Outbox {
			if longWait(d) {
				deliveries++
			}
		}
	}
	counts, err := records.Counts(c.t.Context())
	require.NoError(c.t, err)
	require.EqualValues(c.t, owing, counts.Open, "jobs in the open index")
	rdb, err := store.NewClient(c.redis.URL())
	require.NoError(c.t, err)
	defer rdb.Close()
	inspector := queue.NewInspector(rdb)
	// What a dead worker held is asynq's own to bring back, and comes to
	// nothing: its step has passed.
	require.Eventually(c.t, func() bool {
		stats, err := inspector.Stats(c.t.Context())
		if err != nil {
			return false
		}
		for _, s := range stats {
			owed := s.Size[orchestrator.TaskPending] + s.Size[orchestrator.TaskActive] + s.Size[orchestrator.TaskScheduled] + s.Size[orchestrator.TaskRetry]
			if owed > 0 && (s.Queue != tasks.QueueDeliver || owed > deliveries) {
				return false
			}
		}
		return true
	}, calm, time.Second, "the queues do not empty")
}

// requireNoJobTwice counts the jobs: a batch that was asked for twice is the same.
func (c *chaos) requireNoJobTwice() {
	seen := map[string]bool{}
	for job, err := range c.api.All(c.t.Context(), client.Query{Limit: 100}) {
		require.NoError(c.t, err)
		seen[job.ID] = true
	}
	require.Len(c.t, seen, len(c.asked))
	for _, r := range c.asked {
		require.True(c.t, seen[r.id], "%s was accepted and is not listed", r.id)
	}
}

// figures says what the run was.
func (c *chaos) figures(jobs map[string]*tasks.Job, bills map[string][]sketch.Generation, unresolved, unknowable int, rest string) {
	ends, loops, late, resubmits := map[string]int{}, 0, 0, 0
	for _, job := range jobs {
		ends[string(job.State.Status())]++
		if crashLoop(job) {
			loops++
		}
		if job.Result != nil && job.Result.Late {
			late++
		}
		resubmits += job.Resubmits
	}
	bought := 0
	var cuts, lost int64
	for _, bill := range bills {
		bought += len(bill)
	}
	for _, l := range c.toProviders {
		cuts, lost = cuts+l.cut.Load(), lost+l.lost.Load()
	}
	c.t.Log(strings.Join([]string{
		fmt.Sprintf("seed %d: %d jobs over %v", c.seed, len(jobs), c.length),
		fmt.Sprintf("broken: %d processes killed, %d workers paused, Redis killed %d times and hung %d times", c.kills, c.pauses, c.restarts, c.hangs),
		fmt.Sprintf("connections: to Redis %d cut, %d answers lost; to providers %d cut, %d answers lost",
			c.toRedis.cut.Load(), c.toRedis.lost.Load(), cuts, lost),
		fmt.Sprintf("at rest: %v; %d unresolved until an operator said what had become of them; %d in a crash loop", sorted(ends), unresolved, loops),
		fmt.Sprintf("bought: %d generations, %d late results, %d submitted again by choice, %d that nobody can know of", bought, late, resubmits, unknowable),
		rest,
	}, "\n"))
}

func sorted(counts map[string]int) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[key], key))
	}
	return strings.Join(parts, ", ")
}
