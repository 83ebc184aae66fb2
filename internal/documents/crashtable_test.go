package documents

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	proof = regexp.MustCompile("`([a-z]+)\\.(Test\\w+)`")
	test  = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
)

// TestCrashTableIsProven looks for every test that the crash table names, in the
// package that it names, and for rows that name none.
func TestCrashTableIsProven(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile(filepath.Join(root, "docs/crash-table.md"))
	require.NoError(t, err)
	known := testsByPackage(t)
	proofs := proof.FindAllStringSubmatch(string(table), -1)
	require.Greater(t, len(proofs), 50)
	for _, p := range proofs {
		require.Contains(t, known[p[1]], p[2], "%s.%s", p[1], p[2])
	}
	_, rows, found := strings.Cut(string(table), "## Accept")
	require.True(t, found)
	rows, _, found = strings.Cut(rows, "## What is not proven")
	require.True(t, found)
	for line := range strings.Lines(rows) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 4 || strings.HasPrefix(line, "| ---") {
			continue
		}
		if last := strings.TrimSpace(cells[len(cells)-2]); last != "proof" && last != "fails" {
			require.Regexp(t, proof, last, "a row without a proof: %s", line)
		}
	}
}

// testsByPackage lists the tests of this tree by the last element of their
// package's path.
func testsByPackage(t *testing.T) map[string][]string {
	t.Helper()
	known := map[string][]string{}
	for _, pattern := range []string{"pkg/*/*_test.go", "internal/*/*_test.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			name := filepath.Base(filepath.Dir(file))
			for _, match := range test.FindAllStringSubmatch(string(text), -1) {
				known[name] = append(known[name], match[1])
			}
		}
	}
	return known
}
