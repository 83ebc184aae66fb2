// Package command runs a program of this machine as a generator: espeak-ng, sd
// of stable-diffusion.cpp, ffmpeg, any script. Its arguments are a list of
// templates, its input files lie in a private directory, and what it leaves in
// {output} is the result.
//
// # What a caller can do to a program
//
// Give values, and nothing else. There is no shell. The keys that may be given
// are declared, with their types and bounds; others are refused. A value never
// becomes an option: one that begins with a dash is refused where it would begin
// an argument, unless "--" stands before it. A value is never part of a path:
// files are handed over under names of our own.
//
// # Synchronous
//
// Submit runs the program to its end and answers with the files' bytes. Nothing
// is bought by it, so a run whose worker died can be repeated once it is sure to
// be over; see [Provider.Find].
//
// # What it refuses to know
//
// Any program, but for ffmpeg, whose protocols it bounds. It is no sandbox: a
// program can read what its user can. Give it a user of its own, or a container.
package command

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Provider runs programs. It is a [providers.Finder] and a
// [providers.InputChecker].
type Provider struct {
	name     string
	root     string // our directory
	commands []*command

	tidied  sync.Mutex
	tidyDue time.Time
}

// Open makes the provider from its section of the configuration. The programs
// need not be here: a process that only accepts jobs has none of them.
func Open(s providers.Settings) (providers.Provider, error) {
	var config Config
	if err := s.Decode(&config); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	var problems []error
	if s.BaseURL != "" {
		problems = append(problems, errors.New("base_url: a program has none"))
	}
	if s.APIKey != "" {
		problems = append(problems, errors.New("api_key: a program gets none"))
	}
	if s.DataDir == "" {
		problems = append(problems, errors.New("data_dir: is needed"))
	}
	commands, wrong := config.compile()
	problems = append(problems, providers.JoinProblems("options", wrong))
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	root, err := filepath.Abs(filepath.Join(s.DataDir, "command", s.Name))
	if err != nil {
		return nil, errors.New("data_dir: cannot be made absolute")
	}
	return &Provider{name: s.Name, root: root, commands: commands}, nil
}

// Capabilities implements [providers.Provider].
func (p *Provider) Capabilities() providers.Capabilities {
	c := providers.Capabilities{Synchronous: true}
	for _, command := range p.commands {
		c.Features = append(c.Features, providers.FeatureCapability{
			Feature: command.config.Feature, Models: command.config.Models.Names(), Input: command.config.Input.Schema(),
		})
	}
	return c
}

// CheckInput implements [providers.InputChecker]. It refuses what is not
// declared, and every value that would become an option.
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	command := p.command(feature)
	if command == nil {
		return p.invalid("/feature_type", "this provider does not offer the feature")
	}
	if key, detail := command.config.Input.Check(input); detail != "" {
		return p.invalid("/input_data/"+key, detail)
	}
	if _, ok := command.config.Models.Value(model); !ok {
		return p.invalid("/model", "this provider does not have the model")
	}
	values := command.values(model, input)
	for _, one := range command.config.Input {
		if _, given := input[one.Name]; given && one.Type == providers.TypeFile {
			values[one.Name] = "/" + one.Name
		}
	}
	if _, key := command.render(values); key != "" {
		return p.invalid("/input_data/"+key, "must not begin with a dash: it would be taken for an option")
	}
	return nil
}

func (p *Provider) invalid(field, detail string) error {
	return &classify.Error{Class: classify.Validation, Provider: p.name, Field: field, Message: detail}
}

func (p *Provider) command(feature tasks.Feature) *command {
	for _, command := range p.commands {
		if command.config.Feature == feature {
			return command
		}
	}
	return nil
}

// Submit implements [providers.Provider]: it runs the program to its end. An
// error means that it did not run, or was stopped because nobody wanted it any
// more; a program that failed is a Status that has Failed.
func (p *Provider) Submit(ctx context.Context, req providers.Request) (providers.Status, error) {
	if err := p.CheckInput(req.Feature, req.Model, req.Input); err != nil {
		return providers.Status{}, err
	}
	p.tidy(time.Now())
	room, err := p.enter(req)
	if err != nil {
		return providers.Status{}, p.notRun("the program's directory cannot be made", err)
	}
	defer room.leave()
	one := &run{provider: p, command: p.command(req.Feature), room: room, req: req}
	return one.do(ctx)
}

// Poll implements [providers.Provider]: there is nothing to poll.
func (p *Provider) Poll(context.Context, providers.Ref) (providers.Status, error) {
	return providers.Status{}, &classify.Error{
		Class: classify.NotFound, Provider: p.name, Message: "a program answers at once; there is nothing to poll",
	}
}

// notRun is the failure of a program that did not begin: another machine may
// have it, or this one may have it later.
func (p *Provider) notRun(message string, cause error) *classify.Error {
	return &classify.Error{Class: classify.Network, Provider: p.name, Message: message + "; nothing ran", Cause: cause}
}
