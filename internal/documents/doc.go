// Package documents holds what is written to the truth: the commands and the
// code of the README run, and links lead somewhere. Everything in it is a test.
package documents
