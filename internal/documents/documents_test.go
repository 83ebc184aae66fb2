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

// block returns the fenced block of the README that follows <!-- run: name -->.
func block(t *testing.T, name string) string {
	t.Helper()
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "<!-- run: "+name+" -->\n```")
	require.True(t, found, "the README has no block %s", name)
	_, rest, _ = strings.Cut(rest, "\n")
	code, _, found := strings.Cut(rest, "\n```")
	require.True(t, found)
	return code
}

// serve runs an Easel for the README's readers.
func serve(t *testing.T) string {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	cfg.API.Listen, cfg.Dashboard.Listen = "127.0.0.1:0", "127.0.0.1:0"
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
	cmd := exec.CommandContext(t.Context(), "sh", "-c", block(t, "curl"))
	cmd.Env = append(os.Environ(), "EASEL_URL="+serve(t))
	out, err := cmd.Output()
	require.NoError(t, err)
	var job tasks.View
	require.NoError(t, json.Unmarshal(out, &job), "%s", out)
	require.Equal(t, tasks.StatusCompleted, job.Status)
	require.Equal(t, "user-123", job.UserID)
}

func TestReadmesProgramRuns(t *testing.T) {
	t.Parallel()
	// Inside the module, so that it compiles against this tree.
	dir, err := os.MkdirTemp(".", "readme-*")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(file, []byte(block(t, "go")+"\n"), 0o600))
	formatted, err := exec.CommandContext(t.Context(), "gofmt", "-l", file).Output()
	require.NoError(t, err)
	require.Empty(t, string(formatted), "the README's program is not gofmt-ed")

	cmd := exec.CommandContext(t.Context(), "go", "run", "./"+dir)
	cmd.Env = append(os.Environ(), "EASEL_URL="+serve(t))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "completed")
	require.Contains(t, string(out), "image/png")
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(#[^)]*)?\)`)

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
		for _, match := range link.FindAllStringSubmatch(string(text), -1) {
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
