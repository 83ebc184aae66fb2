package record

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Prompt stands for the prompt in what is written: the one that providertest
// submits, so that a look-up by prompt finds it at a replay.
const Prompt = "an embarrassing secret painted on a barn door"

const removed = "[removed]"

// Scrubber makes an answer fit for a repository.
type Scrubber struct {
	// Secrets must not appear, in any writing that a server may give them.
	Secrets []string
	// Prompts are what the caller wrote. [Prompt] takes their place.
	Prompts []string
	// BaseURL is where the provider is; {{BaseURL}} takes its place.
	BaseURL string
	// Around is when it was recorded. Times near it become {{RFC3339}} and
	// {{Unix}}, since look-ups go by them.
	Around time.Time
	// KeepHeaders are kept beside the usual ones.
	KeepHeaders []string
}

// File is the exchange's answer as a file for providertest, or an error when
// something is left in it that must not be.
func (s Scrubber) File(x Exchange) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "HTTP/1.1 %d %s\n", x.Status, http.StatusText(x.Status))
	for _, name := range s.headers(x.Header) {
		for _, value := range x.Header[name] {
			fmt.Fprintf(&out, "%s: %s\n", name, s.text(strings.Join(strings.Fields(value), " ")))
		}
	}
	out.WriteByte('\n')
	out.Write(s.body(x.Header.Get("Content-Type"), x.Body))
	if left := s.left(out.Bytes()); left != "" {
		return nil, fmt.Errorf("the answer still holds %s, and is not written", left)
	}
	return out.Bytes(), nil
}

// kept are the headers that say something which an adapter may go by.
var kept = regexp.MustCompile(`(?i)^(content-type|retry-after.*|.*rate-?limit.*|finish-reason|seed)$`)

func (s Scrubber) headers(header http.Header) []string {
	var names []string
	for name := range header {
		if kept.MatchString(name) || slices.ContainsFunc(s.KeepHeaders, func(k string) bool { return strings.EqualFold(k, name) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// body is JSON, walked through; or text; or bytes, of which a sample is kept.
func (s Scrubber) body(contentType string, body []byte) []byte {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	if value, ok := decoded(body); ok {
		return s.encode(s.value("", value))
	}
	if strings.HasPrefix(mediaType, "text/") || strings.HasSuffix(mediaType, "json") || strings.HasSuffix(mediaType, "xml") {
		return []byte(s.text(string(body)))
	}
	return sample(body)
}

func decoded(body []byte) (any, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber() // numbers come out as they went in
	var value any
	if d.Decode(&value) != nil || d.More() {
		return nil, false
	}
	switch value.(type) {
	case map[string]any, []any:
		return value, true
	}
	return nil, false
}

// unixMark stands for {{Unix}}, which is no JSON, until it is encoded.
const unixMark = "\x02unix\x03"

func (s Scrubber) encode(value any) []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	// It was decoded from JSON: it can be encoded.
	_ = e.Encode(value)
	mark, _ := json.Marshal(unixMark)
	return bytes.ReplaceAll(bytes.TrimSpace(out.Bytes()), mark, []byte("{{Unix}}"))
}

// private are names of members whose text is about who asked.
var private = regexp.MustCompile(`(?i)^(e-?mail|user(_?name|_?id)?|owner|account(_?id)?|org(anization)?(_?id)?|team(_?id)?|workspace(_?id)?|ip(_address)?|` +
	`(api|access|signing|webhook)?_?(key|token|secret)|password|authorization)$`)

// prompts are names of members whose text is what the caller wrote, or what the
// provider has made of it.
var prompts = regexp.MustCompile(`(?i)^(revised_?|original_?|negative_?)?prompt$`)

func (s Scrubber) value(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		scrubbed := make(map[string]any, len(v))
		for key, item := range v {
			scrubbed[s.text(key)] = s.value(key, item)
		}
		return scrubbed
	case []any:
		for i := range v {
			v[i] = s.value(name, v[i])
		}
		return v
	case string:
		switch {
		case v == "":
			return v
		case private.MatchString(name):
			return removed
		case prompts.MatchString(name):
			return Prompt
		}
		return s.scalar(v)
	case json.Number:
		if seconds, err := v.Int64(); err == nil && s.near(time.Unix(seconds, 0)) {
			return unixMark
		}
		return v
	default:
		return v
	}
}

func (s Scrubber) scalar(text string) string {
	if at, err := time.Parse(time.RFC3339, text); err == nil && s.near(at) {
		return "{{RFC3339}}"
	}
	if header, data, ok := strings.Cut(text, ";base64,"); ok && strings.HasPrefix(header, "data:") {
		return header + ";base64," + shortened(data)
	}
	if short := shortened(text); short != text {
		return short
	}
	return s.text(text)
}

func (s Scrubber) near(at time.Time) bool {
	return !s.Around.IsZero() && at.Sub(s.Around).Abs() < 12*time.Hour
}

var (
	urls       = regexp.MustCompile(`(?i)\bhttps?://[^\s"'<>\\]+`)
	longBase64 = regexp.MustCompile(`[A-Za-z0-9+/_-]{160,}={0,2}`)
)

// text takes out of a text what must not stay.
func (s Scrubber) text(text string) string {
	text = urls.ReplaceAllStringFunc(text, withoutQuery)
	for _, secret := range longestFirst(s.Secrets) {
		for _, form := range forms(secret) {
			text = strings.ReplaceAll(text, form, removed)
		}
	}
	for _, prompt := range longestFirst(s.Prompts) {
		text = strings.ReplaceAll(text, prompt, Prompt)
	}
	if base := strings.TrimSuffix(s.BaseURL, "/"); base != "" {
		text = strings.ReplaceAll(text, base, "{{BaseURL}}")
	}
	return longBase64.ReplaceAllStringFunc(text, shortened)
}

// withoutQuery is a URL without what signs it.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return removed
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return u.String()
}

// pixel is the smallest picture.
const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

const (
	longestInline = 160 // characters of base64 that stay as they are
	sampleBytes   = 96
)

// shortened keeps a sample of base64 that holds a file.
func shortened(text string) string {
	if len(text) < longestInline || strings.Trim(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=\r\n") != "" {
		return text
	}
	plain := strings.NewReplacer("-", "+", "_", "/", "=", "", "\r", "", "\n", "").Replace(text)
	data, err := base64.RawStdEncoding.DecodeString(plain)
	if err != nil {
		return removed
	}
	return base64.StdEncoding.EncodeToString(sample(data))
}

// sample is as much of a file as tells what it is: what somebody paid for is
// not for a repository.
func sample(data []byte) []byte {
	if strings.HasPrefix(http.DetectContentType(data), "image/") {
		picture, _ := base64.StdEncoding.DecodeString(pixel)
		return picture
	}
	return data[:min(len(data), sampleBytes)]
}

// forms are the writings in which a server may give a secret back.
func forms(secret string) []string {
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
}

// left names what a file still holds that it must not.
func (s Scrubber) left(file []byte) string {
	text := strings.ToLower(string(file))
	for _, secret := range s.Secrets {
		for _, form := range forms(secret) {
			if strings.Contains(text, strings.ToLower(form)) {
				return "a credential"
			}
		}
	}
	for _, prompt := range s.Prompts {
		if prompt != Prompt && strings.Contains(text, strings.ToLower(prompt)) {
			return "a prompt"
		}
	}
	return ""
}

func longestFirst(texts []string) []string {
	return slices.SortedFunc(slices.Values(texts), func(a, b string) int { return cmp.Compare(len(b), len(a)) })
}
