package deployment

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.yaml.in/yaml/v3"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/store"
	"github.com/easel-jobs/easel/internal/telemetry"
	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// scrape has everything happen once and returns the labels of each metric.
func scrape(t *testing.T) map[string][]string {
	t.Helper()
	metrics := telemetry.NewMetrics("x")
	metrics.WatchJobs(func(context.Context) (map[tasks.Status]int64, error) { return map[tasks.Status]int64{}, nil })
	metrics.WatchProviders(func(context.Context) ([]telemetry.Provider, error) {
		return []telemetry.Provider{{Name: "sketch", Open: map[string]bool{"": false}}}, nil
	})
	metrics.WatchQueues(func(context.Context) ([]telemetry.Queue, error) {
		return []telemetry.Queue{{Name: "poll", States: map[string]int{"pending": 1}}}, nil
	})
	metrics.Middleware(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
	observer, job := telemetry.NewObserver(metrics, zap.NewNop()), &tasks.Job{State: tasks.Completed}
	observer.JobAccepted(job)
	observer.JobRested(job)
	observer.ProviderCalled("p", "submit", classify.Server, time.Second)
	observer.StageTook("queue", job, time.Second)
	observer.Repaired("lost_task", job)
	observer.PutBack("unknown_provider")
	observer.PutOff("sketch")
	observer.Delivered(job, http.StatusOK, nil)
	observer.Alert("p", &tasks.Failure{Class: classify.Quota})
	observer.Failed("reconcile", "", errors.New("x"))

	answer := httptest.NewRecorder()
	metrics.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	found := map[string][]string{}
	for line := range strings.Lines(answer.Body.String()) {
		sample := series.FindStringSubmatch(line)
		switch {
		case sample == nil:
		case !strings.HasPrefix(line, "#"):
			found[sample[1]] = labelsOf(sample[2])
		case found[sample[1]] == nil:
			found[sample[1]] = nil // a histogram's own name has no sample
		}
	}
	return found
}

var (
	series  = regexp.MustCompile(`\b(easel_[a-z_]+)(\{[^}]*\})?`)
	label   = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	grouped = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

func labelsOf(selector string) []string {
	var names []string
	for _, match := range label.FindAllStringSubmatch(selector, -1) {
		names = append(names, match[1])
	}
	return names
}

// rules are the alerts of docs/operations.md, as Prometheus reads them.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []struct {
			Alert       string            `yaml:"alert"`
			Expr        string            `yaml:"expr"`
			For         string            `yaml:"for"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"rules"`
	} `yaml:"groups"`
}

func TestAlertsWatchWhatIsMeasured(t *testing.T) {
	t.Parallel()
	text := document(t, "operations.md")
	_, rest, found := strings.Cut(text, "```yaml\ngroups:")
	require.True(t, found, "docs/operations.md has no rules")
	block, _, _ := strings.Cut("groups:"+rest, "```")
	var r rules
	decoder := yaml.NewDecoder(strings.NewReader(block))
	decoder.KnownFields(true)
	require.NoError(t, decoder.Decode(&r))
	require.Len(t, r.Groups, 1)
	require.Len(t, r.Groups[0].Rules, 6)

	measured := scrape(t)
	for _, rule := range r.Groups[0].Rules {
		require.NotEmpty(t, rule.Alert)
		require.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		_, err := time.ParseDuration(rule.For)
		require.NoError(t, err, rule.Alert)
		require.Equal(t, strings.Count(rule.Expr, "("), strings.Count(rule.Expr, ")"), rule.Alert)
		used := series.FindAllStringSubmatch(rule.Expr, -1)
		require.NotEmpty(t, used, rule.Alert)
		var labels []string
		for _, metric := range used {
			require.Contains(t, measured, metric[1], rule.Alert)
			for _, name := range labelsOf(metric[2]) {
				require.Contains(t, measured[metric[1]], name, "%s: %s has no such label", rule.Alert, metric[1])
			}
			labels = append(labels, measured[metric[1]]...)
		}
		for _, list := range grouped.FindAllStringSubmatch(rule.Expr, -1) {
			for name := range strings.SplitSeq(list[1], ",") {
				require.True(t, slices.Contains(labels, strings.TrimSpace(name)), "%s groups by %s", rule.Alert, name)
			}
		}
	}
}

// TestMetricsInDocumentsExist holds the prose to the same.
func TestMetricsInDocumentsExist(t *testing.T) {
	t.Parallel()
	measured := scrape(t)
	for _, name := range []string{"operations.md", "webhooks.md", "providers.md", "adding-a-provider.md"} {
		for _, metric := range series.FindAllStringSubmatch(document(t, name), -1) {
			require.Contains(t, measured, metric[1], name)
		}
	}
}

func document(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, "docs", name))
	require.NoError(t, err)
	return string(raw)
}

var redisAddress = regexp.MustCompile("`(rediss?[a-z+-]*://[^`]+)`")

// TestAddressesOfRedisWork holds the forms in docs/operations.md to both who
// check an address and who dial it.
func TestAddressesOfRedisWork(t *testing.T) {
	t.Parallel()
	addresses := redisAddress.FindAllStringSubmatch(document(t, "operations.md"), -1)
	require.Len(t, addresses, 3)
	for _, match := range addresses {
		lookup := func(name string) (string, bool) {
			if name != "EASEL_REDIS_URL" {
				return "", false
			}
			return match[1], true
		}
		_, err := config.Load(config.LoadOptions{SearchPaths: []string{}, LookupEnv: lookup})
		require.NoError(t, err, match[1])
		client, err := store.NewClient(match[1])
		require.NoError(t, err, match[1])
		require.NoError(t, client.Close())
	}
}

// TestTriesOfWebhooksAreWritten holds the table in docs/webhooks.md to the
// engine's.
func TestTriesOfWebhooksAreWritten(t *testing.T) {
	t.Parallel()
	_, rest, found := strings.Cut(document(t, "webhooks.md"), "| after the one before | at once |")
	require.True(t, found)
	row, _, _ := strings.Cut(rest, "\n")
	var waits []time.Duration
	for cell := range strings.SplitSeq(strings.Trim(row, " |"), "|") {
		wait, err := time.ParseDuration(strings.Replace(strings.ReplaceAll(cell, " ", ""), "min", "m", 1))
		require.NoError(t, err)
		waits = append(waits, wait)
	}
	require.Equal(t, orchestrator.DefaultTimings().Deliveries, waits)
}
