package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// submission is what the flags of submit say.
type submission struct {
	feature, prompt, provider, model, user string
	priority, webhook, runAt, key, out     string
	inputs, files, fallbacks, metadata     []string
	retryAttempts                          int
	retryDelay, timeout                    time.Duration
	wait                                   bool
}

func (p *program) submitCommand() *cobra.Command {
	var s submission
	cmd := &cobra.Command{
		Use:   "submit --feature text-to-image --prompt \"…\"",
		Short: "Ask for a job",
		Example: "  easel submit --feature text-to-image --prompt \"A harbour at dawn\" --wait --out .\n" +
			"  easel submit --feature upscale --file image=@photo.png --input factor=2 --json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			draft, err := s.draft(cmd.Flags())
			if err != nil {
				return err
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			if draft.InputData, err = p.attach(cmd.Context(), draft.InputData, s.files); err != nil {
				return err
			}
			return p.submit(cmd.Context(), c, draft, s)
		},
	}
	p.clientFlags(cmd)
	s.addFlags(cmd.Flags())
	return cmd
}

func (s *submission) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&s.feature, "feature", "", "kind of generation, such as text-to-image (required)")
	flags.StringVar(&s.prompt, "prompt", "", "what to make; for text-to-speech, what to say")
	flags.StringArrayVar(&s.inputs, "input", nil, "one `key=value` of the input; values are JSON or text, @file sends a file")
	flags.StringArrayVar(&s.files, "file", nil, "upload a file and make it the input at a key: `key=@file`")
	flags.StringVar(&s.provider, "provider", "", "which provider (default: the server chooses)")
	flags.StringSliceVar(&s.fallbacks, "fallback", nil, "`providers` to turn to when the first one fails")
	flags.StringVar(&s.model, "model", "", "which model of the provider")
	flags.StringVar(&s.user, "user", "", "the user that the job is for")
	flags.StringVar(&s.priority, "priority", "", "high, default or low")
	flags.StringArrayVar(&s.metadata, "metadata", nil, "one `key=value` to keep with the job")
	flags.StringVar(&s.webhook, "webhook", "", "`URL` to tell when the job comes to rest")
	flags.StringVar(&s.runAt, "run-at", "", "`time` before which it must not run, as 2026-01-02T15:04:05Z")
	flags.IntVar(&s.retryAttempts, "retry-attempts", 0, "failures that are tried again (default: the server's)")
	flags.DurationVar(&s.retryDelay, "retry-delay", 0, "first wait between tries (default: the server's)")
	flags.DurationVar(&s.timeout, "timeout", 0, "from acceptance to the end (default: the server's)")
	flags.StringVar(&s.key, "idempotency-key", "", "name of this request: the same one gives the same job")
	flags.BoolVar(&s.wait, "wait", false, "wait until the job is at rest")
	flags.StringVar(&s.out, "out", "", "wait, and download the artifacts into `directory`")
}

// draft is the request that the flags describe. What they do not say is the
// server's to choose.
func (s *submission) draft(flags *pflag.FlagSet) (tasks.Draft, error) {
	draft := tasks.Draft{
		FeatureType: tasks.Feature(s.feature), ProviderID: s.provider, FallbackProviderIDs: s.fallbacks,
		Model: s.model, UserID: s.user, Priority: tasks.Priority(s.priority), WebhookURL: s.webhook,
	}
	if s.feature == "" {
		return draft, usageError{errors.New("--feature is required, such as --feature text-to-image")}
	}
	var err error
	if draft.InputData, err = inputData(draft.FeatureType, s.prompt, s.inputs); err != nil {
		return draft, err
	}
	if draft.Metadata, err = metadata(s.metadata); err != nil {
		return draft, err
	}
	if s.runAt != "" {
		at, err := time.Parse(time.RFC3339, s.runAt)
		if err != nil {
			return draft, usageError{errors.New("--run-at: must be a time such as 2026-01-02T15:04:05Z")}
		}
		draft.RunAt = &at
	}
	if flags.Changed("retry-attempts") {
		draft.RetryAttempts = &s.retryAttempts
	}
	if flags.Changed("retry-delay") {
		draft.RetryDelayMS = new(s.retryDelay.Milliseconds())
	}
	if flags.Changed("timeout") {
		draft.TimeoutMS = new(s.timeout.Milliseconds())
	}
	return draft, nil
}

func metadata(pairs []string) (map[string]string, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	values := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		name, value, found := strings.Cut(pair, "=")
		if !found || name == "" {
			return nil, usageError{fmt.Errorf("--metadata %q: must be key=value", printable(pair))}
		}
		values[name] = value
	}
	return values, nil
}

func (p *program) submit(ctx context.Context, c *client.Client, draft tasks.Draft, s submission) error {
	var options []client.Option
	if s.key != "" {
		options = append(options, client.WithIdempotencyKey(s.key))
	}
	job, err := c.Enqueue(ctx, draft, options...)
	if err != nil {
		return err
	}
	p.warn(job)
	if !s.wait && s.out == "" {
		if p.json {
			return p.writeJSON(job)
		}
		fmt.Fprintf(p.stdout, "%s %s\n", job.ID, job.Status)
		return nil
	}
	jobs, err := p.followAll(ctx, c, []string{job.ID}, s.out)
	if err != nil {
		return err
	}
	return rested(jobs)
}

// warn shows what the server found odd, such as an input that nobody reads: it
// is told before the money is spent on it.
func (p *program) warn(job *client.Job) {
	for _, warning := range job.Warnings {
		fmt.Fprintf(p.stderr, "easel: warning: %s\n", printable(warningText(warning)))
	}
}

// followAll follows jobs to their rest, downloads what they made where that is
// wanted, and shows how they ended.
func (p *program) followAll(ctx context.Context, c *client.Client, ids []string, out string) ([]client.Job, error) {
	show := func(int, client.Job) {}
	if !p.json {
		show = p.newBars(ids).show
	}
	jobs, err := follow(ctx, c, ids, show)
	if err != nil {
		return nil, err
	}
	for i := range jobs {
		if out != "" {
			if err := download(ctx, c, &jobs[i], out); err != nil {
				return nil, err
			}
		}
		if err := p.showJob(jobs[i]); err != nil {
			return nil, err
		}
	}
	return jobs, nil
}
