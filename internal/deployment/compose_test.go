package deployment

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/easel-jobs/easel/internal/config"
)

const root = "../.."

// programs are the services that are ours.
var programs = []string{"api", "worker", "dashboard"}

// compose is what we rely on in docker-compose.yml.
type compose struct {
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
}

type service struct {
	Image       string            `yaml:"image"`
	Build       map[string]string `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Name        string            `yaml:"container_name"`
	Volumes     []string          `yaml:"volumes"`
	StopGrace   string            `yaml:"stop_grace_period"`
	ReadOnly    bool              `yaml:"read_only"`
	Security    []string          `yaml:"security_opt"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	DependsOn map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
}

func readCompose(t *testing.T) compose {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	require.NoError(t, err)
	var c compose
	require.NoError(t, yaml.Unmarshal(raw, &c))
	return c
}

// filled is a .env in which everything that deploy/env.example names is set.
func filled(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "deploy", "env.example"))
	require.NoError(t, err)
	env := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), "="); found && !strings.HasPrefix(name, "#") {
			require.Empty(t, value, "%s: an example is no place for a secret", name)
			env[name] = "0123456789abcdef-" + strings.ToLower(name)
		}
	}
	env["EASEL_API_PUBLIC_URL"] = "https://easel.example.com"
	return env
}

// interpolate does to a value what docker compose does: ${NAME}, ${NAME:-text},
// ${NAME:?why} and ${NAME?why}.
func interpolate(value string, env map[string]string) (string, error) {
	var missing error
	text := os.Expand(value, func(reference string) string {
		end := strings.IndexAny(reference, ":?-")
		if end < 0 {
			return env[reference]
		}
		name, rule := reference[:end], reference[end:]
		found, set := env[name]
		switch {
		case strings.HasPrefix(rule, ":-") && found == "":
			return rule[2:]
		case strings.HasPrefix(rule, ":?") && found == "", strings.HasPrefix(rule, "?") && !set:
			missing = fmt.Errorf("%s is missing", name)
		}
		return found
	})
	return text, missing
}

// configOf is the configuration that a service starts with.
func configOf(s service, env map[string]string) (*config.Config, error) {
	inside := map[string]string{}
	for name, value := range s.Environment {
		text, err := interpolate(value, env)
		if err != nil {
			return nil, err
		}
		inside[name] = text
	}
	c, err := config.Load(config.LoadOptions{
		File:      filepath.Join(root, "deploy", "easel.yaml"),
		LookupEnv: func(name string) (string, bool) { value, set := inside[name]; return value, set },
	})
	if err != nil {
		return nil, err
	}
	return c, c.RequireRedis()
}

func TestServicesStartWithTheirConfiguration(t *testing.T) {
	t.Parallel()
	services, env := readCompose(t).Services, filled(t)
	for _, name := range programs {
		c, err := configOf(services[name], env)
		require.NoError(t, err, name)
		require.Equal(t, "redis://redis:6379/0", c.Redis.URL.Reveal(), name)
		require.NotEmpty(t, c.API.Keys, "%s would not sign the links that callers get", name)
		require.Equal(t, config.LogJSON, c.Log.Format, name)
	}
	api, err := configOf(services["api"], env)
	require.NoError(t, err)
	require.False(t, config.Loopback(api.API.Listen), "a published port reaches no loopback address in a container")
	dashboard, err := configOf(services["dashboard"], env)
	require.NoError(t, err)
	require.False(t, config.Loopback(dashboard.Dashboard.Listen))
	require.NotEmpty(t, dashboard.Dashboard.Username)
}

// TestNothingStartsOpen takes each secret away in turn.
func TestNothingStartsOpen(t *testing.T) {
	t.Parallel()
	services := readCompose(t).Services
	for _, test := range []struct{ service, variable, problem string }{
		{"api", "EASEL_API_KEYS", "api.keys"},
		{"api", "EASEL_SECRET_KEY", "EASEL_SECRET_KEY is missing"},
		{"dashboard", "EASEL_DASHBOARD_PASSWORD", "EASEL_DASHBOARD_PASSWORD is missing"},
	} {
		env := filled(t)
		env[test.variable] = "" // as in an env.example that nobody has filled in
		_, err := configOf(services[test.service], env)
		require.ErrorContains(t, err, test.problem, test.variable)
		delete(env, test.variable)
		_, err = configOf(services[test.service], env)
		require.ErrorContains(t, err, test.variable+" is missing")
	}
}

// variables are the EASEL_* names of every setting.
func variables(section reflect.Type, prefix string) []string {
	var names []string
	for i := range section.NumField() {
		field := section.Field(i)
		path := prefix + field.Tag.Get("yaml")
		if field.Type.Kind() == reflect.Struct {
			names = append(names, variables(field.Type, path+".")...)
		} else {
			names = append(names, config.Variable(path))
		}
	}
	return names
}

func TestVariablesAreThoseOfSettings(t *testing.T) {
	t.Parallel()
	known := variables(reflect.TypeFor[config.Config](), "")
	require.Contains(t, known, "EASEL_WEBHOOKS_SECRETS")
	for _, file := range []string{"docker-compose.yml", "deploy/env.example", "deploy/kubernetes.yaml", "docs/operations.md", "docs/webhooks.md", "docs/providers.md"} {
		raw, err := os.ReadFile(filepath.Join(root, file))
		require.NoError(t, err)
		for _, name := range variable.FindAllString(string(raw), -1) {
			require.True(t, slices.Contains(known, name) || slices.Contains(clientVariables, name), "%s: %s sets nothing", file, name)
		}
	}
	env := filled(t)
	for name, s := range readCompose(t).Services {
		for variable, value := range s.Environment {
			_, err := interpolate(value, env)
			require.NoError(t, err, "%s: %s is not in deploy/env.example", name, variable)
		}
	}
}

func TestWorkersScale(t *testing.T) {
	t.Parallel()
	worker := readCompose(t).Services["worker"]
	require.Empty(t, worker.Ports, "a second worker could not have the port")
	require.Empty(t, worker.Name, "a second worker could not have the name")
}

func TestStopOutlastsWorkers(t *testing.T) {
	t.Parallel()
	services, env := readCompose(t).Services, filled(t)
	for _, name := range programs {
		_, err := time.ParseDuration(services[name].StopGrace)
		require.NoError(t, err, name)
	}
	c, err := configOf(services["worker"], env)
	require.NoError(t, err)
	grace, err := time.ParseDuration(services["worker"].StopGrace)
	require.NoError(t, err)
	require.Greater(t, grace, c.Worker.ShutdownTimeout, "a deploy would cut off a paid call")
}

func TestRedisKeepsJobs(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	redis := c.Services["redis"]
	line := strings.Join(redis.Command, " ")
	require.Contains(t, line, "--appendonly yes")
	require.Contains(t, line, "--appendfsync everysec")
	require.Contains(t, line, "--maxmemory-policy noeviction")
	require.Contains(t, redis.Volumes, "redis:/data")
	require.Contains(t, c.Volumes, "redis")
	require.Empty(t, redis.Ports, "Redis is nobody else's business")
}

func TestServicesAreConfined(t *testing.T) {
	t.Parallel()
	c := readCompose(t)
	for name, s := range c.Services {
		require.True(t, s.ReadOnly, name)
		require.Contains(t, s.Security, "no-new-privileges:true", name)
		require.NotEmpty(t, s.Healthcheck.Test, name)
		for _, port := range s.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s publishes %s to everybody", name, port)
		}
	}
	for _, name := range programs {
		require.Equal(t, "service_healthy", c.Services[name].DependsOn["redis"].Condition, name)
		require.Contains(t, c.Services[name].Volumes, "data:/var/lib/easel", "%s shares the artifacts", name)
		require.Contains(t, c.Volumes, "data")
		cfg, err := configOf(c.Services[name], filled(t))
		require.NoError(t, err)
		require.Equal(t, "/var/lib/easel", cfg.DataDir, name)
	}
}

// TestCommandsParse builds the programs and has them read each command line: an
// unknown flag comes before --help.
func TestCommandsParse(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	built, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin+"/", root+"/cmd/...").CombinedOutput()
	require.NoError(t, err, "%s", built)
	services := readCompose(t).Services
	var lines [][]string
	for _, name := range programs {
		lines = append(lines, services[name].Command)
		require.Equal(t, "CMD", services[name].Healthcheck.Test[0], "%s: the image has no shell", name)
		lines = append(lines, services[name].Healthcheck.Test[1:])
	}
	for _, line := range lines {
		program, inImage := strings.CutPrefix(line[0], "/usr/local/bin/")
		require.True(t, inImage, "%s is not in the image", line[0])
		require.Contains(t, imagePrograms(t), program)
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, program), append(slices.Clone(line[1:]), "--help")...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		require.NoError(t, cmd.Run(), "%v: %s", line, &said)
	}
}

// TestHealthchecksAskWhatIsServed holds the probes to the configured addresses.
func TestHealthchecksAskWhatIsServed(t *testing.T) {
	t.Parallel()
	services, env := readCompose(t).Services, filled(t)
	for name, where := range map[string]func(*config.Config) (listen, path string){
		"api":       func(c *config.Config) (string, string) { return c.API.Listen, "/readyz" },
		"worker":    func(c *config.Config) (string, string) { return c.Metrics.Listen, "/metrics" },
		"dashboard": func(c *config.Config) (string, string) { return c.Dashboard.Listen, "/healthz" },
	} {
		c, err := configOf(services[name], env)
		require.NoError(t, err)
		listen, path := where(c)
		_, port, _ := strings.Cut(listen, ":")
		probe := services[name].Healthcheck.Test
		require.Equal(t, "http://127.0.0.1:"+port+path, probe[len(probe)-1], name)
	}
}
