package bfl

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	taskID = "f1c2a3b4-0000-4c11-9a55-7d1f0e5b2a10"
	secret = "the-secret-of-the-webhooks"
)

func at(t testing.TB, baseURL string, options map[string]any) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "bfl", BaseURL: baseURL, APIKey: providertest.Secret, Options: options})
	require.NoError(t, err)
	return p.(*Provider)
}

func sign(_ time.Time, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return http.Header{"X-Bfl-Signature": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}}
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New: func(baseURL string) providers.Provider {
			return at(t, baseURL, map[string]any{"webhook_secret": secret})
		},
		Replies: os.DirFS("testdata"),
		Webhook: &providertest.Webhook{Body: `{"id":"` + taskID + `","status":"Ready","result":{}}`, Sign: sign},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter(t))
}

func TestRequests(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	ref := m{"$file": 0.0}
	file := func(pointer string) providers.File {
		return providers.File{Pointer: pointer, MediaType: "image/png", Data: providertest.Picture}
	}
	bare, inline := providertest.PictureBase64, "data:image/png;base64,"+providertest.PictureBase64
	described := providertest.ReadDescription(t, "testdata/bfl.json")
	providertest.RequireSendings(t, adapter(t), described, map[string]providertest.Sending{
		"the default": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "aspect_ratio": "16:9", "n": 1.0, "seed": 7.0}},
			"/v1/flux-2-pro", m{"prompt": "a fox", "width": 1344.0, "height": 768.0, "seed": 7.0},
		),
		"a ratio": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: "flux-pro-1.1-ultra", Input: m{"prompt": "a fox", "aspect_ratio": "21:9", "raw": true}},
			"/v1/flux-pro-1.1-ultra", m{"prompt": "a fox", "aspect_ratio": "21:9", "raw": true},
		),
		"a webhook": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "size": "1024x768"}, WebhookURL: "https://easel.example/h"},
			"/v1/flux-2-pro", m{"prompt": "a fox", "width": 1024.0, "height": 768.0, "webhook_url": "https://easel.example/h", "webhook_secret": secret},
		),
		"pictures": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Input: m{"prompt": "both", "image": []any{ref, "https://a.example/x.png", inline}}, Files: []providers.File{file("/image/0")}},
			"/v1/flux-2-pro", m{"prompt": "both", "input_image": bare, "input_image_2": "https://a.example/x.png", "input_image_3": bare},
		),
		"a mask": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Model: "flux-pro-1.0-fill", Input: m{"prompt": "sky", "image": ref, "mask": ref}, Files: []providers.File{file("/image"), file("/mask")}},
			"/v1/flux-pro-1.0-fill", m{"prompt": "sky", "image": bare, "mask": bare},
		),
		"a hint": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: "flux-dev", Input: m{"prompt": "sky", "image": ref}, Files: []providers.File{file("/image")}},
			"/v1/flux-dev", m{"prompt": "sky", "image_prompt": bare},
		),
	})
	providertest.RequireSendings(t, adapter(t), nil, map[string]providertest.Sending{ // not in the description that we have
		"a video": providertest.Sends(
			providers.Request{Feature: tasks.TextToVideo, Input: m{"prompt": "a fox", "duration": 10.0, "aspect_ratio": "16:9"}},
			"/v1/flux-3-video", m{"prompt": "a fox", "duration": 10.0, "aspect_ratio": "16:9", "mode": "t2v"},
		),
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	image := tasks.TextToImage
	providertest.RequireRefusals(t, adapter(t), []providertest.Wrong{
		providertest.Refuses(image, "", m{}, "/input_data/prompt"),
		providertest.Refuses(image, "", m{"prompt": "x", "n": 2.0}, "/input_data/n"),
		providertest.Refuses(image, "", m{"prompt": "x", "aspect_ratio": "21:9"}, "/input_data/aspect_ratio"),
		providertest.Refuses(image, "flux-kontext-pro", m{"prompt": "x", "size": "1024x1024"}, "/input_data/size"),
		providertest.Refuses(image, "", m{"prompt": "x", "webhook_url": "https://evil.example"}, "/input_data/webhook_url"),
		providertest.Refuses(image, "", m{"prompt": "x", "safety_tolerance": 6.0}, "/input_data/safety_tolerance"),
		providertest.Refuses(image, "../credits", m{"prompt": "x"}, "/model"),
		providertest.Refuses(tasks.ImageToImage, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(image, "flux-dev", m{"prompt": "x", "image": []any{"a", "b"}}, "/input_data/image"),
		providertest.Refuses(tasks.TextToVideo, "", m{"prompt": "x", "duration": 60.0}, "/input_data/duration"),
		providertest.Refuses(tasks.Upscale, "", m{}, "/feature_type"),
	})
}

func TestSubmitTellsTheCost(t *testing.T) {
	t.Parallel()
	for reply, polls := range map[string]bool{"submit.http": true, "submitted-webhook.http": false} {
		double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata"), reply).ServeHTTP)
		p := at(t, double.URL, nil)
		st, err := p.Submit(t.Context(), providers.Request{Feature: tasks.TextToImage, Input: map[string]any{"prompt": "x", "aspect_ratio": "9:16"}})
		require.NoError(t, err)
		require.Equal(t, &tasks.Cost{Amount: "0.03", Currency: "USD", Basis: "reported"}, st.Cost)
		require.Equal(t, polls, st.PollURL != "", reply)
		require.Len(t, st.Warnings, 1)

		double.Answer(providertest.MustReply(t, os.DirFS("testdata"), "running.http").ServeHTTP)
		st, err = p.Poll(t.Context(), providers.Ref{RemoteID: taskID, PollURL: st.PollURL})
		require.NoError(t, err)
		require.InDelta(t, 40, *st.Percent, 0.001)
		got := double.Requests()[1]
		require.Equal(t, "/v1/get_result id="+taskID, got.Path+" "+got.Query)
	}
}

func TestUnknownTaskIsGoneOnceItIsNotNew(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{"poll-server-too_new.http", "poll-server-too_new_404.http"} {
		double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata"), reply).ServeHTTP)
		p := at(t, double.URL, nil)
		sentAt := time.Now()
		for after, class := range map[time.Duration]classify.Class{0: classify.Server, youth + time.Second: classify.NotFound} {
			p.now = func() time.Time { return sentAt.Add(after) }
			_, err := p.Poll(t.Context(), providers.Ref{RemoteID: taskID, SentAt: sentAt})
			require.Equal(t, class, classify.Classify(err).Class, "%s after %s", reply, after)
		}
	}
}

func TestRegionalHosts(t *testing.T) {
	t.Parallel()
	p := at(t, "", nil)
	_, err := p.Poll(t.Context(), providers.Ref{RemoteID: taskID, PollURL: "https://api.bfl.ai.evil.example/v1/get_result?id=x"})
	require.ErrorIs(t, err, providers.ErrNotCalled, "our key goes to the provider's own hosts only")
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	body := []byte(`{"task_id":"` + taskID + `","status":"Ready"}`)
	read := func(options map[string]any, header http.Header) error {
		hint, err := at(t, "http://127.0.0.1:1", options).ReadWebhook(t.Context(), header, body)
		if err == nil {
			require.Equal(t, taskID, hint.RemoteID)
		}
		return err
	}
	plain := map[string]any{"webhook_secret": secret, "webhook_plain": true}
	require.NoError(t, read(nil, http.Header{}), "without a secret the token in the URL has to do")
	require.NoError(t, read(plain, http.Header{"X-Webhook-Secret": {secret}}))
	require.Error(t, read(plain, http.Header{"X-Webhook-Secret": {secret + "x"}}))
	require.Error(t, read(plain, sign(time.Time{}, body)))
}
