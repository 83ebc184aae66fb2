package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/telemetry"
	"github.com/easel-jobs/easel/pkg/orchestrator"
)

func (p *program) doctorCommand() *cobra.Command {
	var options app.DoctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Compare records, indexes, queues and files, and mend where they disagree",
		Long: "Compare every job's record with the indexes, queues, keys and files that should follow\n" +
			"from it, and say of each difference what it is, why it matters and what a repair does.\n" +
			"It works on Redis and storage directly, with the configuration of the servers; workers\n" +
			"may run meanwhile.\n\n" +
			"Exit codes: 0 nothing differs (any more), 1 something does, 4 Redis is unreachable.",
		Example: "  easel doctor\n  easel doctor --repair\n  easel doctor --after-restore",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := p.load(cmd, nil)
			if err != nil {
				return err
			}
			return p.examine(cmd.Context(), cfg, options)
		},
	}
	config.AddFlags(cmd.Flags())
	p.jsonFlag(cmd)
	cmd.Flags().BoolVar(&options.AfterRestore, "after-restore", false,
		"Redis was restored from a backup: look up or hold every open job, then let paid submits resume")
	cmd.Flags().BoolVar(&options.Repair, "repair", false, "mend what differs")
	cmd.Flags().BoolVar(&options.SkipFiles, "skip-files", false, "do not look through artifact storage")
	return cmd
}

func (p *program) examine(ctx context.Context, cfg *config.Config, options app.DoctorOptions) error {
	log, err := telemetry.NewLogger(p.stderr, "warn", cfg.Log.Format)
	if err != nil {
		return err
	}
	options.Log = log
	found, restored, err := app.Doctor(ctx, cfg, options)
	if restored != nil {
		if showErr := p.showRestoration(restored, err); showErr != nil {
			return showErr
		}
	}
	if found != nil {
		if showErr := p.showExamination(found, options); showErr != nil {
			return showErr
		}
	}
	if err == nil && !found.Clean() {
		return restError{exitFailed}
	}
	return err
}

// showRestoration says what became of the open jobs; an error says that paid
// submits are still held.
func (p *program) showRestoration(r *orchestrator.Restoration, err error) error {
	if p.json {
		return p.writeJSON(map[string]any{"restoration": r})
	}
	fmt.Fprintf(p.stdout, "%d jobs of the backup are open, paid submits were held since %s:\n"+
		"  %d had been submitted since the backup and are taken up\n"+
		"  %d are held as unresolved: nobody can tell\n"+
		"  %d are not found, and workers ask again until that is sure\n"+
		"  %d go on as they are\n", r.Doubted, r.Since.UTC().Format(time.RFC3339), r.Found, r.Held, r.Asking, r.Cleared)
	if err == nil {
		fmt.Fprint(p.stdout, "Paid submits resume.\n\n")
	}
	return nil
}

// finding is a drift as it is shown: with the words for it.
type finding struct {
	orchestrator.Drift
	orchestrator.Explanation
}

func (p *program) showExamination(found *orchestrator.Examination, options app.DoctorOptions) error {
	if p.json {
		findings := make([]finding, len(found.Drifts))
		for i, d := range found.Drifts {
			findings[i] = finding{d, orchestrator.Explanations[d.Kind]}
		}
		return p.writeJSON(map[string]any{
			"clean": found.Clean(), "records": found.Records, "tasks": found.Tasks, "open": found.Open,
			"remaining": found.Remaining, "drifts": findings,
		})
	}
	fmt.Fprintf(p.stdout, "Looked at %d records, index entries and keys, %d tasks, %d open jobs.\n", found.Records, found.Tasks, found.Open)
	byKind := map[orchestrator.DriftKind][]orchestrator.Drift{}
	for _, d := range found.Drifts {
		byKind[d.Kind] = append(byKind[d.Kind], d)
	}
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		p.showKind(kind, byKind[kind])
	}
	switch {
	case len(found.Drifts) == 0:
		fmt.Fprintln(p.stdout, "Nothing differs.")
	case found.Clean():
		fmt.Fprintf(p.stdout, "\nAll is mended: %d.\n", len(found.Drifts))
	case options.Repair:
		fmt.Fprintf(p.stdout, "\n%d of %d differences remain.\n", found.Remaining, len(found.Drifts))
	default:
		fmt.Fprintf(p.stdout, "\n%d differences. easel doctor --repair mends them.\n", len(found.Drifts))
	}
	return nil
}

// shownOfAKind is how many differences of one kind a person gets to see; all of
// them are in the JSON.
const shownOfAKind = 20

func (p *program) showKind(kind orchestrator.DriftKind, drifts []orchestrator.Drift) {
	words := orchestrator.Explanations[kind]
	fmt.Fprintf(p.stdout, "\n%s (%d)\n  %s %s\n  Repair: %s\n", kind, len(drifts), words.What, words.Why, words.Repair)
	for i, d := range drifts {
		if i == shownOfAKind {
			fmt.Fprintf(p.stdout, "  … and %d more\n", len(drifts)-i)
			return
		}
		mark := "-"
		if d.Mended {
			mark = "mended"
		}
		where := strings.Join(slices.DeleteFunc([]string{d.JobID, d.TaskID, d.Place}, func(s string) bool { return s == "" }), "  ")
		line := where
		if d.Found != "" {
			line += ": " + d.Found
		}
		fmt.Fprintf(p.stdout, "  %s %s\n", mark, printable(line))
	}
}
