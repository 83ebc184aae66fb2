package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
)

// TestDocumentedProvidersOpen opens every provider that docs/providers.md shows:
// what an adapter takes as options is its own, and no other check reads it.
func TestDocumentedProvidersOpen(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/providers.md")
	require.NoError(t, err)
	opened := map[string]bool{}
	for _, rest := range strings.Split(string(text), "\n```yaml\n")[1:] {
		block, _, _ := strings.Cut(rest, "\n```")
		if !strings.HasPrefix(block, "providers:") {
			continue
		}
		file := filepath.Join(t.TempDir(), "easel.yaml")
		require.NoError(t, os.WriteFile(file, []byte(block), 0o600))
		cfg, err := config.Load(config.LoadOptions{File: file, LookupEnv: func(name string) (string, bool) {
			if strings.HasPrefix(name, "EASEL_") {
				return "", false
			}
			return "a-key-for-" + name, true
		}})
		require.NoError(t, err, "%s", block)
		_, err = openRegistry(cfg, nil)
		require.NoError(t, err, "%s", block)
		for _, p := range cfg.Providers {
			opened[p.Use] = true
		}
	}
	require.True(t, opened["command"], "%v", opened)
}
