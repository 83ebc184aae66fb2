package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// demoJobs are what the demo asks for: one of each kind.
var demoJobs = []struct {
	label   string
	feature tasks.Feature
	input   string
}{
	{"image", tasks.TextToImage, `{"prompt":"A lighthouse above the sea at sunset"}`},
	{"video", tasks.TextToVideo, `{"prompt":"Clouds drifting over a quiet forest at night"}`},
	{"speech", tasks.TextToSpeech, `{"text":"Every job you hand me comes to rest."}`},
}

// demoProvider draws by rule: the demo costs nothing, whatever else is
// configured.
const demoProvider = "sketch"

// demoTimeoutMS bounds a demo job, so that the demo ends whatever happens.
const demoTimeoutMS = 120_000

func (p *program) demoCommand() *cobra.Command {
	var exit bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start everything and run one image, one video and one speech job",
		Long: "Start everything in this process, run one image, one video and one speech job through\n" +
			"the HTTP API, and show where to go from there. Nothing needs to be installed, and\n" +
			"nothing is paid for: the pictures and sounds are made by rule, not by AI.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd, []string{demoProvider})
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("log-level") && cfg.Log.Level == "info" {
				cfg.Log.Level = "warn" // leave the screen to the jobs
			}
			return p.demo(cmd.Context(), cfg, exit)
		},
	}
	serverFlags(cmd)
	p.jsonFlag(cmd)
	cmd.Flags().BoolVar(&exit, "exit", false, "end once the jobs have")
	return cmd
}

func (p *program) demo(ctx context.Context, cfg *config.Config, exit bool) (err error) {
	labels := make([]string, len(demoJobs))
	for i, wanted := range demoJobs {
		labels[i] = wanted.label
	}
	screen := p.newBars(labels)
	running, err := p.up(ctx, cfg, upOptions{log: screen, anyPort: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeServer(running, cfg)) }()
	if !p.json {
		fmt.Fprintf(p.stdout, "Easel is up: %s.\n\n", strings.TrimSuffix(printable(running.RedisDescription()), "."))
	}
	c, err := client.Dial(running.APIURL(), ownKey(cfg), client.WithUserAgent("easel-demo/"+p.version))
	if err != nil {
		return err
	}
	jobs, err := p.runDemo(ctx, c, screen)
	if err != nil {
		return err
	}
	if err := p.showDemo(ctx, c, running, cfg, labels, jobs); err != nil {
		return err
	}
	if exit {
		return rested(jobs)
	}
	if !p.json {
		fmt.Fprint(p.stdout, "\nPress Ctrl-C to stop.\n")
	}
	return stand(ctx, running)
}

// ownKey is a key that opens our own API. One that is configured by its digest
// is not known here.
func ownKey(cfg *config.Config) string {
	for _, k := range cfg.API.Keys {
		if key := k.Key.Reveal(); !strings.HasPrefix(key, "sha256:") {
			return key
		}
	}
	return ""
}

// runDemo asks for the jobs and follows them to their rest.
func (p *program) runDemo(ctx context.Context, c *client.Client, screen *bars) ([]client.Job, error) {
	ids, timeout := make([]string, len(demoJobs)), int64(demoTimeoutMS)
	for i, wanted := range demoJobs {
		job, err := c.Enqueue(ctx, tasks.Draft{
			FeatureType: wanted.feature, InputData: json.RawMessage(wanted.input),
			ProviderID: demoProvider, TimeoutMS: &timeout, UserID: "demo",
		})
		if err != nil {
			return nil, fmt.Errorf("%s job: %w", wanted.label, err)
		}
		ids[i] = job.ID
		if !p.json {
			screen.show(i, *job)
		}
	}
	return follow(ctx, c, ids, func(index int, job client.Job) {
		if !p.json {
			screen.show(index, job)
		}
	})
}

// showDemo says what came of the jobs and where to go from there.
func (p *program) showDemo(ctx context.Context, c *client.Client, running server, cfg *config.Config, labels []string, jobs []client.Job) error {
	for i := range jobs {
		if err := p.locate(ctx, c, &jobs[i], filepath.Join(running.DataDir(), "demo")); err != nil {
			return err
		}
	}
	if p.json {
		for _, job := range jobs {
			if err := p.writeJSON(job); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Fprintln(p.stdout)
	for i, job := range jobs {
		for _, path := range paths(job) {
			fmt.Fprintf(p.stdout, "  %-7s %s\n", labels[i], path)
		}
	}
	key := ""
	if len(cfg.API.Keys) > 0 {
		key = ` -H "Authorization: Bearer $EASEL_TOKEN"`
	}
	fmt.Fprintf(p.stdout, "\n  docs       %s/docs\n  dashboard  %s\n\nYour turn:\n\n", running.APIURL(), running.DashboardURL())
	fmt.Fprintf(p.stdout, "  curl %s/v1/jobs%s -H 'Content-Type: application/json' -H 'Prefer: wait=30' \\\n"+
		"    -d '{\"feature_type\":\"text-to-image\",\"input_data\":{\"prompt\":\"A harbour at dawn\"}}'\n", running.APIURL(), key)
	return nil
}

// locate makes sure that the job's artifacts have paths. The server says them
// where its storage is this machine's disk; else they are downloaded.
func (p *program) locate(ctx context.Context, c *client.Client, job *client.Job, dir string) error {
	if job.Result == nil {
		return nil
	}
	for _, artifact := range job.Result.Artifacts {
		if artifact.Path == "" {
			return download(ctx, c, job, dir)
		}
	}
	return nil
}

func paths(job client.Job) []string {
	var list []string
	if job.Result != nil {
		for _, artifact := range job.Result.Artifacts {
			list = append(list, artifact.Path)
		}
	}
	return list
}
