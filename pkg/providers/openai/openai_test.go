package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
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

var onePixel = mustDecode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")

func mustDecode(text string) []byte {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return data
}

func at(t testing.TB, baseURL string) *Provider {
	t.Helper()
	p, err := New(Config{BaseURL: baseURL, APIKey: providertest.Secret, MaxAnswer: 16 << 20})
	require.NoError(t, err)
	return p
}

func request(feature tasks.Feature, model string, input map[string]any, files ...providers.File) providers.Request {
	return providers.Request{JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: feature, Model: model, Input: input, Files: files}
}

func TestContract(t *testing.T) {
	t.Parallel()
	prompt := providertest.Prompt
	file := providers.File{Pointer: "/image", MediaType: "image/png", Data: onePixel}
	withImage := map[string]any{"prompt": prompt, "image": map[string]any{"$file": 0.0}}
	for name, c := range map[string]struct {
		replies string
		request providers.Request
	}{
		"text-to-image":  {"image", request(tasks.TextToImage, "gpt-image-1.5", map[string]any{"prompt": prompt})},
		"image-to-image": {"image", request(tasks.ImageToImage, "gpt-image-1.5", withImage, file)},
		"text-to-speech": {"speech", request(tasks.TextToSpeech, "tts-1", map[string]any{"text": prompt})},
		"text-to-video":  {"video", request(tasks.TextToVideo, "sora-2", map[string]any{"prompt": prompt})},
		"image-to-video": {"video", request(tasks.ImageToVideo, "sora-2", withImage, file)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Adapter{
				New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
				Replies: os.DirFS("testdata/" + c.replies),
				Request: c.request,
			})
		})
	}
}

// submit sends the request to a double and returns what the double got.
func submit(t *testing.T, req providers.Request, reply string, change ...func(*Config)) (providers.Status, providertest.Recorded) {
	t.Helper()
	double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata"), reply).ServeHTTP)
	config := Config{BaseURL: double.URL, APIKey: providertest.Secret}
	for _, f := range change {
		f(&config)
	}
	p, err := New(config)
	require.NoError(t, err)
	st, err := p.Submit(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, double.Requests(), 1)
	return st, double.Requests()[0]
}

// fields reads a JSON body or a form; files are given by name, type and size.
func fields(t *testing.T, r providertest.Recorded) map[string]any {
	t.Helper()
	got := map[string]any{}
	if r.Header.Get("Content-Type") == "application/json" {
		require.NoError(t, json.Unmarshal(r.Body, &got))
		return got
	}
	got, err := r.Form()
	require.NoError(t, err)
	return got
}

func TestRequests(t *testing.T) {
	t.Parallel()
	png := func(pointer string) providers.File {
		return providers.File{Pointer: pointer, MediaType: "image/png", Data: onePixel}
	}
	ref := map[string]any{"$file": 0.0}
	type m = map[string]any
	inline := "data:image/png;base64," + base64.StdEncoding.EncodeToString(onePixel)
	tests := map[string]struct {
		request     providers.Request
		reply, path string
		want        m
		warnings    int
	}{
		"image": {
			request(tasks.TextToImage, "gpt-image-1.5", m{"prompt": "a kite", "size": "1536x1024", "n": 2.0, "quality": "low"}),
			"image/submit.http", "/images/generations",
			m{"model": "gpt-image-1.5", "prompt": "a kite", "size": "1536x1024", "n": 2.0, "quality": "low"}, 0,
		},
		"the default model": {
			request(tasks.TextToImage, "", m{"prompt": "a kite"}), "image/submit.http", "/images/generations",
			m{"model": "gpt-image-1.5", "prompt": "a kite"}, 0,
		},
		"unknown keys pass": {
			request(tasks.TextToImage, "sd", m{"prompt": "a kite", "negative_prompt": "rain", "seed": 7.0}), "image/submit.http", "/images/generations",
			m{"model": "sd", "prompt": "a kite", "negative_prompt": "rain", "seed": 7.0}, 0,
		},
		"aspect ratio": {
			request(tasks.TextToImage, "gpt-image-1.5", m{"prompt": "a kite", "aspect_ratio": "3:2"}), "image/submit.http", "/images/generations",
			m{"model": "gpt-image-1.5", "prompt": "a kite", "size": "1536x1024"}, 0,
		},
		"aspect ratio, nearly": {
			request(tasks.TextToImage, "gpt-image-1.5", m{"prompt": "a kite", "aspect_ratio": "16:9"}), "image/submit.http", "/images/generations",
			m{"model": "gpt-image-1.5", "prompt": "a kite", "size": "1536x1024"}, 1,
		},
		"aspect ratio, exactly": {
			request(tasks.TextToImage, "gpt-image-2", m{"prompt": "a kite", "aspect_ratio": "16:9"}), "image/submit.http", "/images/generations",
			m{"model": "gpt-image-2", "prompt": "a kite", "size": "1536x864"}, 0,
		},
		"a style in words": {
			request(tasks.TextToImage, "gpt-image-1.5", m{"prompt": "a kite", "style": "realistic"}), "image/submit.http", "/images/generations",
			m{"model": "gpt-image-1.5", "prompt": "a kite\n\nStyle: realistic"}, 0,
		},
		"dall-e": {
			request(tasks.TextToImage, "dall-e-3", m{"prompt": "a kite", "style": "vivid"}), "image/submit.http", "/images/generations",
			m{"model": "dall-e-3", "prompt": "a kite", "style": "vivid", "response_format": "b64_json"}, 0,
		},
		"edit": {
			request(tasks.ImageToImage, "gpt-image-1.5", m{"prompt": "in blue", "image": ref, "mask": ref, "n": 2.0}, png("/image"), png("/mask")),
			"image/submit.http", "/images/edits",
			m{"model": "gpt-image-1.5", "prompt": "in blue", "n": "2", "image": "image-1.png image/png 70", "mask": "mask.png image/png 70"}, 0,
		},
		"edit of several": {
			request(tasks.ImageToImage, "gpt-image-1.5", m{"prompt": "together", "image": []any{ref, inline}}, png("/image/0")),
			"image/submit.http", "/images/edits",
			m{"model": "gpt-image-1.5", "prompt": "together", "image[]": "image-1.png image/png 70, image-2.png image/png 70"}, 0,
		},
		"edit by URL": {
			request(tasks.ImageToImage, "gpt-image-1.5", m{"prompt": "in blue", "image": []any{"https://x.example/a.png", ref}}, png("/image/1")),
			"image/submit.http", "/images/edits",
			m{"model": "gpt-image-1.5", "prompt": "in blue", "images": []any{m{"image_url": "https://x.example/a.png"}, m{"image_url": inline}}}, 0,
		},
		"speech": {
			request(tasks.TextToSpeech, "tts-1", m{"text": "hello", "voice": "nova", "format": "wav", "speed": 1.5}), "speech/submit.http", "/audio/speech",
			m{"model": "tts-1", "input": "hello", "voice": "nova", "response_format": "wav", "speed": 1.5}, 0,
		},
		"speech by default": {
			request(tasks.TextToSpeech, "", m{"text": "hello"}), "speech/submit.http", "/audio/speech",
			m{"model": "gpt-4o-mini-tts", "input": "hello", "voice": "alloy", "response_format": "mp3"}, 0,
		},
		"video": {
			request(tasks.TextToVideo, "sora-2", m{"prompt": "a kite", "duration": 8.0, "aspect_ratio": "16:9"}), "video/submit.http", "/videos",
			m{"model": "sora-2", "prompt": "a kite", "seconds": "8", "size": "1280x720"}, 0,
		},
		"video from a picture": {
			request(tasks.ImageToVideo, "sora-2", m{"prompt": "a kite", "image": ref, "seconds": "4"}, png("/image")), "video/submit.http", "/videos",
			m{"model": "sora-2", "prompt": "a kite", "seconds": "4", "input_reference": "image.png image/png 70"}, 0,
		},
		"video from a URL": {
			request(tasks.ImageToVideo, "sora-2", m{"prompt": "a kite", "image": "https://x.example/a.png"}), "video/submit.http", "/videos",
			m{"model": "sora-2", "prompt": "a kite", "input_reference": m{"image_url": "https://x.example/a.png"}}, 0,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := maps.Clone(tt.request.Input)
			st, got := submit(t, tt.request, tt.reply)
			require.Equal(t, http.MethodPost, got.Method)
			require.Equal(t, tt.path, got.Path)
			require.Equal(t, "Bearer "+providertest.Secret, got.Header.Get("Authorization"))
			require.Equal(t, tt.want, fields(t, got))
			require.Len(t, st.Warnings, tt.warnings)
			require.Equal(t, before, tt.request.Input, "the request is not changed")
			if name != "edit of several" { // "image[]" is in the guides, not in the description
				description(t).Require(t, got)
			}
		})
	}
}

func TestCheckInput(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	p := at(t, "http://127.0.0.1:1")
	image, edit, speech, video, film := tasks.TextToImage, tasks.ImageToImage, tasks.TextToSpeech, tasks.TextToVideo, tasks.ImageToVideo
	tests := []struct {
		feature tasks.Feature
		model   string
		input   m
		field   string // empty: good
	}{
		{image, "", m{"prompt": "x", "n": 10.0, "size": "auto", "anything": true}, ""},
		{image, "", m{}, "/input_data/prompt"},
		{image, "", m{"prompt": " "}, "/input_data/prompt"},
		{image, "", m{"prompt": 7.0}, "/input_data/prompt"},
		{image, "", m{"prompt": strings.Repeat("ä", 32000)}, ""},
		{image, "", m{"prompt": strings.Repeat("ä", 32001)}, "/input_data/prompt"},
		{image, "dall-e-3", m{"prompt": strings.Repeat("ä", 4001)}, "/input_data/prompt"},
		{image, "dall-e-2", m{"prompt": strings.Repeat("ä", 1001)}, "/input_data/prompt"},
		{image, "", m{"prompt": "x", "n": 0.0}, "/input_data/n"},
		{image, "", m{"prompt": "x", "n": 1.5}, "/input_data/n"},
		{image, "", m{"prompt": "x", "n": "2"}, "/input_data/n"},
		{image, "", m{"prompt": "x", "size": "big"}, "/input_data/size"},
		{image, "", m{"prompt": "x", "size": 1024.0}, "/input_data/size"},
		{image, "", m{"prompt": "x", "aspect_ratio": "5:1"}, "/input_data/aspect_ratio"},
		{image, "", m{"prompt": "x", "aspect_ratio": "1:1", "size": "auto"}, "/input_data/aspect_ratio"},
		{image, "dall-e-3", m{"prompt": "x", "aspect_ratio": "3:2"}, "/input_data/aspect_ratio"},
		{image, "", m{"prompt": "x", "output_compression": 101.0}, "/input_data/output_compression"},
		{image, "", m{"prompt": "x", "stream": true}, "/input_data/stream"},
		{image, "", m{"prompt": "x", "model": "y"}, "/input_data/model"},
		{image, "", m{"prompt": "x", "user": "y"}, "/input_data/user"},
		{image, "", m{"prompt": "x", "webhook_url": "y"}, "/input_data/webhook_url"},
		{image, "", m{"prompt": "x", "response_format": "url"}, "/input_data/response_format"},
		{edit, "", m{"prompt": "x"}, "/input_data/image"},
		{edit, "", m{"prompt": "x", "image": []any{}}, "/input_data/image"},
		{edit, "", m{"prompt": "x", "image": []any{"a", 7.0}}, "/input_data/image"},
		{edit, "", m{"prompt": "x", "image": "https://a.example/x.png", "mask": 7.0}, "/input_data/mask"},
		{edit, "", m{"prompt": "x", "image": m{"$file": 0.0}}, ""},
		{speech, "", m{"text": "x", "voice": m{"id": "voice_1"}}, ""},
		{speech, "", m{"prompt": "x"}, "/input_data/text"},
		{speech, "", m{"text": strings.Repeat("x", 4097)}, "/input_data/text"},
		{speech, "", m{"text": "x", "speed": 5.0}, "/input_data/speed"},
		{speech, "", m{"text": "x", "format": "png"}, "/input_data/format"},
		{speech, "", m{"text": "x", "voice": 7.0}, "/input_data/voice"},
		{video, "", m{"prompt": "x", "duration": 4.0}, ""},
		{video, "", m{"prompt": "x", "duration": "12"}, ""},
		{video, "", m{"prompt": "x", "duration": 4.5}, "/input_data/duration"},
		{video, "", m{"prompt": "x", "seconds": "long"}, "/input_data/seconds"},
		{video, "", m{"prompt": "x", "seconds": "4", "duration": 4.0}, "/input_data/seconds"},
		{video, "", m{"prompt": "x", "aspect_ratio": "1:1"}, "/input_data/aspect_ratio"},
		{film, "", m{"prompt": "x"}, "/input_data/image"},
		{film, "", m{"prompt": "x", "image": []any{"https://a.example/x.png"}}, "/input_data/image"},
		{tasks.Upscale, "", m{}, "/feature_type"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %s %.40s", tt.feature, tt.model, fmt.Sprint(tt.input)), func(t *testing.T) {
			t.Parallel()
			err := p.CheckInput(tt.feature, tt.model, tt.input)
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			info := classify.Classify(err)
			require.Equal(t, classify.Validation, info.Class)
			require.Equal(t, tt.field, info.Field)
			_, err = p.Submit(t.Context(), request(tt.feature, tt.model, tt.input))
			require.Equal(t, tt.field, classify.Classify(err).Field, "a submission is checked again, and not made")
		})
	}
	_, err := p.Submit(t.Context(), request(edit, "", m{"prompt": "x", "image": "?"}))
	require.Equal(t, "/input_data/image", classify.Classify(err).Field)
}

func TestLargePicture(t *testing.T) {
	t.Parallel()
	want := bytes.Repeat([]byte("picture "), 1<<20)
	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"created":1,"output_format":"webp","data":[{"b64_json":%q},{"b64_json":"%s"}]}`,
			base64.StdEncoding.EncodeToString(want), base64.StdEncoding.EncodeToString(onePixel))
	})
	st, err := at(t, double.URL).Submit(t.Context(), request(tasks.TextToImage, "", map[string]any{"prompt": "x", "n": 2.0}))
	require.NoError(t, err)
	require.Len(t, st.Outputs, 2)
	require.True(t, bytes.Equal(want, st.Outputs[0].Data))
	require.Equal(t, "image/webp", st.Outputs[0].MediaType)
}

func TestImageReplies(t *testing.T) {
	t.Parallel()
	submit := func(t *testing.T, reply string) (providers.Status, error) {
		t.Helper()
		double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, reply) })
		return at(t, double.URL).Submit(t.Context(), request(tasks.TextToImage, "", map[string]any{"prompt": "x"}))
	}
	st, err := submit(t, `{"data":[{"url":"https://cdn.example/a.png?sig=1","revised_prompt":"a red kite"}],"size":1024,"usage":{"total_tokens":3}}`)
	require.NoError(t, err)
	require.Equal(t, "https://cdn.example/a.png?sig=1", st.Outputs[0].URL)
	require.Equal(t, "a red kite", st.Data["revised_prompt"])
	require.Equal(t, "1024", st.Data["size"], "a number where a text should be is no reason to lose a picture")
	raw, err := json.Marshal(st.Data["usage"])
	require.NoError(t, err)
	require.JSONEq(t, `{"total_tokens":3}`, string(raw))

	st, err = submit(t, `{"data":[{"b64_json":"data:image/png;base64,`+base64.StdEncoding.EncodeToString(onePixel)+`"}]}`)
	require.NoError(t, err)
	require.Equal(t, onePixel, st.Outputs[0].Data)
	require.Equal(t, "image/png", st.Outputs[0].MediaType, "sniffed where the server does not say")

	st, err = submit(t, `{"data":[]}`)
	require.NoError(t, err)
	require.Equal(t, providers.Failed, st.State)
	require.Equal(t, classify.GenerationFailed, st.Failure.Class)

	for _, strange := range []string{`{"data":[{}]}`, `{"data":[{"b64_json":"?"}]}`, `{"data":null}`} {
		_, err = submit(t, strange)
		require.True(t, classify.IsUnknownOutcome(err), strange)
	}
}

func TestErrorDetails(t *testing.T) {
	t.Parallel()
	fail := func(t *testing.T, status int, body string, header ...string) *classify.Error {
		t.Helper()
		double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		})
		_, err := at(t, double.URL).Submit(t.Context(), request(tasks.TextToImage, "", map[string]any{"prompt": "x"}))
		var failure *classify.Error
		require.ErrorAs(t, err, &failure)
		return failure
	}
	const throttled = `{"error":{"message":"slow","type":"tokens","param":null,"code":null}}`

	failure := fail(t, 429, throttled, "Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
	require.Equal(t, classify.RateLimit, failure.Class)
	require.Equal(t, "tokens", failure.Code)
	require.InDelta(t, time.Minute, failure.RetryAfter, float64(30*time.Second))
	require.Equal(t, 250*time.Millisecond, fail(t, 429, throttled, "Retry-After-Ms", "250").RetryAfter)
	require.Equal(t, 6*time.Minute, fail(t, 429, throttled,
		"X-Ratelimit-Remaining-Requests", "0", "X-Ratelimit-Reset-Requests", "6m0s",
		"X-Ratelimit-Remaining-Tokens", "5", "X-Ratelimit-Reset-Tokens", "9m0s").RetryAfter)

	for param, field := range map[string]string{
		`"size"`: "/input_data/size", `"model"`: "/model", `"input"`: "/input_data/text", `"image[0]"`: "/input_data/image", `null`: "", `"$"`: "",
	} {
		failure := fail(t, 400, `{"error":{"message":"bad","type":"invalid_request_error","param":`+param+`,"code":null}}`)
		require.Equal(t, field, failure.Field, param)
	}
	require.Equal(t, classify.UnknownOutcome, fail(t, 500, `{"error":null}`).Class)
}

func TestSpeechMediaType(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{"audio/wav; rate=1": "audio/wav", "application/octet-stream": "audio/flac"} {
		double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", header)
			_, _ = io.WriteString(w, "sound")
		})
		st, err := at(t, double.URL).Submit(t.Context(), request(tasks.TextToSpeech, "", map[string]any{"text": "x", "format": "flac"}))
		require.NoError(t, err)
		require.Equal(t, want, st.Outputs[0].MediaType)
		require.Equal(t, "sound", string(st.Outputs[0].Data))
	}
}

func TestVideoLife(t *testing.T) {
	t.Parallel()
	replies := os.DirFS("testdata/video")
	double := providertest.NewDouble(t, providertest.MustReply(t, replies, "running.http").ServeHTTP)
	p := at(t, double.URL+"/v1/")
	ref := providers.Ref{RemoteID: "video_68d7", Feature: tasks.TextToVideo}

	st, err := p.Poll(t.Context(), ref)
	require.NoError(t, err)
	require.InDelta(t, 42, *st.Percent, 0)
	require.Equal(t, 8*time.Second, st.PollAfter)

	double.Answer(providertest.MustReply(t, replies, "succeeded.http").ServeHTTP)
	st, err = p.Poll(t.Context(), ref)
	require.NoError(t, err)
	require.Equal(t, double.URL+"/v1/videos/video_68d7/content", st.Outputs[0].URL)

	double.Answer(providertest.MustReply(t, replies, "download.http").ServeHTTP)
	body, err := p.Download(t.Context(), ref, st.Outputs[0])
	require.NoError(t, err)
	require.Equal(t, "video/mp4", body.MediaType())
	require.NoError(t, body.Close())
	last := double.Requests()[2]
	require.Equal(t, "/v1/videos/video_68d7/content", last.Path)
	require.Equal(t, "Bearer "+providertest.Secret, last.Header.Get("Authorization"))
}

func TestFind(t *testing.T) {
	t.Parallel()
	sent := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	clip := func(id, prompt, model, seconds string, after time.Duration) string {
		return fmt.Sprintf(`{"id":%q,"model":%q,"status":"queued","created_at":%d,"prompt":%q,"seconds":%q,"size":"720x1280"}`,
			id, model, sent.Add(after).Unix(), prompt, seconds)
	}
	list := func(more bool, clips ...string) string {
		return fmt.Sprintf(`{"data":[%s],"has_more":%t}`, strings.Join(clips, ","), more)
	}
	mine := clip("video_1", "a kite", "sora-2", "8", time.Second)
	old := clip("video_0", "a kite", "sora-2", "8", -time.Hour)
	tests := map[string]struct {
		reply  string
		found  string
		absent bool
	}{
		"there":                    {list(false, mine, old), "video_1", false},
		"there, a dated model":     {list(true, clip("video_2", "a kite", "sora-2-2025-12-08", "8", 0)), "video_2", false},
		"a clock that is off":      {list(true, clip("video_3", "a kite", "sora-2", "8", -time.Minute)), "video_3", false},
		"empty":                    {list(false), "", true},
		"another prompt":           {list(false, clip("video_4", "a boat", "sora-2", "8", 0)), "", true},
		"another length":           {list(false, clip("video_5", "a kite", "sora-2", "4", 0)), "", true},
		"another model":            {list(false, clip("video_6", "a kite", "veo", "8", 0)), "", true},
		"before":                   {list(true, old), "", true},
		"much later":               {list(false, clip("video_7", "a kite", "sora-2", "8", time.Hour)), "", true},
		"two that fit":             {list(false, mine, clip("video_8", "a kite", "sora-2", "8", 0)), "", false},
		"a list that is too new":   {list(true, clip("video_9", "a boat", "sora-2", "8", time.Hour)), "", false},
		"a list without prompts":   {list(false, fmt.Sprintf(`{"id":"v","model":"sora-2","status":"queued","created_at":%d,"prompt":null}`, sent.Unix())), "", false},
		"something without a list": {`{"object":"list"}`, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.reply) })
			st, err := at(t, double.URL).Find(t.Context(), providers.Lost{
				SentAt: sent, Request: request(tasks.TextToVideo, "sora-2", map[string]any{"prompt": "a kite", "duration": 8.0}),
			})
			require.Equal(t, tt.absent, errors.Is(err, providers.ErrAbsent), "%v", err)
			require.Equal(t, tt.found != "" || tt.absent, err == nil || tt.absent)
			require.Equal(t, tt.found, st.RemoteID)
			require.Equal(t, "limit=100&order=desc", double.Requests()[0].Query)
		})
	}

	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) })
	p := at(t, double.URL)
	for _, feature := range []tasks.Feature{tasks.TextToImage, tasks.TextToSpeech, tasks.TextToVideo} {
		_, err := p.Find(t.Context(), providers.Lost{SentAt: sent, Request: request(feature, "", nil)})
		require.ErrorIs(t, err, errors.ErrUnsupported, feature)
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, err := Open(providers.Settings{Name: "openai", Options: map[string]any{"response_format": "gif"}})
	require.ErrorContains(t, err, "api_key: is missing")
	require.ErrorContains(t, err, "response_format")
	_, err = Open(providers.Settings{Name: "openai", APIKey: "k", Options: map[string]any{"organisation": "x"}})
	require.ErrorContains(t, err, "options: organisation")
	_, err = Open(providers.Settings{Name: "local", BaseURL: "localhost:8080"})
	require.ErrorContains(t, err, "base_url")

	p, err := Open(providers.Settings{Name: "openai", APIKey: "k"})
	require.NoError(t, err)
	require.Equal(t, "gpt-image-1.5", p.Capabilities().Feature(tasks.TextToImage).Models[0])
	p, err = Open(providers.Settings{Name: "local", BaseURL: "http://127.0.0.1:8080/v1"})
	require.NoError(t, err, "a server of one's own needs no key")
	require.Empty(t, p.Capabilities().Feature(tasks.TextToImage).Models, "and has models of its own")
}

func TestOptions(t *testing.T) {
	t.Parallel()
	_, got := submit(t, request(tasks.TextToImage, "sd", map[string]any{"prompt": "x"}), "image/submit.http", func(c *Config) {
		c.Organization, c.Project, c.ResponseFormat, c.APIKey = "org-1", "proj-1", "b64_json", ""
	})
	require.Empty(t, got.Header.Get("Authorization"))
	require.Equal(t, "org-1", got.Header.Get("OpenAI-Organization"))
	require.Equal(t, "proj-1", got.Header.Get("OpenAI-Project"))
	require.Equal(t, "b64_json", fields(t, got)["response_format"])
}

// A busy account makes more videos than one page holds before a lost one is
// looked for.
func TestFindReadsFurtherPages(t *testing.T) {
	t.Parallel()
	sent := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	clip := func(id, prompt string, after time.Duration) string {
		return fmt.Sprintf(`{"id":%q,"model":"sora-2","status":"queued","created_at":%d,"prompt":%q}`, id, sent.Add(after).Unix(), prompt)
	}
	pages := map[string]string{
		"":        clip("video_3", "a boat", 2*time.Second) + `],"has_more":true`,
		"video_3": clip("video_2", "a kite", time.Second) + "," + clip("video_1", "a tree", time.Second) + `],"has_more":true`,
		"video_1": clip("video_0", "a kite", -time.Hour) + `],"has_more":true`,
	}
	double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"data":[`+pages[r.URL.Query().Get("after")]+`}`)
	})
	st, err := at(t, double.URL).Find(t.Context(), providers.Lost{
		SentAt: sent, Request: request(tasks.TextToVideo, "sora-2", map[string]any{"prompt": "a kite"}),
	})
	require.NoError(t, err)
	require.Equal(t, "video_2", st.RemoteID)
	require.Len(t, double.Requests(), 3, "no further than the submission")
}
