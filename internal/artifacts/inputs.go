package artifacts

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// InputLimits bound the files that a request brings.
type InputLimits struct {
	FileBytes  int64 // one file
	TotalBytes int64 // all files of a request
	Files      int
	Pixels     int64 // of one picture, by its header
	Depth      int   // of objects and lists in each other
	// InlineBase64 is how long a plain base64 string may be before it is
	// taken for a file. Data URLs are taken whatever their length.
	InlineBase64 int
}

// DefaultInputLimits are those of production.
func DefaultInputLimits() InputLimits {
	return InputLimits{
		FileBytes: 32 << 20, TotalBytes: 64 << 20, Files: 16, Pixels: 50_000_000, Depth: 32, InlineBase64: 64 << 10,
	}
}

func (l InputLimits) withDefaults() InputLimits {
	d := DefaultInputLimits()
	if l.FileBytes == 0 {
		l.FileBytes = d.FileBytes
	}
	if l.TotalBytes == 0 {
		l.TotalBytes = d.TotalBytes
	}
	if l.Files == 0 {
		l.Files = d.Files
	}
	if l.Pixels == 0 {
		l.Pixels = d.Pixels
	}
	if l.Depth == 0 {
		l.Depth = d.Depth
	}
	if l.InlineBase64 == 0 {
		l.InlineBase64 = d.InlineBase64
	}
	return l
}

// fileKey marks the reference that takes a file's place: {"$file": index}.
const fileKey = "$file"

// StoreInputs implements [orchestrator.Inputs]. Files are numbered in the order
// of their sorted pointers, so that equal requests have equal references
// however their keys were ordered. An input without files is returned as it is.
//
// Everything wrong with the input itself is reported at once, as joined errors of
// class classify.Validation, before anything is stored; then everything wrong
// with the files that it names.
func (s *Store) StoreInputs(ctx context.Context, jobID string, input json.RawMessage, open orchestrator.OpenSource) (json.RawMessage, []tasks.File, error) {
	x := &extraction{limits: s.inputs}
	value, err := decode(input)
	if err != nil {
		return nil, nil, invalid("", "is not valid JSON")
	}
	value = x.value("", value, 0)
	if err := errors.Join(x.problems...); err != nil {
		return nil, nil, err
	}
	if len(x.files) == 0 {
		return input, nil, nil
	}
	replaced, err := encode(value)
	if err != nil {
		return nil, nil, fmt.Errorf("encode input: %w", err)
	}
	files, err := s.storeFiles(ctx, jobID, x, open)
	if err != nil {
		// Whatever happened to the caller, nobody will ask for these again.
		if left := s.Delete(context.WithoutCancel(ctx), inputsPrefix(jobID)); left != nil {
			err = errors.Join(err, left)
		}
	}
	return replaced, files, err
}

func inputsPrefix(jobID string) string { return jobID + "/inputs" }

// storeFiles stores what the input brought and then what it named. Where it
// fails at the latter, all files are returned as far as they are known.
func (s *Store) storeFiles(ctx context.Context, jobID string, x *extraction, open orchestrator.OpenSource) ([]tasks.File, error) {
	files := make([]tasks.File, len(x.files))
	for i, f := range x.files {
		files[i] = tasks.File{Index: i, Pointer: f.pointer}
		if f.source != nil {
			files[i].Source = f.source.String()
			continue
		}
		stored, err := s.Put(ctx, inputKey(jobID, i), f.mediaType, bytes.NewReader(f.data), s.inputs.FileBytes)
		if err != nil {
			return nil, fmt.Errorf("store input file %d: %w", i, err)
		}
		fill(&files[i], stored)
	}
	var problems []error
	for i, f := range x.files {
		if f.source == nil {
			continue
		}
		stored, err := s.storeSource(ctx, inputKey(jobID, i), *f.source, open)
		if x.total += stored.Bytes; err == nil && x.total > s.inputs.TotalBytes {
			err = refused("makes all files together larger than %d bytes", s.inputs.TotalBytes)
		}
		var refusal *classify.Error
		switch {
		case err == nil:
			fill(&files[i], stored)
		case errors.As(err, &refusal) && refusal.Class == classify.Validation:
			problems = append(problems, invalid(f.pointer, "%s", refusal.Message))
		default:
			return files, fmt.Errorf("store input file %d: %w", i, err)
		}
	}
	return files, errors.Join(problems...)
}

func inputKey(jobID string, index int) string {
	return inputsPrefix(jobID) + "/" + strconv.Itoa(index) + ".*"
}

func fill(f *tasks.File, stored tasks.Artifact) {
	f.Key, f.MediaType, f.Bytes, f.SHA256 = stored.Key, stored.MediaType, stored.Bytes, stored.SHA256
}

func (s *Store) storeSource(ctx context.Context, key string, source tasks.Source, open orchestrator.OpenSource) (tasks.Artifact, error) {
	if open == nil {
		return tasks.Artifact{}, refused("names a file, which is not possible here")
	}
	r, mediaType, err := open(ctx, source)
	if err != nil {
		return tasks.Artifact{}, err
	}
	stored, err := s.StoreFile(ctx, key, mediaType, r)
	_ = r.Close() // all of it was read, or something went wrong already
	return stored, err
}

// StoreFile implements [orchestrator.Inputs].
func (s *Store) StoreFile(ctx context.Context, key, claimedType string, r io.Reader) (tasks.Artifact, error) {
	stored, err := s.Put(ctx, key, claimedType, r, s.inputs.FileBytes)
	if err != nil {
		var failure *classify.Error
		if errors.As(err, &failure) {
			switch failure.Code {
			case CodeEmpty:
				err = refused("is an empty file")
			case CodeNotMedia:
				err = refused("is not what its media type says")
			case CodeTooLarge:
				err = refused("%s", errFileBytes(s.inputs.FileBytes))
			}
		}
		return tasks.Artifact{}, err
	}
	if err := checkSize(stored.MediaType, stored.Width, stored.Height, s.inputs.Pixels); err != nil {
		return tasks.Artifact{}, errors.Join(refused("%s", err), s.Delete(context.WithoutCancel(ctx), stored.Key))
	}
	return stored, nil
}

// refused is a file that may not be an input, wherever it stands.
func refused(format string, args ...any) error {
	return &classify.Error{Class: classify.Validation, Code: "input_invalid", Message: fmt.Sprintf(format, args...)}
}

func decode(input json.RawMessage) (any, error) {
	d := json.NewDecoder(bytes.NewReader(input))
	d.UseNumber() // numbers come out as they went in
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the value")
	}
	return value, nil
}

func encode(value any) (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// inputFile is a file that was found in the input: its bytes, or where they are.
type inputFile struct {
	pointer   string
	mediaType string
	data      []byte
	source    *tasks.Source
}

// extraction is one walk through an input.
type extraction struct {
	limits   InputLimits
	files    []inputFile
	total    int64
	problems []error
}

func (x *extraction) refuse(pointer, format string, args ...any) {
	x.problems = append(x.problems, invalid(pointer, format, args...))
}

// invalid never says what the value was.
func invalid(pointer, format string, args ...any) error {
	return &classify.Error{
		Class: classify.Validation, Code: "input_invalid", Field: "/input_data" + pointer, Message: fmt.Sprintf(format, args...),
	}
}

// value returns what takes the place of v.
func (x *extraction) value(pointer string, v any, depth int) any {
	if depth > x.limits.Depth {
		x.refuse(pointer, "is nested deeper than %d levels", x.limits.Depth)
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		if _, ok := v[fileKey]; ok {
			x.refuse(pointer, "must not hold the key %q, which stands for stored files", fileKey)
			return nil
		}
		if source, is, err := tasks.SourceOf(v); is || err != nil {
			return x.source(pointer, source, err)
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			v[key] = x.value(pointer+"/"+escape(key), v[key], depth+1)
		}
		return v
	case []any:
		for i := range v {
			v[i] = x.value(pointer+"/"+strconv.Itoa(i), v[i], depth+1)
		}
		return v
	case string:
		return x.text(pointer, v)
	default:
		return v
	}
}

// escapes are those of a JSON pointer (RFC 6901 §3). Made once: a replacer is
// some kilobytes, and an input may have many thousand keys.
var escapes = strings.NewReplacer("~", "~0", "/", "~1")

// escape writes a key as a part of a JSON pointer.
func escape(key string) string { return escapes.Replace(key) }

// text replaces a string that is a file.
func (x *extraction) text(pointer, text string) any {
	data, mediaType, err := fileIn(text, x.limits)
	switch {
	case errors.Is(err, errNoFile):
		return text
	case err != nil:
		x.refuse(pointer, "%s", err)
		return nil
	}
	if err := x.check(mediaType, data); err != nil {
		x.refuse(pointer, "%s", err)
		return nil
	}
	return x.add(inputFile{pointer: pointer, mediaType: mediaType, data: data})
}

// source replaces an object that names a file.
func (x *extraction) source(pointer string, source tasks.Source, err error) any {
	if err == nil && len(x.files) >= x.limits.Files {
		err = errFiles(x.limits.Files)
	}
	if err != nil {
		x.refuse(pointer, "%s", err)
		return nil
	}
	return x.add(inputFile{pointer: pointer, source: &source})
}

func (x *extraction) add(f inputFile) any {
	x.files = append(x.files, f)
	return map[string]any{fileKey: len(x.files) - 1}
}

func errFiles(limit int) error { return fmt.Errorf("is one more than %d files", limit) }

// check looks at a file's size and header.
func (x *extraction) check(claimed string, data []byte) error {
	x.total += int64(len(data))
	switch {
	case len(data) == 0:
		return errors.New("is an empty file")
	case int64(len(data)) > x.limits.FileBytes:
		return errFileBytes(x.limits.FileBytes)
	case x.total > x.limits.TotalBytes:
		return fmt.Errorf("makes all files together larger than %d bytes", x.limits.TotalBytes)
	case len(x.files) >= x.limits.Files:
		return errFiles(x.limits.Files)
	}
	mediaType, err := mediaTypeOf(data[:min(len(data), headSize)], claimed)
	if err != nil {
		return errors.New("is not what its media type says")
	}
	return checkPicture(mediaType, data, x.limits.Pixels)
}

func errFileBytes(limit int64) error { return fmt.Errorf("is a file larger than %d bytes", limit) }

// checkPicture refuses pictures that would be too much to decode for whoever
// has to, and those whose header cannot be read.
func checkPicture(mediaType string, data []byte, limit int64) error {
	m := measure(mediaType, bytes.NewReader(data), int64(len(data)))
	return checkSize(mediaType, m.width, m.height, limit)
}

func checkSize(mediaType string, width, height int, limit int64) error {
	if _, ok := measurers[mediaType]; !ok || major(mediaType) != "image" {
		return nil
	}
	if width == 0 || height == 0 {
		return fmt.Errorf("is not a readable %s", mediaType)
	}
	if int64(width)*int64(height) > limit {
		return fmt.Errorf("is a picture of more than %d pixels", limit)
	}
	return nil
}

var errNoFile = errors.New("not a file")

// fileIn returns the file that a string holds: a data URL, or long base64.
func fileIn(text string, limits InputLimits) (data []byte, mediaType string, err error) {
	if header, body, ok := cutDataURL(text); ok {
		return readDataURL(header, body, limits.FileBytes)
	}
	if len(text) <= limits.InlineBase64 {
		return nil, "", errNoFile
	}
	data, err = base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, "", errNoFile
	}
	return data, "", nil
}

// cutDataURL splits a data URL (RFC 2397) into what stands before its comma and
// behind it. A text that only begins with "data:" is a text.
func cutDataURL(text string) (header, body string, ok bool) {
	const scheme = "data:"
	if len(text) < len(scheme) || !strings.EqualFold(text[:len(scheme)], scheme) {
		return "", "", false
	}
	rest := text[len(scheme):]
	comma := strings.IndexByte(rest[:min(len(rest), 256)], ',')
	if comma < 0 {
		return "", "", false
	}
	header, body = rest[:comma], rest[comma+1:]
	if strings.ContainsAny(header, " \t\r\n") {
		return "", "", false
	}
	if mediaType, _, _ := strings.Cut(header, ";"); mediaType == "" {
		return header, body, strings.EqualFold(header, base64Mark)
	}
	_, _, err := mime.ParseMediaType(strings.TrimSuffix(strings.ToLower(header), base64Mark))
	return header, body, err == nil && strings.Contains(header, "/")
}

const base64Mark = ";base64"

func readDataURL(header, body string, limit int64) (data []byte, mediaType string, err error) {
	lower := strings.ToLower(header)
	if !strings.HasSuffix(lower, base64Mark) {
		text, err := url.PathUnescape(body)
		if err != nil {
			return nil, "", errors.New("is a data URL that is not escaped as it should be")
		}
		return []byte(text), lower, nil
	}
	// Refused before it takes memory; three bytes of leeway for padding.
	if int64(base64.StdEncoding.DecodedLen(len(body))) > limit+3 {
		return nil, "", errFileBytes(limit)
	}
	data, err = decodeBase64(body)
	if err != nil {
		return nil, "", errors.New("is a data URL that is not valid base64")
	}
	return data, strings.TrimSuffix(lower, base64Mark), nil
}

// decodeBase64 takes both alphabets, with padding or without: data URLs in the
// wild have all four.
func decodeBase64(text string) ([]byte, error) {
	encoding := base64.StdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.URLEncoding
	}
	if len(text)%4 != 0 {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	return encoding.DecodeString(text)
}
