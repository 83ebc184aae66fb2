// Package artifacts keeps files: what jobs produce, what they were given, and
// the bytes of synchronous providers between their answer and the record of it
// (staging). Storage is a directory or an S3 bucket, opened by URL.
//
// A file is believed to be what its first bytes say, never what somebody claims.
// Its dimensions and duration are read from its header; no picture is ever
// decoded here, so that a small file that unfolds to gigabytes harms nobody.
//
// # What it refuses to know
//
// Jobs beyond the id at the beginning of a key, HTTP, and where the bytes come
// from. It does not retry: a failure is classified and the engine comes again.
package artifacts
