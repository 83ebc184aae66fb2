package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Config is the provider's options.
type Config struct {
	Commands []Generator `json:"commands"` // one for each feature
}

// Generator is one program that makes one feature.
type Generator struct {
	Feature tasks.Feature `json:"feature"`
	// Program is a name that the PATH leads to, or an absolute path.
	Program string `json:"program"`
	// Arguments are templates. {name} stands for a declared input, {model} for
	// the model's value, {output} for the directory of the results, {work} for
	// the private directory around it; {{ and }} are braces. An element that is
	// a list is left out where an input in it is not given.
	Arguments []Argument `json:"arguments"`
	// Stdin is a template of what the program reads; empty: nothing.
	Stdin string                 `json:"stdin"`
	Input providers.Declarations `json:"input"`
	// Models are what the request may choose, the default first.
	Models providers.DeclaredModels `json:"models"`
	// Environment is added to PATH, HOME, TMPDIR and LANG, as NAME=value.
	// Nothing else of ours is in it.
	Environment []string `json:"environment"`

	// Progress is a regular expression on a line of the program's output. Its
	// group "percent" is a percentage, or "done" and "total" are a part and
	// the whole.
	Progress string `json:"progress"`
	// Timeout bounds a run; 0 means the submission's own time.
	Timeout providers.Duration `json:"timeout"`
	// MemoryLimit bounds the address space of each process, in bytes. Linux
	// only; elsewhere it is refused, for it would not be held.
	MemoryLimit int64 `json:"memory_limit"`
	// MaxOutputs and MaxOutputBytes bound the results; 0: 16 files, 64 MiB.
	MaxOutputs     int   `json:"max_outputs"`
	MaxOutputBytes int64 `json:"max_output_bytes"`
	// KeptOutput is how many bytes of what the program last wrote are kept to
	// say why it failed; 0: 4 KiB.
	KeptOutput int `json:"kept_output"`
	// ExitCodes say what an exit code means, where it is not that the
	// generation failed.
	ExitCodes []ExitCode `json:"exit_codes"`
}

// ExitCode is what a program's exit code means.
type ExitCode struct {
	Code  int            `json:"code"`
	Class classify.Class `json:"class"`
}

// Argument is one template, or several that are left out together.
type Argument []string

// UnmarshalJSON reads a text or a list of texts.
func (a *Argument) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*a = Argument{one}
		return nil
	}
	var several []string
	if json.Unmarshal(raw, &several) != nil || len(several) == 0 {
		return errors.New("arguments: must be texts, or lists of texts")
	}
	*a = append(Argument{""}, several...) // the first marks a list
	return nil
}

const (
	defaultOutputs     = 16
	defaultOutputBytes = 64 << 20
	defaultKept        = 4 << 10
)

// command is a checked [Generator].
type command struct {
	config   Generator
	groups   []group
	stdin    template
	progress *regexp.Regexp
}

// compile checks the options. What is wrong is told all at once.
func (c Config) compile() ([]*command, []error) {
	var problems []error
	if len(c.Commands) == 0 {
		problems = append(problems, errors.New("commands: is empty"))
	}
	commands := make([]*command, len(c.Commands))
	for i, config := range c.Commands {
		at := fmt.Sprintf("commands[%d]", i)
		if slices.ContainsFunc(c.Commands[:i], func(other Generator) bool { return other.Feature == config.Feature }) {
			problems = append(problems, fmt.Errorf("%s.feature: there is a command for it already", at))
		}
		var wrong []error
		commands[i], wrong = config.compile(at)
		problems = append(problems, wrong...)
	}
	return commands, problems
}

var environment = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*=`)

func (c Generator) compile(at string) (*command, []error) {
	var problems []error
	report := func(field, format string, args ...any) {
		problems = append(problems, fmt.Errorf(at+"."+field+": "+format, args...))
	}
	if c.Feature == "" {
		report("feature", "is missing")
	}
	if c.Program == "" || !filepath.IsAbs(c.Program) && strings.ContainsRune(c.Program, filepath.Separator) {
		report("program", "must be a name or an absolute path")
	}
	for i, setting := range c.Environment {
		if !environment.MatchString(setting) {
			report(fmt.Sprintf("environment[%d]", i), "must be NAME=value")
		}
	}
	for i, exit := range c.ExitCodes {
		if !exit.Class.Valid() || exit.Class == classify.UnknownOutcome {
			report(fmt.Sprintf("exit_codes[%d].class", i), "is not a class of failure that a program can tell")
		}
	}
	for _, bound := range []struct {
		name  string
		value int64
	}{
		{"timeout", int64(c.Timeout)}, {"memory_limit", c.MemoryLimit}, {"max_outputs", int64(c.MaxOutputs)},
		{"max_output_bytes", c.MaxOutputBytes}, {"kept_output", int64(c.KeptOutput)},
	} {
		if bound.value < 0 {
			report(bound.name, "must not be negative")
		}
	}
	if c.MemoryLimit > 0 && !canLimitMemory {
		report("memory_limit", "cannot be held on this system")
	}
	problems = append(problems, c.Models.Problems(at+".models")...)
	problems = append(problems, c.Input.Problems(at+".input")...)
	for i, one := range c.Input {
		if slices.Contains(ownNames, one.Name) {
			report(fmt.Sprintf("input[%d].name", i), "is the name of something else")
		}
	}
	compiled := &command{config: c.withDefaults()}
	progress, err := progressOf(c.Progress)
	if err != nil {
		report("progress", "%w", err)
	}
	compiled.progress = progress
	problems = append(problems, compiled.parse(at)...)
	return compiled, problems
}

func (c Generator) withDefaults() Generator {
	if c.MaxOutputs == 0 {
		c.MaxOutputs = defaultOutputs
	}
	if c.MaxOutputBytes == 0 {
		c.MaxOutputBytes = defaultOutputBytes
	}
	if c.KeptOutput == 0 {
		c.KeptOutput = defaultKept
	}
	return c
}

func (c *command) timeout() time.Duration { return time.Duration(c.config.Timeout) }

// values are the texts of the placeholders, but for files and directories.
func (c *command) values(model string, input map[string]any) map[string]string {
	values := map[string]string{}
	for name, value := range maps.All(c.config.Input.Values(input)) {
		values[name] = providers.Plain(value)
	}
	if value, ok := c.config.Models.Value(model); ok && value != "" {
		values["model"] = value
	}
	return values
}

// classOf says what an exit code means.
func (c *command) classOf(code int) classify.Class {
	for _, exit := range c.config.ExitCodes {
		if exit.Code == code {
			return exit.Class
		}
	}
	return classify.GenerationFailed
}
