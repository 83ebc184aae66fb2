package deployment

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var file = regexp.MustCompile("(?s)<!-- file: (\\S+) -->\n```[a-z]*\n(.*?\n)```")

// written puts the files that a document shows into a directory inside the
// module, so that their code compiles against this tree, and inside testdata, so
// that nobody takes it for a package who looks meanwhile.
func written(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("testdata", "shown-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	shown := file.FindAllStringSubmatch(document(t, name), -1)
	require.NotEmpty(t, shown, name)
	for _, match := range shown {
		path := filepath.Join(dir, match[1])
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(match[2]), 0o600))
	}
	formatted, err := exec.CommandContext(t.Context(), "gofmt", "-l", dir).CombinedOutput()
	require.NoError(t, err, "%s", formatted)
	require.Empty(t, string(formatted), "%s: not gofmt-ed", name)
	return dir
}

// TestProviderOfTheWalkKeepsTheContract runs the contract on the adapter that
// docs/adding-a-provider.md shows.
func TestProviderOfTheWalkKeepsTheContract(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=all", "-v", "./"+written(t, "adding-a-provider.md")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestContract/Find")
	require.Contains(t, string(out), "--- PASS: TestContract/Verdicts")
	adapter := file.FindStringSubmatch(document(t, "adding-a-provider.md"))
	require.Equal(t, "lumen.go", adapter[1])
	code := regexp.MustCompile(`(?m)^\s*[^/\s].*$`).FindAllString(adapter[2], -1)
	require.Less(t, len(code), 150, "lines of code of a whole adapter")
}

// TestReceiverOfWebhooksVerifies has Easel's own sender call the receiver that
// docs/webhooks.md shows.
func TestReceiverOfWebhooksVerifies(t *testing.T) {
	t.Parallel()
	dir := written(t, "webhooks.md")
	check, err := os.ReadFile(filepath.Join("testdata", "receiver_test.go.txt"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "receiver_test.go"), check, 0o600))
	out, err := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=all", "-v", "./"+dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: TestReceiverTakesWhatEaselSends")
}
