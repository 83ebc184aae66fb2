package documents

import (
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/app"
	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const root = "../.."

// block returns the fenced block of a document that follows <!-- run: name -->.
func block(t *testing.T, document, name string) string {
	t.Helper()
	return marked(t, document, "run: "+name)
}

// marked returns the fenced block of a document that follows the mark.
func marked(t *testing.T, document, mark string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "<!-- "+mark+" -->\n```")
	require.True(t, found, "%s has no block %s", document, mark)
	_, rest, _ = strings.Cut(rest, "\n")
	code, _, found := strings.Cut(rest, "\n```")
	require.True(t, found)
	return code
}

// serve runs an Easel for the README's readers.
func serve(t *testing.T, change ...func(*config.Config)) string {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.API.Listen, cfg.Dashboard.Listen = "127.0.0.1:0", "127.0.0.1:0"
	for _, apply := range change {
		apply(cfg)
	}
	running, err := app.Up(context.WithoutCancel(t.Context()), cfg, app.UpOptions{})
	require.NoError(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, running.Close(ctx))
	})
	return running.APIURL()
}

func TestReadmesCurlRuns(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", block(t, "README.md", "curl"))
	cmd.Env = append(os.Environ(), "EASEL_URL="+serve(t))
	out, err := cmd.Output()
	require.NoError(t, err)
	var job tasks.View
	require.NoError(t, json.Unmarshal(out, &job), "%s", out)
	require.Equal(t, tasks.StatusCompleted, job.Status)
	require.Equal(t, "user-123", job.UserID)
}

// program writes a document's block where it compiles against this tree; the
// underscore keeps it out of ./... meanwhile.
func program(t *testing.T, source string) string {
	t.Helper()
	dir, err := os.MkdirTemp(".", "_program-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(source+"\n"), 0o600))
	formatted, err := exec.CommandContext(t.Context(), "gofmt", "-l", file).Output()
	require.NoError(t, err)
	require.Empty(t, string(formatted), "the program is not gofmt-ed")
	return "./" + file
}

func TestProgramsRun(t *testing.T) {
	t.Parallel()
	for _, of := range []struct{ document, name string }{
		{"README.md", "go"},
		{"docs/library.md", "go"},
		{"docs/coming-from.md", "hosted"},
		{"docs/coming-from.md", "asynq"},
		{"docs/coming-from.md", "library"},
	} {
		t.Run(of.document+" "+of.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), "go", "run", program(t, block(t, of.document, of.name)))
			cmd.Env = append(os.Environ(), "EASEL_URL="+serve(t), "REDIS_URL="+redistest.Start(t).URL(), "DATA_DIR="+t.TempDir())
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "completed")
			require.Contains(t, string(out), "image/png")
			require.NotContains(t, string(out), "false")
		})
	}
}

// TestOthersProgramsCompile is fair to whom we compare ourselves with.
func TestOthersProgramsCompile(t *testing.T) {
	t.Parallel()
	file := program(t, marked(t, "docs/coming-from.md", "vet: asynq"))
	out, err := exec.CommandContext(t.Context(), "go", "vet", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

var (
	link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)
	code = regexp.MustCompile("(?s)\n```.*?\n```") // a generic call looks like a link
)

// TestLinksLeadSomewhere follows every relative link of every document.
func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	seen := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "testdata" || (strings.HasPrefix(entry.Name(), ".") && path != root)) {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, match := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(match[1], ":") {
				continue // another site
			}
			seen++
			require.FileExists(t, filepath.Join(filepath.Dir(path), match[1]), "%s links to %s", path, match[1])
		}
		return nil
	}))
	require.NotZero(t, seen)
}
