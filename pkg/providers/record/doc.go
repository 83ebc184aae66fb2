// Package record keeps what a provider really answers, for the tests of its
// adapter: a [Recorder] stands where the adapter's HTTP transport would be, a
// [Session] takes the adapter through the calls that the contract knows, and
// each answer becomes a file in the form that providertest replays.
//
// # What is kept
//
// Status, a few headers, and the body, after everything was taken out that is
// not for a repository: credentials, prompts, the queries of signed URLs, names
// of accounts, and the pictures themselves (see [Scrubber]). What still holds a
// secret is not written at all.
//
// # What it refuses to know
//
// Any provider, and how often to try: it makes the calls it is told to, once,
// since most of them are paid for.
package record
