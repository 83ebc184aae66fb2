//go:build !easel_http

package client_test

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/client"
)

// poet is a provider in one function.
func poet() client.ProviderSpec {
	return client.ProviderSpec{
		ID: "poet", Capabilities: []client.Capability{{FeatureType: "text-to-text"}},
		Execute: func(_ context.Context, r client.ProviderRequest) (*client.ProviderResult, error) {
			text := strings.ToUpper(r.Text("prompt", ""))
			return &client.ProviderResult{Files: []client.File{{Data: []byte(text), MediaType: "text/plain"}}}, nil
		},
	}
}

func open() *client.Client {
	c, err := client.Embedded(context.Background(), client.WithProvider(poet()))
	if err != nil {
		panic(err)
	}
	return c
}

func verse(prompt string) client.Request {
	return client.Request{FeatureType: "text-to-text", InputData: map[string]any{"prompt": prompt}}
}

// A whole Easel in one process, with a provider that is a function.
func ExampleEmbedded() {
	c := open()
	defer c.Close()

	result, err := c.Execute(context.Background(), verse("a harbour at dawn"))
	if err != nil {
		panic(err)
	}
	text, err := result.ReadFile(context.Background(), 0)
	if err != nil {
		panic(err)
	}
	fmt.Println(result.ProviderID, result.Status, string(text))
	// Output:
	// poet completed A HARBOUR AT DAWN
}

// Execute asks, follows and returns; a name makes it one job, however often and
// wherever it is executed.
func ExampleClient_Execute() {
	c := open()
	defer c.Close()

	r := verse("hello")
	r.IdempotencyKey = "order-42"
	var last client.Progress
	first, err := c.Execute(context.Background(), r, client.OnProgress(func(p client.Progress) { last = p }))
	if err != nil {
		panic(err)
	}
	second, err := c.Execute(context.Background(), r)
	if err != nil {
		panic(err)
	}
	fmt.Println(last.Stage, *last.Percent, first.JobID == second.JobID)
	// Output:
	// completed 100 true
}

// Middleware may answer by itself: a cache.
func ExampleNewWrapper_caching() {
	c := open()
	defer c.Close()

	cache := map[string]*client.GenerationResult{}
	cached := func(next client.ExecuteFunc) client.ExecuteFunc {
		return func(ctx context.Context, r client.Request) (*client.GenerationResult, error) {
			key := fmt.Sprint(r.FeatureType, r.InputData)
			if result := cache[key]; result != nil {
				return result, nil
			}
			result, err := next(ctx, r)
			if err == nil {
				cache[key] = result
			}
			return result, err
		}
	}
	w := client.NewWrapper(c, client.WrapperConfig{Middleware: []client.Middleware{cached}})
	first, err := w.Execute(context.Background(), verse("hello"))
	if err != nil {
		panic(err)
	}
	second, err := w.Execute(context.Background(), verse("hello"))
	if err != nil {
		panic(err)
	}
	fmt.Println(first.JobID == second.JobID)
	// Output:
	// true
}

// Credits are reserved before, and given back when nothing came of it. A job
// that goes on without its caller keeps them.
func ExampleNewWrapper_credits() {
	c := open()
	defer c.Close()

	credits, errNoCredits := 1, errors.New("no credits left")
	w := client.NewWrapper(c, client.WrapperConfig{Middleware: []client.Middleware{
		func(next client.ExecuteFunc) client.ExecuteFunc {
			return func(ctx context.Context, r client.Request) (*client.GenerationResult, error) {
				if credits == 0 {
					return nil, errNoCredits
				}
				credits--
				result, err := next(ctx, r)
				if _, goesOn := errors.AsType[*client.DetachedError](err); err != nil && !goesOn {
					credits++
				}
				return result, err
			}
		},
	}})
	for _, feature := range []client.FeatureType{"text-to-smell", "text-to-text", "text-to-text"} {
		r := verse("hello")
		r.FeatureType = feature
		_, err := w.Execute(context.Background(), r)
		fmt.Println(credits, err == nil, errors.Is(err, errNoCredits))
	}
	// Output:
	// 1 false false
	// 0 true false
	// 0 false true
}

// Before hooks may refuse: moderation.
func ExampleNewWrapper_moderation() {
	c := open()
	defer c.Close()

	w := client.NewWrapper(c, client.WrapperConfig{Before: []func(context.Context, *client.Request) error{
		func(_ context.Context, r *client.Request) error {
			if strings.Contains(fmt.Sprint(r.InputData), "weapon") {
				return &client.ClassifiedError{Class: classify.ContentPolicy, Message: "we do not draw that"}
			}
			return nil
		},
	}})
	_, err := w.Execute(context.Background(), verse("a weapon"))
	fmt.Println(client.ClassifyError(err).Class, client.IsPermanentError(err))
	// Output:
	// content_policy true
}

// A queue works requests off in the background.
func ExampleClient_NewQueue() {
	c := open()
	defer c.Close()

	done := make(chan client.QueueJob)
	q, err := c.NewQueue(client.QueueConfig{
		Name: "mail", Concurrency: 2, OnJobComplete: func(j client.QueueJob) { done <- j },
	})
	if err != nil {
		panic(err)
	}
	id, err := q.Add(context.Background(), verse("hello"))
	if err != nil {
		panic(err)
	}
	if err := q.Start(context.Background()); err != nil {
		panic(err)
	}
	defer q.Stop()
	job := <-done
	fmt.Println(job.ID == id, job.Status)
	// Output:
	// true completed
}

// A poller listens to a job's events and reads it only when none come.
func ExampleClient_NewJobPoller() {
	c := open()
	defer c.Close()

	draft, err := verse("hello").Draft()
	if err != nil {
		panic(err)
	}
	job, err := c.Enqueue(context.Background(), draft)
	if err != nil {
		panic(err)
	}
	poller := c.NewJobPoller(client.PollJobOptions{JobID: job.ID})
	if err := poller.Start(context.Background()); err != nil {
		panic(err)
	}
	result, err := poller.Wait(context.Background())
	fmt.Println(result.Status, err)
	// Output:
	// completed <nil>
}

// The registry says who would serve a request.
func ExampleClient_RegisterProvider() {
	c := open()
	defer c.Close()

	second := poet()
	second.ID = "second"
	if err := c.RegisterProvider(context.Background(), second); err != nil {
		panic(err)
	}
	p, err := c.ProviderForFeature(context.Background(), "text-to-text")
	if err != nil {
		panic(err)
	}
	fmt.Println(p.ID)
	if err := c.SetDefaultProvider(context.Background(), "second"); err != nil {
		panic(err)
	}
	result, err := c.Execute(context.Background(), verse("hello"))
	if err != nil {
		panic(err)
	}
	fmt.Println(result.ProviderID)
	// Output:
	// poet
	// second
}
