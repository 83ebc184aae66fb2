// Package webhook posts one event to a caller's webhook, once, signed by the
// Standard Webhooks specification (https://www.standardwebhooks.com).
//
// # What it refuses to know
//
// Outboxes, retries and what an event says: the body comes ready, and whether
// to come again is the engine's business. It also does not know which addresses
// may be called; the HTTP client that it is given guards that.
package webhook
