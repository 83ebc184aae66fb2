package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/telemetry"
)

// Process is one of the processes that make up an Easel and meet in Redis.
type Process struct {
	Name string
	// Flags are those that it takes beside the common ones.
	Flags []Flag
	// Serve runs it until the context ends.
	Serve func(ctx context.Context, cfg *config.Config, log *zap.Logger, reload Reload) error
}

// Flag is a flag that overrides a setting.
type Flag struct{ Name, Setting, Usage string }

// The exit codes of a [Process].
const (
	exitEnded  = 0
	exitFailed = 1
	exitUsage  = 2 // a command line or a configuration that makes no sense
)

// Main is the main function of a process: it reads flags and configuration,
// serves until it is asked to stop, and returns the exit code.
func (p Process) Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return p.run(ctx, os.Args[1:], os.Stderr)
}

func (p Process) run(ctx context.Context, args []string, stderr io.Writer) int {
	options, err := p.parse(args, stderr)
	if errors.Is(err, pflag.ErrHelp) {
		return exitEnded // pflag has printed it
	}
	code := exitUsage
	if err == nil {
		code, err = p.serve(ctx, options, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
	}
	return code
}

// parse reads the command line.
func (p Process) parse(args []string, stderr io.Writer) (config.LoadOptions, error) {
	flags := pflag.NewFlagSet(p.Name, pflag.ContinueOnError)
	flags.SetOutput(stderr)
	config.AddFlags(flags)
	for _, f := range p.Flags {
		config.AddFlag(flags, f.Name, f.Setting, f.Usage)
	}
	if err := flags.Parse(args); err != nil {
		return config.LoadOptions{}, err
	}
	if flags.NArg() > 0 {
		return config.LoadOptions{}, errors.New("takes flags only")
	}
	return config.LoadOptions{Flags: flags}, nil
}

// serve reads the configuration, and serves until the context ends.
func (p Process) serve(ctx context.Context, options config.LoadOptions, stderr io.Writer) (int, error) {
	reload := config.Reloader(options)
	cfg, err := reload()
	if err != nil {
		return exitUsage, err
	}
	if err := cfg.RequireRedis(); err != nil {
		return exitUsage, err
	}
	if err := Check(cfg); err != nil {
		return exitUsage, err
	}
	log, err := telemetry.NewLogger(stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return exitUsage, err
	}
	err = p.Serve(ctx, cfg, log, reload)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return exitEnded, nil // it was asked to stop while it started
	}
	if err != nil {
		return exitFailed, err
	}
	return exitEnded, nil
}
