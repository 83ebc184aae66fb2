package documents

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParity holds the conformance table of docs/library.md to the tests that it
// names.
func TestParity(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs/library.md"))
	require.NoError(t, err)
	_, table, found := strings.Cut(string(text), "\n## Parity\n")
	require.True(t, found)
	files, err := filepath.Glob(filepath.Join(root, "pkg/client/*_test.go"))
	require.NoError(t, err)
	var tests strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		tests.Write(raw)
	}
	rows := 0
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		rows++
		_, shown, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		named := regexp.MustCompile("`((?:Test|Example)\\w+)`").FindAllStringSubmatch(shown, -1)
		require.NotEmpty(t, named, line)
		for _, name := range named {
			require.Contains(t, tests.String(), "func "+name[1]+"(", line)
		}
	}
	require.GreaterOrEqual(t, rows, 13)
}
