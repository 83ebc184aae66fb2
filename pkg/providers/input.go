package providers

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Inputs is what an adapter says of a feature's input_data, as data. Keys are
// the common names (prompt, negative_prompt, image, mask, aspect_ratio, size,
// duration, seed, n, voice, …) where the provider has such a thing, and
// otherwise its own; what is not mentioned is passed on as it is.
type Inputs struct {
	// Required are the keys that must be given.
	Required []string
	// Checks are asked about the keys that are given.
	Checks map[string]Check
	// Names says what the provider calls a common name. With [] at the end it
	// wants a list.
	Names map[string]string
	// Excludes says which key cannot stand beside which.
	Excludes map[string]string
	// Reserved are the provider's parameters that are not the caller's to set:
	// webhooks and callbacks, credentials, storage, the model or its version,
	// switches of safety, the form of the answer. A star at the end stands for
	// any ending, a slash leads into an object.
	Reserved []string
}

// Check returns an error of class classify.Validation that points to the first
// thing wrong with an input, or nil. Parameters that are not mentioned are the
// provider's to judge.
func (in Inputs) Check(input map[string]any) error {
	for _, name := range in.Reserved {
		if pointer := in.find(input, name); pointer != "" {
			return InvalidInput(pointer, "cannot be set here")
		}
	}
	for _, key := range in.Required {
		if input[key] == nil && input[in.named(key)] == nil {
			return InvalidInput(key, "is required")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(input)) {
		if other, ok := in.Excludes[key]; ok && input[other] != nil {
			return InvalidInput(key, "cannot be given beside "+other)
		}
		if check, ok := in.Checks[key]; ok {
			if detail := check(input[key]); detail != "" {
				return InvalidInput(key, detail)
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(in.Names)) {
		own := in.named(key)
		if _, given := input[key]; given && own != key {
			if _, twice := input[own]; twice {
				return InvalidInput(own, "cannot be given beside "+key)
			}
		}
	}
	return nil
}

// Rename returns the input under the provider's names. The input that it was
// given stays as it was.
func (in Inputs) Rename(input map[string]any) map[string]any {
	body := make(map[string]any, len(input))
	for key, value := range input {
		if _, list := value.([]any); !list && strings.HasSuffix(in.Names[key], "[]") {
			value = []any{value}
		}
		body[in.named(key)] = value
	}
	return body
}

// InputName says in a provider's options what a model calls a common name.
type InputName struct {
	Model string `json:"model"`
	Name  string `json:"name"` // the common one
	Is    string `json:"is"`   // the model's own
}

// WithNames returns the inputs with further names for a model, over those that
// are there.
func (in Inputs) WithNames(names map[string]string, configured []InputName, model string) Inputs {
	merged := maps.Clone(in.Names)
	if merged == nil {
		merged = map[string]string{}
	}
	maps.Copy(merged, names)
	for _, name := range configured {
		if name.Model == model {
			merged[name.Name] = name.Is
		}
	}
	in.Names = merged
	return in
}

func (in Inputs) named(key string) string {
	if own, ok := in.Names[key]; ok {
		return strings.TrimSuffix(own, "[]")
	}
	return key
}

// Reserved lists the parameters that no caller sets, whatever they are for at
// which provider, and an adapter's further ones.
func Reserved(further ...string) []string {
	return append([]string{
		"webhook*", "callback*", "model", "model_id", "model_name", "version", "stream",
		"api_key", "apikey", "api_token", "access_token", "authorization", "credentials",
		"enable_safety*", "disable_safety*", "safety_*",
	}, further...)
}

// find returns where a reserved name stands in the input, empty when nowhere.
// Case does not matter: to some servers it does not.
func (in Inputs) find(input map[string]any, name string) string {
	name, rest, nested := strings.Cut(name, "/")
	prefix, open := strings.CutSuffix(name, "*")
	for _, key := range slices.Sorted(maps.Keys(input)) {
		matches := strings.EqualFold(key, name) ||
			open && len(key) >= len(prefix) && strings.EqualFold(key[:len(prefix)], prefix)
		if !matches {
			continue
		}
		if !nested {
			return key
		}
		if inner, ok := input[key].(map[string]any); ok {
			if found := in.find(inner, rest); found != "" {
				return key + "/" + found
			}
		}
	}
	return ""
}

// InvalidInput is the error for a caller's mistake at a key of input_data. It
// does not repeat what stands there.
func InvalidInput(key, detail string) *classify.Error {
	return &classify.Error{Class: classify.Validation, Field: "/input_data/" + strings.TrimPrefix(key, "/"), Message: detail}
}

// NotOffered is the error for a feature that an adapter does not have.
func NotOffered() *classify.Error {
	return &classify.Error{Class: classify.Validation, Field: "/feature_type", Message: "this provider does not offer the feature"}
}

// A Check says what is wrong with a value that was given, in words for the
// caller and without repeating it; empty when nothing is.
type Check func(v any) string

// TextUpTo wants a text that is not blank.
func TextUpTo(characters int) Check {
	return func(v any) string {
		text, ok := v.(string)
		switch {
		case !ok:
			return "must be a text"
		case strings.TrimSpace(text) == "":
			return "must not be empty"
		case utf8.RuneCountInString(text) > characters:
			return fmt.Sprintf("must have at most %d characters", characters)
		}
		return ""
	}
}

// Whole wants a whole number.
func Whole(least, most float64) Check {
	return func(v any) string {
		if n, ok := v.(float64); !ok || n != math.Trunc(n) || n < least || n > most {
			return fmt.Sprintf("must be a whole number from %.0f to %.0f", least, most)
		}
		return ""
	}
}

// Number wants a number.
func Number(least, most float64) Check {
	return func(v any) string {
		if n, ok := v.(float64); !ok || n < least || n > most {
			return fmt.Sprintf("must be a number from %v to %v", least, most)
		}
		return ""
	}
}

// OneOf wants one of the words.
func OneOf(words ...string) Check {
	return func(v any) string {
		if word, ok := v.(string); !ok || !slices.Contains(words, word) {
			return "must be one of " + strings.Join(words, ", ")
		}
		return ""
	}
}

// Matching wants a text of a certain form; what says which.
func Matching(form *regexp.Regexp, what string) Check {
	return func(v any) string {
		if text, ok := v.(string); !ok || !form.MatchString(text) {
			return "must be " + what
		}
		return ""
	}
}

var (
	sizeForm  = regexp.MustCompile(`^[1-9][0-9]{1,4}x[1-9][0-9]{1,4}$`)
	ratioForm = regexp.MustCompile(`^[1-9][0-9]{0,3}:[1-9][0-9]{0,3}$`)
)

// PixelSize wants a width and a height.
var PixelSize = Matching(sizeForm, "a width and a height such as 1024x1024")

// AspectRatio wants two numbers and a colon.
var AspectRatio = Matching(ratioForm, "an aspect ratio such as 16:9")

// Seconds wants a whole number of seconds, as a number or a text.
func Seconds(least, most float64) Check {
	whole := Whole(least, most)
	return func(v any) string {
		if text, ok := v.(string); ok {
			if n, err := strconv.ParseFloat(text, 64); err == nil {
				v = n
			}
		}
		if whole(v) != "" {
			return fmt.Sprintf("must be a whole number of seconds from %.0f to %.0f", least, most)
		}
		return ""
	}
}

// OneFile wants a file: a URL, a data URL, base64, or the reference that takes
// a file's place.
func OneFile(v any) string {
	if !isFile(v) {
		return "must be a file: a URL, a data URL or base64"
	}
	return ""
}

// FilesUpTo wants a file, or a list of up to so many.
func FilesUpTo(most int) Check {
	return func(v any) string {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		if len(list) == 0 || len(list) > most || slices.ContainsFunc(list, func(item any) bool { return !isFile(item) }) {
			return fmt.Sprintf("must be a file, or a list of up to %d", most)
		}
		return ""
	}
}

// OneFetched wants a file for providers that fetch it themselves: an https URL,
// a data URL, or the reference that takes a file's place.
func OneFetched(v any) string {
	text, ok := v.(string)
	if ok && !strings.HasPrefix(text, "https://") && !strings.HasPrefix(text, "data:") || !ok && !isFile(v) {
		return "must be a file: an https URL, a data URL or a stored file, since this provider fetches files itself"
	}
	return ""
}

func isFile(v any) bool {
	switch v := v.(type) {
	case string:
		return v != ""
	case map[string]any:
		return len(v) > 0
	}
	return false
}

// WidthAndHeight are the numbers in a size that [PixelSize] has checked.
func WidthAndHeight(size string) (width, height float64) {
	w, h, _ := strings.Cut(size, "x")
	width, _ = strconv.ParseFloat(w, 64)
	height, _ = strconv.ParseFloat(h, 64)
	return width, height
}

// ModelOr is the model, or a feature's first in the list where there is none.
func ModelOr(models map[tasks.Feature][]string, feature tasks.Feature, model string) string {
	if list := models[feature]; model == "" && len(list) > 0 {
		return list[0]
	}
	return model
}

// Features lists what an adapter offers: each feature with its models, the
// default first, and the schema of its input in schemas/<feature>.json. The
// files are compiled in, so that a missing one is a mistake of the adapter's. It
// is for a variable of the package: capabilities are asked for often.
func Features(schemas fs.FS, models map[tasks.Feature][]string) []FeatureCapability {
	var list []FeatureCapability
	for _, feature := range slices.Sorted(maps.Keys(models)) {
		raw, err := fs.ReadFile(schemas, "schemas/"+string(feature)+".json")
		if err != nil || !json.Valid(raw) {
			panic("providers: no schema for " + string(feature))
		}
		list = append(list, FeatureCapability{Feature: feature, Models: slices.Clone(models[feature]), Input: raw})
	}
	return list
}
