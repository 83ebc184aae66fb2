package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
)

// program is the command line: where it writes, and how it starts a server.
type program struct {
	stdout, stderr io.Writer
	lookupEnv      func(string) (string, bool)
	interactive    bool // a person looks at stderr
	up             func(ctx context.Context, cfg *config.Config, options upOptions) (server, error)
	version        string

	url  string // of the server, from --url
	json bool
}

const defaultURL = "http://127.0.0.1:8080"

// run runs one command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	started := false
	root := p.command()
	root.SetArgs(args)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	err := root.ExecuteContext(ctx)
	if err != nil && !started {
		err = usageError{err} // cobra did not get as far as running it
	}
	if text := problemText(err); text != "" {
		fmt.Fprintln(p.stderr, "easel:", text)
	}
	return exitCode(err)
}

func problemText(err error) string {
	if err == nil {
		return ""
	}
	return printableLines(strings.TrimPrefix(err.Error(), "easel: "))
}

func (p *program) command() *cobra.Command {
	root := &cobra.Command{
		Use:   "easel",
		Short: "Durable AI generation jobs: images, video, audio",
		Long: "Easel runs AI generation jobs durably.\n\n" +
			"easel demo shows what it does; easel up starts a server; the other commands\n" +
			"speak to the server at EASEL_URL (" + defaultURL + ") with the key in EASEL_TOKEN.\n\n" +
			"Exit codes: 0 completed, 1 failed, 2 usage, 3 unresolved, 4 unreachable.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(
		p.upCommand(), p.demoCommand(),
		p.submitCommand(), p.jobsCommand(), p.providersCommand(),
		p.doctorCommand(), p.recordCommand(), p.configCommand(), p.versionCommand(), p.healthcheckCommand(),
	)
	return root
}

// clientFlags are those of commands that speak to a server.
func (p *program) clientFlags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&p.url, "url", "", "`address` of the server (default EASEL_URL, or "+defaultURL+")")
	p.jsonFlag(cmd)
}

func (p *program) jsonFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().BoolVar(&p.json, "json", false, "write JSON, one object a line")
}

// clientRetries outlast a server that is just restarting, and still tell
// somebody at a terminal soon that nobody is there.
const clientRetries = 3

// dial makes the client of the server that the flags and the environment name.
func (p *program) dial() (*client.Client, error) {
	url, token := p.server()
	c, err := client.Dial(url, token, client.WithRetries(clientRetries), client.WithUserAgent("easel-cli/"+p.version))
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// server is where the server is, and the key that opens it.
func (p *program) server() (url, token string) {
	url = p.url
	if url == "" {
		url, _ = p.lookupEnv("EASEL_URL")
	}
	if url == "" {
		url = defaultURL
	}
	token, _ = p.lookupEnv("EASEL_TOKEN")
	return url, token
}

// writeJSON writes a value as one line.
func (p *program) writeJSON(value any) error {
	encoder := json.NewEncoder(p.stdout)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
