// Package architecture holds the house to its plan: which package may import
// which, and that each technology has one importer.
package architecture

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/easel-jobs/easel/"

// listed is what `go list` says of one package. Imports leave tests out.
type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"...").Output()
	require.NoError(t, err)
	var all []listed
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		all = append(all, p)
	}
}

// ours are the imports from this module, without its name.
func (p listed) ours() []string {
	var imports []string
	for _, path := range p.Imports {
		if rest, found := strings.CutPrefix(path, module); found {
			imports = append(imports, rest)
		}
	}
	return imports
}

// floor is how high a package of pkg stands: it may import only lower ones.
var floor = []string{"pkg/classify", "pkg/tasks", "pkg/providers", "pkg/orchestrator", "pkg/client"}

func floorOf(path string) int {
	for i := len(floor) - 1; i >= 0; i-- {
		if path == floor[i] || strings.HasPrefix(path, floor[i]+"/") {
			return i
		}
	}
	return -1
}

// introducers may import every other package of internal.
var introducers = []string{"internal/app"}

func TestImportsFlowOneWay(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, imported := range p.ours() {
			require.True(t, mayImport(p.ImportPath, imported), "%s must not import %s", p.ImportPath, imported)
		}
	}
}

func mayImport(from, to string) bool {
	switch {
	case strings.HasPrefix(from, "cmd/"), strings.HasPrefix(from, "bench"):
		return !strings.HasPrefix(to, "cmd/")
	case strings.HasPrefix(from, "pkg/"):
		if floorOf(from) == floorOf(to) {
			// A provider is one package and those below it; they share the
			// contract above them.
			return to == "pkg/providers" || strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, to+"/")
		}
		if from == "pkg/client" && to == "internal/app" {
			return true // the front door opens the house
		}
		return strings.HasPrefix(to, "pkg/") && floorOf(to) < floorOf(from)
	case slices.Contains(introducers, from):
		return strings.HasPrefix(to, "internal/") || strings.HasPrefix(to, "pkg/")
	case strings.HasPrefix(from, "internal/"):
		// Packages of internal do not know one another, but for a package and
		// those below it.
		below := strings.HasPrefix(to, from+"/") || strings.HasPrefix(from, to+"/")
		return strings.HasPrefix(to, "pkg/") || below
	}
	return false
}

// importers says who may import a technology.
var importers = map[string][]string{
	"github.com/hibiken/asynqmon":         {"internal/dashboard"},
	"github.com/hibiken/asynq":            {"internal/queue", "internal/dashboard", "bench"},
	"github.com/redis/go-redis/v9":        {"internal/store", "internal/queue", "internal/embedded", "internal/redistest", "bench"},
	"github.com/spf13/viper":              {"internal/config"},
	"github.com/spf13/cobra":              {"cmd/easel"},
	"github.com/danielgtaylor/huma/v2":    {"internal/httpapi"},
	"github.com/prometheus/client_golang": {"internal/telemetry"},
	"gocloud.dev":                         {"internal/artifacts"},
	"github.com/alicebob/miniredis/v2":    {"internal/embedded"},
	"code.dny.dev/ssrf":                   {"internal/fetch"},
	"github.com/coder/websocket":          {"pkg/providers/comfyui"},
	"github.com/standard-webhooks":        {"internal/webhook"},
}

func TestEachTechnologyHasOneImporter(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			for technology, may := range importers {
				if imported != technology && !strings.HasPrefix(imported, technology+"/") {
					continue
				}
				require.True(t, slices.Contains(may, p.ImportPath), "%s must not import %s: it lives in %v", p.ImportPath, imported, may)
			}
		}
	}
}

// TestNounsKnowNoTechnology keeps packages that Go services import free of what
// only servers need.
func TestNounsKnowNoTechnology(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		if p.ImportPath != "pkg/classify" && p.ImportPath != "pkg/tasks" {
			continue
		}
		for _, imported := range p.Imports {
			standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
			require.True(t, standard || strings.HasPrefix(imported, module), "%s imports %s", p.ImportPath, imported)
			if p.ImportPath == "pkg/tasks" {
				require.NotEqual(t, "net/http", imported)
			}
		}
	}
}

// TestTheMachineRefuses shows that the plan is one: what it forbids is refused.
func TestTheMachineRefuses(t *testing.T) {
	t.Parallel()
	for from, to := range map[string]string{
		"pkg/tasks":            "pkg/orchestrator",
		"pkg/classify":         "pkg/tasks",
		"pkg/orchestrator":     "internal/store",
		"internal/store":       "internal/queue",
		"internal/httpapi":     "internal/app",
		"pkg/client":           "internal/store",
		"internal/app":         "cmd/easel",
		"pkg/providers/openai": "pkg/providers/sketch",
		"pkg/providers":        "pkg/orchestrator",
	} {
		require.False(t, mayImport(from, to), "%s → %s", from, to)
	}
	for _, from := range []string{"pkg/orchestrator", "pkg/providers", "pkg/tasks", "internal/httpapi"} {
		require.False(t, mayImport(from, "internal/app"), "only the front door opens the house")
	}
	require.True(t, mayImport("pkg/client", "internal/app"))
}

// TestDialingIsLight shows that a program that only dials a server can leave the
// house out of its binary.
func TestDialingIsLight(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "easel_http", module+"pkg/client").Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		path := strings.TrimSpace(line)
		standard := !strings.Contains(strings.Split(path, "/")[0], ".")
		require.True(t, standard || strings.HasPrefix(path, module+"pkg/"), "pkg/client drags in %s", path)
	}
}
