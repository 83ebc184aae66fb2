package app

import (
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/webhook"
	"github.com/easel-jobs/easel/pkg/providers"
)

// Check reports what is wrong with a configuration that only those can tell whom
// it is for: which adapters there are, their options, what a secret must look
// like. It opens them on a directory of their own and closes them again; nobody
// is called, and nothing is kept. Its error is a [*config.Error] where the
// configuration is to blame.
func Check(cfg *config.Config) error {
	dir, err := os.MkdirTemp("", "easel-check-")
	if err != nil {
		return fmt.Errorf("check the configuration: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary directory: the system's own cleaning gets what is left
	dry := *cfg
	dry.DataDir = dir
	var problems []config.Problem
	report := func(err error) {
		if err == nil {
			return
		}
		several, ok := err.(interface{ Unwrap() []error })
		if !ok {
			problems = append(problems, config.Problem{Detail: err.Error()})
			return
		}
		for _, one := range several.Unwrap() {
			problems = append(problems, config.Problem{Detail: one.Error()})
		}
	}
	entries, err := providers.Open(openers, settingsOf(&dry, nil))
	report(err)
	if err == nil {
		_, err = providers.NewRegistry(entries, cfg.Defaults.Provider)
		report(err)
	}
	for _, entry := range entries {
		if closer, ok := entry.Provider.(io.Closer); ok {
			report(closer.Close())
		}
	}
	// The server's secret may be one that only Redis knows.
	_, err = webhook.New(webhook.Config{Client: http.DefaultClient, Secrets: webhookSecrets(cfg), ServerSecrets: [][]byte{{1}}})
	report(err)
	if len(problems) > 0 {
		return &config.Error{Problems: problems}
	}
	return nil
}
