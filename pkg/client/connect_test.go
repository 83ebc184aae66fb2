//go:build !easel_http

package client_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/redistest"
	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// echo is the simplest provider: one function.
func echo(id string) client.ProviderSpec {
	return client.ProviderSpec{
		ID: id, Capabilities: []client.Capability{{FeatureType: "text-to-text"}},
		Execute: func(_ context.Context, r client.ProviderRequest) (*client.ProviderResult, error) {
			return &client.ProviderResult{
				Files:  []client.File{{Data: []byte(id + " says " + r.Text("prompt", "")), MediaType: "text/plain"}},
				Output: map[string]any{"model": r.Model},
			}, nil
		},
	}
}

func spoken(t *testing.T, c *client.Client, provider string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	job, err := c.Enqueue(ctx, tasks.Draft{FeatureType: "text-to-text", ProviderID: provider, InputData: []byte(`{"prompt":"hello"}`)})
	require.NoError(t, err)
	job, err = c.Wait(ctx, job.ID)
	require.NoError(t, err)
	require.Equal(t, tasks.StatusCompleted, job.Status, "%+v", job.Error)
	artifact, err := c.Open(ctx, job.ID, 0)
	require.NoError(t, err)
	defer artifact.Close()
	raw, err := io.ReadAll(artifact)
	require.NoError(t, err)
	return string(raw)
}

func TestEmbeddedKeepsItsJobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c, err := client.Embedded(t.Context(), client.WithDataDir(dir), client.WithProvider(echo("echo")))
	require.NoError(t, err)
	require.Equal(t, "echo says hello", spoken(t, c, ""))
	page, err := c.List(t.Context(), client.Query{})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close(), "closing twice is closing once")

	c, err = client.Embedded(t.Context(), client.WithDataDir(dir))
	require.NoError(t, err)
	defer c.Close()
	job, err := c.Get(t.Context(), page.Jobs[0].ID)
	require.NoError(t, err)
	require.Equal(t, tasks.StatusCompleted, job.Status)
}

func TestEmbeddedLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	c, err := client.Embedded(t.Context())
	require.NoError(t, err)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, left)
	require.NoError(t, c.Close())
	files, err := filepath.Glob(filepath.Join(dir, "easel-*"))
	require.NoError(t, err)
	require.Empty(t, files)
}

// TestPrograms lets two programs without any configuration share a Redis: one
// has the worker and the provider, the other asks.
func TestPrograms(t *testing.T) {
	t.Parallel()
	db := redistest.Start(t)
	dir := t.TempDir()
	worker, err := client.Connect(t.Context(), db.URL(), client.WithWorker(), client.WithDataDir(dir), client.WithProvider(echo("first")))
	require.NoError(t, err)
	defer worker.Close()
	asker, err := client.Connect(t.Context(), db.URL())
	require.NoError(t, err)
	defer asker.Close()
	require.Equal(t, "first says hello", spoken(t, asker, ""))

	err = asker.RegisterProvider(t.Context(), echo("second"))
	require.ErrorIs(t, err, client.ErrUnsupported)
	require.ErrorContains(t, err, "WithWorker")
	require.NoError(t, worker.RegisterProvider(t.Context(), echo("second")))
	require.Error(t, worker.RegisterProvider(t.Context(), echo("second")), "its name is taken")
	p, err := asker.Provider(t.Context(), "second")
	require.NoError(t, err)
	require.True(t, p.Offers("text-to-text"))
	require.Equal(t, "second says hello", spoken(t, asker, "second"))
	_, err = asker.Provider(t.Context(), "third")
	require.ErrorIs(t, err, client.ErrNoProvider)
}

// TestWorkerMustKnowItsInstallation is refused where it would only take other
// workers' tasks and put them back.
func TestWorkerMustKnowItsInstallation(t *testing.T) {
	t.Parallel()
	i := install(t)
	_, err := client.Connect(t.Context(), i.Redis.URL(), client.WithWorker(), client.WithProvider(echo("echo")))
	require.ErrorContains(t, err, "sketch")
	require.ErrorContains(t, err, "configuration file")

	_, err = client.Connect(t.Context(), i.Redis.URL(), client.WithProvider(echo("echo")))
	require.ErrorIs(t, err, client.ErrUnsupported)
}

// TestNothingSecretIsPublished looks at all that stands in Redis beside jobs.
func TestNothingSecretIsPublished(t *testing.T) {
	t.Parallel()
	const secret = "hunter2hunter2hunter2hunter2"
	i := install(t, func(c *config.Config) {
		c.Providers[0].APIKey = secret
		c.Providers[0].Options["webhook_secret"] = secret
		c.SecretKey = []config.Secret{secret + secret}
		c.Webhooks.Secrets = []config.WebhookSecret{{Tenant: "default", Secret: "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="}}
	})
	db := redis.NewClient(&redis.Options{Addr: i.Redis.Addr()})
	defer db.Close()
	settings, err := db.Get(t.Context(), "easel:installation").Result()
	require.NoError(t, err)
	offers, err := db.HGetAll(t.Context(), "easel:providers").Result()
	require.NoError(t, err)
	all := settings + offers["sketch"]
	require.NotContains(t, all, "hunter2")
	require.NotContains(t, all, operatorKey)
	require.NotContains(t, all, "whsec")
	require.Contains(t, offers["sketch"], "allow_simulate")

	// A link cannot be signed with a secret that is not known here: it has no
	// signature, rather than a wrong one.
	job, err := i.connect().Enqueue(t.Context(), draft(kite), client.WithWait(time.Minute))
	require.NoError(t, err)
	require.Equal(t, tasks.StatusCompleted, job.Status)
	require.False(t, strings.Contains(job.Result.Artifacts[0].URL, "?"))
}

// TestFunctionsFail has what a function answers become what its job says.
func TestFunctionsFail(t *testing.T) {
	t.Parallel()
	failures := map[string]func(context.Context) (*client.ProviderResult, error){
		"unknown": func(context.Context) (*client.ProviderResult, error) { return nil, errors.New("boom") },
		"content_policy": func(context.Context) (*client.ProviderResult, error) {
			return nil, &client.ClassifiedError{Class: "content_policy", Message: "no"}
		},
		"generation_failed": func(context.Context) (*client.ProviderResult, error) { return nil, nil },
		"unknown_outcome": func(ctx context.Context) (*client.ProviderResult, error) {
			<-ctx.Done() // perhaps it had paid for something
			return nil, ctx.Err()
		},
	}
	spec := client.ProviderSpec{
		ID: "moody", Timeout: 300 * time.Millisecond, Capabilities: []client.Capability{{FeatureType: "text-to-text"}},
		Execute: func(ctx context.Context, r client.ProviderRequest) (*client.ProviderResult, error) {
			if r.Text("class", "") == "panic" {
				panic(r.Text("class", ""))
			}
			return failures[r.Text("class", "")](ctx)
		},
	}
	c, err := client.Embedded(t.Context(), client.WithProvider(spec), client.WithOrchestratorConfig(client.OrchestratorConfig{RetryAttempts: client.NoRetries}))
	require.NoError(t, err)
	defer c.Close()
	for class, want := range map[string]tasks.Status{
		"unknown": tasks.StatusFailed, "content_policy": tasks.StatusFailed, "generation_failed": tasks.StatusFailed,
		"unknown_outcome": tasks.StatusUnresolved, "panic": tasks.StatusFailed,
	} {
		job, err := c.Enqueue(t.Context(), tasks.Draft{FeatureType: "text-to-text", InputData: []byte(`{"class":"` + class + `"}`)}, client.WithWait(time.Minute))
		require.NoError(t, err)
		require.Equal(t, want, job.Status, class)
		if class == "panic" {
			class = "unknown"
		}
		require.Equal(t, class, job.Error.Class)
		require.NotContains(t, job.Error.Message, "boom", "a stranger's text is not shown")
	}
}
