package gemini

import (
	"io"
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

type m = map[string]any

func at(t testing.TB, baseURL string, change ...func(*providers.Settings)) *Provider {
	t.Helper()
	settings := providers.Settings{Name: "gemini", BaseURL: baseURL, APIKey: providertest.Secret}
	for _, apply := range change {
		apply(&settings)
	}
	p, err := Open(settings)
	require.NoError(t, err)
	return p.(*Provider)
}

func adapter(t *testing.T, replies string, feature tasks.Feature) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata/" + replies),
		Request: providers.Request{
			JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: feature, Input: m{"prompt": providertest.Prompt},
		},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	for replies, feature := range map[string]tasks.Feature{"image": tasks.TextToImage, "video": tasks.TextToVideo} {
		t.Run(replies, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, adapter(t, replies, feature))
		})
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	described := providertest.ReadDescription(t, "testdata/gemini-media.json")
	ref := m{"$file": 0.0}
	files := []providers.File{{Pointer: "/image", MediaType: "image/png", Data: providertest.Picture}}
	inline := m{"inlineData": m{"mimeType": "image/png", "data": providertest.PictureBase64}}
	frame := m{"bytesBase64Encoded": providertest.PictureBase64, "mimeType": "image/png"}
	prompt := func(parts ...any) []any { return []any{m{"role": "user", "parts": parts}} }
	providertest.RequireSendings(t, adapter(t, "image", tasks.TextToImage), described, map[string]providertest.Sending{
		"a picture": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "aspect_ratio": "16:9", "image_size": "2K", "seed": 7.0, "n": 1.0, "temperature": 0.5}},
			"/models/gemini-3.1-flash-image:generateContent", m{
				"contents": prompt(m{"text": "a fox"}),
				"generationConfig": m{
					"responseModalities": []any{"IMAGE"}, "imageConfig": m{"aspectRatio": "16:9", "imageSize": "2K"}, "seed": 7.0, "temperature": 0.5,
				},
			},
		),
		"from pictures": providertest.Sends(
			providers.Request{
				Feature: tasks.ImageToImage, Model: "gemini-3-pro-image", Input: m{"prompt": "in blue", "image": []any{ref, providertest.PictureBase64}},
				Files: []providers.File{{Pointer: "/image/0", MediaType: "image/png", Data: providertest.Picture}},
			},
			"/models/gemini-3-pro-image:generateContent",
			m{"contents": prompt(m{"text": "in blue"}, inline, inline), "generationConfig": m{"responseModalities": []any{"IMAGE"}}},
		),
	})
	providertest.RequireSendings(t, adapter(t, "video", tasks.TextToVideo), described, map[string]providertest.Sending{
		"a film": providertest.Sends(
			providers.Request{Feature: tasks.TextToVideo, Input: m{
				"prompt": "a fox", "aspect_ratio": "9:16", "duration": "6", "resolution": "720p", "negative_prompt": "rain", "seed": 7.0, "n": 2.0,
			}},
			"/models/veo-3.1-generate-preview:predictLongRunning", m{
				"instances": []any{m{"prompt": "a fox"}},
				"parameters": m{
					"aspectRatio": "9:16", "durationSeconds": 6.0, "resolution": "720p", "negativePrompt": "rain", "seed": 7.0, "sampleCount": 2.0,
				},
			},
		),
		"between pictures": providertest.Sends(
			providers.Request{
				Feature: tasks.ImageToVideo, Model: "veo-3.1-fast-generate-preview", Files: files,
				Input: m{"image": ref, "last_frame": providertest.PictureBase64, "reference_images": []any{providertest.PictureBase64}},
			},
			"/models/veo-3.1-fast-generate-preview:predictLongRunning",
			m{"instances": []any{m{"image": frame, "lastFrame": frame, "referenceImages": []any{m{"image": frame, "referenceType": "asset"}}}}},
		),
	})
}

// A description that knows nothing wrong says nothing.
func TestDescriptionRefuses(t *testing.T) {
	t.Parallel()
	described := providertest.ReadDescription(t, "testdata/gemini-media.json")
	asJSON := http.Header{"Content-Type": {"application/json"}}
	for name, got := range map[string]providertest.Recorded{
		"no instance":  {Method: "POST", Path: "/models/veo:predictLongRunning", Header: asJSON, Body: []byte(`{"instances":[]}`)},
		"a text":       {Method: "POST", Path: "/models/veo:predictLongRunning", Header: asJSON, Body: []byte(`{"instances":[{}],"parameters":{"durationSeconds":"6"}}`)},
		"no such path": {Method: "POST", Path: "/pictures", Header: asJSON, Body: []byte(`{}`)},
	} {
		require.Error(t, described.Check(got), name)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	var wrongs []providertest.Wrong
	for _, key := range []string{
		"safetySettings", "personGeneration", "person_generation", "tools", "contents", "generationConfig", "webhookConfig", "webhook_config",
		"model", "cachedContent", "size", "image",
	} {
		wrongs = append(wrongs, providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", key: "y"}, "/input_data/"+key))
	}
	providertest.RequireRefusals(t, adapter(t, "image", tasks.TextToImage), append(wrongs,
		providertest.Refuses(tasks.TextToImage, "", m{}, "/input_data/prompt"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "n": 2.0}, "/input_data/n"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "aspect_ratio": "7:3"}, "/input_data/aspect_ratio"),
		providertest.Refuses(tasks.TextToImage, "../files/x", m{"prompt": "x"}, "/model"),
		providertest.Refuses(tasks.TextToVideo, "", m{"prompt": "x", "duration": 60.0}, "/input_data/duration"),
		providertest.Refuses(tasks.TextToVideo, "", m{"prompt": "x", "aspect_ratio": "1:1"}, "/input_data/aspect_ratio"),
		providertest.Refuses(tasks.ImageToVideo, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(tasks.TextToSpeech, "", m{}, "/feature_type"),
	))
	_, err := at(t, "http://127.0.0.1:1").Submit(t.Context(), providers.Request{Feature: tasks.ImageToVideo, Input: m{"image": "https://a.example/x.png"}})
	require.Equal(t, "/input_data/image", classify.Classify(err).Field)
}

// TestSuccessesThatRefuse goes through the answers with status 200 that bring no
// picture, or no film.
func TestSuccessesThatRefuse(t *testing.T) {
	t.Parallel()
	for body, class := range map[string]classify.Class{
		`{"promptFeedback":{"blockReason":"SAFETY"}}`:                                                                  classify.ContentPolicy,
		`{"promptFeedback":{"blockReason":"OTHER","blockReasonMessage":"no"}}`:                                         classify.ContentPolicy,
		`{"candidates":[{"finishReason":"IMAGE_SAFETY","finishMessage":"Unable to show the image."}]}`:                 classify.ContentPolicy,
		`{"candidates":[{"finishReason":"RECITATION"}]}`:                                                               classify.ContentPolicy,
		`{"candidates":[{"finishReason":"NO_IMAGE"}]}`:                                                                 classify.GenerationFailed,
		`{"candidates":[{"finishReason":"IMAGE_OTHER"}]}`:                                                              classify.GenerationFailed,
		`{"candidates":[{"content":{"parts":[{"text":"I would rather talk."}]},"finishReason":"STOP"}],"x":{"new":1}}`: classify.GenerationFailed,
		`{"candidates":[]}`: classify.GenerationFailed,
	} {
		double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) })
		st, err := at(t, double.URL).Submit(t.Context(), adapter(t, "image", tasks.TextToImage).Request)
		require.NoError(t, err, body)
		require.Equal(t, providers.Failed, st.State, body)
		require.Equal(t, class, st.Failure.Class, body)
		require.NotEmpty(t, st.Failure.Message, body)
	}
	double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata/image"), "submit.http").ServeHTTP)
	st, err := at(t, double.URL).Submit(t.Context(), adapter(t, "image", tasks.TextToImage).Request)
	require.NoError(t, err)
	require.Equal(t, providertest.Picture, st.Outputs[0].Data)
	require.Equal(t, "Here it is.", st.Data["text"])
	require.Equal(t, "gemini-3.1-flash-image", st.Data["model_version"])
	require.Equal(t, providertest.Secret, double.Requests()[0].Header.Get("X-Goog-Api-Key"))
	require.Empty(t, double.Requests()[0].Query, "the key stands in no address")
}

func TestWaits(t *testing.T) {
	t.Parallel()
	for reply, want := range map[string]time.Duration{
		"submit-rate_limit.http": 26 * time.Second, "submit-rate_limit-day.http": classify.MaxRetryAfter, "submit-quota-cap.http": 0,
	} {
		double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata/image"), reply).ServeHTTP)
		_, err := at(t, double.URL).Submit(t.Context(), adapter(t, "image", tasks.TextToImage).Request)
		require.Equal(t, want, classify.Classify(err).RetryAfter, reply)
	}
}

// TestFilmsAreFetchedWithoutOurKeyElsewhere follows the redirect that a film's
// address answers with.
func TestFilmsAreFetchedWithoutOurKeyElsewhere(t *testing.T) {
	t.Parallel()
	replies := os.DirFS("testdata/video")
	outside := &recorder{reply: providertest.MustReply(t, replies, "download.http")}
	double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://storage.example/film?sig=1", http.StatusFound)
	})
	p := at(t, double.URL, func(s *providers.Settings) { s.Outside = outside })
	body, err := p.Download(t.Context(), providers.Ref{}, providers.Output{URL: double.URL + "/files/xyz:download?alt=media"})
	require.NoError(t, err)
	film, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	require.Contains(t, string(film), "ftypisom")
	require.Equal(t, providertest.Secret, double.Requests()[0].Header.Get("X-Goog-Api-Key"))
	require.Empty(t, outside.seen.Get("X-Goog-Api-Key"))
}

// recorder is the way to other hosts.
type recorder struct {
	reply providertest.Reply
	seen  http.Header
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.seen = req.Header.Clone()
	return &http.Response{StatusCode: r.reply.Status, Header: r.reply.Header, Body: io.NopCloser(&once{data: r.reply.Body}), Request: req}, nil
}

type once struct{ data []byte }

func (o *once) Read(p []byte) (int, error) {
	n := copy(p, o.data)
	o.data = o.data[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, err := Open(providers.Settings{Name: "gemini"})
	require.ErrorContains(t, err, "api_key: is missing")
	_, err = Open(providers.Settings{Name: "gemini", APIKey: "k", Options: m{"project": 1}})
	require.ErrorContains(t, err, "options: project")
	p := at(t, "http://x")
	require.True(t, p.ValidRemoteID("models/veo-3.1-generate-preview/operations/abc"))
	for _, id := range []string{"models/../operations/x", "models/a/operations/../x", "operations/x", "models/a/operations/x?y"} {
		require.False(t, p.ValidRemoteID(id), id)
	}
}
