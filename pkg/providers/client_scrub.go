package providers

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// scrubber takes out of a text what must not be read in a log, an error or a
// job's record: our credentials, what the caller wrote, signed URLs, payloads.
type scrubber struct {
	secrets []string // credentials of the request
	payload *Payload // what the caller wrote
}

const (
	maxMessage = 500
	maxCode    = 100
	minPrivate = 16 // shorter texts are sizes, models and words
)

var (
	urlTails   = regexp.MustCompile(`(?i)\b(https?://)(?:[^\s/@"'<>]+@)?([^\s?#"'<>]+)[?#][^\s"'<>]*`)
	dataURLs   = regexp.MustCompile(`(?i)data:[^\s,"']*,[^\s"']+`)
	longBase64 = regexp.MustCompile(`[A-Za-z0-9+/_-]{120,}={0,2}`)
)

// message makes a provider's sentence fit to be kept.
func (s scrubber) message(text string) string {
	// The longest first, so that no part of one is left over by another.
	for _, secret := range slices.SortedFunc(slices.Values(s.secrets), byLength) {
		text = strings.ReplaceAll(text, secret, redacted)
	}
	for _, private := range slices.SortedFunc(slices.Values(s.payload.texts()), byLength) {
		if len(private) >= minPrivate {
			text = strings.ReplaceAll(text, private, "[input]")
		}
	}
	text = dataURLs.ReplaceAllString(text, "[data]")
	text = urlTails.ReplaceAllString(text, "$1$2")
	text = longBase64.ReplaceAllString(text, "[data]")
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return truncate(strings.ToValidUTF8(text, "�"), maxMessage)
}

// Presentable makes what a program said fit to be kept: without the texts that
// are private, payloads and signed URLs, in one line, and short.
func Presentable(text string, private []string) string {
	return scrubber{payload: &Payload{fields: private}}.message(text)
}

// code makes a provider's code fit to be kept.
func (s scrubber) code(text string) string {
	return truncate(s.message(text), maxCode)
}

func byLength(a, b string) int { return cmp.Compare(len(b), len(a)) }

func truncate(text string, runes int) string {
	n := 0
	for i := range text {
		if n++; n > runes {
			return text[:i] + "…"
		}
	}
	return text
}

// error wraps an error so that its text is fit for the log; what it is can
// still be asked with [errors.Is].
func (s scrubber) error(err error) error {
	if err == nil {
		return nil
	}
	return &scrubbedError{text: s.message(err.Error()), err: err}
}

type scrubbedError struct {
	text string
	err  error
}

func (e *scrubbedError) Error() string { return e.text }
func (e *scrubbedError) Unwrap() error { return e.err }

// credentials lists what [ClientConfig.Authorize] has put into a request that
// had no headers before: every word of the header values and every query value
// that is new.
func credentials(req *http.Request, before url.Values) []string {
	var found []string
	add := func(values []string) {
		for _, value := range values {
			for _, word := range strings.Fields(value) {
				if len(word) >= 8 {
					found = append(found, word)
				}
			}
		}
	}
	for _, values := range req.Header {
		add(values)
	}
	for key, values := range req.URL.Query() {
		if !before.Has(key) {
			add(values)
		}
	}
	return found
}
