package providers

import (
	"encoding/base64"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Attachment is one file of an input as an adapter finds it: its bytes, or
// where it is.
type Attachment struct {
	Data      []byte
	MediaType string
	URL       string
}

// Attachments collects the files that stand at a top-level key of the input: one,
// or a list. There may be none. Each is a file of the request, a URL, a data URL
// or base64; anything else is the caller's mistake.
func (r *Request) Attachments(key string) ([]Attachment, error) {
	v, given := r.Input[key]
	if !given {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		one, err := r.attachment(v, "/"+key)
		if err != nil {
			return nil, err
		}
		return []Attachment{one}, nil
	}
	var found []Attachment
	for i, item := range list {
		one, err := r.attachment(item, fmt.Sprintf("/%s/%d", key, i))
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

func (r *Request) attachment(v any, pointer string) (Attachment, error) {
	if i := slices.IndexFunc(r.Files, func(f File) bool { return f.Pointer == pointer }); i >= 0 {
		return r.Files[i].attachment(), nil
	}
	text, _ := v.(string)
	if isURL(text) {
		return Attachment{URL: text}, nil
	}
	data, mediaType, err := decodeData(text)
	if err != nil || len(data) == 0 {
		return Attachment{}, InvalidInput(pointer, "must be a file: a URL, a data URL or base64")
	}
	return Attachment{Data: data, MediaType: mediaType}, nil
}

func (f File) attachment() Attachment {
	return Attachment{Data: f.Data, MediaType: f.MediaType, URL: f.URL}
}

// NeedURLs refuses files that have no URL, for providers that take nothing else.
// The engine refuses them at the door; what comes as far as here is the job of a
// worker that is configured otherwise than the API.
func (r *Request) NeedURLs() error {
	for _, file := range r.Files {
		if file.URL == "" {
			return InvalidInput(file.Pointer, NeedsPublicURL)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(r.Input)) {
		if text, ok := r.Input[key].(string); ok && strings.HasPrefix(text, "data:") {
			return InvalidInput(key, NeedsPublicURL)
		}
	}
	return nil
}

// NeedsPublicURL says why a file cannot be handed over that the provider would
// have to fetch, and what to do about it.
const NeedsPublicURL = "cannot be handed over: the provider would have to fetch it, and this server has no https address for that. " +
	"Give an https URL that the provider can open, or have api.public_url set"

// WithFiles returns a copy of the input in which each file of the request stands
// at its place, in the form that the provider wants, such as
// [Attachment.Address]. What the caller gave as a URL or a data URL stays.
func (r *Request) WithFiles(form func(Attachment) string) map[string]any {
	input, _ := clone(r.Input).(map[string]any)
	if input == nil {
		input = map[string]any{}
	}
	for _, file := range r.Files {
		place(input, strings.Split(strings.TrimPrefix(file.Pointer, "/"), "/"), form(file.attachment()))
	}
	return input
}

// place sets the value at a JSON pointer (RFC 6901), where there is such a place.
func place(v any, tokens []string, value string) {
	token := unescape(tokens[0])
	last := len(tokens) == 1
	switch v := v.(type) {
	case map[string]any:
		if last {
			v[token] = value
			return
		}
		place(v[token], tokens[1:], value)
	case []any:
		i, err := strconv.Atoi(token)
		if err != nil || i < 0 || i >= len(v) {
			return
		}
		if last {
			v[i] = value
			return
		}
		place(v[i], tokens[1:], value)
	}
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~").Replace

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		copied := maps.Clone(v)
		for key, item := range copied {
			copied[key] = clone(item)
		}
		return copied
	case []any:
		copied := slices.Clone(v)
		for i, item := range copied {
			copied[i] = clone(item)
		}
		return copied
	}
	return v
}

// Address is the file's URL, or a data URI of its bytes.
func (a Attachment) Address() string {
	if a.URL != "" {
		return a.URL
	}
	return "data:" + a.MediaType + ";base64," + a.Base64()
}

// AddressOrBase64 is the file's URL, or its bytes in base64 without anything
// around them.
func (a Attachment) AddressOrBase64() string {
	if a.URL != "" {
		return a.URL
	}
	return a.Base64()
}

// Base64 is the bytes of the file in base64.
func (a Attachment) Base64() string { return base64.StdEncoding.EncodeToString(a.Data) }

// AddTo adds the bytes to a form. Servers go by the file's name, so it gets the
// extension of its media type.
func (a Attachment) AddTo(form *Form, field, name string) {
	form.File(field, name+extensions[a.MediaType], a.MediaType, a.Data)
}

var extensions = map[string]string{
	"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif",
	"audio/mpeg": ".mp3", "audio/wav": ".wav", "audio/x-wav": ".wav", "audio/ogg": ".ogg", "audio/flac": ".flac",
	"video/mp4": ".mp4", "video/webm": ".webm",
}

func isURL(text string) bool {
	return strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://")
}

// decodeData decodes a data URL with base64, or base64 alone, and says what it is.
func decodeData(text string) (data []byte, mediaType string, err error) {
	if rest, found := strings.CutPrefix(text, "data:"); found {
		head, encoded, _ := strings.Cut(rest, ",")
		// What is not a media type is found out from the bytes.
		mediaType, _, _ = mime.ParseMediaType(strings.TrimSuffix(head, ";base64"))
		text = encoded
	}
	if data, err = base64.StdEncoding.DecodeString(text); err != nil {
		return nil, "", err
	}
	if mediaType == "" {
		mediaType = http.DetectContentType(data)
	}
	return data, mediaType, nil
}
