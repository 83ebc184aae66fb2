package replicate

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const predictionID = "gm3qorzdhgbfurvjtvhg6dckhu"

const webhookSecret = "whsec_cmVwbGljYXRl"

func at(t testing.TB, baseURL string, options ...map[string]any) *Provider {
	t.Helper()
	settings := providers.Settings{Name: "replicate", BaseURL: baseURL, APIKey: providertest.Secret}
	for _, o := range options {
		settings.Options = o
	}
	p, err := Open(settings)
	require.NoError(t, err)
	return p.(*Provider)
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata"),
		Route: func(r *http.Request) string {
			if r.URL.Path == "/webhooks/default/secret" {
				return "secret.http"
			}
			return ""
		},
		Webhook: &providertest.Webhook{
			Body: `{"id":"` + predictionID + `","status":"succeeded","output":["https://replicate.delivery/x.png"]}`,
			Sign: providertest.SignStandard(webhookSecret),
		},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter(t))
}

func TestRequests(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	file := func(pointer string) []providers.File {
		return []providers.File{{Pointer: pointer, MediaType: "image/png", Data: providertest.Picture}}
	}
	version := strings.Repeat("5c7d", 16)
	ref, inline := m{"$file": 0.0}, "data:image/png;base64,"+providertest.PictureBase64
	providertest.RequireSendings(t, adapter(t), providertest.ReadDescription(t, "testdata/replicate.json"), map[string]providertest.Sending{
		"an official model": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: "black-forest-labs/flux-schnell", Input: m{"prompt": "a fox", "n": 2.0, "aspect_ratio": "16:9", "go_fast": true}},
			"/models/black-forest-labs/flux-schnell/predictions",
			m{"input": m{"prompt": "a fox", "num_outputs": 2.0, "aspect_ratio": "16:9", "go_fast": true}},
		),
		"the default, with a webhook": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "size": "1024x768"}, WebhookURL: "https://easel.example/v1/webhooks/replicate/job_1/t"},
			"/models/black-forest-labs/flux-1.1-pro/predictions",
			m{"input": m{"prompt": "a fox", "width": 1024.0, "height": 768.0}, "webhook": "https://easel.example/v1/webhooks/replicate/job_1/t", "webhook_events_filter": []any{"start", "completed"}},
		),
		"a version": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: "acme/painter:" + version, Input: m{"prompt": "a fox"}},
			"/predictions", m{"version": "acme/painter:" + version, "input": m{"prompt": "a fox"}},
		),
		"a version alone": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: version, Input: m{"prompt": "a fox"}},
			"/predictions", m{"version": version, "input": m{"prompt": "a fox"}},
		),
		"a deployment": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: "deployments/acme/painter", Input: m{"prompt": "a fox"}},
			"/deployments/acme/painter/predictions", m{"input": m{"prompt": "a fox"}},
		),
		"a picture": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Input: m{"prompt": "in blue", "image": ref}, Files: file("/image")},
			"/models/black-forest-labs/flux-kontext-pro/predictions", m{"input": m{"prompt": "in blue", "input_image": inline}},
		),
		"a picture for a model that wants a list": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Model: "google/nano-banana", Input: m{"prompt": "in blue", "image": ref}, Files: file("/image")},
			"/models/google/nano-banana/predictions", m{"input": m{"prompt": "in blue", "image_input": []any{inline}}},
		),
		"several": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Model: "google/nano-banana", Input: m{"prompt": "both", "image": []any{"https://a.example/x.png", ref}}, Files: file("/image/1")},
			"/models/google/nano-banana/predictions", m{"input": m{"prompt": "both", "image_input": []any{"https://a.example/x.png", inline}}},
		),
		"speech": providertest.Sends(
			providers.Request{Feature: tasks.TextToSpeech, Input: m{"text": "hello", "voice": "Deep_Voice_Man"}},
			"/models/minimax/speech-02-turbo/predictions", m{"input": m{"text": "hello", "voice_id": "Deep_Voice_Man"}},
		),
	})
}

func TestConfiguredNames(t *testing.T) {
	t.Parallel()
	p := at(t, "https://replicate.example", map[string]any{
		"inputs": []any{map[string]any{"model": "acme/painter", "name": "image", "is": "photo"}},
	})
	req := providers.Request{Feature: tasks.ImageToImage, Model: "acme/painter", Input: map[string]any{"prompt": "x", "image": "https://a/b"}}
	require.Equal(t, map[string]any{"prompt": "x", "photo": "https://a/b"}, p.input(req))
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	image := tasks.TextToImage
	providertest.RequireRefusals(t, adapter(t), []providertest.Wrong{
		providertest.Refuses(image, "", m{}, "/input_data/prompt"),
		providertest.Refuses(image, "", m{"prompt": "x", "n": 99.0}, "/input_data/n"),
		providertest.Refuses(image, "", m{"prompt": "x", "size": "big"}, "/input_data/size"),
		providertest.Refuses(image, "", m{"prompt": "x", "size": "10x10", "aspect_ratio": "1:1"}, "/input_data/aspect_ratio"),
		providertest.Refuses(image, "", m{"prompt": "x", "webhook": "https://evil.example"}, "/input_data/webhook"),
		providertest.Refuses(image, "", m{"prompt": "x", "disable_safety_checker": true}, "/input_data/disable_safety_checker"),
		providertest.Refuses(image, "", m{"prompt": "x", "openai_api_key": "sk"}, "/input_data/openai_api_key"),
		providertest.Refuses(image, "../../account", m{"prompt": "x"}, "/model"),
		providertest.Refuses(image, "acme/painter:latest", m{"prompt": "x"}, "/model"),
		providertest.Refuses(tasks.ImageToImage, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(tasks.ImageToImage, "", m{"prompt": "x", "image": "a", "input_image": "b"}, "/input_data/input_image"),
		providertest.Refuses(tasks.Upscale, "", m{}, "/input_data/image"),
		providertest.Refuses(tasks.TextToSpeech, "", m{"prompt": "x"}, "/input_data/text"),
		providertest.Refuses("text-to-poem", "", m{}, "/feature_type"),
	})
}

func TestProgress(t *testing.T) {
	t.Parallel()
	for logs, want := range map[string]any{
		"": nil, "loading weights": nil, "100% sure": nil,
		" 43%|████      | 12/28 [00:02<00:02,  6.80it/s]":                    43.0,
		"\r  0%|   | 0/4 [00:00<?]\r 50%|██ | 2/4 [00:01<00:01]\nsaving 1/2": 50.0,
	} {
		got := prediction{Logs: logs}.percent()
		if want == nil {
			require.Nil(t, got, logs)
			continue
		}
		require.Equal(t, want, *got, logs)
	}
}

func TestWaitInWords(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]time.Duration{
		`{"detail":"Request was throttled. Expected available in 1 second."}`: time.Second,
		`{"detail":"Your rate limit resets in ~5s."}`:                         5 * time.Second,
		`{"detail":"Your rate limit resets in ~5s.","retry_after":7}`:         7 * time.Second,
		`{"detail":"Too fast."}`:                                              0,
	} {
		require.Equal(t, want, decodeError(429, http.Header{}, []byte(body)).RetryAfter, body)
	}
	require.Zero(t, decodeError(429, http.Header{"Retry-After": {"9"}}, []byte(`{"detail":"in 1 second"}`)).RetryAfter, "the header wins")
	require.Nil(t, decodeError(502, http.Header{}, []byte(`<html>`)))
}

// list answers with pages of predictions.
func list(t *testing.T, pages ...string) *providertest.Double {
	t.Helper()
	return providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		page := 0
		_, _ = fmt.Sscan(r.URL.Query().Get("cursor"), &page)
		next := "null"
		if page+1 < len(pages) {
			next = fmt.Sprintf(`"http://%s/predictions?cursor=%d"`, r.Host, page+1)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"previous":null,"next":`+next+`,"results":[`+pages[page]+`]}`)
	})
}

func TestFind(t *testing.T) {
	t.Parallel()
	sentAt := time.Now()
	listed := func(id, model, prompt string) string {
		return fmt.Sprintf(`{"id":%q,"model":%q,"version":"hidden","status":"processing","created_at":%q,"input":{"prompt":%q,"num_outputs":2}}`,
			id+"qorzdhgbfurvjt", model, sentAt.Add(time.Second).Format(time.RFC3339Nano), prompt)
	}
	const pro = "black-forest-labs/flux-1.1-pro"
	lost := providers.Lost{SentAt: sentAt, Request: providers.Request{Feature: tasks.TextToImage, Input: map[string]any{"prompt": "a fox", "n": 2.0}}}
	tests := map[string]struct {
		pages  []string
		found  string
		absent bool
	}{
		"on the second page": {[]string{listed("a", pro, "a dog"), listed("b", pro, "a fox")}, "bqorzdhgbfurvjt", false},
		"another model's":    {[]string{listed("a", "acme/x", "a fox")}, "", true},
		"nothing":            {[]string{""}, "", true},
		"two":                {[]string{listed("a", pro, "a fox") + "," + listed("b", pro, "a fox")}, "", false},
		"input removed":      {[]string{strings.Replace(listed("a", pro, "a fox"), `"input":{`, `"was":{`, 1)}, "", false},
		"no prediction":      {[]string{`7`}, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			double := list(t, tt.pages...)
			st, err := at(t, double.URL).Find(t.Context(), lost)
			require.Contains(t, double.Requests()[0].Query, "created_after=")
			switch {
			case tt.found != "":
				require.NoError(t, err)
				require.Equal(t, tt.found, st.RemoteID)
				require.Equal(t, providers.Running, st.State)
			case tt.absent:
				require.ErrorIs(t, err, providers.ErrAbsent)
			default:
				require.Error(t, err)
				require.NotErrorIs(t, err, providers.ErrAbsent)
			}
		})
	}
}

func TestFindReadsNoPagesElsewhere(t *testing.T) {
	t.Parallel()
	elsewhere := providertest.NewDouble(t, func(http.ResponseWriter, *http.Request) {})
	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"next":"`+elsewhere.URL+`/predictions?cursor=2","results":[]}`)
	})
	_, err := at(t, double.URL).Find(t.Context(), providers.Lost{SentAt: time.Now()})
	require.Error(t, err)
	require.NotErrorIs(t, err, providers.ErrAbsent)
	require.Empty(t, elsewhere.Requests(), "our key goes nowhere else")
}

func TestWebhookSecret(t *testing.T) {
	t.Parallel()
	p := at(t, "http://127.0.0.1:1", map[string]any{"webhook_secret": webhookSecret})
	body := []byte(`{"id":"` + predictionID + `"}`)
	hint, err := p.ReadWebhook(t.Context(), providertest.SignStandard(webhookSecret)(time.Now(), body), body)
	require.NoError(t, err, "a configured secret is not asked for")
	require.Equal(t, providers.Hint{RemoteID: predictionID, EventID: "msg_31"}, hint)
	_, err = at(t, "http://127.0.0.1:1").ReadWebhook(t.Context(), http.Header{}, body)
	require.Equal(t, classify.Network, classify.Classify(err).Class, "who cannot get the secret believes nothing")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, err := Open(providers.Settings{Name: "replicate", BaseURL: "ftp://x"})
	require.ErrorContains(t, err, "api_key: is missing")
	require.ErrorContains(t, err, "base_url")
	_, err = Open(providers.Settings{Name: "replicate", APIKey: "k", Options: map[string]any{"color": "red"}})
	require.ErrorContains(t, err, "color: is not an option")
	p, err := Open(providers.Settings{Name: "replicate", APIKey: "k"})
	require.NoError(t, err)
	require.True(t, p.Capabilities().Webhooks)
}
