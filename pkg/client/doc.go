// Package client is the front door of Easel for Go programs. There are three
// ways in, and behind each the same [Client]:
//
//	c, err := client.Dial("https://easel.example.com", key)  // a server, over HTTP
//	c, err := client.Connect(ctx, "redis://10.0.0.5:6379/0") // an installation, through its Redis
//	c, err := client.Embedded(ctx)                           // all of Easel in this process
//
// Verbs, results and errors are the same, so that going from one to another is
// a change of one line. What one way does not have (a provider cannot be
// registered over HTTP) is [ErrUnsupported], and says what would help.
//
// # Jobs
//
// [Client.Enqueue] asks for a job; once it has returned without an error the job
// comes to rest, whatever becomes of this process. [Client.Watch] and
// [Client.Wait] follow it, [Client.Get], [Client.List] and [Client.All] read,
// [Client.Cancel], [Client.Retry], [Client.Resolve] and [Client.Delete] act, and
// [Client.Open] reads the files.
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
// What Easel refuses is a [*Problem], over HTTP and through Redis alike;
// [IsNotFound] and its like read it. A server that was not reached is
// [ErrUnreachable]. A job that failed is not an error of the call: look at its
// status. [ClassifyError] says of any error what kind of failure it is.
//
// # What it costs
//
// Connect and Embedded bring the engine into the binary. A program that only
// dials can leave it out with the build tag easel_http: Connect, Embedded and
// their options do not exist then, and the package needs nothing but the
// standard library.
//
// # What it refuses to know
//
// How jobs are run, and where: that is the engine's (package orchestrator), and
// the introducer's (internal/app), which it opens and never goes around.
package client
