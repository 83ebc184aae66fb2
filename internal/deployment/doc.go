// Package deployment holds the compose file, the image and the runbook to the
// programs that they are about: what they set exists, what they start parses,
// what they watch is measured. Everything in it is a test.
package deployment
