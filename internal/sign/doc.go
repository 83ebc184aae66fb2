// Package sign makes and checks what Easel hands out to be shown to it again:
// the token in a provider's webhook URL ([Signer.Token]) and the signature of
// a link to a job's file ([Signer.Link]).
//
// Both are HMAC-SHA256 under the server's secret key, each for a purpose of its
// own, so that one is never taken for the other. The key can be rotated: the
// first one signs, all of them verify.
//
// # What it refuses to know
//
// HTTP, URLs of the API, and what a job is. It signs a few strings and numbers,
// and keeps nothing.
package sign
