package runway

import (
	"bytes"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const taskID = "17f20503-6c24-4c16-946b-35dbbce2af2f"

func at(t testing.TB, baseURL string) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "runway", BaseURL: baseURL, APIKey: providertest.Secret})
	require.NoError(t, err)
	return p.(*Provider)
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata"),
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
	providertest.RequireSendings(t, adapter(t), providertest.ReadDescription(t, "testdata/runway.json"), map[string]providertest.Sending{
		"an image": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "aspect_ratio": "1:1", "seed": 7.0}},
			"/v1/text_to_image", m{"model": "gen4_image", "promptText": "a fox", "ratio": "1024:1024", "seed": 7.0},
		),
		"several": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: "gpt_image_2", Input: m{"prompt": "a fox", "n": 2.0, "quality": "low"}},
			"/v1/text_to_image", m{"model": "gpt_image_2", "promptText": "a fox", "ratio": "1920:1088", "outputCount": 2.0, "quality": "low"},
		),
		"of another": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Input: m{"prompt": "in blue", "image": []any{"https://a.example/picture.png", "https://a.example/other.png"}, "size": "1920x1080"}},
			"/v1/text_to_image", m{
				"model": "gen4_image", "promptText": "in blue", "ratio": "1920:1080",
				"referenceImages": []any{m{"uri": "https://a.example/picture.png"}, m{"uri": "https://a.example/other.png"}},
			},
		),
		"a video": providertest.Sends(
			providers.Request{Feature: tasks.TextToVideo, Input: m{"prompt": "a fox"}},
			"/v1/text_to_video", m{"model": "gen4.5", "promptText": "a fox", "ratio": "1280:720", "duration": 5.0},
		),
		"a video of a length": providertest.Sends(
			providers.Request{Feature: tasks.TextToVideo, Model: "veo3.1", Input: m{"prompt": "a fox", "duration": "8", "aspect_ratio": "9:16", "negative_prompt": "rain", "audio": true}},
			"/v1/text_to_video", m{"model": "veo3.1", "promptText": "a fox", "ratio": "720:1280", "duration": 8.0, "negativePrompt": "rain", "audio": true},
		),
		"a video of a picture": providertest.Sends(
			providers.Request{Feature: tasks.ImageToVideo, Input: m{"prompt": "it moves", "image": ref, "aspect_ratio": "21:9"}, Files: files},
			"/v1/image_to_video", m{"model": "gen4_turbo", "promptText": "it moves", "promptImage": inline, "ratio": "1584:672"},
		),
		"upscale": providertest.Sends(
			providers.Request{Feature: tasks.Upscale, Input: m{"image": ref, "scaleFactor": 4.0}, Files: files},
			"/v1/image_upscale", m{"model": "magnific_precision_upscaler_v2", "imageUri": inline, "scaleFactor": 4.0},
		),
		"speech": providertest.Sends(
			providers.Request{Feature: tasks.TextToSpeech, Input: m{"text": "hello"}},
			"/v1/text_to_speech", m{"model": "eleven_multilingual_v2", "promptText": "hello", "voice": m{"type": "runway-preset", "presetId": "Maya"}},
		),
		"sound": providertest.Sends(
			providers.Request{Feature: tasks.TextToAudio, Input: m{"prompt": "rain", "duration": 5.0}},
			"/v1/sound_effect", m{"model": "eleven_text_to_sound_v2", "promptText": "rain", "duration": 5.0},
		),
	})
}

// TestEveryModelsRatios holds our table of shapes to the description.
func TestEveryModelsRatios(t *testing.T) {
	t.Parallel()
	described := providertest.ReadDescription(t, "testdata/runway.json")
	double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata"), "submit.http").ServeHTTP)
	p := at(t, double.URL)
	for _, feature := range []tasks.Feature{tasks.TextToImage, tasks.ImageToImage, tasks.TextToVideo, tasks.ImageToVideo} {
		for _, model := range models[feature] {
			for ratio := range ratiosOf(feature, model) {
				in := map[string]any{"prompt": "a fox", "aspect_ratio": ratio}
				if feature == tasks.ImageToImage || feature == tasks.ImageToVideo {
					in["image"] = "https://a.example/picture.png"
				}
				_, err := p.Submit(t.Context(), providers.Request{Feature: feature, Model: model, Input: in})
				require.NoError(t, err)
				requests := double.Requests()
				got := requests[len(requests)-1]
				require.NoError(t, described.Check(got), "%s %s %s", feature, model, ratio)
				got.Body = bytes.Replace(got.Body, []byte(`"ratio":"`), []byte(`"ratio":"7`), 1)
				require.Error(t, described.Check(got), "a check that cannot fail says nothing")
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	providertest.RequireRefusals(t, adapter(t), []providertest.Wrong{
		providertest.Refuses(tasks.TextToImage, "", m{}, "/input_data/prompt"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "aspect_ratio": "7:1"}, "/input_data/aspect_ratio"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "contentModeration": m{"publicFigureThreshold": "low"}}, "/input_data/contentModeration"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "model": "y"}, "/input_data/model"),
		providertest.Refuses(tasks.TextToVideo, "", m{"prompt": "x", "duration": "long"}, "/input_data/duration"),
		providertest.Refuses(tasks.TextToVideo, "", m{"prompt": "x", "promptText": "y"}, "/input_data/promptText"),
		providertest.Refuses(tasks.ImageToVideo, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(tasks.ImageToVideo, "", m{"image": []any{"a", "b"}}, "/input_data/image"),
		providertest.Refuses(tasks.TextToSpeech, "", m{"prompt": "x"}, "/input_data/text"),
		providertest.Refuses(tasks.RemoveBackground, "", m{}, "/feature_type"),
	})
	large := []providers.File{{Pointer: "/image", MediaType: "image/png", Data: make([]byte, 4<<20)}}
	_, err := at(t, "").Submit(t.Context(), providers.Request{Feature: tasks.Upscale, Input: m{"image": m{"$file": 0.0}}, Files: large})
	require.Equal(t, "/input_data/image", classify.Classify(err).Field)
}

func TestStates(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, func(http.ResponseWriter, *http.Request) {})
	p := at(t, double.URL)
	poll := func(reply string) providers.Status {
		double.Answer(providertest.MustReply(t, os.DirFS("testdata"), reply).ServeHTTP)
		st, err := p.Poll(t.Context(), providers.Ref{RemoteID: taskID, Feature: tasks.TextToImage})
		require.NoError(t, err)
		return st
	}
	st := poll("throttled.http")
	require.Equal(t, providers.Queued, st.State, "what is throttled begins by itself")
	require.Equal(t, &tasks.Cost{Amount: "25", Currency: "credits", Basis: "estimated"}, st.Cost)
	require.InDelta(t, 42, *poll("running.http").Percent, 0.001)
	require.Equal(t, &tasks.Cost{Amount: "25", Currency: "credits", Basis: "reported"}, poll("succeeded.http").Cost)
	require.Equal(t, "0", poll("failed.http").Cost.Amount, "a refund is told")
	for _, request := range double.Requests() {
		require.Equal(t, "2024-11-06", request.Header.Get("X-Runway-Version"))
	}
}
