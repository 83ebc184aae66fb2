package documents

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// TestDoctorsKindsAreListed holds the table of what the doctor finds to what it
// can find.
func TestDoctorsKindsAreListed(t *testing.T) {
	t.Parallel()
	_, table, found := strings.Cut(documents(t)["docs/operations.md"], "| | kinds |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	var listed []orchestrator.DriftKind
	for _, name := range regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(table, -1) {
		listed = append(listed, orchestrator.DriftKind(name[1]))
	}
	slices.Sort(listed)
	require.Equal(t, slices.Sorted(maps.Keys(orchestrator.Explanations)), listed)
}
