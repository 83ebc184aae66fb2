package config

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
)

const redacted = "[redacted]"

// Secret is a setting that must not be printed. Every way of printing it, in
// text, JSON, YAML or a debug dump, says [redacted] instead; an empty one
// prints as empty, so that one can see that it is not set.
type Secret string

// Reveal returns the secret itself, for the one call that needs it.
func (s Secret) Reveal() string { return string(s) }

// String is [redacted].
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString is [redacted].
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format prints [redacted] whatever the verb: fmt asks a Stringer only for the
// verbs of strings, and %d would print the secret in its complaint.
func (s Secret) Format(state fmt.State, verb rune) {
	text := s.String()
	if verb == 'q' || verb == 'v' && state.Flag('#') {
		text = s.GoString()
	}
	// A writer of fmt does not fail.
	_, _ = io.WriteString(state, text)
}

// MarshalText is [redacted].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON is [redacted].
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalYAML is [redacted].
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// URL is an address that may hold a password, which is not printed.
type URL string

// Reveal returns the address with its password, for the one call that needs it.
func (u URL) Reveal() string { return string(u) }

// String is the address with its password replaced. An address that cannot be
// parsed is not shown at all, since nobody can say where its password is.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Opaque != "" {
		return redacted
	}
	query := parsed.Query()
	for _, name := range []string{"password", "sentinel_password"} {
		if query.Has(name) {
			query.Set(name, "xxxxx")
			parsed.RawQuery = query.Encode()
		}
	}
	return parsed.Redacted()
}

// GoString is the address with its password replaced.
func (u URL) GoString() string { return fmt.Sprintf("%q", u.String()) }

// Format prints the address with its password replaced, whatever the verb.
func (u URL) Format(state fmt.State, verb rune) {
	text := u.String()
	if verb == 'q' || verb == 'v' && state.Flag('#') {
		text = u.GoString()
	}
	// A writer of fmt does not fail.
	_, _ = io.WriteString(state, text)
}

// MarshalText is the address with its password replaced.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// MarshalYAML is the address with its password replaced.
func (u URL) MarshalYAML() (any, error) { return u.String(), nil }

// fileURL is the file:// URL of an absolute path.
func fileURL(path string) string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(path)}).String()
}
