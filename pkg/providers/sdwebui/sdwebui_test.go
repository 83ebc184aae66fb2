package sdwebui

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

type m = map[string]any

func at(t testing.TB, address, key string) providers.Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "sdwebui", BaseURL: address, APIKey: providers.Secret(key)})
	require.NoError(t, err)
	return p
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:         func(baseURL string) providers.Provider { return at(t, baseURL, providertest.Secret) },
		Replies:     os.DirFS("testdata"),
		Unmoderated: true,
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter(t))
}

func TestRequests(t *testing.T) {
	t.Parallel()
	ref := m{"$file": 0.0}
	files := []providers.File{{Pointer: "/image", MediaType: "image/png", Data: providertest.Picture}}
	common := func(body m) m {
		body["send_images"], body["save_images"], body["force_task_id"] = true, false, "task(easel-job_1-1)"
		return body
	}
	providertest.RequireSendings(t, adapter(t), nil, map[string]providertest.Sending{
		"a picture": providertest.Sends(
			providers.Request{ClientID: "job_1-1", Feature: tasks.TextToImage, Input: m{
				"prompt": "a fox", "negative_prompt": "", "size": "640x448", "steps": 20.0, "guidance": 7.5, "sampler": "Euler a", "seed": -1.0, "n": 2.0,
			}}, "/sdapi/v1/txt2img", common(m{
				"prompt": "a fox", "negative_prompt": "", "width": 640.0, "height": 448.0, "steps": 20.0, "cfg_scale": 7.5, "sampler_name": "Euler a",
				"seed": -1.0, "batch_size": 2.0,
			}),
		),
		"a model, a ratio": providertest.Sends(
			providers.Request{ClientID: "job_1-1", Model: "sd_xl", Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "aspect_ratio": "16:9"}},
			"/sdapi/v1/txt2img", common(m{
				"prompt": "a fox", "width": 704.0, "height": 384.0,
				"override_settings": m{"sd_model_checkpoint": "sd_xl"}, "override_settings_restore_afterwards": true,
			}),
		),
		"from a picture": providertest.Sends(
			providers.Request{ClientID: "job_1-1", Feature: tasks.ImageToImage, Files: files, Input: m{
				"prompt": "in blue", "image": ref, "mask": providertest.PictureBase64, "strength": 0.5,
			}}, "/sdapi/v1/img2img", common(m{
				"prompt": "in blue", "init_images": []any{providertest.PictureBase64}, "mask": providertest.PictureBase64, "denoising_strength": 0.5,
			}),
		),
		"larger": providertest.Sends(
			providers.Request{Feature: tasks.Upscale, Files: files, Input: m{"image": ref, "factor": 4.0}},
			"/sdapi/v1/extra-single-image", m{"image": providertest.PictureBase64, "upscaling_resize": 4.0, "upscaler_1": "R-ESRGAN 4x+"},
		),
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	image := tasks.TextToImage
	var wrongs []providertest.Wrong
	for _, key := range []string{
		"script_name", "script_args", "alwayson_scripts", "override_settings", "override_settings_restore_afterwards", "save_images",
		"send_images", "sampler_index", "cfg_scale", "force_task_id", "infotext", "styles", "image",
	} {
		wrongs = append(wrongs, providertest.Refuses(image, "", m{"prompt": "x", key: "y"}, "/input_data/"+key))
	}
	providertest.RequireRefusals(t, adapter(t), append(wrongs,
		providertest.Refuses(image, "", m{}, "/input_data/prompt"),
		providertest.Refuses(image, "", m{"prompt": "x", "size": "big"}, "/input_data/size"),
		providertest.Refuses(image, "", m{"prompt": "x", "size": "64x64", "aspect_ratio": "1:1"}, "/input_data/aspect_ratio"),
		providertest.Refuses(image, "", m{"prompt": "x", "n": 100.0}, "/input_data/n"),
		providertest.Refuses(tasks.Upscale, "", m{"image": "aGk=", "factor": 100.0}, "/input_data/factor"),
		providertest.Refuses(tasks.ImageToImage, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(tasks.TextToVideo, "", m{}, "/feature_type"),
	))
	_, err := at(t, "http://127.0.0.1:1", "").Submit(t.Context(), providers.Request{
		Feature: tasks.Upscale, Input: m{"image": "https://169.254.169.254/a.png"},
	})
	require.Equal(t, "/input_data/image", classify.Classify(err).Field, "the server is not made to fetch")
}

// TestDouble speaks to a double by the server's protocol: behind a password, and
// with a sheet of all pictures before them, as its settings may have it.
func TestDouble(t *testing.T) {
	t.Parallel()
	picture := func(n int) string {
		return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "\x89PNG\r\n\x1a\n%d", n))
	}
	double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "pass:word" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"detail":"Incorrect username or password"}`)
			return
		}
		if r.URL.Path == "/sdapi/v1/extra-single-image" {
			_ = json.NewEncoder(w).Encode(m{"html_info": "", "image": picture(9)})
			return
		}
		info, _ := json.Marshal(m{"seed": 7, "all_seeds": []int{7, 8}, "index_of_first_image": 1, "sd_model_name": "xl"})
		_ = json.NewEncoder(w).Encode(m{"images": []string{picture(0), picture(1), picture(2)}, "parameters": m{}, "info": string(info)})
	})
	req := providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "x", "n": 2.0}}
	st, err := at(t, double.URL, "me:pass:word").Submit(t.Context(), req)
	require.NoError(t, err)
	require.Len(t, st.Outputs, 2, "the sheet is not one of those that were asked for")
	require.Equal(t, picture(1), base64.StdEncoding.EncodeToString(st.Outputs[0].Data))
	require.Equal(t, m{"seed": 7.0, "seeds": []float64{7, 8}, "model": "xl"}, st.Data)

	st, err = at(t, double.URL, "me:pass:word").Submit(t.Context(), providers.Request{Feature: tasks.Upscale, Input: m{"image": "aGk="}})
	require.NoError(t, err)
	require.Equal(t, "image/png", st.Outputs[0].MediaType)

	_, err = at(t, double.URL, "me:wrong").Submit(t.Context(), req)
	require.Equal(t, classify.Authentication, classify.Classify(err).Class)
	require.NotContains(t, err.Error(), "wrong")
}

func TestOpen(t *testing.T) {
	t.Parallel()
	for _, options := range []m{{"resolution": 1}, {"resolutions": 512}} {
		_, err := Open(providers.Settings{Name: "sdwebui", Options: options})
		require.ErrorContains(t, err, "options: resolution")
	}
	_, err := Open(providers.Settings{Name: "sdwebui", BaseURL: "localhost"})
	require.ErrorContains(t, err, "base_url")
	_, err = Open(providers.Settings{Name: "sdwebui"})
	require.NoError(t, err, "it listens on one's own machine, without a key")
}
