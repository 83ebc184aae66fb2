package app

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// produced is the address of a result in a provider's answer.
var produced = regexp.MustCompile(`https://[^"]+\.(webp|png|jpe?g|mp4)[^"]*`)

// standIn plays a hosted provider with the answers that its adapter's tests
// keep, but for the results: those it has itself.
func standIn(t *testing.T, adapter string) *providertest.Double {
	t.Helper()
	answers := os.DirFS(filepath.Join("..", "..", "pkg", "providers", adapter, "testdata"))
	reply := func(name string) providertest.Reply {
		r := providertest.MustReply(t, answers, name)
		r.Body = produced.ReplaceAll(r.Body, []byte("{{BaseURL}}/made.png"))
		return r
	}
	submitted, succeeded := reply("submit.http"), reply("succeeded.http")
	result := succeeded
	if adapter == "fal" {
		result = reply("result.http")
	}
	return providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost:
			submitted.ServeHTTP(w, r)
		case r.URL.Path == "/made.png":
			data, _ := base64.StdEncoding.DecodeString(pixel)
			_, _ = w.Write(data)
		case adapter == "fal" && !strings.HasSuffix(r.URL.Path, "/status"):
			result.ServeHTTP(w, r)
		default:
			succeeded.ServeHTTP(w, r)
		}
	})
}

// TestHostedProviders runs a job at each hosted provider that is polled, from
// its configuration to the stored result.
func TestHostedProviders(t *testing.T) {
	t.Parallel()
	features := map[string]tasks.Feature{
		"replicate": tasks.TextToImage, "fal": tasks.TextToImage, "bfl": tasks.TextToImage, "runway": tasks.TextToImage,
		"luma": tasks.TextToImage, "kling": tasks.TextToVideo,
	}
	doubles := map[string]*providertest.Double{}
	s := serveOn(t, func(c *config.Config) {
		for name := range features {
			doubles[name] = standIn(t, name)
			c.Providers = append(c.Providers, config.Provider{
				Name: name, Use: name, BaseURL: doubles[name].URL, APIKey: providertest.Secret, OnUnknown: "hold", Concurrency: 4,
			})
		}
	})
	for name, feature := range features {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := *s // whose failures are this test's
			s.t = t
			a := s.do("POST", "/v1/jobs", fmt.Sprintf(
				`{"feature_type":%q,"provider_id":%q,"input_data":{"prompt":"a fox"}}`, feature, name), "Prefer", "wait=60")
			require.Equal(t, http.StatusOK, a.status, "%s", a.body)
			job := a.job(t)
			require.Equal(t, tasks.StatusCompleted, job.Status, "%s", a.body)
			require.Len(t, job.Result.Artifacts, 1)
			posts := 0
			for _, request := range doubles[name].Requests() {
				if request.Method == http.MethodPost {
					posts++
				}
				if request.Path == "/made.png" {
					require.NotContains(t, fmt.Sprint(request.Header), providertest.Secret, "a result is fetched without the key")
				}
			}
			require.Equal(t, 1, posts, "one purchase")
			require.NotContains(t, string(a.body), providertest.Secret)
		})
	}
}
