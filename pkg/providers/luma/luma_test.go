package luma

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const generationID = "5b2f7a60-9f4e-4a53-9d5e-1c6a0b1f3d11"

func at(t testing.TB, baseURL string) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "luma", BaseURL: baseURL, APIKey: providertest.Secret})
	require.NoError(t, err)
	return p.(*Provider)
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata"),
		Webhook: &providertest.Webhook{Body: `{"id":"` + generationID + `","state":"dreaming","assets":null}`},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter(t))
}

func TestRequests(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	const picture, callback = "https://a.example/x.png", "https://easel.example/v1/webhooks/luma/job_1/t"
	providertest.RequireSendings(t, adapter(t), nil, map[string]providertest.Sending{
		"an image": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Input: m{"prompt": "a fox", "aspect_ratio": "16:9", "n": 1.0}, WebhookURL: callback},
			"/generations/image", m{"model": "photon-1", "prompt": "a fox", "aspect_ratio": "16:9", "callback_url": callback},
		),
		"like another": providertest.Sends(
			providers.Request{Feature: tasks.TextToImage, Model: "photon-flash-1", Input: m{"prompt": "a fox", "image": picture}},
			"/generations/image", m{"model": "photon-flash-1", "prompt": "a fox", "image_ref": []any{m{"url": picture}}},
		),
		"of another": providertest.Sends(
			providers.Request{Feature: tasks.ImageToImage, Input: m{"prompt": "in blue", "image": picture}},
			"/generations/image", m{"model": "photon-1", "prompt": "in blue", "modify_image_ref": m{"url": picture}},
		),
		"a video": providertest.Sends(
			providers.Request{Feature: tasks.TextToVideo, Input: m{"prompt": "a fox", "duration": 9.0, "loop": true, "resolution": "720p"}},
			"/generations/video", m{"model": "ray-2", "prompt": "a fox", "duration": "9s", "loop": true, "resolution": "720p"},
		),
		"a video of a stored picture": providertest.Sends(
			providers.Request{
				Feature: tasks.ImageToVideo, Input: m{"prompt": "it moves", "image": m{"$file": 0.0}, "style_ref": []any{m{"url": m{"$file": 1.0}}}},
				Files: []providers.File{{Pointer: "/image", URL: picture}, {Pointer: "/style_ref/0/url", URL: picture + "2"}},
			},
			"/generations/video", m{
				"model": "ray-2", "prompt": "it moves", "keyframes": m{"frame0": m{"type": "image", "url": picture}}, "style_ref": []any{m{"url": picture + "2"}},
			},
		),
		"a video of a picture": providertest.Sends(
			providers.Request{Feature: tasks.ImageToVideo, Input: m{"prompt": "it moves", "image": picture, "duration": "5"}},
			"/generations/video", m{"model": "ray-2", "prompt": "it moves", "duration": "5s", "keyframes": m{"frame0": m{"type": "image", "url": picture}}},
		),
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	providertest.RequireRefusals(t, adapter(t), []providertest.Wrong{
		providertest.Refuses(tasks.TextToImage, "", m{}, "/input_data/prompt"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "size": "10x10"}, "/input_data/size"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "callback_url": "https://evil.example"}, "/input_data/callback_url"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x", "sync": true}, "/input_data/sync"),
		providertest.Refuses(tasks.TextToVideo, "", m{"prompt": "x", "duration": 7.0}, "/input_data/duration"),
		providertest.Refuses(tasks.ImageToVideo, "", m{"prompt": "x", "image": "AAAA"}, "/input_data/image"),
		providertest.Refuses(tasks.ImageToVideo, "", m{"prompt": "x", "image": "http://a.example/x.png"}, "/input_data/image"),
		providertest.Refuses(tasks.ImageToImage, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(tasks.TextToSpeech, "", m{}, "/feature_type"),
	})
}

func TestVideos(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"id":"`+generationID+`","state":"completed","assets":{"image":"https://a/still.jpg","video":"https://a/v.mp4"}}`)
	})
	st, err := at(t, double.URL).Poll(t.Context(), providers.Ref{RemoteID: generationID, Feature: tasks.TextToVideo})
	require.NoError(t, err)
	require.Equal(t, []providers.Output{{Kind: "video", Name: "v.mp4", URL: "https://a/v.mp4"}}, st.Outputs)
}

func TestFind(t *testing.T) {
	t.Parallel()
	sentAt := time.Now()
	const ours = "https://easel.example/v1/webhooks/luma/job_1/t1"
	listed := func(n int, prompt, callback string, after time.Duration) string {
		return fmt.Sprintf(`{"id":"%08d-9f4e-4a53-9d5e-1c6a0b1f3d11","state":"dreaming","created_at":%q,"model":"photon-1","request":{"prompt":%q,"callback_url":%s}}`,
			n, sentAt.Add(after).Format(time.RFC3339Nano), prompt, callback)
	}
	old := listed(9, "old", "null", -time.Hour)
	tests := map[string]struct {
		callback string
		list     []string
		more     bool
		found    string
		absent   bool
	}{
		"by its callback":        {ours, []string{listed(1, "a fox", "null", 0), listed(2, "?", `"`+ours+`"`, 0)}, false, "00000002", false},
		"by its prompt":          {"", []string{listed(1, "a fox", "null", 0), listed(2, "a dog", "null", 0)}, false, "00000001", false},
		"of another job of ours": {ours, []string{listed(1, "a fox", `"https://easel.example/v1/webhooks/luma/job_2/t2"`, 0)}, false, "", true},
		"without a callback":     {ours, []string{listed(1, "a fox", "null", 0)}, false, "00000001", false},
		"two":                    {"", []string{listed(1, "a fox", "null", 0), listed(2, "a fox", "null", 0)}, false, "", false},
		"none":                   {"", nil, false, "", true},
		"none, and it goes back": {"", []string{listed(1, "a dog", "null", 0), old}, true, "", true},
		"none, in no order":      {"", []string{old, listed(1, "a dog", "null", 0)}, true, "", false},
		"what was asked is gone": {"", []string{strings.Replace(listed(1, "a fox", "null", 0), `"request":{`, `"was":{`, 1)}, false, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, `{"has_more":%v,"generations":[%s]}`, tt.more, strings.Join(tt.list, ","))
			})
			lost := providers.Lost{SentAt: sentAt, Request: providers.Request{
				Feature: tasks.TextToImage, WebhookURL: tt.callback, Input: map[string]any{"prompt": "a fox"},
			}}
			st, err := at(t, double.URL).Find(t.Context(), lost)
			require.LessOrEqual(t, len(double.Requests()), listPages)
			switch {
			case tt.found != "":
				require.NoError(t, err)
				require.True(t, strings.HasPrefix(st.RemoteID, tt.found), st.RemoteID)
			case tt.absent:
				require.ErrorIs(t, err, providers.ErrAbsent)
			default:
				require.Error(t, err)
				require.NotErrorIs(t, err, providers.ErrAbsent)
			}
		})
	}
}
