package config

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Redacted is the whole configuration as YAML, with its defaults and without
// its secrets: what a file would have to say to give the same settings. Nobody
// but its adapter knows which of a provider's options are secret, so none that
// is text is shown.
func (c *Config) Redacted() (string, error) {
	shown := *c
	shown.Providers = make([]Provider, len(c.Providers))
	for i, p := range c.Providers {
		shown.Providers[i] = p
		shown.Providers[i].Options = map[string]any{}
		for name, value := range p.Options {
			shown.Providers[i].Options[name] = redactOption(value)
		}
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(shown); err != nil {
		return "", fmt.Errorf("print configuration: %w", err)
	}
	return out.String(), nil
}

func redactOption(value any) any {
	switch value.(type) {
	case bool, int, float64, nil:
		return value
	default:
		return redacted
	}
}
