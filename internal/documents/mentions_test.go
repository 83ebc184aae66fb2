package documents

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/store"
)

// documents are the texts that people read, by their paths from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "bench/*.md", "deploy/*.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			texts[strings.TrimPrefix(file, root+"/")] = string(text)
		}
	}
	require.Contains(t, texts, "README.md")
	return texts
}

// fenced are a document's blocks in one language.
func fenced(text, language string) []string {
	var blocks []string
	for {
		_, rest, found := strings.Cut(text, "\n```"+language+"\n")
		if !found {
			return blocks
		}
		block, after, _ := strings.Cut(rest, "\n```")
		blocks, text = append(blocks, block), after
	}
}

// sections are the first words of a configuration file; other YAML is about
// something else.
var sections = []string{
	"redis", "data_dir", "secret_key", "api", "metrics", "dashboard", "worker", "artifacts", "webhooks", "retention",
	"defaults", "providers", "log",
}

// TestConfigurationsLoad loads every configuration that a document shows.
func TestConfigurationsLoad(t *testing.T) {
	t.Parallel()
	loaded, variables := 0, settingVariables(t)
	for name, text := range documents(t) {
		for _, block := range fenced(text, "yaml") {
			var keys map[string]any
			require.NoError(t, yaml.Unmarshal([]byte(block), &keys), "%s:\n%s", name, block)
			known := true
			for key := range keys {
				known = known && slices.Contains(sections, key)
			}
			if !known {
				continue
			}
			file := filepath.Join(t.TempDir(), "easel.yaml")
			require.NoError(t, os.WriteFile(file, []byte(block), 0o600))
			_, err := config.Load(config.LoadOptions{File: file, LookupEnv: func(variable string) (string, bool) {
				if variables[variable] {
					return "", false
				}
				return "a-value-for-" + variable, true // what the reader has set for ${NAME}
			}})
			require.NoError(t, err, "%s:\n%s", name, block)
			loaded++
		}
	}
	require.NotZero(t, loaded)
}

// settingVariables are the variables of all settings: a configuration prints
// every key that there is.
func settingVariables(t *testing.T) map[string]bool {
	t.Helper()
	raw, err := config.Default().Redacted()
	require.NoError(t, err)
	var tree map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(raw), &tree))
	known := map[string]bool{}
	for key, value := range tree {
		section, nested := value.(map[string]any)
		if !nested {
			known[config.Variable(key)] = true
		}
		for name := range section {
			known[config.Variable(key+"."+name)] = true
		}
	}
	require.True(t, known["EASEL_API_LISTEN"] && known["EASEL_SECRET_KEY"])
	return known
}

// clientVariables are read by the command line, and not by the configuration.
var clientVariables = []string{"EASEL_URL", "EASEL_TOKEN"}

var (
	variable   = regexp.MustCompile(`EASEL_[A-Z0-9_]+\b`)
	readersOwn = regexp.MustCompile(`\$\{[A-Z0-9_]+[^}]*\}|os\.Getenv\("[A-Z0-9_]+"\)`)
)

// TestVariablesExist knows every variable that a document names. What a file
// substitutes with ${}, or a program of the reader's gets, is the reader's own.
func TestVariablesExist(t *testing.T) {
	t.Parallel()
	known := settingVariables(t)
	for name, text := range documents(t) {
		for _, found := range variable.FindAllString(readersOwn.ReplaceAllString(text, ""), -1) {
			if !slices.Contains(clientVariables, found) {
				require.True(t, known[found], "%s names %s", name, found)
			}
		}
	}
}

var redisURL = regexp.MustCompile(`"?(rediss?|redis-sentinel|redis\+sentinel)://[^\s"'` + "`" + `)]+`)

// TestRedisURLsAreTaken holds the addresses that the documents show against
// both who checks them and who dials them.
func TestRedisURLsAreTaken(t *testing.T) {
	t.Parallel()
	seen := 0
	for name, text := range documents(t) {
		for _, url := range redisURL.FindAllString(text, -1) {
			url = strings.TrimRight(strings.Trim(url, `"`), ".,")
			if strings.Contains(url, "…") || strings.HasSuffix(url, "://") {
				continue
			}
			seen++
			_, err := config.Load(config.LoadOptions{SearchPaths: []string{}, LookupEnv: func(variable string) (string, bool) {
				if variable != "EASEL_REDIS_URL" {
					return "", false
				}
				return url, true
			}})
			require.NoError(t, err, "%s shows %s", name, url)
			client, err := store.NewClient(url)
			require.NoError(t, err, "%s shows %s", name, url)
			require.NoError(t, client.Close())
		}
	}
	require.NotZero(t, seen)
}

var makeTarget = regexp.MustCompile("(?m)(?:^|`)make ([a-z-]+)")

func TestMakeTargetsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	require.NoError(t, err)
	for name, text := range documents(t) {
		for _, match := range makeTarget.FindAllStringSubmatch(text, -1) {
			require.True(t, strings.Contains(string(makefile), "\n"+match[1]+":"), "%s says make %s", name, match[1])
		}
	}
}

// easelCommand is a command line at the beginning of a line, or in backticks,
// behind the variables that it is given.
var easelCommand = regexp.MustCompile("(?m)(?:^|`|[A-Z_]+=[^ ]+ )(easel [a-z][^`\n]*)")

// TestCommandsAreUnderstood has the program read every command line that a
// document shows. Asked for help it parses the flags and does nothing else.
func TestCommandsAreUnderstood(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "easel")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, root+"/cmd/easel").CombinedOutput()
	require.NoError(t, err, "%s", out)
	seen := 0
	for name, text := range documents(t) {
		for _, match := range easelCommand.FindAllStringSubmatch(text, -1) {
			line := onlyCommand(match[1])
			seen++
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `exec "$PROGRAM" `+strings.TrimPrefix(line, "easel ")+" --help")
			cmd.Env = append(os.Environ(), "PROGRAM="+program)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			require.NoError(t, cmd.Run(), "%s: %s: %s", name, line, stderr.String())
			// A command that does not exist gets the help of the one above it.
			path := strings.Join(words(line), " ")
			require.Contains(t, stdout.String(), "  "+path, "%s: %s is no command", name, path)
		}
	}
	require.NotZero(t, seen)
}

var afterCommand = regexp.MustCompile(`\s*(\\$|\s#\s|\||&&|;|>\s).*$`)

// onlyCommand is a command line without what the shell adds to it: comments,
// pipes and the like would get the flag that asks for help.
func onlyCommand(line string) string {
	line = placeholder.ReplaceAllString(line, "$1")
	return strings.TrimSpace(afterCommand.ReplaceAllString(line, ""))
}

var placeholder = regexp.MustCompile(`<([a-zA-Z_ ]+)>`)

// words are the command and its subcommands: what comes before flags and
// arguments.
func words(line string) []string {
	var list []string
	for _, word := range strings.Fields(line) {
		if strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") != "" || len(list) == 3 {
			break
		}
		list = append(list, word)
	}
	return list
}

const largestPicture = 200 << 10

// TestPicturesAreShownAndSmall keeps pictures that nobody sees, or that take
// long to see, out of the repository.
func TestPicturesAreShownAndSmall(t *testing.T) {
	t.Parallel()
	all := strings.Builder{}
	for _, text := range documents(t) {
		all.WriteString(text)
	}
	pictures := filepath.Join(root, "docs", "images")
	require.NoError(t, filepath.WalkDir(pictures, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		require.True(t, strings.Contains(all.String(), "images/"+entry.Name()), "%s is shown nowhere", entry.Name())
		info, err := entry.Info()
		require.NoError(t, err)
		require.Less(t, info.Size(), int64(largestPicture), entry.Name())
		return nil
	}))
}
