package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/pkg/providers/record"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// recording is what the flags of record say.
type recording struct {
	provider, feature, model, prompt string
	inputs                           []string
	session                          record.Session
}

func (p *program) recordCommand() *cobra.Command {
	var r recording
	cmd := &cobra.Command{
		Use:   "record --provider NAME --out DIR",
		Short: "Keep a provider's real answers for the tests of its adapter",
		Long: "Run one generation at a provider and write its answers to files that the adapter's\n" +
			"tests replay. Credentials, prompts, signatures of URLs and the files themselves are\n" +
			"taken out; what would still hold a credential is not written. Read what was written\n" +
			"before you commit it.\n\n" +
			"The generation is paid for, and with --cancel a second one.",
		Example: "  OPENAI_API_KEY=… easel record --provider openai --feature text-to-image --faults --out pkg/providers/openai/testdata/image",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return p.record(cmd, r)
		},
	}
	serverFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&r.provider, "provider", "", "`name` of a configured provider, or of an adapter with the key from its usual variable (required)")
	flags.StringVar(&r.feature, "feature", string(tasks.TextToImage), "kind of generation")
	flags.StringVar(&r.model, "model", "", "which model of the provider (default: its own)")
	flags.StringVar(&r.prompt, "prompt", record.Prompt, "what to make; it is not written")
	flags.StringArrayVar(&r.inputs, "input", nil, "one `key=value` of the input; values are JSON or text")
	flags.StringVar(&r.session.Refused, "refused", "", "a `prompt` that the provider's moderation refuses, to be asked for too")
	flags.BoolVar(&r.session.Cancel, "cancel", false, "start a second generation and cancel it")
	flags.BoolVar(&r.session.Faults, "faults", false, "call with a wrong key, and for a model that does not exist")
	flags.StringSliceVar(&r.session.KeepHeaders, "header", nil, "`names` of answers' headers to keep beside the usual ones")
	flags.StringVar(&r.session.Dir, "out", "", "`directory` for the files (required)")
	flags.DurationVar(&r.session.Patience, "timeout", 0, "how long all of it may take (default 15m)")
	return cmd
}

func (p *program) record(cmd *cobra.Command, r recording) error {
	if r.provider == "" || r.session.Dir == "" {
		return usageError{errors.New("--provider and --out are required")}
	}
	cfg, err := p.load(cmd, []string{r.provider})
	if err != nil {
		return err
	}
	raw, err := inputData(tasks.Feature(r.feature), r.prompt, r.inputs)
	if err != nil {
		return err
	}
	var input map[string]any
	if err := json.Unmarshal(raw, &input); err != nil {
		return err
	}
	r.session.Request = record.Request(tasks.Feature(r.feature), r.model, input)
	r.session.Told = func(name string) { fmt.Fprintln(p.stdout, name) }
	return app.Record(cmd.Context(), cfg, r.provider, r.session)
}
