package openai

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func local(t testing.TB, baseURL string) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "localai", BaseURL: baseURL, APIKey: providertest.Secret, Options: map[string]any{"preset": "localai"}})
	require.NoError(t, err)
	return p.(*Provider)
}

func TestLocalAIContract(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		replies string
		request providers.Request
	}{
		"image":  {"image", request(tasks.TextToImage, "", map[string]any{"prompt": providertest.Prompt})},
		"speech": {"speech", request(tasks.TextToSpeech, "", map[string]any{"text": providertest.Prompt})},
		"sound":  {"speech", request(tasks.TextToAudio, "", map[string]any{"prompt": providertest.Prompt})},
		"film":   {"image", request(tasks.TextToVideo, "", map[string]any{"prompt": providertest.Prompt})},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Adapter{
				New:     func(baseURL string) providers.Provider { return local(t, baseURL+"/v1") },
				Replies: os.DirFS("testdata/" + c.replies), Request: c.request,
			})
		})
	}
}

// localAI is a double of LocalAI by its own description: it takes the parameters
// that it describes and no others, answers with a file of its own unless base64
// is asked for, and is busy while it loads a model.
type localAI struct {
	t      testing.TB
	paths  map[string]struct{ names []string }
	loaded bool
}

func newLocalAI(t testing.TB) (*localAI, *providertest.Double) {
	t.Helper()
	raw, err := os.ReadFile("testdata/localai-media.swagger.json")
	require.NoError(t, err)
	var swagger struct {
		Paths map[string]struct {
			Post struct {
				Parameters []struct {
					Name   string
					In     string
					Schema struct {
						Ref string `json:"$ref"`
					}
				}
			}
		}
		Definitions map[string]struct{ Properties map[string]any }
	}
	require.NoError(t, json.Unmarshal(raw, &swagger))
	l := &localAI{t: t, loaded: true, paths: map[string]struct{ names []string }{}}
	for path, described := range swagger.Paths {
		var names []string
		for _, parameter := range described.Post.Parameters {
			if parameter.In == "formData" {
				names = append(names, parameter.Name)
			}
			for name := range swagger.Definitions[strings.TrimPrefix(parameter.Schema.Ref, "#/definitions/")].Properties {
				names = append(names, name)
			}
		}
		l.paths[path] = struct{ names []string }{names}
	}
	return l, providertest.NewDouble(t, l.ServeHTTP)
}

func (l *localAI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	described, known := l.paths[r.URL.Path]
	switch {
	case !known:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":{"code":404,"message":"Not Found","type":""}}`)
		return
	case !l.loaded:
		w.Header().Set("Retry-After", "5")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, `{"error":{"code":503,"message":"the model is loading","type":""}}`)
		return
	}
	given := fields(l.t.(*testing.T), providertest.Recorded{Header: r.Header, Body: body})
	for name := range given {
		if !slices.Contains(described.names, name) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":"%s takes no %s"}`, r.URL.Path, name)
			return
		}
	}
	if strings.Contains(r.URL.Path, "audio") || strings.Contains(r.URL.Path, "sound") {
		w.Header().Set("Content-Type", "audio/x-wav")
		_, _ = io.WriteString(w, "RIFF")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if given["response_format"] != "b64_json" {
		_, _ = fmt.Fprintf(w, `{"id":"x","created":1,"data":[{"index":0,"url":"http://%s/generated-images/x.png"}]}`, r.Host)
		return
	}
	made := providertest.PictureBase64
	if r.URL.Path == "/video" {
		made = base64.StdEncoding.EncodeToString([]byte("\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41"))
	}
	_, _ = io.WriteString(w, `{"id":"x","created":1,"data":[{"index":0,"b64_json":"`+made+`"}],"usage":{"total_tokens":0}}`)
}

func TestLocalAI(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	ref := m{"$file": 0.0}
	file := providers.File{Pointer: "/image", MediaType: "image/png", Data: onePixel}
	for name, tt := range map[string]struct {
		request providers.Request
		path    string
		want    m
	}{
		"a picture": {
			request(tasks.TextToImage, "flux", m{"prompt": "a kite", "negative_prompt": "rain", "steps": 20.0, "seed": 7.0, "size": "512x512"}),
			"/v1/images/generations",
			m{"model": "flux", "prompt": "a kite", "negative_prompt": "rain", "step": 20.0, "seed": 7.0, "size": "512x512", "response_format": "b64_json"},
		},
		"its own model": {
			request(tasks.TextToImage, "", m{"prompt": "a kite"}), "/v1/images/generations", m{"prompt": "a kite", "response_format": "b64_json"},
		},
		"from a picture": {
			request(tasks.ImageToImage, "sd", m{"prompt": "in blue", "image": ref}, file), "/v1/images/generations",
			m{"model": "sd", "prompt": "in blue", "file": providertest.PictureBase64, "response_format": "b64_json"},
		},
		"over a mask": {
			request(tasks.ImageToImage, "sd", m{"prompt": "a hat", "image": ref, "mask": providertest.PictureBase64, "steps": 9.0}, file), "/v1/images/inpainting",
			m{"model": "sd", "prompt": "a hat", "steps": "9", "image": "image.png image/png 70", "mask": "mask.png image/png 70"},
		},
		"larger": {
			request(tasks.Upscale, "x4", m{"image": ref, "factor": 4.0}, file), "/v1/images/upscale",
			m{"model": "x4", "scale": "4", "image": "image.png image/png 70"},
		},
		"speech": {
			request(tasks.TextToSpeech, "piper", m{"text": "hello", "voice": "en-us_amy", "format": "wav"}), "/v1/audio/speech",
			m{"model": "piper", "input": "hello", "voice": "en-us_amy", "response_format": "wav"},
		},
		"sound": {
			request(tasks.TextToAudio, "ace-step", m{"prompt": "rain", "duration": 5.0}), "/v1/sound-generation",
			m{"model_id": "ace-step", "text": "rain", "duration_seconds": 5.0},
		},
		"a film": {
			request(tasks.ImageToVideo, "ltx", m{"prompt": "it flies", "image": ref, "last_frame": providertest.PictureBase64, "duration": 4.0, "size": "512x320", "fps": 24.0}, file), "/video",
			m{
				"model": "ltx", "prompt": "it flies", "start_image": providertest.PictureBase64, "end_image": providertest.PictureBase64, "seconds": "4",
				"size": "512x320", "fps": 24.0, "response_format": "b64_json",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, double := newLocalAI(t)
			st, err := local(t, double.URL+"/v1").Submit(t.Context(), tt.request)
			require.NoError(t, err)
			require.Equal(t, providers.Succeeded, st.State)
			require.Equal(t, providers.KindOf(tt.request.Feature), st.Outputs[0].Kind)
			got := double.Requests()[0]
			require.Equal(t, tt.path, got.Path)
			require.Equal(t, tt.want, fields(t, got))
		})
	}
}

func TestLocalAIIsBusy(t *testing.T) {
	t.Parallel()
	server, double := newLocalAI(t)
	server.loaded = false
	_, err := local(t, double.URL+"/v1").Submit(t.Context(), request(tasks.TextToImage, "", map[string]any{"prompt": "x"}))
	info := classify.Classify(err)
	require.Equal(t, classify.Overloaded, info.Class)
	require.Equal(t, 5*time.Second, info.RetryAfter, "while a model is loaded")

	double.Answer(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = io.WriteString(w, `{"error":"the backend has died"}`)
	})
	_, err = local(t, double.URL+"/v1").Submit(t.Context(), request(tasks.Upscale, "", map[string]any{"image": providertest.PictureBase64}))
	require.Equal(t, classify.Server, classify.Classify(err).Class, "its own word, though it is only a text")
}

func TestLocalAIRefuses(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	var wrongs []providertest.Wrong
	for _, key := range []string{"backend", "params", "file", "files", "ref_images", "start_image", "model", "response_format", "tools", "grammar_json_functions"} {
		wrongs = append(wrongs, providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", key: "y"}, "/input_data/"+key))
	}
	providertest.RequireRefusals(t, providertest.Adapter{
		New: func(baseURL string) providers.Provider { return local(t, baseURL) }, Replies: os.DirFS("testdata/image"),
	}, append(wrongs,
		providertest.Refuses(tasks.TextToSpeech, "", m{"text": "x", "voice": "../../etc/passwd"}, "/input_data/voice"),
		providertest.Refuses(tasks.Upscale, "", m{"image": "aGk=", "factor": 3.0}, "/input_data/factor"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "aspect_ratio": "9:1"}, "/input_data/aspect_ratio"),
		providertest.Refuses("text-to-poem", "", m{}, "/feature_type"),
	))
	for _, req := range []providers.Request{
		request(tasks.Upscale, "", m{"image": "http://169.254.169.254/a.png"}), request(tasks.ImageToVideo, "", m{"image": "https://a.example/b.png"}),
	} {
		_, err := local(t, "http://127.0.0.1:1/v1").Submit(t.Context(), req)
		require.Equal(t, "/input_data/image", classify.Classify(err).Field, "the server is not made to fetch")
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	for name, features := range map[string]int{"localai": 7, "litellm": 5, "sd-server": 2, "vllm-omni": 5} {
		p, err := Open(providers.Settings{Name: "x", Options: map[string]any{"preset": name}})
		require.NoError(t, err, "%s needs neither a key nor an address", name)
		require.Len(t, p.Capabilities().Features, features, name)
		for _, feature := range p.Capabilities().Features {
			require.Empty(t, feature.Models, "%s has models of its own", name)
		}
	}
	require.Len(t, presetNames(), 4, "all of them are tried here")
	_, err := Open(providers.Settings{Name: "x", Options: map[string]any{"preset": "nobody"}})
	require.ErrorContains(t, err, "options: preset: must be one of litellm, localai, sd-server, vllm-omni")

	double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata/image"), "submit.http").ServeHTTP)
	p, err := Open(providers.Settings{Name: "x", BaseURL: double.URL, Options: map[string]any{"preset": "sd-server"}})
	require.NoError(t, err)
	_, err = p.Submit(t.Context(), request(tasks.TextToImage, "", map[string]any{"prompt": "x"}))
	require.NoError(t, err)
	require.Equal(t, map[string]any{"prompt": "x", "response_format": "b64_json"}, fields(t, double.Requests()[0]))
	_, err = p.Submit(t.Context(), request(tasks.TextToSpeech, "", map[string]any{"text": "x"}))
	require.Equal(t, "/feature_type", classify.Classify(err).Field)
}
