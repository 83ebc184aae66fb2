package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

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
	fmt.Fprintln(table, "PROVIDER\tADAPTER\tHEALTH\tFEATURES")
	for _, provider := range list {
		name, health := provider.ID, provider.Health.Status
		if provider.Default {
			name += " (default)"
		}
		if health == "" {
			health = "unknown"
		}
		if provider.Health.Reason != "" {
			health += ": " + provider.Health.Reason
		}
		features := make([]string, len(provider.Features))
		for i, feature := range provider.Features {
			features[i] = string(feature.FeatureType)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", printable(name), printable(provider.Adapter), printable(health), printable(strings.Join(features, ", ")))
	}
	return table.Flush()
}
