// Package faults holds the promises of docs/crash-table.md to account: real
// processes built from this tree, a real Redis, SIGKILL and SIGTERM, and a
// provider that counts what it has accepted. Everything in it is a test.
package faults
