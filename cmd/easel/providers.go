package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/pkg/client"
)

func (p *program) providersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "providers",
		Short: "Show the server's providers, what they offer and how they fare",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			list, err := c.Providers(cmd.Context())
			if err != nil {
				return err
			}
			return p.showProviders(list)
		},
	}
	p.clientFlags(cmd)
	cmd.AddCommand(
		p.operateCommand("pause", "Stop spending at a provider, on all workers and at once", (*client.Client).PauseProvider),
		p.operateCommand("resume", "Let the jobs that wait for a paused provider go on", (*client.Client).ResumeProvider),
	)
	return cmd
}

func (p *program) operateCommand(verb, short string, operate func(*client.Client, context.Context, string) (*client.Provider, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			provider, err := operate(c, cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return p.showProviders([]client.Provider{*provider})
		},
	}
	p.clientFlags(cmd)
	return cmd
}

func (p *program) showProviders(list []client.Provider) error {
	if p.json {
		for _, provider := range list {
			if err := p.writeJSON(provider); err != nil {
				return err
			}
		}
		return nil
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "PROVIDER\tADAPTER\tHEALTH\tIN FLIGHT\tWAITING\tFEATURES")
	for _, provider := range list {
		name, health := provider.ID, provider.Health.Status
		if health == "" {
			health = "unknown"
		}
		if provider.PausedSince != nil {
			health = "paused since " + provider.PausedSince.Local().Format(time.DateTime) + "; " + health
		}
		if provider.Default {
			name += " (default)"
		}
		if provider.Health.Reason != "" {
			health += ": " + provider.Health.Reason
		}
		features := make([]string, len(provider.Features))
		for i, feature := range provider.Features {
			features[i] = string(feature.FeatureType)
		}
		inFlight := strconv.Itoa(provider.InFlight)
		if most := provider.Limits.MaxInFlight; most != nil {
			inFlight += fmt.Sprintf("/%d", *most)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%s\n", printable(name), printable(provider.Adapter), printable(health),
			inFlight, provider.Waiting, printable(strings.Join(features, ", ")))
	}
	return table.Flush()
}
