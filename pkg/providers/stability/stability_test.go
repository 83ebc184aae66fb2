package stability

import (
	"encoding/json"
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

type m = map[string]any

func at(t testing.TB, baseURL string) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "stability", BaseURL: baseURL, APIKey: providertest.Secret})
	require.NoError(t, err)
	return p.(*Provider)
}

func adapter(t *testing.T, replies string, req providers.Request) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata/" + replies), Request: req,
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for replies, req := range map[string]providers.Request{
		"image": {},
		"creative": {
			JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: tasks.Upscale, Model: "creative",
			Input: m{"prompt": providertest.Prompt, "image": providertest.PictureBase64},
		},
	} {
		t.Run(replies, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, adapter(t, replies, req))
		})
	}
}

// sent is the form that a request becomes, and where it goes.
func sent(t *testing.T, req providers.Request) (string, m) {
	t.Helper()
	replies := "image"
	if req.Model == "creative" {
		replies = "creative"
	}
	double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata/"+replies), "submit.http").ServeHTTP)
	_, err := at(t, double.URL).Submit(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, double.Requests(), 1)
	got := double.Requests()[0]
	require.Equal(t, "application/json", got.Header.Get("Accept"))
	require.True(t, strings.HasPrefix(got.Header.Get("Content-Type"), "multipart/form-data"), "a form, even without a file")
	form, err := got.Form()
	require.NoError(t, err)
	return strings.TrimPrefix(got.Path, "/v2beta"), form
}

func TestRequests(t *testing.T) {
	t.Parallel()
	files := []providers.File{{Pointer: "/image", MediaType: "image/png", Data: providertest.Picture}}
	ref := m{"$file": 0.0}
	file := func(name string) string { return name + ".png image/png 70" }
	for name, tt := range map[string]struct {
		req  providers.Request
		path string
		form m
	}{
		"core": {
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "aspect_ratio": "16:9", "seed": 7.0, "n": 1.0, "style_preset": "anime"}},
			"/stable-image/generate/core", m{"prompt": "a fox", "aspect_ratio": "16:9", "seed": "7", "style_preset": "anime"},
		},
		"sd3": {
			providers.Request{Feature: tasks.TextToImage, Model: "sd3.5-medium", Input: m{"prompt": "a fox"}},
			"/stable-image/generate/sd3", m{"prompt": "a fox", "model": "sd3.5-medium"},
		},
		"sd3 from a picture": {
			providers.Request{Feature: tasks.ImageToImage, Files: files, Input: m{"prompt": "in blue", "image": ref}},
			"/stable-image/generate/sd3", m{"prompt": "in blue", "model": "sd3.5-large", "mode": "image-to-image", "strength": "0.6", "image": file("image")},
		},
		"inpaint": {
			providers.Request{Feature: tasks.ImageToImage, Model: "inpaint", Files: files, Input: m{"prompt": "a hat", "image": ref, "mask": providertest.PictureBase64}},
			"/stable-image/edit/inpaint", m{"prompt": "a hat", "image": file("image"), "mask": file("mask")},
		},
		"fast": {
			providers.Request{Feature: tasks.Upscale, Files: files, Input: m{"image": ref}},
			"/stable-image/upscale/fast", m{"image": file("image")},
		},
		"creative": {
			providers.Request{Feature: tasks.Upscale, Model: "creative", Files: files, Input: m{"image": ref, "prompt": "a fox", "creativity": 0.3}},
			"/stable-image/upscale/creative", m{"image": file("image"), "prompt": "a fox", "creativity": "0.3"},
		},
		"background": {
			providers.Request{Feature: tasks.RemoveBackground, Files: files, Input: m{"image": ref}},
			"/stable-image/edit/remove-background", m{"image": file("image")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, form := sent(t, tt.req)
			require.Equal(t, tt.path, path)
			require.Equal(t, tt.form, form)
		})
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	image := tasks.TextToImage
	providertest.RequireRefusals(t, adapter(t, "image", providers.Request{}), []providertest.Wrong{
		providertest.Refuses(image, "", m{}, "/input_data/prompt"),
		providertest.Refuses(image, "", m{"prompt": "x", "aspect_ratio": "7:3"}, "/input_data/aspect_ratio"),
		providertest.Refuses(image, "", m{"prompt": "x", "size": "512x512"}, "/input_data/size"),
		providertest.Refuses(image, "", m{"prompt": "x", "n": 2.0}, "/input_data/n"),
		providertest.Refuses(image, "", m{"prompt": "x", "model": "ultra"}, "/input_data/model"),
		providertest.Refuses(image, "", m{"prompt": "x", "mode": "image-to-image"}, "/input_data/mode"),
		providertest.Refuses(image, "", m{"prompt": "x", "webhook_url": "https://evil.example"}, "/input_data/webhook_url"),
		providertest.Refuses(image, "", m{"prompt": "x", "image": "aGk="}, "/input_data/image"),
		providertest.Refuses(image, "dall-e-3", m{"prompt": "x"}, "/model"),
		providertest.Refuses(tasks.ImageToImage, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(tasks.ImageToImage, "", m{"prompt": "x", "image": "aGk=", "aspect_ratio": "1:1"}, "/input_data/aspect_ratio"),
		providertest.Refuses(tasks.Upscale, "creative", m{"image": "aGk="}, "/input_data/prompt"),
		providertest.Refuses(tasks.TextToVideo, "", m{}, "/feature_type"),
	})
	_, err := at(t, "http://127.0.0.1:1").Submit(t.Context(), providers.Request{
		Feature: tasks.ImageToImage, Input: m{"prompt": "x", "image": "https://a.example/x.png"},
	})
	require.Equal(t, "/input_data/image", classify.Classify(err).Field)
	require.Equal(t, classify.Validation, classify.Classify(err).Class, "it is not fetched")
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	answer := func(status int, header, body string) (providers.Status, error) {
		double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Retry-After", header)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		return at(t, double.URL).Submit(t.Context(), providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "x"}})
	}
	st, err := answer(200, "", `{"image":"`+providertest.PictureBase64+`","finish_reason":"SUCCESS","seed":4294967294}`)
	require.NoError(t, err)
	require.Equal(t, providertest.Picture, st.Outputs[0].Data)
	seed, err := json.Marshal(st.Data)
	require.NoError(t, err)
	require.JSONEq(t, `{"seed":4294967294}`, string(seed))

	st, err = answer(200, "", `{"image":"`+providertest.PictureBase64+`","finish_reason":"CONTENT_FILTERED","seed":1}`)
	require.NoError(t, err)
	require.Equal(t, classify.ContentPolicy, st.Failure.Class, "a blurred picture is no result")
	require.Empty(t, st.Outputs)

	_, err = answer(200, "", `{"image":"`+providertest.PictureBase64+`","finish_reason":"MAYBE"}`)
	require.True(t, classify.IsUnknownOutcome(err))
	_, err = answer(429, "", `{"id":"x","name":"rate_limit_exceeded","errors":["slow"]}`)
	require.Equal(t, time.Minute, classify.Classify(err).RetryAfter, "so long the API lets nobody in")
	_, err = answer(429, "7", `{"id":"x","name":"rate_limit_exceeded","errors":["slow"]}`)
	require.Equal(t, 7*time.Second, classify.Classify(err).RetryAfter)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, err := Open(providers.Settings{Name: "stability"})
	require.ErrorContains(t, err, "api_key: is missing")
	_, err = Open(providers.Settings{Name: "stability", APIKey: "k", Options: m{"engine": 1}})
	require.ErrorContains(t, err, "options: engine")
}
