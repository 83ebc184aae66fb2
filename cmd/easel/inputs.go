package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// maxInputFile bounds a file that is sent inside a request. The server has its
// own, lower bound.
const maxInputFile = 64 << 20

// inputData makes input_data of --prompt and --input key=value.
func inputData(feature tasks.Feature, prompt string, pairs []string) (json.RawMessage, error) {
	input := map[string]json.RawMessage{}
	if prompt != "" {
		input[promptKey(feature)] = text(prompt)
	}
	for _, pair := range pairs {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, usageError{fmt.Errorf("--input %q: must be key=value", printable(name))}
		}
		raw, err := inputValue(value)
		if err != nil {
			return nil, usageError{fmt.Errorf("--input %s: %w", printable(name), err)}
		}
		input[name] = raw
	}
	return json.Marshal(input)
}

// promptKey is where a feature expects what is to be made.
func promptKey(feature tasks.Feature) string {
	if feature == tasks.TextToSpeech {
		return "text"
	}
	return "prompt"
}

// inputValue reads @file as a data URL, JSON as what it says, and everything
// else as text. Text that begins with @ can be written as JSON: "@…" in quotes.
func inputValue(value string) (json.RawMessage, error) {
	if path, isFile := strings.CutPrefix(value, "@"); isFile {
		return dataURL(path)
	}
	if json.Valid([]byte(value)) {
		return json.RawMessage(value), nil
	}
	return text(value), nil
}

func dataURL(path string) (json.RawMessage, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("is not a file")
	case info.Size() > maxInputFile:
		return nil, fmt.Errorf("is larger than %d MiB", maxInputFile>>20)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return text("data:" + mediaType(path, raw) + ";base64," + base64.StdEncoding.EncodeToString(raw)), nil
}

// mediaType goes by the content, and by the name where the content says little.
func mediaType(path string, raw []byte) string {
	sniffed, _, _ := strings.Cut(http.DetectContentType(raw), ";")
	if sniffed != "application/octet-stream" && sniffed != "text/plain" {
		return sniffed
	}
	named, _, err := mime.ParseMediaType(mime.TypeByExtension(filepath.Ext(path)))
	if err != nil {
		return sniffed
	}
	return named
}

// text is a string as JSON, as it is: < and & need no escapes here.
func text(s string) json.RawMessage {
	var out strings.Builder
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	// A string is always encoded; invalid UTF-8 is replaced.
	_ = encoder.Encode(s)
	return json.RawMessage(strings.TrimSuffix(out.String(), "\n"))
}
