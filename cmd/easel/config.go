package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Look at the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	check := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and show what came of it, without its secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd, nil)
			if err != nil {
				return err
			}
			shown, err := cfg.Redacted()
			if err != nil {
				return err
			}
			fmt.Fprint(p.stdout, shown)
			fmt.Fprintln(p.stderr, "The configuration is good.")
			return nil
		},
	}
	serverFlags(check)
	cmd.AddCommand(check)
	return cmd
}
