package command

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/easel-jobs/easel/pkg/providers"
)

// ownNames are placeholders that stand for something of ours.
var ownNames = []string{"output", "work", "model"}

// template is a text with placeholders.
type template []piece

// piece is a literal text, or the name of a placeholder.
type piece struct {
	text string
	name string
}

// group is arguments that are left out together where an optional input of
// theirs is not given.
type group struct {
	templates []template
	guarded   []bool // behind a "--": nothing here is taken for an option
}

var errBraces = errors.New("has a brace without its partner; a brace itself is written twice")

func parseTemplate(text string) (template, error) {
	var t template
	literal := strings.Builder{}
	flush := func() {
		if literal.Len() > 0 {
			t = append(t, piece{text: literal.String()})
			literal.Reset()
		}
	}
	for len(text) > 0 {
		switch {
		case strings.HasPrefix(text, "{{"), strings.HasPrefix(text, "}}"):
			literal.WriteByte(text[0])
			text = text[2:]
		case text[0] == '{':
			name, rest, found := strings.Cut(text[1:], "}")
			if !found || name == "" {
				return nil, errBraces
			}
			flush()
			t = append(t, piece{name: name})
			text = rest
		case text[0] == '}':
			return nil, errBraces
		default:
			literal.WriteByte(text[0])
			text = text[1:]
		}
	}
	flush()
	return t, nil
}

// parse compiles the templates of the arguments and of stdin.
func (c *command) parse(at string) []error {
	var problems []error
	separated := false
	for i, argument := range c.config.Arguments {
		path := fmt.Sprintf("%s.arguments[%d]", at, i)
		optional := len(argument) > 1
		if optional {
			argument = argument[1:]
		}
		var g group
		for _, text := range argument {
			t, err := parseTemplate(text)
			if err == nil {
				err = c.checkTemplate(t, optional)
			}
			if err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", path, err))
			}
			g.templates, g.guarded = append(g.templates, t), append(g.guarded, separated)
			separated = separated || text == "--" && !c.ffmpeg() // ffmpeg has no end of options
		}
		c.groups = append(c.groups, g)
	}
	stdin, err := parseTemplate(c.config.Stdin)
	if err == nil {
		err = c.checkTemplate(stdin, false)
	}
	if err != nil {
		problems = append(problems, fmt.Errorf("%s.stdin: %w", at, err))
	}
	c.stdin = stdin
	if c.ffmpeg() {
		problems = append(problems, c.boundProtocols(at)...)
	}
	return problems
}

// checkTemplate refuses placeholders that stand for nothing, and a caller's
// text inside a path of ours.
func (c *command) checkTemplate(t template, optional bool) error {
	for _, one := range t {
		if one.name == "" || slices.Contains(ownNames[:2], one.name) {
			continue
		}
		if one.name == "model" {
			if len(c.config.Models) == 0 {
				return errors.New("{model} needs models")
			}
			continue
		}
		declared := c.config.Input.Get(one.name)
		if declared == nil {
			return fmt.Errorf("{%s} is not declared in input", one.name)
		}
		if !declared.Required && declared.Default == nil && !optional {
			return fmt.Errorf("{%s} may be missing: require it, give it a default, or put the arguments that need it into a list of their own", one.name)
		}
		if declared.Type == providers.TypeFile {
			continue
		}
		if slices.ContainsFunc(t, func(other piece) bool { return slices.Contains(ownNames[:2], other.name) }) {
			return fmt.Errorf("{%s} cannot be part of a path", one.name)
		}
	}
	return nil
}

// render makes the arguments. Where a value would begin an argument with a dash
// it answers the value's name instead: programs would take it for an option.
func (c *command) render(values map[string]string) (arguments []string, refused string) {
	for _, g := range c.groups {
		if g.incomplete(values) {
			continue
		}
		for i, t := range g.templates {
			text := t.fill(values)
			if culprit := c.culprit(t, values); culprit != "" && strings.HasPrefix(text, "-") && !g.guarded[i] {
				return nil, culprit
			}
			arguments = append(arguments, text)
		}
	}
	return arguments, ""
}

// culprit is the caller's value that the argument begins with: the first that
// is not empty, unless something of the operator's stands before it.
func (c *command) culprit(t template, values map[string]string) string {
	for _, one := range t {
		text := one.text
		if one.name != "" {
			text = values[one.name]
		}
		if text == "" {
			continue
		}
		if c.config.Input.Get(one.name) == nil {
			return ""
		}
		return one.name
	}
	return ""
}

func (g group) incomplete(values map[string]string) bool {
	return slices.ContainsFunc(g.templates, func(t template) bool {
		return slices.ContainsFunc(t, func(one piece) bool {
			_, given := values[one.name]
			return one.name != "" && !given && !slices.Contains(ownNames[:2], one.name)
		})
	})
}

func (t template) fill(values map[string]string) string {
	var b strings.Builder
	for _, one := range t {
		b.WriteString(one.text)
		if one.name != "" {
			b.WriteString(values[one.name])
		}
	}
	return b.String()
}

// ffmpeg reports whether the program is one of ffmpeg's.
func (c *command) ffmpeg() bool {
	name := filepath.Base(c.config.Program)
	return strings.HasPrefix(name, "ffmpeg") || strings.HasPrefix(name, "ffprobe")
}

// protocols is all that ffmpeg may open: a playlist or a subtitle in a caller's
// file can name addresses inside our network.
const protocols = "file,pipe"

// boundProtocols puts -protocol_whitelist before every input: it is an option
// of the input that follows it.
func (c *command) boundProtocols(at string) []error {
	var problems []error
	inputs := 0
	for i := range c.groups {
		bounded := group{}
		g := c.groups[i]
		for j, t := range g.templates {
			switch {
			case t.is("-protocol_whitelist"):
				problems = append(problems, fmt.Errorf("%s.arguments[%d]: -protocol_whitelist is set by us, to %s", at, i, protocols))
			case t.is("-i"):
				inputs++
				if j+1 == len(g.templates) && i+1 < len(c.groups) && len(c.groups[i+1].templates) > 0 && c.callersText(c.groups[i+1].templates[0]) ||
					j+1 < len(g.templates) && c.callersText(g.templates[j+1]) {
					problems = append(problems, fmt.Errorf("%s.arguments[%d]: what ffmpeg reads must be a file, not a text of the caller's", at, i))
				}
				bounded.add(g.guarded[j], template{{text: "-protocol_whitelist"}}, template{{text: protocols}})
			}
			bounded.add(g.guarded[j], t)
		}
		c.groups[i] = bounded
	}
	if inputs == 0 {
		// ffprobe takes its input without -i.
		first := group{}
		first.add(false, template{{text: "-protocol_whitelist"}}, template{{text: protocols}})
		c.groups = append([]group{first}, c.groups...)
	}
	return problems
}

func (g *group) add(guarded bool, templates ...template) {
	for _, t := range templates {
		g.templates, g.guarded = append(g.templates, t), append(g.guarded, guarded)
	}
}

func (t template) is(text string) bool { return len(t) == 1 && t[0].name == "" && t[0].text == text }

// callersText reports whether a text of the caller's stands in the template.
func (c *command) callersText(t template) bool {
	return slices.ContainsFunc(t, func(one piece) bool {
		declared := c.config.Input.Get(one.name)
		return declared != nil && declared.Type != providers.TypeFile
	})
}
