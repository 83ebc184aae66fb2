// Package config reads Easel's settings: flags over EASEL_* environment over
// file over defaults. It refuses keys it does not know, expands ${NAME} in the
// file's values, and reports everything that is wrong at once, each problem
// with the path of its setting.
//
// # What it refuses to know
//
// What the settings are for. It opens nothing, dials nothing and imports no
// other package of Easel: internal/app hands each part its own section, and
// what only one provider understands stands under that provider's options.
package config

import (
	"path/filepath"
	"time"
)

// Config is every setting there is. The yaml tags are the keys of the file;
// configs/example.yaml explains each of them.
type Config struct {
	Redis     Redis      `yaml:"redis"`
	DataDir   string     `yaml:"data_dir"`
	SecretKey []Secret   `yaml:"secret_key"` // the first signs, all verify
	API       API        `yaml:"api"`
	Metrics   Metrics    `yaml:"metrics"`
	Dashboard Dashboard  `yaml:"dashboard"`
	Worker    Worker     `yaml:"worker"`
	Artifacts Artifacts  `yaml:"artifacts"`
	Webhooks  Webhooks   `yaml:"webhooks"`
	Retention Retention  `yaml:"retention"`
	Defaults  Defaults   `yaml:"defaults"`
	Providers []Provider `yaml:"providers"`
	Order     []Order    `yaml:"order"`
	Log       Log        `yaml:"log"`
}

// Redis says where the jobs live.
type Redis struct {
	// URL is a redis://, rediss:// or redis+sentinel:// address. Empty means
	// that the process starts a Redis of its own.
	URL URL `yaml:"url"`
	// IntentDurability says what a paid call waits for after its intent was
	// written: none, fsync or replica.
	IntentDurability string `yaml:"intent_durability"`
}

// The values of [Redis].IntentDurability.
const (
	DurabilityNone    = "none"
	DurabilityFsync   = "fsync"
	DurabilityReplica = "replica"
)

// API is the HTTP API.
type API struct {
	Listen      string   `yaml:"listen"`
	PublicURL   string   `yaml:"public_url"`
	Keys        []APIKey `yaml:"keys"`
	MaxBody     Size     `yaml:"max_body"`
	MaxFile     Size     `yaml:"max_file"` // one file of an input, however it comes
	CORSOrigins []string `yaml:"cors_origins"`
	// FileOrigins lists origins (https://host:port) that files may be fetched
	// from although they are on a private network.
	FileOrigins []string `yaml:"file_origins"`
}

// APIKey lets its bearer in, as one tenant, for what its scopes allow. The key
// may be written as sha256:<hex digest>, so that the file holds no secret.
type APIKey struct {
	Name   string   `yaml:"name"`
	Key    Secret   `yaml:"key"`
	Tenant string   `yaml:"tenant"`
	Scopes []string `yaml:"scopes"`
}

// The scopes of an [APIKey].
const (
	ScopeJobs    = "jobs"    // run and read the tenant's jobs
	ScopeOperate = "operate" // settle unresolved jobs, pause and resume providers
)

// Metrics is the Prometheus endpoint.
type Metrics struct {
	// Listen is an address of its own for /metrics. Empty serves it beside
	// the API.
	Listen string `yaml:"listen"`
}

// Dashboard is the operators' web interface.
type Dashboard struct {
	Listen   string `yaml:"listen"`
	Username string `yaml:"username"`
	Password Secret `yaml:"password"`
}

// Worker says how much one worker does at a time, and how long it may take.
type Worker struct {
	SubmitConcurrency   int           `yaml:"submit_concurrency"`
	PollConcurrency     int           `yaml:"poll_concurrency"`
	FinalizeConcurrency int           `yaml:"finalize_concurrency"`
	DeliverConcurrency  int           `yaml:"deliver_concurrency"`
	SubmitTimeout       time.Duration `yaml:"submit_timeout"`
	ShutdownTimeout     time.Duration `yaml:"shutdown_timeout"`
}

// Artifacts is the storage that lasts.
type Artifacts struct {
	// URL is file:///absolute/path or s3://bucket?region=…; empty means a
	// directory inside the data directory. See [Config.ArtifactsURL].
	URL      string        `yaml:"url"`
	URLTTL   time.Duration `yaml:"url_ttl"`
	MaxBytes Size          `yaml:"max_bytes"`
}

// Webhooks says how callers are told.
type Webhooks struct {
	Secrets   []WebhookSecret `yaml:"secrets"`
	AllowHTTP bool            `yaml:"allow_http"`
	// AllowPrivate lists origins (https://host:port) that may be reached
	// although they are on a private network.
	AllowPrivate []string `yaml:"allow_private"`
}

// WebhookSecret signs the webhooks of one tenant. Two of the same tenant are
// both valid, for rotation.
type WebhookSecret struct {
	Tenant string `yaml:"tenant"`
	Secret Secret `yaml:"secret"`
}

// Retention says how long things are kept; 0 keeps them.
type Retention struct {
	Jobs      time.Duration `yaml:"jobs"`
	Artifacts time.Duration `yaml:"artifacts"`
	// UnresolvedTimeout fails a job that was unresolved for so long; 0 waits
	// for an answer or an operator.
	UnresolvedTimeout time.Duration `yaml:"unresolved_timeout"`
	Uploads           time.Duration `yaml:"uploads"`
}

// Defaults are what a request gets that does not say.
type Defaults struct {
	Provider      string        `yaml:"provider"`
	Timeout       time.Duration `yaml:"timeout"`
	RetryAttempts int           `yaml:"retry_attempts"`
	RetryDelay    time.Duration `yaml:"retry_delay"`
}

// Provider is one generation API under the name that provider_id says.
type Provider struct {
	Name          string         `yaml:"name"`
	Use           string         `yaml:"use"` // which adapter; the name when empty
	APIKey        Secret         `yaml:"api_key"`
	BaseURL       string         `yaml:"base_url"`
	OnUnknown     string         `yaml:"on_unknown"`
	Concurrency   int            `yaml:"concurrency"`
	Rate          Rate           `yaml:"rate"`           // of submissions, by all workers together
	MaxInFlight   int            `yaml:"max_in_flight"`  // likewise; 0: no limit
	MaxBacklog    int            `yaml:"max_backlog"`    // jobs that wait for it; 0: no limit
	SubmitTimeout time.Duration  `yaml:"submit_timeout"` // 0: the worker's
	Models        []Model        `yaml:"models"`
	Options       map[string]any `yaml:"options"`
}

// The values of [Provider].OnUnknown.
const (
	OnUnknownHold     = "hold"
	OnUnknownResubmit = "resubmit"
)

// Model is the model that a provider uses for a feature when the request names
// none.
type Model struct {
	Feature string `yaml:"feature"`
	Model   string `yaml:"model"`
}

// Order says in which order providers are chosen for a feature, where a request
// names none.
type Order struct {
	Feature   string   `yaml:"feature"`
	Providers []string `yaml:"providers"`
}

// Log says what is logged, and how.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// The values of [Log].Format.
const (
	LogConsole = "console"
	LogJSON    = "json"
)

const (
	defaultTenant      = "default"
	defaultConcurrency = 64
)

// Default is the configuration of somebody who has set nothing.
func Default() *Config {
	c := &Config{
		Redis:     Redis{IntentDurability: DurabilityNone},
		DataDir:   "./data",
		API:       API{Listen: "127.0.0.1:8080", MaxBody: 32 * Mebibyte, MaxFile: 32 * Mebibyte},
		Dashboard: Dashboard{Listen: "127.0.0.1:8081"},
		Worker: Worker{
			SubmitConcurrency: 256, PollConcurrency: 64, FinalizeConcurrency: 16, DeliverConcurrency: 32,
			SubmitTimeout: 5 * time.Minute, ShutdownTimeout: 5*time.Minute + 5*time.Second,
		},
		Artifacts: Artifacts{URLTTL: 24 * time.Hour, MaxBytes: Gibibyte},
		Retention: Retention{Jobs: 168 * time.Hour, Uploads: 24 * time.Hour},
		Defaults:  Defaults{Timeout: 10 * time.Minute, RetryAttempts: 3, RetryDelay: time.Second},
		Log:       Log{Level: "info", Format: LogConsole},
	}
	c.fill()
	return c
}

// fill gives the elements of lists their defaults, which a layer of defaults
// cannot do: a list is replaced as a whole.
func (c *Config) fill() {
	if len(c.Providers) == 0 {
		c.Providers = []Provider{{Name: "sketch"}}
	}
	for i := range c.Providers {
		c.Providers[i].fill()
	}
	for i := range c.API.Keys {
		if k := &c.API.Keys[i]; k.Tenant == "" {
			k.Tenant = defaultTenant
		}
		if k := &c.API.Keys[i]; len(k.Scopes) == 0 {
			k.Scopes = []string{ScopeJobs}
		}
	}
	for i := range c.Webhooks.Secrets {
		if s := &c.Webhooks.Secrets[i]; s.Tenant == "" {
			s.Tenant = defaultTenant
		}
	}
}

func (p *Provider) fill() {
	if p.Use == "" {
		p.Use = p.Name
	}
	if p.OnUnknown == "" {
		p.OnUnknown = OnUnknownHold
	}
	if p.Concurrency == 0 {
		p.Concurrency = defaultConcurrency
	}
}

// Provider returns the provider of that name, or nil.
func (c *Config) Provider(name string) *Provider {
	for i := range c.Providers {
		if c.Providers[i].Name == name {
			return &c.Providers[i]
		}
	}
	return nil
}

// ArtifactsURL is where artifacts are stored: the configured URL, or a
// directory inside the data directory.
func (c *Config) ArtifactsURL() string {
	if c.Artifacts.URL != "" {
		return c.Artifacts.URL
	}
	dir := filepath.Join(c.DataDir, "artifacts")
	if absolute, err := filepath.Abs(dir); err == nil {
		// Abs fails only where the working directory is gone; what opens
		// the storage then says so.
		dir = absolute
	}
	return fileURL(dir)
}
