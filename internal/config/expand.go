package config

import (
	"fmt"
	"strings"
)

// expand replaces ${NAME} in every value below a tree. A variable that is not
// set is a problem at the path of the value, unless the value says what to use
// instead: ${NAME:-default}. $${ stands for ${ itself.
func expand(value any, path string, lookup func(string) (string, bool), found *problems) any {
	switch value := value.(type) {
	case map[string]any:
		for name := range value {
			value[name] = expand(value[name], join(path, name), lookup, found)
		}
	case []any:
		for i := range value {
			value[i] = expand(value[i], fmt.Sprintf("%s[%d]", path, i), lookup, found)
		}
	case string:
		text, wrong := expandText(value, lookup)
		for _, detail := range wrong {
			found.add(path, "%s", detail)
		}
		return text
	}
	return value
}

func expandText(text string, lookup func(string) (string, bool)) (string, []string) {
	var out strings.Builder
	var wrong []string
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(text)
			return out.String(), wrong
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(literal + "${")
			text = rest
			continue
		}
		out.WriteString(before)
		reference, after, closed := strings.Cut(rest, "}")
		if !closed {
			return out.String(), append(wrong, "${ is not closed; write $${ for the characters themselves")
		}
		value, problem := resolve(reference, lookup)
		if problem != "" {
			wrong = append(wrong, problem)
		}
		out.WriteString(value)
		text = after
	}
}

// resolve looks up NAME or NAME:-default. As in a shell, the default also
// replaces a variable that is set to nothing.
func resolve(reference string, lookup func(string) (string, bool)) (value, problem string) {
	name, fallback, hasFallback := strings.Cut(reference, ":-")
	if !validVariable(name) {
		return "", "${…} must hold the name of an environment variable; write $${ for the characters themselves"
	}
	value, set := lookup(name)
	switch {
	case hasFallback && value == "":
		return fallback, ""
	case !set:
		return "", fmt.Sprintf("environment variable %s is not set", name)
	default:
		return value, ""
	}
}

func validVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
