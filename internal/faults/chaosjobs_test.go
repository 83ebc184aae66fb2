package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// request is one job of the chaos run: what is asked for and how it may end.
type request struct {
	n      int
	id     string
	kind   string
	place  string
	draft  tasks.Draft
	ends   tasks.Status // where a job of its kind comes to rest
	errand func(c *chaos, r *request) error

	canceled bool // a cancel was answered with 200
	resolved bool // it was unresolved, and we have said what had become of it
}

// kinds are what the jobs of a chaos run do, with how often.
var kinds = []struct {
	name     string
	often    int
	simulate func(chance *rand.Rand) string
	ends     tasks.Status // what it comes to where nothing is broken
	change   func(chance *rand.Rand, d *tasks.Draft)
	errand   func(c *chaos, r *request) error
}{
	{name: "at once", often: 10, simulate: plain(``), ends: tasks.StatusCompleted},
	{name: "slow and at once", often: 6, simulate: plain(`{"sync":true,"duration_ms":700}`), ends: tasks.StatusCompleted},
	{name: "polled", often: 20, simulate: polled, ends: tasks.StatusCompleted},
	{name: "fails there, then well", often: 6, simulate: plain(`{"sync":false,"fail":"generation_failed","times":1,"duration_ms":300}`), ends: tasks.StatusCompleted},
	{name: "refused, then well", often: 10, simulate: refused, ends: tasks.StatusCompleted},
	{name: "refused for good", often: 8, simulate: refusedForGood, ends: tasks.StatusFailed},
	{name: "answer lost", often: 8, simulate: lost, ends: tasks.StatusCompleted},
	{name: "hangs", often: 6, simulate: plain(`{"sync":false,"hang_ms":2500,"duration_ms":300}`), ends: tasks.StatusCompleted},
	{name: "polls fail", often: 5, simulate: plain(`{"sync":false,"duration_ms":400,"poll_blips":2}`), ends: tasks.StatusCompleted},
	{name: "download fails", often: 5, simulate: plain(`{"sync":false,"duration_ms":200,"stage":"download","fail":"server","times":2}`), ends: tasks.StatusCompleted},
	{name: "too late", often: 4, simulate: plain(`{"sync":false,"duration_ms":9000}`), ends: tasks.StatusFailed, change: hurried},
	{name: "canceled", often: 8, simulate: plain(`{"sync":false,"duration_ms":2500}`), ends: tasks.StatusCanceled, errand: cancelSoon},
	{name: "canceled for ever", often: 3, simulate: plain(`{"sync":false,"never":true}`), ends: tasks.StatusCanceled, errand: cancelSurely},
	{name: "retried", often: 5, simulate: plain(`{"fail":"content_policy","times":1}`), ends: tasks.StatusCompleted, errand: retrySoon},
	{name: "later", often: 4, simulate: polled, ends: tasks.StatusCompleted, change: postponed},
}

func plain(simulate string) func(*rand.Rand) string {
	return func(*rand.Rand) string { return simulate }
}

func oneOf[T any](chance *rand.Rand, choices ...T) T { return choices[chance.IntN(len(choices))] }

func polled(chance *rand.Rand) string {
	return fmt.Sprintf(`{"sync":false,"duration_ms":%d,"webhook":%q,"late_by_ms":700}`,
		200+chance.IntN(4000), oneOf(chance, "", "early", "late", "twice", "forged", "none"))
}

func refused(chance *rand.Rand) string {
	return fmt.Sprintf(`{"fail":%q,"times":%d,"retry_after_ms":%d}`,
		oneOf(chance, "server", "rate_limit", "overloaded"), 1+chance.IntN(2), 100+chance.IntN(500))
}

func refusedForGood(chance *rand.Rand) string {
	return fmt.Sprintf(`{"fail":%q}`, oneOf(chance, "validation", "content_policy", "not_found", "authentication", "quota", "unknown"))
}

func lost(chance *rand.Rand) string {
	return fmt.Sprintf(`{"sync":false,"duration_ms":300,%s,"webhook":%q}`,
		oneOf(chance, `"lose_answer":true`, `"answer_500_after_accept":true`, `"garbage":true`), oneOf(chance, "", "early", "none"))
}

func hurried(_ *rand.Rand, d *tasks.Draft) {
	limit := int64(3000)
	d.TimeoutMS = &limit
}

func postponed(chance *rand.Rand, d *tasks.Draft) {
	at := time.Now().Add(time.Duration(1+chance.IntN(5)) * time.Second)
	d.RunAt = &at
}

// request draws the n-th job. The seed decides, whatever has happened so far.
func (c *chaos) request(n int) *request {
	chance := rand.New(rand.NewPCG(c.seed, uint64(n)))
	all := 0
	for _, k := range kinds {
		all += k.often
	}
	drawn := chance.IntN(all)
	for _, k := range kinds {
		if drawn -= k.often; drawn >= 0 {
			continue
		}
		place := places[oneOf(chance, 0, 0, 0, 0, 1, 2, 3)]
		simulate := k.simulate(chance)
		input := `{"prompt":"x"}`
		if simulate != "" {
			input = fmt.Sprintf(`{"prompt":"x","simulate":%s}`, simulate)
		}
		r := &request{n: n, kind: k.name, place: place.name, errand: k.errand, ends: k.ends}
		r.draft = tasks.Draft{
			FeatureType: tasks.TextToImage, Model: "sketch-noop", ProviderID: place.name, InputData: json.RawMessage(input),
			Priority: oneOf(chance, tasks.PriorityHigh, tasks.PriorityDefault, tasks.PriorityLow),
			UserID:   "user-" + strconv.Itoa(n%7), Metadata: map[string]string{"n": strconv.Itoa(n)},
		}
		if chance.IntN(3) == 0 {
			r.draft.WebhookURL = fmt.Sprintf("%s/%d?mood=%s", c.receiverURL, n, oneOf(chance, "good", "good", "bad"))
		}
		if k.change != nil {
			k.change(chance, &r.draft)
		}
		return r
	}
	panic("unreachable: something is always drawn")
}

// cancelSoon cancels, unless the job is faster.
func cancelSoon(c *chaos, r *request) error {
	time.Sleep(time.Duration(r.n%30) * 100 * time.Millisecond) // wherever the job is then
	err := c.insist(func(ctx context.Context) error {
		_, err := c.api.Cancel(ctx, r.id)
		return err
	})
	if err == nil {
		r.canceled = true
		return nil
	}
	if conflict(err) {
		return nil
	}
	return fmt.Errorf("cancel %s: %w", r.id, err)
}

// cancelSurely cancels a job that never ends by itself.
func cancelSurely(c *chaos, r *request) error { return cancelSoon(c, r) }

// retrySoon waits until its job has failed and starts it again.
func retrySoon(c *chaos, r *request) error {
	for {
		var job *client.Job
		err := c.insist(func(ctx context.Context) (err error) {
			job, err = c.api.Get(ctx, r.id)
			return err
		})
		if err != nil {
			return fmt.Errorf("read %s: %w", r.id, err)
		}
		if job.Status.AtRest() {
			break
		}
		time.Sleep(500 * time.Millisecond) // the pace of a caller that polls
	}
	err := c.insist(func(ctx context.Context) error {
		_, err := c.api.Retry(ctx, r.id, client.RetryDefault, client.WithIdempotencyKey("again-"+r.id))
		return err
	})
	if err != nil && !conflict(err) {
		return fmt.Errorf("retry %s: %w", r.id, err)
	}
	return nil
}

func conflict(err error) bool {
	var problem *client.Problem
	return errors.As(err, &problem) && problem.Status == http.StatusConflict
}
