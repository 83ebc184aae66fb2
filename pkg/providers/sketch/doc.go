// Package sketch is the built-in provider: it draws real pictures (PNG, JPEG),
// moving pictures (GIF) and sounds (WAV) from a prompt, by rule and not by AI,
// so that everything can be tried, tested and load-tested without a key.
//
// It has two halves that speak HTTP to each other, as with any other provider.
// [Service] is a hosted generation API: it accepts, queues, runs, reports,
// cancels, lists, counts and posts webhooks. [Provider] is the adapter to it.
// With a base URL the adapter calls a Service elsewhere; without one it holds
// its own and calls it over in-memory connections, on which answers can be lost
// and calls can hang as they do on a network.
//
// # Options
//
//	mode             sync | async; default: async, and sync for sketch-noop
//	min_duration_ms  shortest generation; default by feature, images 1 to 2 s
//	max_duration_ms  longest generation
//	lookup           whether a lost submission can be looked up; default true
//	allow_simulate   whether input_data.simulate is obeyed; default false
//	webhook_secret   signs webhooks; default: made once per data directory
//
// The model sketch-noop draws nothing: it answers at once with a constant
// picture of one pixel. Where mode or durations are set, it keeps to them.
//
// # Simulation
//
// With allow_simulate, input_data.simulate tells the service to misbehave. It
// is an object; each key is optional:
//
//	fail                     class of failure, as in pkg/classify: server, rate_limit, …
//	stage                    where fail, hang_ms and garbage strike: submit (default),
//	                         poll, generation (fail only), download
//	times                    the faults of a stage strike the first N times for this
//	                         job and then no more; default: always
//	retry_after_ms           Retry-After that goes with fail
//	lose_answer              accept, then cut the connection
//	answer_500_after_accept  accept, then answer a gateway's 500 page
//	hang_ms                  answer only after this long (a submit is accepted before it)
//	garbage                  answer HTML where JSON or media should be (a submit is accepted)
//	duration_ms              how long the generation takes
//	sync                     true: answer with the result; false: with an id
//	poll_blips               the first N polls fail: 503, cut connection, 503, …
//	no_output                succeed with nothing to show
//	outputs                  produce this many outputs, whatever n says
//	webhook                  early (before it is done, too), late, twice, forged (signed
//	                         with another secret), none; default: once, when done
//	late_by_ms               how late a late webhook is; default 2000
//	never                    run for ever
//
// A fail of network refuses the connection before anything is sent where the
// service is in-process, and cuts it where it is not; unknown_outcome is
// lose_answer; generation_failed and canceled strike the generation whatever
// the stage. Counters live in the ledger and hold across processes.
//
// # Ledger
//
// What was accepted is kept in the data directory, one small file per
// generation, written before the answer; remote ids name those files. So
// generations survive restarts, and processes that share the directory share
// them. Nothing large is kept but input files: outputs are drawn when they are
// fetched. Only webhooks still due are lost with the process; polling is not.
// Nothing is ever deleted: the directory may be removed when no job is open.
//
// # What it refuses to know
//
// Jobs, queues, retries and storage, like every adapter; and of its own
// pictures, what is beautiful: that is package render's.
package sketch
