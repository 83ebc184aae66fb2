package httpapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// What a request's headers ask for beside its body: to be repeatable
// (Idempotency-Key), to wait (Prefer, RFC 7240), and to apply to one version
// only (If-Match, If-None-Match, RFC 9110 §13).

// maxKeyLength is the longest idempotency key, after parsing.
const maxKeyLength = 255

// idempotencyKey reads the header Idempotency-Key, bare or as a quoted string.
// Empty means that there is none.
func idempotencyKey(header http.Header) (string, error) {
	values := header.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	if len(values) > 1 {
		return "", badKeyHeader("must not be repeated")
	}
	key, ok := unquote(strings.TrimSpace(values[0]))
	if !ok {
		return "", badKeyHeader("has an opening quote and no closing one")
	}
	if fault := keyFault(key); fault != "" {
		return "", badKeyHeader(fault)
	}
	return key, nil
}

func badKeyHeader(detail string) *Problem {
	p := newProblem(codeMalformed, "The header Idempotency-Key "+detail+".")
	p.Errors = []Fault{{Header: "Idempotency-Key", Detail: detail}}
	return p
}

// keyFault says what is wrong with a parsed key, if anything.
func keyFault(key string) string {
	switch {
	case key == "":
		return "must not be empty"
	case len(key) > maxKeyLength:
		return "must have at most 255 characters"
	case strings.ContainsFunc(key, func(r rune) bool { return unicode.IsControl(r) || r > unicode.MaxASCII }):
		return "must be of printable ASCII characters"
	}
	return ""
}

// unquote takes the quotes off a string (RFC 9651 §3.3.3); one without quotes
// is itself.
func unquote(s string) (string, bool) {
	if !strings.HasPrefix(s, `"`) {
		return s, true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), i == len(s)-1
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// maxWait is the longest that a request waits for its job.
const maxWait = time.Minute

// preferredWait reads "wait" from the header Prefer. A preference that cannot
// be read is one that is not honored (RFC 7240 §2), never an error.
func preferredWait(header http.Header) (wait time.Duration, asked bool) {
	for _, value := range header.Values("Prefer") {
		for preference := range strings.SplitSeq(value, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, seconds, valued := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, _ = unquote(strings.TrimSpace(seconds))
			if !valued || seconds == "" {
				return maxWait, true
			}
			n, err := strconv.ParseUint(seconds, 10, 31)
			if err != nil && !errors.Is(err, strconv.ErrRange) { // out of range, it is the largest that there is
				return 0, false
			}
			return min(time.Duration(n)*time.Second, maxWait), true
		}
	}
	return 0, false
}

// etag is the entity tag of a version.
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// matches reports whether If-None-Match names the version, or any.
func matches(header http.Header, version int64) bool {
	for tag := range entityTags(header.Values("If-None-Match")) {
		if tag == "*" || tag == etag(version) {
			return true
		}
	}
	return false
}

const (
	anyVersion int64 = 0
	noVersion  int64 = -1 // no job ever has it
)

// wantedVersions reads If-Match. No header and "*" mean any version; a tag that
// is none of ours matches none.
func wantedVersions(header http.Header) []int64 {
	values := header.Values("If-Match")
	if len(values) == 0 {
		return []int64{anyVersion}
	}
	var versions []int64
	for tag := range entityTags(values) {
		if tag == "*" {
			return []int64{anyVersion}
		}
		version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
		if err != nil || version <= 0 {
			version = noVersion
		}
		versions = append(versions, version)
	}
	if len(versions) == 0 {
		return []int64{noVersion}
	}
	return versions
}

// entityTags yields the tags of a list. A proxy that compresses answers makes
// tags weak; ours name versions of the record and not bytes, so that they mean
// the same.
func entityTags(values []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, value := range values {
			for tag := range strings.SplitSeq(value, ",") {
				tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
				if tag != "" && !yield(tag) {
					return
				}
			}
		}
	}
}
