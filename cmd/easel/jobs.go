package main

import (
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func (p *program) jobsCommand() *cobra.Command {
	list := p.listCommand()
	cmd := &cobra.Command{
		Use:   "jobs",
		Short: "List jobs, and act on them",
		Args:  cobra.NoArgs,
		RunE:  list.RunE,
	}
	p.clientFlags(cmd)
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, p.getCommand(), p.watchCommand(), p.cancelCommand(), p.retryCommand(), p.resolveCommand())
	return cmd
}

const defaultList = 20

func (p *program) listCommand() *cobra.Command {
	var statuses []string
	var user, feature, provider string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List jobs, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query := client.Query{UserID: user, FeatureType: tasks.Feature(feature), ProviderID: provider, Limit: min(max(limit, 1), 100)}
			for _, status := range statuses {
				if !slices.Contains(tasks.Statuses, tasks.Status(status)) {
					return usageError{fmt.Errorf("--status: must be one of %v", tasks.Statuses)}
				}
				query.Statuses = append(query.Statuses, tasks.Status(status))
			}
			c, err := p.dial()
			if err != nil {
				return err
			}
			return p.list(cmd, c, query, limit)
		},
	}
	cmd.Flags().StringSliceVar(&statuses, "status", nil, "only jobs with these `statuses`, such as failed,unresolved")
	cmd.Flags().StringVar(&user, "user", "", "only jobs of this user")
	cmd.Flags().StringVar(&feature, "feature", "", "only jobs of this kind")
	cmd.Flags().StringVar(&provider, "provider", "", "only jobs that this provider serves")
	cmd.Flags().IntVar(&limit, "limit", defaultList, "how many at most")
	return cmd
}

func (p *program) list(cmd *cobra.Command, c *client.Client, query client.Query, limit int) error {
	var jobs []client.Job
	for job, err := range c.All(cmd.Context(), query) {
		if err != nil {
			return err
		}
		if len(jobs) == limit {
			break
		}
		jobs = append(jobs, job)
	}
	if p.json {
		for _, job := range jobs {
			if err := p.writeJSON(job); err != nil {
				return err
			}
		}
		return nil
	}
	if len(jobs) == 0 {
		fmt.Fprintln(p.stderr, "No jobs.")
		return nil
	}
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "JOB\tSTATUS\tFEATURE\tPROVIDER\tPROGRESS\tAGE")
	for _, job := range jobs {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", job.ID, job.Status, job.FeatureType, job.ProviderID,
			percent(job), time.Since(job.CreatedAt).Round(time.Second))
	}
	return table.Flush()
}

func (p *program) getCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get JOB",
		Short: "Show a job",
		Args:  cobra.ExactArgs(1),
		RunE: p.withJob(func(cmd *cobra.Command, c *client.Client, id string) (*client.Job, error) {
			return c.Get(cmd.Context(), id)
		}),
	}
}

func (p *program) watchCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "watch JOB…",
		Short: "Follow jobs until they are at rest",
		Long:  "Follow jobs until they are at rest. With --json every change is a line.",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			jobs, err := p.watch(cmd, c, ids, out)
			if err != nil {
				return err
			}
			return rested(jobs)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "download the artifacts into `directory`")
	return cmd
}

func (p *program) watch(cmd *cobra.Command, c *client.Client, ids []string, out string) ([]client.Job, error) {
	if !p.json {
		return p.followAll(cmd.Context(), c, ids, out)
	}
	lines := make(chan client.Job)
	written := make(chan error, 1)
	go func() {
		var failed error
		for job := range lines {
			if failed == nil {
				failed = p.writeJSON(job)
			}
		}
		written <- failed
	}()
	jobs, err := follow(cmd.Context(), c, ids, func(_ int, job client.Job) {
		// The last line tells the paths, and is written after the download.
		if out == "" || !job.Status.AtRest() {
			lines <- job
		}
	})
	if err == nil && out != "" {
		for i := range jobs {
			if err = download(cmd.Context(), c, &jobs[i], out); err != nil {
				break
			}
			lines <- jobs[i]
		}
	}
	close(lines)
	return jobs, errors.Join(err, <-written)
}

func (p *program) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel JOB",
		Short: "Cancel a job, at its provider too",
		Args:  cobra.ExactArgs(1),
		RunE: p.withJob(func(cmd *cobra.Command, c *client.Client, id string) (*client.Job, error) {
			return c.Cancel(cmd.Context(), id)
		}),
	}
}

func (p *program) retryCommand() *cobra.Command {
	var mode string
	cmd := &cobra.Command{
		Use:   "retry JOB",
		Short: "Start a failed or unresolved job again",
		Long: "Start a failed or unresolved job again. resume looks up, polls or downloads again and\n" +
			"buys nothing; regenerate asks the provider anew. By default it resumes when there is\n" +
			"something to resume.",
		Args: cobra.ExactArgs(1),
		RunE: p.withJob(func(cmd *cobra.Command, c *client.Client, id string) (*client.Job, error) {
			chosen := client.RetryMode(mode)
			if chosen != client.RetryDefault && chosen != client.Resume && chosen != client.Regenerate {
				return nil, usageError{errors.New("--mode: must be resume or regenerate")}
			}
			return c.Retry(cmd.Context(), id, chosen)
		}),
	}
	cmd.Flags().StringVar(&mode, "mode", "", "resume or regenerate")
	return cmd
}

func (p *program) resolveCommand() *cobra.Command {
	var notCreated bool
	var remoteID string
	cmd := &cobra.Command{
		Use:   "resolve JOB (--not-created | --remote-id ID)",
		Short: "Settle an unresolved job",
		Long: "Say what became of a submission whose answer was lost, after looking at the provider.\n" +
			"--not-created submits again; --remote-id takes up what the provider has.",
		Args: cobra.ExactArgs(1),
		RunE: p.withJob(func(cmd *cobra.Command, c *client.Client, id string) (*client.Job, error) {
			switch {
			case notCreated == (remoteID != ""):
				return nil, usageError{errors.New("say either --not-created or --remote-id")}
			case notCreated:
				return c.Resolve(cmd.Context(), id, client.NotCreated())
			default:
				return c.Resolve(cmd.Context(), id, client.Created(remoteID))
			}
		}),
	}
	cmd.Flags().BoolVar(&notCreated, "not-created", false, "the provider never got it")
	cmd.Flags().StringVar(&remoteID, "remote-id", "", "the provider has it under this `id`")
	return cmd
}

// withJob is a command that does one thing with one job and shows it.
func (p *program) withJob(do func(*cobra.Command, *client.Client, string) (*client.Job, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := p.dial()
		if err != nil {
			return err
		}
		job, err := do(cmd, c, args[0])
		if err != nil {
			return err
		}
		return p.showJob(*job)
	}
}
