package providers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// valuesAt returns what stands at a path of a decoded JSON document: names with
// dots between them, and [] behind the name of a list for each of its items.
// What is no list is taken for its own only item.
func valuesAt(v any, path string) []any {
	if path == "" {
		if v == nil {
			return nil
		}
		return []any{v}
	}
	name, rest, _ := strings.Cut(path, ".")
	name, each := strings.CutSuffix(name, "[]")
	object, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	inner := object[name]
	list, isList := inner.([]any)
	if !each || !isList {
		return valuesAt(inner, rest)
	}
	var values []any
	for _, item := range list {
		values = append(values, valuesAt(item, rest)...)
	}
	return values
}

// textAt returns the first text or number at the first path that has one.
func textAt(v any, paths []string) string {
	for _, path := range paths {
		for _, value := range valuesAt(v, path) {
			switch value := value.(type) {
			case string:
				if strings.TrimSpace(value) != "" {
					return value
				}
			case float64:
				return fmt.Sprintf("%.0f", value)
			}
		}
	}
	return ""
}

// eachValue lists the values of a map by the order of its keys.
func eachValue(object map[string]any) []any {
	values := make([]any, 0, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		values = append(values, object[key])
	}
	return values
}
