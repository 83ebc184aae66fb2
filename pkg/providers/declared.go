package providers

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Declaration is one key of input_data that a configuration declares, for
// adapters that offer what their operator says and nothing else: a program's
// arguments, the placeholders of a graph.
type Declaration struct {
	Name        string `json:"name"`
	Type        string `json:"type"` // one of the types below; empty: string
	Description string `json:"description"`
	Required    bool   `json:"required"`
	Default     any    `json:"default"`
	Enum        []any  `json:"enum"`
	// Pattern is a regular expression that a string matches as a whole.
	Pattern   string   `json:"pattern"`
	MinLength int      `json:"min_length"`
	MaxLength int      `json:"max_length"` // 0: 10,000 characters
	Minimum   *float64 `json:"minimum"`
	Maximum   *float64 `json:"maximum"`
	// Accept lists the media types of a file, as sniffed: image/png, image/*.
	// Empty: pictures, films and sounds.
	Accept []string `json:"accept"`
}

// The types of a [Declaration].
const (
	TypeString  = "string"
	TypeInteger = "integer"
	TypeNumber  = "number"
	TypeBoolean = "boolean"
	TypeFile    = "file"
)

// Declarations are the keys of one feature's input. Others are refused.
type Declarations []Declaration

const (
	maxDeclaredLength = 10_000
	maxExact          = 1 << 53 // beyond it a number of JSON is not exact
)

var declaredName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// Problems lists what is wrong with the declarations, each with its path below
// the one given.
func (d Declarations) Problems(path string) []error {
	var problems []error
	for i, one := range d {
		at := fmt.Sprintf("%s[%d]", path, i)
		if slices.ContainsFunc(d[:i], func(other Declaration) bool { return other.Name == one.Name }) {
			problems = append(problems, fmt.Errorf("%s.name: %q is taken", at, one.Name))
		}
		problems = append(problems, one.problems(at)...)
	}
	return problems
}

func (d Declaration) problems(at string) []error {
	var problems []error
	report := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf(at+"."+field+": "+format, args...))
	}
	if !declaredName.MatchString(d.Name) {
		report("name", "must be lower case letters, digits and underscores")
	}
	if !slices.Contains([]string{"", TypeString, TypeInteger, TypeNumber, TypeBoolean, TypeFile}, d.Type) {
		report("type", "must be string, integer, number, boolean or file")
		return problems
	}
	if _, err := d.expression(); err != nil {
		report("pattern", "is not a regular expression")
		return problems
	}
	for i, value := range d.Enum {
		if detail := d.wrong(value); detail != "" {
			report("enum["+strconv.Itoa(i)+"]", "%s", detail)
		}
	}
	if d.Default != nil && d.Type == TypeFile {
		report("default", "a file has none")
	} else if detail := d.check(d.Default); d.Default != nil && detail != "" {
		report("default", "%s", detail)
	}
	if d.Type != TypeFile && len(d.Accept) > 0 {
		report("accept", "is for files")
	}
	return problems
}

// Get returns the declaration of that name, or nil.
func (d Declarations) Get(name string) *Declaration {
	for i := range d {
		if d[i].Name == name {
			return &d[i]
		}
	}
	return nil
}

// Schema is the JSON Schema of the input.
func (d Declarations) Schema() json.RawMessage {
	properties, required := map[string]any{}, []string{}
	for _, one := range d {
		properties[one.Name] = one.schema()
		if one.Required {
			required = append(required, one.Name)
		}
	}
	// Texts, numbers and lists of them: encoding does not fail.
	raw, _ := json.Marshal(map[string]any{
		"type": "object", "properties": properties, "required": required, "additionalProperties": false,
	})
	return raw
}

func (d Declaration) schema() map[string]any {
	s := map[string]any{"type": d.kind()}
	set := func(key string, value any, given bool) {
		if given {
			s[key] = value
		}
	}
	set("description", d.Description, d.Description != "")
	set("default", d.Default, d.Default != nil)
	set("enum", d.Enum, len(d.Enum) > 0)
	set("minimum", d.Minimum, d.Minimum != nil)
	set("maximum", d.Maximum, d.Maximum != nil)
	switch d.kind() {
	case TypeString:
		set("pattern", "^(?:"+d.Pattern+")$", d.Pattern != "")
		set("minLength", d.MinLength, d.MinLength > 0)
		s["maxLength"] = d.maxLength()
	case TypeFile:
		delete(s, "type")
		set("description", "A file.", d.Description == "")
	}
	return s
}

// Check returns the key of the input that is wrong, and how; no detail means
// that nothing is.
func (d Declarations) Check(input map[string]any) (key, detail string) {
	for _, name := range slices.Sorted(maps.Keys(input)) {
		if d.Get(name) == nil {
			return name, "is not an input of this feature"
		}
	}
	for _, one := range d {
		value, given := input[one.Name]
		switch {
		case !given && one.Required:
			return one.Name, "is required"
		case given:
			if detail := one.check(value); detail != "" {
				return one.Name, detail
			}
		}
	}
	return "", ""
}

// Values are the input's values and the defaults of what is not given, but for
// files.
func (d Declarations) Values(input map[string]any) map[string]any {
	values := map[string]any{}
	for _, one := range d {
		value, given := input[one.Name]
		switch {
		case one.Type == TypeFile:
		case given:
			values[one.Name] = value
		case one.Default != nil:
			values[one.Name] = one.Default
		}
	}
	return values
}

func (d Declaration) kind() string {
	if d.Type == "" {
		return TypeString
	}
	return d.Type
}

func (d Declaration) maxLength() int {
	if d.MaxLength > 0 {
		return d.MaxLength
	}
	return maxDeclaredLength
}

func (d Declaration) expression() (*regexp.Regexp, error) {
	return regexp.Compile(`^(?:` + d.Pattern + `)$`)
}

// check says what is wrong with a value, empty when nothing is.
func (d Declaration) check(value any) string {
	if detail := d.wrong(value); detail != "" {
		return detail
	}
	if len(d.Enum) > 0 && !slices.ContainsFunc(d.Enum, func(one any) bool { return same(one, value) }) {
		return "must be one of " + strings.Join(d.choices(), ", ")
	}
	return ""
}

// same compares scalars of JSON and of YAML, whose whole numbers are ints.
func same(a, b any) bool { return fmt.Sprint(number(a)) == fmt.Sprint(number(b)) }

func number(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	}
	return v
}

func (d Declaration) choices() []string {
	var list []string
	for _, one := range d.Enum {
		list = append(list, fmt.Sprint(one))
	}
	return list
}

func (d Declaration) wrong(value any) string {
	switch d.kind() {
	case TypeString:
		return d.wrongText(value)
	case TypeInteger, TypeNumber:
		return d.wrongNumber(value)
	case TypeBoolean:
		if _, ok := value.(bool); !ok {
			return "must be true or false"
		}
	case TypeFile:
		switch v := value.(type) {
		case string:
			if v != "" {
				return ""
			}
		case map[string]any:
			if len(v) > 0 {
				return ""
			}
		}
		return "must be a file"
	}
	return ""
}

func (d Declaration) wrongText(value any) string {
	text, ok := value.(string)
	expression, err := d.expression()
	switch n := utf8.RuneCountInString(text); {
	case !ok:
		return "must be a text"
	case !utf8.ValidString(text) || strings.ContainsRune(text, 0):
		return "must be a text without null characters"
	case d.Required && d.MinLength == 0 && strings.TrimSpace(text) == "":
		return "must not be empty"
	case n < d.MinLength:
		return fmt.Sprintf("must have at least %d characters", d.MinLength)
	case n > d.maxLength():
		return fmt.Sprintf("must have at most %d characters", d.maxLength())
	case err == nil && d.Pattern != "" && !expression.MatchString(text):
		return "does not have the form that it must have"
	}
	return ""
}

func (d Declaration) wrongNumber(value any) string {
	n, ok := number(value).(float64)
	switch {
	case !ok || math.IsNaN(n) || math.IsInf(n, 0):
		return "must be a number"
	case d.Type == TypeInteger && (n != math.Trunc(n) || math.Abs(n) > maxExact):
		return "must be a whole number"
	case d.Minimum != nil && n < *d.Minimum:
		return fmt.Sprintf("must be at least %v", *d.Minimum)
	case d.Maximum != nil && n > *d.Maximum:
		return fmt.Sprintf("must be at most %v", *d.Maximum)
	}
	return ""
}

// Accepts reports whether a file of the media type may be given.
func (d Declaration) Accepts(mediaType string) bool {
	accept := d.Accept
	if len(accept) == 0 {
		accept = []string{"image/*", "video/*", "audio/*"}
	}
	return slices.ContainsFunc(accept, func(one string) bool {
		prefix, wild := strings.CutSuffix(one, "*")
		return one == mediaType || wild && strings.HasPrefix(mediaType, prefix)
	})
}

// DeclaredModel is a model that a configuration declares: the name that a
// request may say, and the text that takes the place of {model}.
type DeclaredModel struct {
	Name  string `json:"name"`
	Value string `json:"value"` // empty: the name
}

// DeclaredModels are the models of one feature, the default first.
type DeclaredModels []DeclaredModel

// Problems lists what is wrong with the models, each with its path below the
// one given.
func (d DeclaredModels) Problems(path string) []error {
	var problems []error
	for i, model := range d {
		if model.Name == "" {
			problems = append(problems, fmt.Errorf("%s[%d].name: is missing", path, i))
		}
	}
	return problems
}

// Names lists what a request may say.
func (d DeclaredModels) Names() []string {
	var names []string
	for _, model := range d {
		names = append(names, model.Name)
	}
	return names
}

// Value is a model's text, the default's where none is named. It is not ok when
// there is no such model; where there are no models at all, none may be named.
func (d DeclaredModels) Value(name string) (value string, ok bool) {
	for _, model := range d {
		if model.Name != name && name != "" {
			continue
		}
		if model.Value == "" {
			return model.Name, true
		}
		return model.Value, true
	}
	return "", len(d) == 0 && name == ""
}

// Plain writes a value of a declared type as a program or a form reads it.
func Plain(value any) string {
	switch v := number(value).(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return ""
}

// JoinProblems is all problems as one error below a path, nil where there are
// none.
func JoinProblems(path string, problems []error) error {
	var all []error
	for _, problem := range problems {
		all = append(all, fmt.Errorf("%s: %w", path, problem))
	}
	return errors.Join(all...)
}
