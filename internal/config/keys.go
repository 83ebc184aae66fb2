package config

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// settings walks a section and yields its settings with their paths. What is
// not a section itself, a list too, is one setting.
func settings(section reflect.Value, prefix string) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		walkSettings(section, prefix, yield)
	}
}

func walkSettings(section reflect.Value, prefix string, yield func(string, reflect.Value) bool) bool {
	for i := range section.NumField() {
		path, value := join(prefix, key(section.Type().Field(i))), section.Field(i)
		if value.Kind() == reflect.Struct {
			if !walkSettings(value, path, yield) {
				return false
			}
			continue
		}
		if !yield(path, value) {
			return false
		}
	}
	return true
}

// key is the name of a field in the file.
func key(field reflect.StructField) string {
	name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
	return name
}

func join(prefix, key string) string {
	if prefix == "" {
		return key
	}
	return prefix + "." + key
}

// prune removes from the tree of a file what has no place in a configuration,
// and says so: keys that nobody reads, and values where a section or a list
// should be. What is left can be decoded, so that one mistake does not hide the
// next.
func prune(tree map[string]any, section reflect.Type, prefix string, found *problems) {
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		path := join(prefix, name)
		field, known := fieldOf(section, name)
		if !known {
			found.add(path, "unknown key%s", suggestion(name, section))
			delete(tree, name)
			continue
		}
		if tree[name] == nil {
			continue
		}
		if wrong := pruneValue(tree[name], field.Type, path, found); wrong != "" {
			found.add(path, "%s", wrong)
			delete(tree, name)
		}
	}
}

// pruneValue prunes below a value, and says what it should have been if it is
// of the wrong kind altogether.
func pruneValue(value any, wanted reflect.Type, path string, found *problems) string {
	switch value := value.(type) {
	case map[string]any:
		if wanted.Kind() == reflect.Struct {
			prune(value, wanted, path, found)
		} else if wanted.Kind() != reflect.Map {
			return "must not be a section"
		}
	case []any:
		if wanted.Kind() != reflect.Slice {
			return "must not be a list"
		}
		pruneList(value, wanted.Elem(), path, found)
	case nil:
	default:
		_, isText := value.(string)
		if wanted.Kind() == reflect.Map || wanted.Kind() == reflect.Struct && !(isText && shorthand(wanted)) {
			return "must be a section"
		}
	}
	return ""
}

func pruneList(list []any, wanted reflect.Type, path string, found *problems) {
	for i, element := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if wrong := pruneValue(element, wanted, at, found); wrong != "" {
			found.add(at, "%s", wrong)
			list[i] = nil
		}
	}
}

// fieldOf finds a key among the fields of a section, whatever its case: viper
// folds it too.
func fieldOf(section reflect.Type, name string) (reflect.StructField, bool) {
	for i := range section.NumField() {
		if field := section.Field(i); strings.EqualFold(key(field), name) {
			return field, true
		}
	}
	return reflect.StructField{}, false
}

// suggestion names the key that was probably meant.
func suggestion(name string, section reflect.Type) string {
	best, least := "", 3
	for i := range section.NumField() {
		known := key(section.Field(i))
		if d := distance(strings.ToLower(name), known); d < least && d < len(known) {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance is the Levenshtein distance of two short words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
