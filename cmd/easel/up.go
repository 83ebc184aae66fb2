package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
)

func (p *program) upCommand() *cobra.Command {
	var providers []string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run API, worker and dashboard in this process",
		Long: "Run API, worker and dashboard in this process until Ctrl-C. With no Redis configured\n" +
			"it starts its own inside the data directory.",
		Example: "  easel up\n  OPENAI_API_KEY=… easel up --provider openai",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd, providers)
			if err != nil {
				return err
			}
			return p.serve(cmd.Context(), cfg, config.Reloader(p.loadOptions(cmd, providers)))
		},
	}
	serverFlags(cmd)
	cmd.Flags().StringSliceVar(&providers, "provider", nil, "add a provider by the `name` of its adapter, with the key from its usual variable")
	return cmd
}

// serverFlags are those of commands that start a server.
func serverFlags(cmd *cobra.Command) {
	config.AddFlags(cmd.Flags())
	config.AddFlag(cmd.Flags(), "listen", "api.listen", "`address` of the API (default 127.0.0.1:8080)")
	config.AddFlag(cmd.Flags(), "dashboard-listen", "dashboard.listen", "`address` of the dashboard (default 127.0.0.1:8081)")
}

func (p *program) load(cmd *cobra.Command, providers []string) (*config.Config, error) {
	cfg, err := config.Load(p.loadOptions(cmd, providers))
	if err != nil {
		return nil, err
	}
	return cfg, app.Check(cfg)
}

func (p *program) loadOptions(cmd *cobra.Command, providers []string) config.LoadOptions {
	return config.LoadOptions{Flags: cmd.Flags(), LookupEnv: p.lookupEnv, AddProviders: providers}
}

// serve starts a server, says where it is, and stays until it ends.
func (p *program) serve(ctx context.Context, cfg *config.Config, reload func() (*config.Config, error)) (err error) {
	running, err := p.up(ctx, cfg, upOptions{log: p.stderr, reload: reload})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeServer(running, cfg)) }()
	fmt.Fprint(p.stdout, "Easel is up.\n\n")
	if err := describe(p.stdout, running); err != nil {
		return err
	}
	fmt.Fprint(p.stdout, "\nPress Ctrl-C to stop.\n")
	return stand(ctx, running)
}

// describe says where a server is.
func describe(w io.Writer, running server) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "  API\t%s\n", running.APIURL())
	fmt.Fprintf(table, "  Docs\t%s/docs\n", running.APIURL())
	fmt.Fprintf(table, "  Dashboard\t%s\n", running.DashboardURL())
	fmt.Fprintf(table, "  Redis\t%s\n", running.RedisDescription())
	fmt.Fprintf(table, "  Files\t%s\n", running.DataDir())
	return table.Flush()
}

// stand returns when the server has ended, or should: then without an error,
// since somebody asked for it.
func stand(ctx context.Context, running server) error {
	ended := make(chan error, 1)
	go func() { ended <- running.Wait() }()
	select {
	case <-ctx.Done():
		return nil // the caller closes the server, and with it ends the wait
	case err := <-ended:
		return err
	}
}

// closeMargin is what a server needs beside its worker's time to stop.
const closeMargin = 15 * time.Second

// closeServer waits until paid calls under way have been written down.
func closeServer(running server, cfg *config.Config) error {
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Worker.ShutdownTimeout+closeMargin)
	defer cancel()
	if err := running.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("stop: %w", err)
	}
	return nil
}
