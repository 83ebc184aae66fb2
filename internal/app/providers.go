package app

import (
	"fmt"
	"net/http"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/bfl"
	"github.com/easel-jobs/easel/pkg/providers/comfyui"
	"github.com/easel-jobs/easel/pkg/providers/command"
	"github.com/easel-jobs/easel/pkg/providers/elevenlabs"
	"github.com/easel-jobs/easel/pkg/providers/fal"
	"github.com/easel-jobs/easel/pkg/providers/gemini"
	"github.com/easel-jobs/easel/pkg/providers/kling"
	"github.com/easel-jobs/easel/pkg/providers/luma"
	"github.com/easel-jobs/easel/pkg/providers/openai"
	"github.com/easel-jobs/easel/pkg/providers/replicate"
	"github.com/easel-jobs/easel/pkg/providers/runway"
	"github.com/easel-jobs/easel/pkg/providers/sdwebui"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/providers/stability"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// openers are the adapters that this binary knows.
var openers = map[string]providers.Opener{
	"bfl":        bfl.Open,
	"comfyui":    comfyui.Open,
	"command":    command.Open,
	"elevenlabs": elevenlabs.Open,
	"fal":        fal.Open,
	"gemini":     gemini.Open,
	"kling":      kling.Open,
	"luma":       luma.Open,
	"openai":     openai.Open,
	"replicate":  replicate.Open,
	"runway":     runway.Open,
	"sdwebui":    sdwebui.Open,
	"sketch":     sketch.Open,
	"stability":  stability.Open,
}

// openRegistry opens the configured providers.
func openRegistry(cfg *config.Config, outside http.RoundTripper) (*providers.Registry, error) {
	entries, err := providers.Open(openers, settingsOf(cfg, outside))
	if err != nil {
		return nil, fmt.Errorf("open providers: %w", err)
	}
	registry, err := providers.NewRegistry(entries, cfg.Defaults.Provider)
	if err != nil {
		return nil, err
	}
	orders := map[tasks.Feature][]string{}
	for _, order := range cfg.Order {
		orders[tasks.Feature(order.Feature)] = order.Providers
	}
	return registry, registry.Prefer(orders)
}

func settingsOf(cfg *config.Config, outside http.RoundTripper) []providers.Settings {
	settings := make([]providers.Settings, 0, len(cfg.Providers))
	for _, p := range cfg.Providers {
		s := providers.Settings{
			Name: p.Name, Use: p.Use, APIKey: providers.Secret(p.APIKey.Reveal()), BaseURL: p.BaseURL,
			OnUnknown: p.OnUnknown, Concurrency: p.Concurrency, SubmitTimeout: p.SubmitTimeout, Options: p.Options,
			Limits: providers.Limits{MaxInFlight: p.MaxInFlight}, MaxBacklog: p.MaxBacklog,
			DataDir: cfg.DataDir, PublicURL: cfg.API.PublicURL, Outside: outside,
		}
		s.Limits.Rate.Requests, s.Limits.Rate.Per = p.Rate.Limit()
		for _, m := range p.Models {
			s.Models = append(s.Models, providers.ModelChoice{Feature: tasks.Feature(m.Feature), Model: m.Model})
		}
		settings = append(settings, s)
	}
	return settings
}

// origins are the addresses of the configured providers: what the operator has
// named is exempt from the guard on addresses from outside.
func origins(cfg *config.Config) []string {
	var list []string
	for _, p := range cfg.Providers {
		if p.BaseURL != "" {
			list = append(list, p.BaseURL)
		}
	}
	return list
}
