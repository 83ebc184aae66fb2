package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	require.NoError(t, Check(cfg))

	cfg.Providers = []config.Provider{
		{Name: "brush", OnUnknown: "hold"},
		{Name: "sketch", OnUnknown: "hold", Options: map[string]any{"hush": 1}},
		{Name: "openai", OnUnknown: "hold"},
	}
	cfg.Webhooks.Secrets = []config.WebhookSecret{{Tenant: "default", Secret: "hunter2"}}
	err := Check(cfg)
	var wrong *config.Error
	require.ErrorAs(t, err, &wrong)
	require.Len(t, wrong.Problems, 4, "all at once: %v", err)
	for i, says := range []string{
		`providers[0] (brush): use: there is no adapter "brush"`, "providers[1] (sketch): options: hush: is not an option",
		"providers[2] (openai): api_key: is missing", "webhooks.secrets[0]: must begin with",
	} {
		require.Contains(t, wrong.Problems[i].String(), says)
	}
	require.NotContains(t, err.Error(), "hunter2")
}
