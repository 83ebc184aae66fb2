package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// bank is a provider that does as chance wills, and keeps the bill: the model
// that the engine's doings are held against.
type bank struct {
	world *world
	draw  *rapid.T
	kind  bankKind
	calm  bool // behaves well from now on

	made     []*generation
	failures int // refusals and failed generations: what a budget may be spent on
}

// bankKind is what the provider can do, and what its operator chose.
type bankKind struct{ finds, cancels, resubmit bool }

// generation is what the bank was asked for and took.
type generation struct {
	id, client, job, token string
	provider               string // the name that it goes by
	submission             int
	polls                  int // until it has ended
	doomed                 bool
	renounced              bool // the caller asked for another one
	state                  providers.State
}

func (b *bank) asProvider() providers.Provider {
	switch {
	case b.kind.finds && b.kind.cancels:
		return struct {
			findingBank
			cancelingBank
			*bank
		}{findingBank{b}, cancelingBank{b}, b}
	case b.kind.finds:
		return struct {
			findingBank
			*bank
		}{findingBank{b}, b}
	case b.kind.cancels:
		return struct {
			cancelingBank
			*bank
		}{cancelingBank{b}, b}
	default:
		return b
	}
}

func (b *bank) Capabilities() providers.Capabilities {
	return providers.Capabilities{
		Features:    []providers.FeatureCapability{{Feature: tasks.TextToImage, Input: json.RawMessage(`{"properties":{"prompt":{}}}`)}},
		Synchronous: true,
		Poll:        providers.PollPolicy{First: time.Second, Interval: time.Second, Ceiling: 5 * time.Second},
	}
}

// Submit takes the submission or does not, and answers or does not.
func (b *bank) Submit(_ context.Context, req providers.Request) (st providers.Status, err error) {
	answer := "taken"
	if !b.calm {
		answer = rapid.SampledFrom([]string{
			"taken", "taken", "at once", "taken, answer lost", "taken, answer lost", "never heard", "busy", "throttled", "refused", "no key", "failed",
		}).Draw(b.draw, "answer")
	}
	// It is taken, if at all, when the call begins: what others do meanwhile
	// they do while its answer is on the way.
	switch answer {
	case "never heard":
		err = unheard.err
	case "busy":
		b.failures++
		err = busy.err
	case "throttled":
		err = throttle.err
	case "refused":
		b.failures++
		err = refusal.err
	case "no key":
		b.failures++
		err = noKey.err
	default:
		g := b.take(req, answer == "failed")
		st = providers.Status{State: providers.Running, RemoteID: g.id}
		switch answer {
		case "taken, answer lost":
			err = cutOff.err
		case "failed":
			g.state = providers.Failed
			b.failures++
			st.State, st.Failure = providers.Failed, broken.status.Failure
		case "at once":
			g.state = providers.Succeeded
			st.State, st.Outputs = providers.Succeeded, []providers.Output{{Data: []byte("bytes"), Kind: "image"}}
		}
	}
	b.world.call(func() {})
	return st, err
}

// take is where money is spent: nothing else of the job may be under way, or may
// be without the engine's knowing.
func (b *bank) take(req providers.Request, doomed bool) *generation {
	job, err := b.world.store.read(req.JobID)
	if err != nil {
		b.draw.Fatalf("bought for a job that is not there: %v", err)
	}
	for _, s := range job.Submissions {
		if s.Number != req.Submission && (s.Live() || s.Open()) {
			b.draw.Fatalf("submission %d was made beside %d, which is %s", req.Submission, s.Number, s.State)
		}
	}
	for _, g := range b.made {
		if g.job == req.JobID && (g.state == providers.Running || g.state == providers.Succeeded) && !g.renounced && !b.kind.resubmit {
			b.draw.Fatalf("%s is bought although %s is %s: %+v", req.ClientID, g.client, g.state, job)
		}
	}
	path := strings.Split(req.WebhookURL, "/") // …/webhooks/<provider>/<job>/<token>
	g := &generation{
		id: fmt.Sprintf("g-%d", len(b.made)+1), client: req.ClientID, job: req.JobID, submission: req.Submission, token: path[len(path)-1], provider: path[len(path)-3],
		polls: 1, state: providers.Running,
	}
	if !b.calm {
		g.polls = rapid.IntRange(0, 3).Draw(b.draw, "polls")
		g.doomed = !doomed && rapid.IntRange(0, 4).Draw(b.draw, "doom") == 0
	}
	b.made = append(b.made, g)
	return g
}

func (b *bank) find(id string) *generation {
	for _, g := range b.made {
		if g.id == id {
			return g
		}
	}
	return nil
}

// Poll tells how a generation fares, or blinks.
func (b *bank) Poll(_ context.Context, ref providers.Ref) (st providers.Status, err error) {
	b.world.call(func() {
		if !b.calm && rapid.IntRange(0, 4).Draw(b.draw, "blip") == 0 {
			err = rapid.SampledFrom([]error{busy.err, offline.err, noKey.err, throttle.err}).Draw(b.draw, "poll error")
			return
		}
		g := b.find(ref.RemoteID)
		if g == nil {
			err = gone.err
			return
		}
		if g.polls--; g.polls < 0 && g.state == providers.Running {
			g.state = providers.Succeeded
			if g.doomed {
				g.state = providers.Failed
				b.failures++
			}
		}
		st = g.status()
	})
	return st, err
}

func (g *generation) status() providers.Status {
	st := providers.Status{State: g.state, RemoteID: g.id}
	switch g.state {
	case providers.Succeeded:
		st.Outputs = []providers.Output{{URL: "https://cdn.test/" + g.id}}
	case providers.Failed:
		st.Failure = broken.status.Failure
	}
	return st
}

func (b *bank) Download(context.Context, providers.Ref, providers.Output) (body providers.Body, err error) {
	b.world.call(func() {
		if !b.calm && rapid.IntRange(0, 4).Draw(b.draw, "cut") == 0 {
			err = rapid.SampledFrom([]error{busy.err, gone.err}).Draw(b.draw, "download error")
			return
		}
		body = download{bytes.NewReader([]byte("image"))}
	})
	return body, err
}

// ReadWebhook believes the body: the engine must not.
func (b *bank) ReadWebhook(_ context.Context, _ http.Header, body []byte) (providers.Hint, error) {
	return providers.Hint{RemoteID: string(body)}, nil
}

type findingBank struct{ b *bank }

func (f findingBank) Find(_ context.Context, lost providers.Lost) (st providers.Status, err error) {
	f.b.world.call(func() {
		if !f.b.calm && rapid.IntRange(0, 5).Draw(f.b.draw, "look-up fails") == 0 {
			err = busy.err
			return
		}
		for _, g := range f.b.made {
			if g.client == lost.Request.ClientID {
				st = g.status()
				return
			}
		}
		err = providers.ErrAbsent
	})
	return st, err
}

func (findingBank) ListLag() time.Duration { return 2 * time.Second }

type cancelingBank struct{ b *bank }

func (c cancelingBank) Cancel(_ context.Context, ref providers.Ref) (err error) {
	c.b.world.call(func() {
		how := "stopped"
		if !c.b.calm {
			how = rapid.SampledFrom([]string{"stopped", "too late", "busy"}).Draw(c.b.draw, "cancel")
		}
		g := c.b.find(ref.RemoteID)
		switch {
		case how == "busy":
			err = &classify.Error{Class: classify.Server, Status: 500, Message: "oops"}
		case how == "stopped" && g != nil && g.state == providers.Running:
			g.state = providers.Canceled
		}
	})
	return err
}
