package providertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// kiln is a small adapter to a generator of this machine, right as it stands.
// With a fault it is wrong in one way.
type kiln struct {
	behavior Behavior
	fault    string
	started  chan<- struct{}
	alive    *atomic.Int64
	over     chan struct{} // ends what a broken adapter leaves behind

	mu  sync.Mutex
	ran map[string]bool
}

func (k *kiln) Capabilities() providers.Capabilities {
	return providers.Capabilities{Synchronous: true, Features: []providers.FeatureCapability{
		{Feature: tasks.TextToImage, Input: json.RawMessage(`{"type":"object"}`)},
	}}
}

func (k *kiln) Poll(context.Context, providers.Ref) (providers.Status, error) {
	if k.fault == "polls" {
		return providers.Status{State: providers.Running}, nil
	}
	return providers.Status{}, &classify.Error{Class: classify.NotFound, Message: "there is nothing to poll"}
}

func (k *kiln) failure(class classify.Class, message string) *classify.Error {
	return &classify.Error{Class: class, Provider: "kiln", Message: message}
}

func (k *kiln) failed(message string) (providers.Status, error) {
	if k.fault == "fails as an error" {
		return providers.Status{}, k.failure(classify.GenerationFailed, message)
	}
	return providers.Status{State: providers.Failed, Failure: k.failure(classify.GenerationFailed, message)}, nil
}

func (k *kiln) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	deadline, ok := ctx.Deadline()
	if k.fault != "never too late" && (ctx.Err() != nil || ok && time.Now().After(deadline)) {
		failure := k.failure(classify.Network, "held back")
		failure.Cause = providers.ErrNotCalled
		return providers.Status{}, failure
	}
	k.mu.Lock()
	k.ran[fmt.Sprint(req.JobID, req.Submission)] = true
	k.mu.Unlock()
	switch k.behavior {
	case Answers:
		return providers.Status{State: providers.Succeeded, Outputs: []providers.Output{{Kind: "image", Data: []byte("x")}}}, nil
	case Empty:
		if k.fault == "nothing is a success" {
			return providers.Status{State: providers.Succeeded}, nil
		}
		return k.failed("it made nothing")
	case Floods:
		if k.fault == "keeps it all" {
			return providers.Status{State: providers.Succeeded, Outputs: []providers.Output{{Data: make([]byte, 1<<20)}}}, nil
		}
		return k.failed("it made too much")
	case Missing:
		if k.fault == "missing is unknown" {
			return providers.Status{}, k.failure(classify.Unknown, "no generator")
		}
		return providers.Status{}, k.failure(classify.Network, "no generator")
	case Quotes:
		if k.fault == "quotes" {
			return k.failed("it said: " + Prompt)
		}
		return k.failed("it said something")
	case Hangs:
		return k.hang(ctx, req)
	}
	return k.failed("it failed")
}

func (k *kiln) hang(ctx context.Context, req providers.Request) (providers.Status, error) {
	k.alive.Add(1)
	k.started <- struct{}{}
	if k.fault == "leaves it running" {
		defer k.alive.Add(1)
	}
	defer k.alive.Add(-1)
	done := ctx.Done()
	if k.fault == "deaf" {
		done = k.over
	}
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			if ctx.Err() == context.DeadlineExceeded {
				return k.failed("it was ended")
			}
			return providers.Status{}, k.failure(classify.Canceled, "ended")
		case <-k.over:
			return k.failed("the test is over")
		case <-ticker.C:
			if k.fault != "unasked" && req.Report != nil && !req.Report(ctx, nil, "running") {
				return providers.Status{}, k.failure(classify.Canceled, "unwanted")
			}
		}
	}
}

func (k *kiln) ListLag() time.Duration { return 0 }

func (k *kiln) Find(_ context.Context, lost providers.Lost) (providers.Status, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ran[fmt.Sprint(lost.Request.JobID, lost.Request.Submission)] || k.fault == "always absent" {
		return providers.Status{}, providers.ErrAbsent
	}
	return providers.Status{}, k.failure(classify.Server, "nobody knows")
}

func kilns(t *testing.T, fault string) Local {
	t.Helper()
	alive, over := &atomic.Int64{}, make(chan struct{})
	t.Cleanup(func() { close(over) })
	return Local{
		Request: providers.Request{JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: tasks.TextToImage, Input: map[string]any{"prompt": Prompt}},
		New: func(_ testing.TB, b Behavior, started chan<- struct{}) providers.Provider {
			return &kiln{behavior: b, fault: fault, started: started, alive: alive, over: over, ran: map[string]bool{}}
		},
		Alive: func() int { return int(alive.Load()) }, patience: 300 * time.Millisecond,
	}
}

func TestGoodLocalAdapterPasses(t *testing.T) {
	t.Parallel()
	l := kilns(t, "")
	l.patience = 0
	RunLocal(t, l)
}

func TestBrokenLocalAdaptersFail(t *testing.T) {
	t.Parallel()
	for fault, check := range map[string]string{
		"polls": "Poll", "fails as an error": "Failure", "nothing is a success": "Failure", "keeps it all": "TooLarge", "missing is unknown": "Unreachable",
		"quotes": "KeepsSecret", "never too late": "DeadlinePassed", "deaf": "Deadline", "leaves it running": "Cancellation", "unasked": "Unwanted",
		"always absent": "Find",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(localChecks, func(c struct {
				name string
				run  func(testing.TB, Local)
			}) bool {
				return c.name == check
			})
			require.GreaterOrEqual(t, i, 0, check)
			r := &recorder{TB: t}
			func() {
				defer func() {
					if v := recover(); v != nil && v != (giveUp{}) {
						panic(v)
					}
				}()
				localChecks[i].run(r, kilns(t, fault))
			}()
			require.True(t, r.failed, "%s is not found by %s", fault, check)
		})
	}
}
