// Package fetch calls URLs that come from outside: the outputs that providers
// name, and, through the client that [Guard.Client] makes, the webhooks of
// callers. Nobody outside may make us call an address of our own network.
//
// The address is checked when it is dialed and not when its name is resolved,
// so that a name that resolves differently the second time gains nothing; each
// redirect is checked like the first URL. Exempt are exactly the origins that
// the operator has configured.
//
// # What it refuses to know
//
// Providers, jobs and credentials: it never sends one. What the bytes are is
// for who reads them to find out.
package fetch
