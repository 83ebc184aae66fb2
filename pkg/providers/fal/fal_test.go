package fal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
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

const requestID = "764cabcf-b745-4b3e-ae38-1200304cf45b"

func at(t testing.TB, baseURL string) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "fal", BaseURL: baseURL, APIKey: providertest.Secret, Options: map[string]any{
		"platform_url": baseURL, "keys_url": baseURL + "/.well-known/jwks.json",
		"inputs": []any{map[string]any{"model": "acme/painter", "name": "image", "is": "photo"}},
	}})
	require.NoError(t, err)
	return p.(*Provider)
}

// sign signs as fal does, with the second of the keys in jwks.http.
func sign(at time.Time, body []byte) http.Header {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	sum := sha256.Sum256(body)
	seconds := fmt.Sprint(at.Unix())
	message := strings.Join([]string{requestID, "user-1", seconds, hex.EncodeToString(sum[:])}, "\n")
	header := http.Header{}
	header.Set("X-Fal-Webhook-Request-Id", requestID)
	header.Set("X-Fal-Webhook-User-Id", "user-1")
	header.Set("X-Fal-Webhook-Timestamp", seconds)
	header.Set("X-Fal-Webhook-Signature", hex.EncodeToString(ed25519.Sign(private, []byte(message))))
	return header
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata"),
		Route: func(r *http.Request) string {
			switch r.URL.Path {
			case "/fal-ai/flux/requests/" + requestID:
				return "result.http"
			case "/.well-known/jwks.json":
				return "jwks.http"
			}
			return ""
		},
		Webhook: &providertest.Webhook{
			Body: `{"request_id":"` + requestID + `","gateway_request_id":"x","status":"OK","payload":null,"payload_error":"too large"}`,
			Sign: sign,
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
	ref, inline := m{"$file": 0.0}, "data:image/png;base64,"+providertest.PictureBase64
	files := []providers.File{{Pointer: "/image", MediaType: "image/png", Data: providertest.Picture}}
	const seedream = "fal-ai/bytedance/seedream/v4/text-to-image"
	providertest.RequireSendings(t, adapter(t), providertest.ReadDescription(t, "testdata/queue-seedream-v4.json"), map[string]providertest.Sending{
		"a ratio": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: seedream, Input: m{"prompt": "a fox", "n": 2.0, "aspect_ratio": "16:9", "seed": 7.0}},
			"/"+seedream, m{"prompt": "a fox", "num_images": 2.0, "image_size": "landscape_16_9", "seed": 7.0},
		),
		"a size, with a webhook": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: seedream, Input: m{"prompt": "a fox", "size": "1024x768"}, WebhookURL: "https://easel.example/h"},
			"/"+seedream+"?fal_webhook=https%3A%2F%2Feasel.example%2Fh", m{"prompt": "a fox", "image_size": m{"width": 1024.0, "height": 768.0}},
		),
	})
	providertest.RequireSendings(t, adapter(t), nil, map[string]providertest.Sending{ // models whose descriptions we do not have
		"the default": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox"}}, "/fal-ai/flux/dev", m{"prompt": "a fox"},
		),
		"a ratio elsewhere": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Input: m{"prompt": "in blue", "image": ref, "aspect_ratio": "21:9"}, Files: files},
			"/fal-ai/flux-pro/kontext", m{"prompt": "in blue", "image_url": inline, "aspect_ratio": "21:9"},
		),
		"a list": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Model: "fal-ai/nano-banana/edit", Input: m{"prompt": "in blue", "image": ref}, Files: files},
			"/fal-ai/nano-banana/edit", m{"prompt": "in blue", "image_urls": []any{inline}},
		),
		"configured": providertest.Sends(
			providers.Request{Feature: tasks.Upscale, Model: "acme/painter", Input: m{"image": "https://a.example/x.png"}},
			"/acme/painter", m{"photo": "https://a.example/x.png"},
		),
		"sound": providertest.Sends(
			providers.Request{Feature: tasks.TextToAudio, Input: m{"prompt": "rain", "duration": 5.0}},
			"/fal-ai/elevenlabs/sound-effects", m{"text": "rain", "duration_seconds": 5.0},
		),
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	image := tasks.TextToImage
	providertest.RequireRefusals(t, adapter(t), []providertest.Wrong{
		providertest.Refuses(image, "", m{}, "/input_data/prompt"),
		providertest.Refuses(image, "", m{"prompt": "x", "aspect_ratio": "21:9"}, "/input_data/aspect_ratio"),
		providertest.Refuses(image, "", m{"prompt": "x", "fal_webhook": "https://evil.example"}, "/input_data/fal_webhook"),
		providertest.Refuses(image, "", m{"prompt": "x", "sync_mode": true}, "/input_data/sync_mode"),
		providertest.Refuses(image, "", m{"prompt": "x", "enable_safety_checker": false}, "/input_data/enable_safety_checker"),
		providertest.Refuses(image, "a/../../b", m{"prompt": "x"}, "/model"),
		providertest.Refuses(image, "a/b?fal_webhook=x", m{"prompt": "x"}, "/model"),
		providertest.Refuses(tasks.Upscale, "", m{}, "/input_data/image"),
		providertest.Refuses(tasks.TextToSpeech, "", m{"prompt": "x"}, "/input_data/text"),
		providertest.Refuses("text-to-poem", "", m{}, "/feature_type"),
	})
}

// TestResults goes through what a request that is complete can have become.
func TestResults(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status int
		header string
		body   string
		state  providers.State
		class  classify.Class // of the failure, or of the error where there is no state
	}{
		"flagged":              {422, "", `{"detail":[{"loc":["body","prompt"],"msg":"flagged","type":"content_policy_violation"}]}`, providers.Failed, classify.ContentPolicy},
		"nothing made":         {422, "", `{"detail":[{"loc":["body"],"msg":"no","type":"no_media_generated"}]}`, providers.Failed, classify.ContentPolicy},
		"the caller's mistake": {422, "", `{"detail":[{"loc":["body","seed"],"msg":"too big","type":"less_than"}]}`, providers.Failed, classify.Validation},
		"unknown type":         {422, "", `{"detail":[{"loc":["body","seed"],"msg":"odd","type":"new_type"}]}`, providers.Failed, classify.Validation},
		"the platform's":       {500, "", `{"detail":"down","error_type":"downstream_service_unavailable"}`, providers.Failed, classify.Server},
		"by its header":        {504, "X-Fal-Error-Type: generation_timeout", `{"detail":"slow"}`, providers.Failed, classify.Timeout},
		"no use to try again":  {500, "X-Fal-Retryable: false", `{"detail":"down","error_type":"internal_error"}`, providers.Failed, classify.Unknown},
		"canceled":             {499, "", `{"detail":"gone","error_type":"client_cancelled"}`, providers.Canceled, classify.Canceled},
		"a mistake in words":   {400, "", `{"detail":"no such style"}`, providers.Failed, classify.Validation},
		"too early":            {400, "", `{"detail":"Request is still in progress"}`, providers.Running, ""},
		"no picture":           {200, "", `{"images":[]}`, providers.Failed, classify.GenerationFailed},
		"an error inside":      {200, "", `{"detail":[{"msg":"flagged","type":"content_policy_violation"}]}`, providers.Failed, classify.ContentPolicy},
		"garbage":              {200, "", `<html>`, "", classify.Server},
		"a gateway":            {502, "", `<html>`, "", classify.Server},
		"a JSON gateway":       {502, "", `{"message":"upstream"}`, "", classify.Server},
		"our key":              {401, "", `{"detail":"no"}`, "", classify.Authentication},
		"too fast":             {429, "", `{"detail":"no"}`, "", classify.RateLimit},
		"gone":                 {404, "", `{"detail":"no"}`, "", classify.NotFound},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			complete := providertest.MustReply(t, os.DirFS("testdata"), "succeeded.http")
			double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/status") {
					complete.ServeHTTP(w, r)
					return
				}
				if key, value, found := strings.Cut(tt.header, ": "); found {
					w.Header().Set(key, value)
				}
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			})
			st, err := at(t, double.URL).Poll(t.Context(), providers.Ref{RemoteID: requestID, Feature: tasks.TextToImage, Model: "fal-ai/flux/dev"})
			require.Len(t, double.Requests(), 2)
			require.Equal(t, "/fal-ai/flux/requests/"+requestID+"/status", double.Requests()[0].Path, "without the model's sub-path")
			if tt.state == "" {
				require.Equal(t, tt.class, classify.Classify(err).Class, "a poll that failed says nothing of the generation: %v", err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.state, st.State)
			if tt.class == "" {
				require.Nil(t, st.Failure)
				return
			}
			require.Equal(t, tt.class, st.Failure.Class)
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]string{
		"fal-ai/flux/dev":        "/fal-ai/flux/requests/r1",
		"acme/painter":           "/acme/painter/requests/r1",
		"workflows/acme/paint/x": "/workflows/acme/paint/requests/r1",
		"comfy/acme/paint":       "/comfy/acme/paint/requests/r1",
		"":                       "/fal-ai/flux/requests/r1",
	} {
		require.Equal(t, want, requestPath(providers.Ref{RemoteID: "r1", Model: model, Feature: tasks.TextToImage}), model)
	}
}

func TestData(t *testing.T) {
	t.Parallel()
	a := adapter(t)
	double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		name := a.Route(r)
		if name == "" {
			name = "succeeded.http"
		}
		providertest.MustReply(t, a.Replies, name).ServeHTTP(w, r)
	})
	st, err := at(t, double.URL).Poll(t.Context(), providers.Ref{RemoteID: requestID, Feature: tasks.TextToImage})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"seed": 7.0, "has_nsfw_concepts": []any{false}, "billable_units": "1"}, st.Data)
	require.Equal(t, []providers.Output{{Kind: "image", MediaType: "image/png", Name: "abc.png", URL: "https://v3.fal.media/files/kangaroo/abc.png"}}, st.Outputs)
}

func TestAddressesElsewhereAreNotCalled(t *testing.T) {
	t.Parallel()
	elsewhere := providertest.NewDouble(t, func(http.ResponseWriter, *http.Request) {})
	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"status":"COMPLETED","request_id":"`+requestID+`","response_url":"`+elsewhere.URL+`/x"}`)
	})
	_, err := at(t, double.URL).Poll(t.Context(), providers.Ref{RemoteID: requestID, Feature: tasks.TextToImage})
	require.Error(t, err)
	require.Empty(t, elsewhere.Requests(), "our key goes nowhere else")
}

func TestFindNeverSaysAbsent(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"next_cursor":null,"has_more":false,"items":[]}`)
	})
	lost := providers.Lost{SentAt: time.Now(), Request: providers.Request{Feature: tasks.TextToImage, Input: map[string]any{"prompt": "x"}}}
	_, err := at(t, double.URL).Find(t.Context(), lost)
	require.Error(t, err)
	require.NotErrorIs(t, err, providers.ErrAbsent, "the history has ended requests only")
	got := double.Requests()[0]
	providertest.ReadDescription(t, "testdata/platform.json").Require(t, got)
	require.Contains(t, got.Query, "endpoint_id=fal-ai%2Fflux%2Fdev")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, err := Open(providers.Settings{Name: "fal"})
	require.ErrorContains(t, err, "api_key: is missing")
	_, err = Open(providers.Settings{Name: "fal", APIKey: "k", Options: map[string]any{"keys_url": "nowhere"}})
	require.ErrorContains(t, err, "keys_url")
	p, err := Open(providers.Settings{Name: "fal", APIKey: "k"})
	require.NoError(t, err)
	require.Equal(t, "https://api.fal.ai/v1", p.(*Provider).options.PlatformURL)
}
