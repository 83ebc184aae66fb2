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
	"github.com/easel-jobs/easel/pkg/tasks"
)

const root = "../.."

// block returns the fenced block of a document that follows <!-- run: name -->.
func block(t *testing.T, document, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, document))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(text), "<!-- run: "+name+" -->\n```")
	require.True(t, found, "%s has no block %s", document, name)
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

func TestProgramsRun(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"README.md", "docs/library.md"} {
		t.Run(document, func(t *testing.T) {
			t.Parallel()
			// Inside the module, so that it compiles against this tree; the
			// underscore keeps it out of ./... meanwhile.
			dir, err := os.MkdirTemp(".", "_program-*")
			require.NoError(t, err)
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			file := filepath.Join(dir, "main.go")
			require.NoError(t, os.WriteFile(file, []byte(block(t, document, "go")+"\n"), 0o600))
			formatted, err := exec.CommandContext(t.Context(), "gofmt", "-l", file).Output()
			require.NoError(t, err)
			require.Empty(t, string(formatted), "the program is not gofmt-ed")

			cmd := exec.CommandContext(t.Context(), "go", "run", "./"+file)
			cmd.Env = append(os.Environ(), "EASEL_URL="+serve(t))
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "completed")
			require.Contains(t, string(out), "image/png")
			require.NotContains(t, string(out), "false")
		})
	}
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
