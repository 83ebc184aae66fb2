package main

import (
	"cmp"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// showJob writes a job: as JSON, or as a person wants to read it.
func (p *program) showJob(job client.Job) error {
	if p.json {
		return p.writeJSON(job)
	}
	fmt.Fprintf(p.stdout, "%s  %s\n", job.ID, state(job))
	table := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "  feature\t%s\n", printable(string(job.FeatureType)))
	fmt.Fprintf(table, "  provider\t%s\n", printable(named(job.ProviderID, job.Model)))
	fmt.Fprintf(table, "  created\t%s\n", job.CreatedAt.Local().Format(time.DateTime))
	if job.FinishedAt != nil {
		fmt.Fprintf(table, "  took\t%s\n", job.FinishedAt.Sub(job.CreatedAt).Round(10*time.Millisecond))
	} else if !job.Status.AtRest() {
		fmt.Fprintf(table, "  progress\t%s\n", percent(job))
	}
	if job.Cost != nil {
		fmt.Fprintf(table, "  cost\t%s %s (%s)\n", job.Cost.Amount, job.Cost.Currency, job.Cost.Basis)
	}
	showFailure(table, job)
	for _, warning := range job.Warnings {
		fmt.Fprintf(table, "  warning\t%s\n", printable(warningText(warning)))
	}
	showAttempts(table, job)
	showArtifacts(table, job)
	return table.Flush()
}

func warningText(w tasks.Warning) string {
	if w.Pointer == "" {
		return w.Message
	}
	return w.Pointer + " " + w.Message
}

func named(provider, model string) string {
	if model == "" {
		return provider
	}
	return provider + ", " + model
}

func showFailure(w io.Writer, job client.Job) {
	if job.Error == nil {
		return
	}
	fmt.Fprintf(w, "  error\t%s\n", printable(failure(job.Error)))
	if job.Status == tasks.StatusUnresolved {
		fmt.Fprintf(w, "  \tlook at the provider, then: easel jobs resolve %s\n", job.ID)
	}
}

func failure(f *tasks.FailureView) string {
	text := f.Class
	if f.Code != "" {
		text += " " + f.Code
	}
	return text + ": " + f.Message
}

// showAttempts tells of the attempts where there is more to tell than one.
func showAttempts(w io.Writer, job client.Job) {
	if len(job.Attempts) < 2 && job.Error == nil {
		return
	}
	for _, attempt := range job.Attempts {
		text := named(attempt.ProviderID, attempt.Model) + ": " + string(attempt.Outcome)
		if attempt.Error != nil {
			text += ", " + failure(attempt.Error)
		}
		fmt.Fprintf(w, "  attempt %d\t%s\n", attempt.Number, printable(text))
	}
}

func showArtifacts(w io.Writer, job client.Job) {
	if job.Result == nil {
		return
	}
	for _, artifact := range job.Result.Artifacts {
		size := fmt.Sprintf("%s, %d bytes", artifact.MediaType, artifact.Bytes)
		if artifact.Width != nil && artifact.Height != nil {
			size += fmt.Sprintf(", %d×%d", *artifact.Width, *artifact.Height)
		}
		if artifact.DurationMS != nil {
			size += fmt.Sprintf(", %.1f s", float64(*artifact.DurationMS)/1000)
		}
		fmt.Fprintf(w, "  %s\t%s\n", printable(cmp.Or(artifact.Kind, "artifact")), printable(cmp.Or(artifact.Path, artifact.URL)))
		fmt.Fprintf(w, "  \t%s\n", printable(size))
	}
}
