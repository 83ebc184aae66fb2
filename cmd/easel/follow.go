package main

import (
	"context"
	"errors"
	"sync"

	"github.com/easel-jobs/easel/pkg/client"
)

// follow watches jobs at the same time until each is at rest, and shows every
// change. It returns them in order; one that could not be followed is an error.
func follow(ctx context.Context, c *client.Client, ids []string, show func(index int, job client.Job)) ([]client.Job, error) {
	jobs, failures := make([]client.Job, len(ids)), make([]error, len(ids))
	var following sync.WaitGroup
	for i, id := range ids {
		following.Go(func() {
			for job, err := range c.Watch(ctx, id) {
				if err != nil {
					failures[i] = err
					return
				}
				jobs[i] = job
				show(i, job)
			}
		})
	}
	following.Wait()
	return jobs, errors.Join(failures...)
}
