package deployment

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	variable = regexp.MustCompile(`\bEASEL_[A-Z0-9_]*[A-Z0-9]\b`)
	program  = regexp.MustCompile(`\./cmd/([a-z]+)`)
)

// clientVariables are read by the command line and not by the configuration.
var clientVariables = []string{"EASEL_URL", "EASEL_TOKEN"}

// instructions are the lines of the Dockerfile, continued ones joined.
func instructions(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	require.NoError(t, err)
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(string(raw), "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func instruction(t *testing.T, prefix string) string {
	t.Helper()
	for _, line := range instructions(t) {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	require.Fail(t, "the Dockerfile has no "+prefix)
	return ""
}

// imagePrograms are what the Dockerfile builds.
func imagePrograms(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, match := range program.FindAllStringSubmatch(instruction(t, "RUN CGO_ENABLED=0"), -1) {
		names = append(names, match[1])
	}
	return names
}

func TestImageHasEveryProgram(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join(root, "cmd"))
	require.NoError(t, err)
	var all []string
	for _, entry := range entries {
		all = append(all, entry.Name())
	}
	require.ElementsMatch(t, all, imagePrograms(t))
}

func TestImageStampsTheVersion(t *testing.T) {
	t.Parallel()
	build := instruction(t, "RUN CGO_ENABLED=0")
	_, rest, found := strings.Cut(build, "-X github.com/easel-jobs/easel/")
	require.True(t, found)
	path, _, _ := strings.Cut(rest, "=")
	folder, name, found := strings.Cut(path, ".")
	require.True(t, found)
	declared := regexp.MustCompile(`(?m)^var ` + name + ` = "`)
	files, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	require.NoError(t, err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		if declared.Match(raw) {
			return
		}
	}
	require.Fail(t, path+" is not declared: the linker would say nothing")
}

func TestImageIsConfined(t *testing.T) {
	t.Parallel()
	lines := instructions(t)
	require.Regexp(t, `^USER [1-9][0-9]*:[1-9][0-9]*$`, instruction(t, "USER"), "not root, and a number that Kubernetes can judge")
	require.Contains(t, lines, "FROM scratch")
	require.Contains(t, lines, "COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/", "providers are called over TLS")
	require.Contains(t, lines, "VOLUME /var/lib/easel")
	for _, line := range lines {
		require.False(t, strings.HasPrefix(line, "ENV"), "settings come from outside: %s", line)
	}
}

// TestContextHoldsNoSecret: a .env beside the compose file must not get into a
// layer of the build.
func TestContextHoldsNoSecret(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	require.NoError(t, err)
	var rules []string
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			rules = append(rules, line)
		}
	}
	require.Equal(t, "*", rules[0], "everything is left out that is not named")
	for _, needed := range []string{"go.mod", "go.sum", "cmd", "internal", "pkg", "deploy/easel.yaml"} {
		require.Contains(t, rules, "!"+needed)
	}
	for _, rule := range rules {
		require.NotContains(t, rule, ".env")
	}
	// What is left out must not be embedded into the programs.
	require.NoError(t, filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the directory of a test that has ended
		}
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "//go:embed") {
				require.NotContains(t, line, "testdata", path)
			}
		}
		return nil
	}))
}
