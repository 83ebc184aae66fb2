// Command api runs the HTTP API, as one process of several
// that meet in Redis.
//
// # What it refuses to know
//
// What the API does. It reads flags and configuration and calls internal/app.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/telemetry"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "api:", err)
		os.Exit(1)
	}
}

// run reads the flags and the configuration, and serves until the context ends.
func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := pflag.NewFlagSet("api", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	config.AddFlags(flags)
	config.AddFlag(flags, "listen", "api.listen", "`address` to listen on")
	config.AddFlag(flags, "metrics-listen", "metrics.listen", "`address` of its own for /metrics")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil // pflag has printed it
		}
		return err
	}
	if flags.NArg() > 0 {
		return errors.New("takes flags only")
	}
	reload := func() (*config.Config, error) { return config.Load(config.LoadOptions{Flags: flags}) }
	cfg, err := reload()
	if err != nil {
		return err
	}
	if err := cfg.RequireRedis(); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(stderr, cfg.Log.Level, cfg.Log.Format)
	if err != nil {
		return err
	}
	return app.API(ctx, cfg, log, reload)
}
