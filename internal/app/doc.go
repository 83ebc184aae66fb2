// Package app puts Easel together: it is the only package that knows all the
// others. It opens what a process needs from its configuration, introduces the
// parts to one another, and takes everything down again in the right order.
//
// # What it refuses to know
//
// Rules. Whatever decides about a job stands in the package that it concerns;
// here are only constructors, listeners and the order of things.
package app
