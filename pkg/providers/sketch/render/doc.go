// Package render draws pictures, moving pictures and sounds from words, by rule
// and not by AI. The words choose a mood (colours) and a composition; a hash of
// the words and the seed decides everything else. The same [Brief] always gives
// the same pixels and samples.
//
// A picture is painted by a composition (landscape.go, sea.go, night.go, …) onto
// a canvas of floating-point colours, and lettered with its own prompt. Every
// composition takes a phase, so that the frames of an [Animation] are the same
// scene at different moments of one seamless loop.
//
// # What it refuses to know
//
// HTTP, jobs, files and time. It turns a brief into pixels or samples and keeps
// nothing. Limits on sizes and durations belong to its caller.
package render
