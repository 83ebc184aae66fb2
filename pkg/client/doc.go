// Package client speaks to an Easel server over HTTP.
//
//	c, err := client.Dial("http://127.0.0.1:8080", os.Getenv("EASEL_TOKEN"))
//	job, err := c.Enqueue(ctx, tasks.Draft{
//		FeatureType: tasks.TextToImage,
//		InputData:   json.RawMessage(`{"prompt":"a harbour at dawn"}`),
//	})
//	job, err = c.Wait(ctx, job.ID)
//
// # What it repeats, and what not
//
// Every [Client.Enqueue], [Client.EnqueueBatch] and [Client.Retry] carries an
// idempotency key, made for the call unless one is given, so that the client
// may repeat it after a lost answer without asking for the work twice. It
// repeats on connection errors, on 502, 503 and 504, and on 429, waits as long
// as Retry-After says or ever longer by itself, and gives up when its tries are
// used up ([WithRetries]) or the context would end first. What has no key and
// changes something, such as [Client.Resolve], is repeated only when the server
// surely did not see it.
//
// # Errors
//
// What the server refuses is a [*Problem]; [IsNotFound] and its like read it. A
// server that was not reached is [ErrUnreachable]. A job that failed is not an
// error of the call: look at its status.
//
// # What it refuses to know
//
// Redis, the queue, and how jobs are run: it knows the HTTP API and the nouns of
// package tasks. It does not log.
package client
