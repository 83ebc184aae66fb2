package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Show which release this is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			platform := runtime.GOOS + "/" + runtime.GOARCH
			if p.json {
				return p.writeJSON(map[string]string{"version": p.version, "go": runtime.Version(), "platform": platform})
			}
			fmt.Fprintf(p.stdout, "easel %s (%s, %s)\n", p.version, runtime.Version(), platform)
			return nil
		},
	}
	p.jsonFlag(cmd)
	return cmd
}
