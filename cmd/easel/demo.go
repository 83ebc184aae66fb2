package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// demoJob is something that the demo asks for.
type demoJob struct {
	label   string
	feature tasks.Feature
	input   string
}

// demoJobs are what the demo asks for: one of each kind.
var demoJobs = []demoJob{
	{"image", tasks.TextToImage, `{"prompt":"A lighthouse above the sea at sunset"}`},
	{"video", tasks.TextToVideo, `{"prompt":"Clouds drifting over a quiet forest at night"}`},
	{"speech", tasks.TextToSpeech, `{"text":"Every job you hand me comes to rest."}`},
}

// demoProvider draws by rule: the demo costs nothing, whatever else is
// configured, unless another provider is named.
const demoProvider = "sketch"

// demoTimeoutMS bounds a demo job, so that the demo ends whatever happens.
const demoTimeoutMS = 120_000

// realTimeoutMS bounds a job at a provider that does not only draw by rule.
const realTimeoutMS = 900_000

func (p *program) demoCommand() *cobra.Command {
	var exit bool
	provider := demoProvider
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start everything and run one image, one video and one speech job",
		Long: "Start everything in this process, run one image, one video and one speech job through\n" +
			"the HTTP API, and show where to go from there. Nothing needs to be installed, and\n" +
			"nothing is paid for: the pictures and sounds are made by rule, not by AI. With another\n" +
			"provider it asks for what that one offers, and what that costs is paid.",
		Example: "  easel demo\n  OPENAI_API_KEY=… easel demo --provider openai\n  easel demo --config easel.yaml --provider espeak",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd, []string{provider})
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("log-level") && cfg.Log.Level == "info" {
				cfg.Log.Level = "warn" // leave the screen to the jobs
			}
			return p.demo(cmd.Context(), cfg, provider, exit)
		},
	}
	serverFlags(cmd)
	p.jsonFlag(cmd)
	cmd.Flags().StringVar(&provider, "provider", provider, "show a provider by its `name`: a configured one, or an adapter with the key from its usual variable")
	cmd.Flags().BoolVar(&exit, "exit", false, "end once the jobs have")
	return cmd
}

func (p *program) demo(ctx context.Context, cfg *config.Config, provider string, exit bool) (err error) {
	screen := p.newBars(nil)
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
	wanted, skipped, err := offered(ctx, c, provider)
	if err != nil {
		return err
	}
	labels := make([]string, len(wanted))
	for i, one := range wanted {
		labels[i] = one.label
	}
	screen.begin(labels)
	if len(skipped) > 0 && !p.json {
		fmt.Fprintf(p.stdout, "Skipped: %s.\n\n", strings.Join(skipped, "; "))
	}
	jobs, err := p.runDemo(ctx, c, screen, provider, wanted)
	if err != nil {
		return err
	}
	if err := p.showDemo(ctx, c, running, cfg, wanted, provider, jobs); err != nil {
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

// offered are the demo's jobs that the provider has a feature for, and a word on
// each of the others.
func offered(ctx context.Context, c *client.Client, provider string) (wanted []demoJob, skipped []string, err error) {
	features, err := c.Features(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, job := range demoJobs {
		needs, has := needsOf(features, provider, job)
		switch {
		case !has:
			skipped = append(skipped, fmt.Sprintf("%s, since %s has no %s", job.label, provider, job.feature))
		case len(needs) > 0:
			skipped = append(skipped, fmt.Sprintf("%s, since %s wants %s for it", job.label, provider, strings.Join(needs, ", ")))
		default:
			wanted = append(wanted, job)
		}
	}
	if len(wanted) == 0 {
		return nil, nil, fmt.Errorf("nothing to show: %s", strings.Join(skipped, "; "))
	}
	return wanted, skipped, nil
}

// needsOf lists the inputs that the provider requires beside those of the
// demo's job, and reports whether it has the feature at all.
func needsOf(features []client.Feature, provider string, job demoJob) (needs []string, has bool) {
	var input map[string]any
	_ = json.Unmarshal([]byte(job.input), &input) // it stands in this file
	for _, feature := range features {
		for _, one := range feature.Providers {
			if feature.FeatureType != job.feature || one.ProviderID != provider {
				continue
			}
			var schema struct {
				Required []string `json:"required"`
			}
			_ = json.Unmarshal(one.InputSchema, &schema) // what requires nothing that can be read is tried
			return slices.DeleteFunc(schema.Required, func(key string) bool { return input[key] != nil }), true
		}
	}
	return nil, false
}

// runDemo asks for the jobs and follows them to their rest.
func (p *program) runDemo(ctx context.Context, c *client.Client, screen *bars, provider string, wanted []demoJob) ([]client.Job, error) {
	ids, timeout := make([]string, len(wanted)), int64(demoTimeoutMS)
	if provider != demoProvider {
		timeout = realTimeoutMS
	}
	for i, one := range wanted {
		job, err := c.Enqueue(ctx, tasks.Draft{
			FeatureType: one.feature, InputData: json.RawMessage(one.input),
			ProviderID: provider, TimeoutMS: &timeout, UserID: "demo",
		})
		if err != nil {
			return nil, fmt.Errorf("%s job: %w", one.label, err)
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
func (p *program) showDemo(ctx context.Context, c *client.Client, running server, cfg *config.Config, wanted []demoJob, provider string, jobs []client.Job) error {
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
			fmt.Fprintf(p.stdout, "  %-7s %s\n", wanted[i].label, path)
		}
	}
	key := ""
	if len(cfg.API.Keys) > 0 {
		key = ` -H "Authorization: Bearer $EASEL_TOKEN"`
	}
	fmt.Fprintf(p.stdout, "\n  docs       %s/docs\n  dashboard  %s\n\nYour turn:\n\n", running.APIURL(), running.DashboardURL())
	fmt.Fprintf(p.stdout, "  curl %s/v1/jobs%s -H 'Content-Type: application/json' -H 'Prefer: wait=30' \\\n"+
		"    -d '%s'\n", running.APIURL(), key, yourTurn(wanted[0], provider))
	return nil
}

// yourTurn is the body of a request for the reader to send.
func yourTurn(job demoJob, provider string) string {
	input := `{"prompt":"A harbour at dawn"}`
	if job.feature == tasks.TextToSpeech {
		input = `{"text":"A harbour at dawn"}`
	}
	named := ""
	if provider != demoProvider {
		named = fmt.Sprintf(`,"provider_id":%q`, provider)
	}
	return fmt.Sprintf(`{"feature_type":%q%s,"input_data":%s}`, job.feature, named, input)
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
