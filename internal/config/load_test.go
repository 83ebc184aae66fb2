package config_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
)

// env answers for the environment in tests.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	value, set := e[name]
	return value, set
}

// write makes a configuration file.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "easel.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func load(t *testing.T, text string, environment env) (*config.Config, error) {
	t.Helper()
	return config.Load(config.LoadOptions{File: write(t, text), LookupEnv: environment.lookup})
}

func TestLoadNothing(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.LoadOptions{SearchPaths: []string{}, LookupEnv: env{}.lookup})
	require.NoError(t, err)
	require.Equal(t, config.Default(), c)
	require.Equal(t, []config.Provider{{Name: "sketch", Use: "sketch", OnUnknown: "hold", Concurrency: 64}}, c.Providers)
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	file := write(t, "api: {listen: '127.0.0.1:1'}\ndashboard: {listen: '127.0.0.1:1'}\nworker: {poll_concurrency: 1, deliver_concurrency: 1}\ndata_dir: file\n")
	flags := pflag.NewFlagSet("easel", pflag.ContinueOnError)
	config.AddFlags(flags)
	config.AddFlag(flags, "listen", "api.listen", "")
	config.AddFlag(flags, "dashboard-listen", "dashboard.listen", "")
	require.NoError(t, flags.Parse([]string{"--config", file, "--listen", "127.0.0.1:3"}))

	c, err := config.Load(config.LoadOptions{Flags: flags, LookupEnv: env{
		"EASEL_API_LISTEN": "127.0.0.1:2", "EASEL_DASHBOARD_LISTEN": "127.0.0.1:2",
		"EASEL_WORKER_POLL_CONCURRENCY": "2", "EASEL_DATA_DIR": "",
	}.lookup})
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:3", c.API.Listen, "flag over environment")
	require.Equal(t, "127.0.0.1:2", c.Dashboard.Listen, "environment over file; a flag that was not given does not count")
	require.Equal(t, 2, c.Worker.PollConcurrency, "environment over file")
	require.Equal(t, 1, c.Worker.DeliverConcurrency, "file over default")
	require.Equal(t, 16, c.Worker.FinalizeConcurrency, "default beside a sibling that is set")
	require.Equal(t, "file", c.DataDir, "an empty variable counts as unset")
}

func TestSearchPaths(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "easel.yaml")
	first, second := write(t, "data_dir: first"), write(t, "data_dir: second")

	c, err := config.Load(config.LoadOptions{SearchPaths: []string{missing, first, second}, LookupEnv: env{}.lookup})
	require.NoError(t, err)
	require.Equal(t, "first", c.DataDir)

	_, err = config.Load(config.LoadOptions{File: missing, SearchPaths: []string{first}, LookupEnv: env{}.lookup})
	require.ErrorIs(t, err, os.ErrNotExist, "a file that was named must exist")
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.LoadOptions{SearchPaths: []string{}, LookupEnv: env{
		"EASEL_REDIS_URL": "rediss://:p@redis:6379/1", "EASEL_API_LISTEN": "0.0.0.0:80",
		"EASEL_API_KEYS": "key1, key2,", "EASEL_SECRET_KEY": "0123456789abcdef,fedcba9876543210",
		"EASEL_API_CORS_ORIGINS": "https://a.example,https://b.example",
		"EASEL_API_MAX_BODY":     "1MiB", "EASEL_WEBHOOKS_ALLOW_HTTP": "true",
		"EASEL_WEBHOOKS_SECRETS":      "whsec_x",
		"EASEL_WORKER_SUBMIT_TIMEOUT": "1m", "EASEL_RETENTION_JOBS": "0s", "EASEL_DEFAULTS_RETRY_ATTEMPTS": "0",
		"EASEL_LOG_FORMAT": "json", "EASEL_PROVIDERS": "sketch",
	}.lookup})
	require.NoError(t, err)
	require.Equal(t, "rediss://:p@redis:6379/1", c.Redis.URL.Reveal())
	require.Equal(t, []config.APIKey{
		{Key: "key1", Tenant: "default", Scopes: []string{"jobs", "operate"}},
		{Key: "key2", Tenant: "default", Scopes: []string{"jobs", "operate"}},
	}, c.API.Keys)
	require.Equal(t, []config.Secret{"0123456789abcdef", "fedcba9876543210"}, c.SecretKey)
	require.Equal(t, []string{"https://a.example", "https://b.example"}, c.API.CORSOrigins)
	require.Equal(t, config.Mebibyte, c.API.MaxBody)
	require.True(t, c.Webhooks.AllowHTTP)
	require.Equal(t, []config.WebhookSecret{{Tenant: "default", Secret: "whsec_x"}}, c.Webhooks.Secrets)
	require.Equal(t, time.Minute, c.Worker.SubmitTimeout)
	require.Zero(t, c.Retention.Jobs)
	require.Zero(t, c.Defaults.RetryAttempts)
	require.Equal(t, "json", c.Log.Format)
}

func TestProviders(t *testing.T) {
	t.Parallel()
	c, err := load(t, `
providers:
  - name: openai
    api_key: ${OPENAI_API_KEY}
    models: [{feature: text-to-image, model: acme/FLUX.1}]
    options: {loraScale: 0.5, Nested: {keepCase: true}}
  - {name: spare, use: openai, on_unknown: resubmit, concurrency: 3, submit_timeout: 1m}
`, env{"OPENAI_API_KEY": "sk-123"})
	require.NoError(t, err)
	require.Equal(t, []config.Provider{
		{
			Name: "openai", Use: "openai", APIKey: "sk-123", OnUnknown: "hold", Concurrency: 64,
			Models:  []config.Model{{Feature: "text-to-image", Model: "acme/FLUX.1"}},
			Options: map[string]any{"loraScale": 0.5, "Nested": map[string]any{"keepCase": true}},
		},
		{Name: "spare", Use: "openai", OnUnknown: "resubmit", Concurrency: 3, SubmitTimeout: time.Minute},
	}, c.Providers, "the keys of options keep their case")
}

func TestAddProviders(t *testing.T) {
	t.Parallel()
	options := config.LoadOptions{
		SearchPaths: []string{}, AddProviders: []string{"openai", "sketch"},
		LookupEnv: env{"OPENAI_API_KEY": "sk-123"}.lookup,
	}
	c, err := config.Load(options)
	require.NoError(t, err)
	require.Len(t, c.Providers, 2)
	require.Equal(t, config.Secret("sk-123"), c.Provider("openai").APIKey)

	options.LookupEnv = env{}.lookup
	_, err = config.Load(options)
	require.EqualError(t, err, "configuration: providers[1].api_key: environment variable OPENAI_API_KEY is not set")
}

func TestExpansion(t *testing.T) {
	t.Parallel()
	environment := env{"SET": "value", "EMPTY": "", "PORT": "9000", "N": "7", "TRICK": "${SET}"}
	for _, test := range []struct{ name, text, want, problem string }{
		{name: "whole", text: "${SET}", want: "value"},
		{name: "inside", text: "a-${SET}-b${SET}", want: "a-value-bvalue"},
		{name: "default unused", text: "${SET:-other}", want: "value"},
		{name: "default for unset", text: "${UNSET:-other}", want: "other"},
		{name: "default for empty", text: "${EMPTY:-other}", want: "other"},
		{name: "escaped", text: "$${SET}", want: "${SET}"},
		{name: "dollar alone", text: "a$b$", want: "a$b$"},
		{name: "not twice", text: "${TRICK}", want: "${SET}"},
		{name: "unset", text: "${UNSET}", problem: "data_dir: environment variable UNSET is not set"},
		{name: "open", text: "x${SET", problem: "data_dir: ${ is not closed"},
		{name: "no name", text: "${1+1}", problem: "data_dir: ${…} must hold the name"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c, err := load(t, "data_dir: '"+test.text+"'\n", environment)
			if test.problem != "" {
				require.ErrorContains(t, err, test.problem)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, c.DataDir)
		})
	}

	t.Run("every kind", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, "api: {listen: '127.0.0.1:${PORT}'}\nworker: {poll_concurrency: '${N}'}\nproviders: [{name: '${SET}', options: {x: ['${N}']}}]\n", environment)
		require.NoError(t, err)
		require.Equal(t, "127.0.0.1:9000", c.API.Listen)
		require.Equal(t, 7, c.Worker.PollConcurrency)
		require.Equal(t, "value", c.Providers[0].Name)
		require.Equal(t, map[string]any{"x": []any{"7"}}, c.Providers[0].Options)
	})

	t.Run("the environment is taken as it is", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, "", env{"EASEL_DATA_DIR": "${X}"})
		require.NoError(t, err)
		require.Equal(t, "${X}", c.DataDir)
	})
}

// TestProblems holds each mistake to the path and words it is told with.
func TestProblems(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-hunter2"
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"unknown section", "chache: {}", []string{"chache: unknown key"}},
		{"unknown without a value", "redis: {ulr: }", []string{"redis.ulr: unknown key (did you mean url?)"}},
		{"unknown in a list", "providers: [{name: a}, {name: b}, {name: c, modells: []}]", []string{"providers[2].modells: unknown key (did you mean models?)"}},
		{"unknown in a list of a list", "providers: [{name: a, models: [{feature: x, moedl: y}]}]", []string{
			"providers[0].models[0].model: must not be empty", "providers[0].models[0].moedl: unknown key (did you mean model?)"}},
		{"section for text", "data_dir: {a: b}", []string{"data_dir: must not be a section"}},
		{"text for section", "redis: " + secret, []string{"redis: must be a section"}},
		{"list for section", "redis: [a]", []string{"redis: must not be a list"}},
		{"text for options", "providers: [{name: a, options: " + secret + "}]", []string{"providers[0].options: must be a section"}},
		{"number for provider", "providers: [3]", []string{"providers[0]: must be a section"}},
		{"not a number", "worker: {poll_concurrency: many}", []string{"worker.poll_concurrency: must be a whole number"}},
		{"fraction", "worker: {poll_concurrency: 1.5}", []string{"worker.poll_concurrency: must be a whole number"}},
		{"no unit", "defaults: {timeout: 600}", []string{"defaults.timeout: must be a duration with its unit"}},
		{"not a size", "api: {max_body: big}", []string{"api.max_body: must be a size"}},
		{"negative size", "api: {max_body: -5}", []string{"api.max_body: must be a size"}},
		{"not a bool", "webhooks: {allow_http: perhaps}", []string{"webhooks.allow_http: must be true or false"}},
		{"number for text", "dashboard: {username: a, password: 0123}", []string{"dashboard.password: must be text: write it in quotes"}},
		{"wrong kind in a list", "api: {keys: [{key: [a]}]}", []string{"api.keys[0].key: must not be a list"}},

		{"durability", "redis: {intent_durability: always}", []string{"redis.intent_durability: must be one of none, fsync, replica"}},
		{"cluster", "redis: {url: 'redis+cluster://a:1'}", []string{"redis.url: Redis Cluster is not supported"}},
		{"redis scheme", "redis: {url: 'http://a'}", []string{"redis.url: must begin with redis://"}},
		{"redis garbage", "redis: {url: 'redis://:" + secret + "%zz@a'}", []string{"redis.url: is not a URL"}},
		{"sentinel without master", "redis: {url: 'redis+sentinel://a:1,b:2'}", []string{"redis.url: needs ?master_name="}},
		{"open api", "api: {listen: ':8080'}", []string{"api.keys: are required when api.listen is not a loopback address"}},
		{"open dashboard", "dashboard: {listen: '0.0.0.0:8081'}", []string{"dashboard.password: is required when dashboard.listen is not a loopback address"}},
		{"password without username", "dashboard: {password: " + secret + "}", []string{"dashboard.username: is required"}},
		{"username without password", "dashboard: {username: a}", []string{"dashboard.password: is required"}},
		{"address", "api: {listen: here}", []string{"api.listen: must be an address"}},
		{"port", "metrics: {listen: 'localhost:99999'}", []string{"metrics.listen: must be an address"}},
		{"public url", "api: {public_url: easel.example}", []string{"api.public_url: must be an http:// or https:// URL"}},
		{"userinfo", "providers: [{name: a, base_url: 'https://u:" + secret + "@a'}]", []string{"providers[0].base_url: must not hold a user or password"}},
		{"origin", "api: {cors_origins: ['https://a/path']}", []string{"api.cors_origins[0]: must be an origin"}},
		{"file origin", "api: {file_origins: ['https://a/path']}", []string{"api.file_origins[0]: must be an origin"}},
		{"file size", "api: {max_file: 0}", []string{"api.max_file: must be more than 0"}},
		{"uploads for ever", "retention: {uploads: 0}", []string{"retention.uploads: must be more than 0"}},
		{"private origin", "webhooks: {allow_private: ['10.0.0.1']}", []string{"webhooks.allow_private[0]: must be an origin"}},
		{"same key twice", "api: {keys: [a, b, a]}", []string{"api.keys[2].key: is the same as another key"}},
		{"empty key", "api: {keys: [{name: a}]}", []string{"api.keys[0].key: must not be empty"}},
		{"bad digest", "api: {keys: ['sha256:abc']}", []string{"api.keys[0].key: must be sha256: and 64"}},
		{"scope", "api: {keys: [{key: a, scopes: [jobs, admin]}]}", []string{"api.keys[0].scopes[1]: must be one of jobs, operate"}},
		{"tenant", "api: {keys: [{key: a, tenant: 'a:b'}]}", []string{"api.keys[0].tenant: must be a name"}},
		{"weak secret key", "secret_key: [0123456789abcdef, short]", []string{"secret_key[1]: must have at least 16"}},
		{"no workers", "worker: {submit_concurrency: 0}", []string{"worker.submit_concurrency: must be at least 1"}},
		{"shutdown too short", "worker: {submit_timeout: 5m, shutdown_timeout: 5m4s}", []string{"worker.shutdown_timeout: must be at least 5m5s"}},
		{"shutdown too short for a provider", "providers: [{name: a, submit_timeout: 10m}]", []string{"worker.shutdown_timeout: must be at least 10m5s"}},
		{"artifact scheme", "artifacts: {url: 'gs://bucket'}", []string{"artifacts.url: must begin with file:// or s3://"}},
		{"relative artifacts", "artifacts: {url: 'file://data'}", []string{"artifacts.url: must name an absolute path"}},
		{"artifacts outlive jobs", "retention: {jobs: 1h, artifacts: 2h}", []string{"retention.artifacts: must not be longer"}},
		{"negative retention", "retention: {jobs: -1h}", []string{"retention.jobs: must not be negative"}},
		{"default provider", "defaults: {provider: lumen}", []string{`defaults.provider: "lumen" is not configured`}},
		{"two of a name", "providers: [a, b, a]", []string{`providers[2].name: "a" is the name of another provider`}},
		{"provider name", "providers: [{name: a/b}]", []string{"providers[0].name: must be a name"}},
		{"on_unknown", "providers: [{name: a, on_unknown: guess}]", []string{"providers[0].on_unknown: must be one of hold, resubmit"}},
		{"model twice", "providers: [{name: a, models: [{feature: x, model: y}, {feature: x, model: z}]}]", []string{`providers[0].models[1].feature: "x" has a model already`}},
		{"log", "log: {level: loud, format: xml}", []string{"log.format: must be one of console, json", "log.level: must be one of debug"}},
		{"no mapping", "- " + secret, []string{"must be a YAML mapping"}},
		{"key twice", "data_dir: a\ndata_dir: b", []string{"already defined"}},
		{"everything at once", "chache: 1\nworker: {poll_concurrency: x, submit_timeout: -1s}\nproviders: [{name: a, modells: 1, api_key: '${NOPE}'}]\nlog: {level: loud}", []string{
			"6 problems", "chache: unknown", "log.level: must", "providers[0].api_key: environment variable NOPE is not set",
			"providers[0].modells: unknown", "worker.poll_concurrency: must be a whole", "worker.submit_timeout: must be more"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, test.text, env{})
			require.Error(t, err)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
			if len(test.want) == 1 {
				require.NotContains(t, err.Error(), "problems", "one mistake is told once")
			}
			require.NotContains(t, err.Error(), "hunter2", "values are not repeated")
		})
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "[::ffff:127.0.0.1]:1"} {
		require.True(t, config.Loopback(address), address)
	}
	for _, address := range []string{":1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "easel.example:1", "localhost.example:1", "nonsense", ""} {
		require.False(t, config.Loopback(address), address)
	}
}

func TestRequireRedis(t *testing.T) {
	t.Parallel()
	c := config.Default()
	require.ErrorContains(t, c.RequireRedis(), "EASEL_REDIS_URL")
	c.Redis.URL = "redis://127.0.0.1"
	require.NoError(t, c.RequireRedis())
}

func TestArtifactsURL(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.DataDir = "/var/lib/easel data"
	require.Equal(t, "file:///var/lib/easel%20data/artifacts", c.ArtifactsURL())
	c.DataDir = "relative"
	require.True(t, strings.HasPrefix(c.ArtifactsURL(), "file:///"), c.ArtifactsURL())
	c.Artifacts.URL = "s3://bucket"
	require.Equal(t, "s3://bucket", c.ArtifactsURL())
}

func TestRedacted(t *testing.T) {
	t.Parallel()
	text := `
redis: {url: 'redis://u:hunter2@redis:6379/0'}
secret_key: [hunter2-and-no-less, hunter2-and-no-more]
api: {keys: [{name: backend, key: hunter2}]}
dashboard: {username: op, password: hunter2}
webhooks: {secrets: [hunter2]}
providers: [{name: a, api_key: hunter2, options: {token: hunter2, deep: {token: hunter2}, steps: 4}}]
`
	c, err := load(t, text, env{})
	require.NoError(t, err)
	dump, err := c.Redacted()
	require.NoError(t, err)
	require.NotContains(t, dump, "hunter2")
	for _, want := range []string{"redis://u:xxxxx@redis:6379/0", "name: backend", "steps: 4", "submit_timeout: 5m0s", "max_body: 32MiB", "[redacted]"} {
		require.Contains(t, dump, want)
	}
	require.Equal(t, "hunter2", c.Providers[0].Options["token"], "the configuration itself is untouched")

	raw, err := json.Marshal(c.Providers[0].APIKey)
	require.NoError(t, err)
	require.JSONEq(t, `"[redacted]"`, string(raw))
}
