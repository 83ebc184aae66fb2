package app

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers"
)

// sections are the least that adapters want in their section of the
// configuration, beside a key.
var sections = map[string]map[string]any{
	"command": {"commands": []any{map[string]any{"feature": "text-to-speech", "program": "sh", "arguments": []any{"-c", "true"}}}},
	"comfyui": {"workflows": []any{map[string]any{"feature": "text-to-image", "graph": `{"9":{"class_type":"SaveImage","inputs":{}}}`}}},
}

// TestProvidersAreDocumented holds the table of docs/providers.md to what the
// adapters say of themselves.
func TestProvidersAreDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/providers.md")
	require.NoError(t, err)
	text := string(raw)
	for _, name := range slices.Sorted(maps.Keys(openers)) {
		settings := providers.Settings{Name: name, APIKey: "k", DataDir: t.TempDir(), Options: sections[name]}
		if name == "command" {
			settings.APIKey = "" // a program gets none
		}
		p, err := openers[name](settings)
		require.NoError(t, err, name)
		assert.True(t, strings.Contains(text, "\n\n## "+name+"\n\n"), "%s has no section", name)
		if name == "command" {
			continue // what it takes is what is configured
		}
		row := atAGlance(name, p)
		assert.True(t, strings.Contains(text, "\n"+row+"\n"), "the table lacks %s", row)
	}
}

// atAGlance is a provider's row.
func atAGlance(name string, p providers.Provider) string {
	c := p.Capabilities()
	_, cancels := p.(providers.Canceler)
	_, finds := p.(providers.Finder)
	files := strings.ReplaceAll(string(c.Files), "_", " ")
	if files == "" {
		files = "none"
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s |",
		name, files, kept(c.ResultLifetime), said(c.Webhooks), said(cancels), said(finds))
}

// ways is how docs/inputs.md says how a file reaches its provider.
var ways = map[providers.Handover]string{
	providers.HandoverUpload: "upload", providers.HandoverDataURI: "data URI", providers.HandoverURL: "a signed URL", "": "takes none",
}

// TestHandoverIsDocumented holds the table of docs/inputs.md to what the adapters
// declare.
func TestHandoverIsDocumented(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/inputs.md")
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(raw), "| adapter | way |")
	table, _, _ = strings.Cut(table, "\n\n")
	for _, name := range slices.Sorted(maps.Keys(openers)) {
		i := strings.Index(table, "`"+name+"`")
		require.Positive(t, i, "the table lacks %s", name)
		if name == "command" {
			continue // what it takes is what is configured
		}
		row, _, _ := strings.Cut(table[i:], "\n")
		p, err := openers[name](providers.Settings{Name: name, APIKey: "k", DataDir: t.TempDir(), Options: sections[name]})
		require.NoError(t, err, name)
		c := p.Capabilities()
		assert.Contains(t, row, "| "+ways[c.Files], name)
		if c.LargestInline > 0 {
			assert.Contains(t, strings.ReplaceAll(row, ",", ""), fmt.Sprintf("above %d bytes a signed URL", c.LargestInline), name)
		}
	}
}

func kept(d time.Duration) string {
	switch {
	case d == 0:
		return "not said"
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%d d", d/(24*time.Hour))
	case d%time.Hour == 0:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d min", d/time.Minute)
}

func said(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}
