package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing wrong with the configuration. Detail never repeats the
// value, which may be a secret in the wrong place.
type Problem struct {
	Path   string // such as providers[2].models[0].feature
	Detail string
}

// String is "path: detail".
func (p Problem) String() string {
	if p.Path == "" {
		return p.Detail
	}
	return p.Path + ": " + p.Detail
}

// Error is everything that is wrong with a configuration.
type Error struct {
	File     string // where the settings were read from, empty without a file
	Problems []Problem
}

// Error lists the problems, one a line.
func (e *Error) Error() string {
	var text strings.Builder
	text.WriteString("configuration")
	if e.File != "" {
		text.WriteString(" " + e.File)
	}
	if len(e.Problems) == 1 {
		return text.String() + ": " + e.Problems[0].String()
	}
	fmt.Fprintf(&text, ": %d problems", len(e.Problems))
	for _, p := range e.Problems {
		text.WriteString("\n  " + p.String())
	}
	return text.String()
}

// problems collects what is wrong while the configuration is read and checked.
type problems []Problem

func (p *problems) add(path, format string, args ...any) {
	*p = append(*p, Problem{path, fmt.Sprintf(format, args...)})
}

// has reports whether something was said of the path already, so that one
// mistake is told once.
func (p problems) has(path string) bool {
	return slices.ContainsFunc(p, func(known Problem) bool { return known.Path == path })
}
