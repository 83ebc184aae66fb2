package providers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// offer is a provider that only says what it can do.
type offer struct{ capabilities Capabilities }

func (o offer) Capabilities() Capabilities { return o.capabilities }
func (offer) Submit(context.Context, Request) (Status, error) {
	return Status{}, errors.New("not called")
}
func (offer) Poll(context.Context, Ref) (Status, error) { return Status{}, errors.New("not called") }

func offering(demo bool, models map[tasks.Feature][]string) Provider {
	o := offer{Capabilities{Demo: demo}}
	for _, f := range []tasks.Feature{tasks.TextToImage, tasks.TextToVideo, tasks.Upscale, tasks.TextToSpeech} {
		if m, ok := models[f]; ok {
			o.capabilities.Features = append(o.capabilities.Features, FeatureCapability{Feature: f, Models: m})
		}
	}
	return o
}

var (
	lumen  = Entry{Name: "lumen", Provider: offering(false, map[tasks.Feature][]string{tasks.TextToImage: {"lux-1", "lux-2"}, tasks.TextToVideo: {"reel"}})}
	umbra  = Entry{Name: "umbra", Provider: offering(false, map[tasks.Feature][]string{tasks.TextToImage: {"dusk", "lux-2"}})}
	local  = Entry{Name: "local", Provider: offering(false, map[tasks.Feature][]string{tasks.TextToImage: nil})}
	sketch = Entry{Name: "sketch", Provider: offering(true, map[tasks.Feature][]string{tasks.TextToImage: nil, tasks.Upscale: nil})}
)

func registryOf(t *testing.T, defaultProvider string, entries ...Entry) *Registry {
	t.Helper()
	r, err := NewRegistry(entries, defaultProvider)
	require.NoError(t, err)
	return r
}

func TestSelect(t *testing.T) {
	t.Parallel()
	down := func(names ...string) func(string, string) bool {
		return func(name, _ string) bool {
			for _, n := range names {
				if n == name {
					return false
				}
			}
			return true
		}
	}
	image, video, upscale := tasks.TextToImage, tasks.TextToVideo, tasks.Upscale
	all := []Entry{sketch, lumen, umbra, local}
	tests := map[string]struct {
		entries         []Entry
		preferred       string
		selection       Selection
		provider, model string
	}{
		"first in order":                    {all, "", Selection{Feature: image}, "lumen", "lux-1"},
		"the default":                       {all, "umbra", Selection{Feature: image}, "umbra", "dusk"},
		"the default lacks the feature":     {all, "umbra", Selection{Feature: video}, "lumen", "reel"},
		"the default is down":               {all, "umbra", Selection{Feature: image, Healthy: down("umbra")}, "lumen", "lux-1"},
		"first healthy":                     {all, "", Selection{Feature: image, Healthy: down("lumen")}, "umbra", "dusk"},
		"all down":                          {all, "", Selection{Feature: image, Healthy: down("lumen", "umbra", "local")}, "lumen", "lux-1"},
		"all down, with a default":          {all, "local", Selection{Feature: image, Healthy: down("lumen", "umbra", "local")}, "local", ""},
		"named wins over the default":       {all, "umbra", Selection{Feature: image, ProviderID: "lumen"}, "lumen", "lux-1"},
		"named wins over health":            {all, "", Selection{Feature: image, ProviderID: "lumen", Healthy: down("lumen")}, "lumen", "lux-1"},
		"demo by name":                      {all, "", Selection{Feature: upscale, ProviderID: "sketch"}, "sketch", ""},
		"demo as the default":               {all, "sketch", Selection{Feature: image}, "sketch", ""},
		"demo as the sole one":              {[]Entry{sketch}, "", Selection{Feature: image}, "sketch", ""},
		"named with model":                  {all, "", Selection{Feature: image, ProviderID: "lumen", Model: "lux-2"}, "lumen", "lux-2"},
		"any model where none are named":    {all, "", Selection{Feature: image, ProviderID: "local", Model: "x"}, "local", "x"},
		"the model decides":                 {all, "", Selection{Feature: image, Model: "dusk"}, "umbra", "dusk"},
		"the model leaves a choice":         {all, "umbra", Selection{Feature: image, Model: "lux-2"}, "umbra", "lux-2"},
		"a model that is only not unknown":  {all, "", Selection{Feature: image, Model: "acme/new"}, "local", "acme/new"},
		"the model's provider is preferred": {[]Entry{local, umbra}, "local", Selection{Feature: image, Model: "dusk"}, "umbra", "dusk"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entry, model, err := registryOf(t, tt.preferred, tt.entries...).Select(tt.selection)
			require.NoError(t, err)
			require.Equal(t, tt.provider, entry.Name)
			require.Equal(t, tt.model, model)
		})
	}
}

func TestSelectRefuses(t *testing.T) {
	t.Parallel()
	image := tasks.TextToImage
	r := registryOf(t, "", sketch, lumen, umbra)
	tests := map[string]struct {
		selection   Selection
		kind, field string
		offered     []string
	}{
		"unknown provider":           {Selection{Feature: image, ProviderID: "nix"}, UnknownProvider, "/provider_id", []string{"sketch", "lumen", "umbra"}},
		"named lacks the feature":    {Selection{Feature: tasks.TextToVideo, ProviderID: "umbra"}, FeatureNotOffered, "/provider_id", []string{"lumen"}},
		"nobody has the feature":     {Selection{Feature: tasks.TextToSpeech}, FeatureNotOffered, "/feature_type", []string{"text-to-image", "upscale", "text-to-video"}},
		"named, and nobody has it":   {Selection{Feature: tasks.TextToSpeech, ProviderID: "umbra"}, FeatureNotOffered, "/feature_type", []string{"text-to-image", "upscale", "text-to-video"}},
		"only the demo has it":       {Selection{Feature: tasks.Upscale}, FeatureNotOffered, "/provider_id", []string{"sketch"}},
		"nobody has the model":       {Selection{Feature: image, Model: "nix"}, ModelNotOffered, "/model", []string{"lux-1", "lux-2", "dusk"}},
		"named does not have it":     {Selection{Feature: image, ProviderID: "lumen", Model: "dusk"}, ModelNotOffered, "/model", []string{"lux-1", "lux-2"}},
		"the demo does not take any": {Selection{Feature: tasks.TextToVideo, Model: "nix"}, ModelNotOffered, "/model", []string{"reel"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := r.Select(tt.selection)
			var problem *SelectionError
			require.ErrorAs(t, err, &problem)
			require.Equal(t, tt.kind, problem.Kind)
			require.Equal(t, tt.field, problem.Field)
			require.Equal(t, tt.offered, problem.Offered)
			require.NotContains(t, err.Error(), "nix", "values are not echoed")
		})
	}
}

func TestConfiguredModels(t *testing.T) {
	t.Parallel()
	entry := lumen
	entry.Models = []ModelChoice{{tasks.TextToImage, "lux-3"}, {tasks.TextToImage, "lux-2"}}
	r := registryOf(t, "", entry)
	got, _ := r.Get("lumen")
	require.Equal(t, "lux-3", got.Model(tasks.TextToImage))
	require.Equal(t, []string{"lux-3", "lux-2", "lux-1"}, got.ModelsFor(tasks.TextToImage))
	require.Equal(t, "reel", got.Model(tasks.TextToVideo))
	require.Empty(t, got.Model(tasks.Upscale))
	_, model, err := r.Select(Selection{Feature: tasks.TextToImage, Model: "lux-3"})
	require.NoError(t, err)
	require.Equal(t, "lux-3", model)

	// Where the adapter takes any model, naming a default closes nothing.
	entry = local
	entry.Models = []ModelChoice{{tasks.TextToImage, "mine"}}
	_, model, err = registryOf(t, "", entry).Select(Selection{Feature: tasks.TextToImage, Model: "other"})
	require.NoError(t, err)
	require.Equal(t, "other", model)
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	r := registryOf(t, "", sketch, lumen, umbra, local)
	tests := map[string]struct {
		named     string
		fallbacks []string
		want      []string
	}{
		"free choice":                 {"", nil, []string{"lumen", "umbra", "local"}},
		"named only":                  {"umbra", nil, []string{"umbra"}},
		"named with fallbacks":        {"umbra", []string{"local", "lumen"}, []string{"umbra", "local", "lumen"}},
		"fallbacks only":              {"", []string{"local", "sketch"}, []string{"local", "sketch"}},
		"repeated and unknown are no": {"umbra", []string{"umbra", "nix", "local", "local"}, []string{"umbra", "local"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, namesOf(r.Candidates(tasks.TextToImage, tt.named, tt.fallbacks)))
		})
	}
	require.Equal(t, []string{"lumen"}, namesOf(r.Candidates(tasks.TextToVideo, "", []string{"umbra", "lumen"})))
	require.Empty(t, r.Candidates(tasks.Upscale, "", nil))
}

func TestCheckFallbacks(t *testing.T) {
	t.Parallel()
	r := registryOf(t, "", lumen, umbra)
	require.Empty(t, r.CheckFallbacks(tasks.TextToImage, []string{"umbra", "lumen"}))
	problems := r.CheckFallbacks(tasks.TextToVideo, []string{"nix", "lumen", "umbra"})
	require.Len(t, problems, 2)
	require.Equal(t, "/fallback_provider_ids/0", problems[0].Field)
	require.Equal(t, UnknownProvider, problems[0].Kind)
	require.Equal(t, "/fallback_provider_ids/2", problems[1].Field)
	require.Equal(t, FeatureNotOffered, problems[1].Kind)
}

func TestRegistryReportsEverything(t *testing.T) {
	t.Parallel()
	_, err := NewRegistry([]Entry{
		lumen,
		{Name: "lumen", Provider: umbra.Provider},
		{Name: "a/b", Provider: umbra.Provider, Concurrency: -1, MaxBacklog: -1},
		{Name: "none"},
		{Name: "choosy", Provider: umbra.Provider, Models: []ModelChoice{{tasks.Upscale, "x"}, {tasks.TextToImage, ""}}},
	}, "nobody")
	require.Error(t, err)
	for _, part := range []string{
		`providers[1]: name: "lumen" is taken`, `providers[2]: name: "a/b"`, "concurrency: must", "max_backlog: must",
		"providers[3]: provider: is missing", `models[0].feature: "upscale"`, "models[1].model: is missing",
		`defaults.provider: "nobody"`,
	} {
		require.ErrorContains(t, err, part)
	}
}

func TestRegisterAtRunTime(t *testing.T) {
	t.Parallel()
	r := registryOf(t, "", lumen)
	var group sync.WaitGroup
	for i := range 20 {
		group.Go(func() {
			entry := umbra
			entry.Name = fmt.Sprint("umbra-", i%10)
			_ = r.Register(entry)
			_, _, err := r.Select(Selection{Feature: tasks.TextToImage})
			assert.NoError(t, err)
		})
	}
	group.Wait()
	require.Len(t, r.All(), 11, "names are taken once")
	require.Len(t, r.ForFeature(tasks.TextToVideo), 1)
}

func TestOpenAll(t *testing.T) {
	t.Parallel()
	type options struct {
		Voice string   `json:"voice"`
		Wait  Duration `json:"wait"`
	}
	openers := map[string]Opener{
		"lumen": func(s Settings) (Provider, error) {
			config := options{Voice: "alto"}
			if err := s.Decode(&config); err != nil {
				return nil, err
			}
			if s.APIKey == "" {
				return nil, errors.New("api_key: is missing")
			}
			return lumen.Provider, nil
		},
		"umbra": func(Settings) (Provider, error) { return umbra.Provider, nil },
	}
	entries, err := Open(openers, []Settings{
		{Name: "main", Use: "lumen", APIKey: "k", OnUnknown: "resubmit", Concurrency: 3, Options: map[string]any{"wait": "5s"}},
		{Name: "umbra"},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"main", "umbra"}, namesOf(entries))
	require.Equal(t, "lumen", entries[0].Adapter)
	require.True(t, entries[0].ResubmitOnUnknown)
	require.Equal(t, 3, entries[0].Concurrency)
	require.False(t, entries[1].ResubmitOnUnknown)

	_, err = Open(openers, []Settings{
		{Name: "one", Use: "lumen"},
		{Name: "two", Use: "nix"},
		{Name: "umbra", OnUnknown: "guess"},
		{Name: "four", Use: "lumen", APIKey: "k", Options: map[string]any{"vioce": "secret-value"}},
		{Name: "five", Use: "lumen", APIKey: "k", Options: map[string]any{"voice": []string{"secret-value"}}},
	})
	for _, part := range []string{
		"providers[0] (one): api_key: is missing",
		`providers[1] (two): use: there is no adapter "nix"; there is lumen, umbra`,
		"providers[2] (umbra): on_unknown: must be hold or resubmit",
		"providers[3] (four): vioce: is not an option of this adapter",
		"providers[4] (five): voice: must be string, is array",
	} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "secret-value")
}

func TestSecretDoesNotPrint(t *testing.T) {
	t.Parallel()
	s := Settings{APIKey: key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.NotContains(t, fmt.Sprintf(verb, s.APIKey), key, verb)
		require.NotContains(t, fmt.Sprintf(verb, s), key, verb)
	}
	raw, err := json.Marshal(map[string]any{"key": s.APIKey})
	require.NoError(t, err)
	require.JSONEq(t, `{"key":"[redacted]"}`, string(raw))
	require.Equal(t, key, s.APIKey.Reveal())
	require.Empty(t, Secret("").String())
}

func TestPrefer(t *testing.T) {
	t.Parallel()
	r := registryOf(t, "lumen", sketch, lumen, umbra, local)
	require.NoError(t, r.Prefer(map[tasks.Feature][]string{tasks.TextToImage: {"local", "sketch"}}))
	entry, _, err := r.Select(Selection{Feature: tasks.TextToImage})
	require.NoError(t, err)
	require.Equal(t, "local", entry.Name, "an order for the feature wins over the default")
	require.Equal(t, []string{"local", "sketch", "lumen", "umbra"}, namesOf(r.Candidates(tasks.TextToImage, "", nil)))
	require.Equal(t, []string{"umbra", "lumen"}, namesOf(r.Candidates(tasks.TextToImage, "umbra", []string{"lumen"})), "the request's own order stands")
	require.Equal(t, []string{"lumen"}, namesOf(r.Candidates(tasks.TextToVideo, "", nil)))
	err = r.Prefer(map[tasks.Feature][]string{tasks.TextToVideo: {"lumen", "umbra", "nobody"}})
	require.ErrorContains(t, err, `order for text-to-video: providers[1]: "umbra" does not offer the feature`)
	require.ErrorContains(t, err, `providers[2]: "nobody" is not configured`)
}

func TestServes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		entry  Entry
		model  string
		strict bool
		want   string
		serves bool
	}{
		{lumen, "", true, "lux-1", true},
		{lumen, "lux-2", true, "lux-2", true},
		{umbra, "lux-1", true, "dusk", false},
		{umbra, "lux-1", false, "dusk", true},
		{local, "any", true, "any", true},
	} {
		model, serves := test.entry.Serves(tasks.TextToImage, test.model, test.strict)
		require.Equal(t, test.serves, serves, test)
		require.Equal(t, test.want, model, test)
	}
}
