package kling

import (
	"fmt"
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

const (
	taskID = "901349125802336344"
	secret = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
)

func at(t testing.TB, baseURL string, options map[string]any) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "kling", BaseURL: baseURL, APIKey: providertest.Secret, Options: options})
	require.NoError(t, err)
	return p.(*Provider)
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New: func(baseURL string) providers.Provider {
			return at(t, baseURL, map[string]any{"webhook_secret": secret})
		},
		Replies: os.DirFS("testdata"),
		Request: providers.Request{
			JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: tasks.TextToVideo, Input: map[string]any{"prompt": providertest.Prompt},
		},
		Webhook: &providertest.Webhook{
			Body: `{"id":"` + taskID + `","status":"succeeded","message":"","create_time":1781080778802}`, Sign: providertest.SignStandard(secret),
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
	ref := m{"$file": 0.0}
	files := []providers.File{{Pointer: "/image", MediaType: "image/png", Data: providertest.Picture}}
	providertest.RequireSendings(t, adapter(t), nil, map[string]providertest.Sending{
		"a prompt": providertest.Sends(
			providers.Request{Feature: tasks.TextToVideo, Input: m{"prompt": "a fox", "n": 1.0}}, "/text-to-video/kling-3.0", m{"prompt": "a fox"},
		),
		"settings and options": providertest.Sends(
			providers.Request{
				Feature: tasks.TextToVideo, Model: "kling-3.0-turbo", ClientID: "job_1-1", WebhookURL: "https://easel.example/h",
				Input: m{"prompt": "a fox", "aspect_ratio": "9:16", "duration": "10", "resolution": "1080p", "audio": "native", "seed": 7.0},
			},
			"/text-to-video/kling-3.0-turbo", m{
				"prompt": "a fox", "seed": 7.0, "settings": m{"aspect_ratio": "9:16", "duration": 10.0, "resolution": "1080p", "audio": "native"},
				"options": m{"external_task_id": "job_1-1", "callback_url": "https://easel.example/h"},
			},
		),
		"frames": providertest.Sends(
			providers.Request{Feature: tasks.ImageToVideo, Input: m{"prompt": "it moves", "image": ref, "image_tail": "https://a.example/x.png", "duration": 5.0}, Files: files},
			"/image-to-video/kling-3.0", m{
				"contents": []any{
					m{"type": "prompt", "text": "it moves"}, m{"type": "first_frame", "url": providertest.PictureBase64},
					m{"type": "last_frame", "url": "https://a.example/x.png"},
				},
				"settings": m{"duration": 5.0},
			},
		),
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	type m = map[string]any
	video := tasks.TextToVideo
	providertest.RequireRefusals(t, adapter(t), []providertest.Wrong{
		providertest.Refuses(video, "", m{}, "/input_data/prompt"),
		providertest.Refuses(video, "", m{"prompt": "x", "duration": 60.0}, "/input_data/duration"),
		providertest.Refuses(video, "", m{"prompt": "x", "aspect_ratio": "21:9"}, "/input_data/aspect_ratio"),
		providertest.Refuses(video, "", m{"prompt": "x", "options": m{"callback_url": "https://evil.example"}}, "/input_data/options"),
		providertest.Refuses(video, "", m{"prompt": "x", "external_task_id": "y"}, "/input_data/external_task_id"),
		providertest.Refuses(video, "../tasks", m{"prompt": "x"}, "/model"),
		providertest.Refuses(tasks.ImageToVideo, "", m{"prompt": "x"}, "/input_data/image"),
		providertest.Refuses(tasks.TextToImage, "", m{"prompt": "x"}, "/feature_type"),
	})
}

func TestResult(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata"), "succeeded.http").ServeHTTP)
	st, err := at(t, double.URL, nil).Poll(t.Context(), providers.Ref{RemoteID: taskID, Feature: tasks.TextToVideo})
	require.NoError(t, err)
	require.Equal(t, "task_ids="+taskID, double.Requests()[0].Query)
	require.Equal(t, []providers.Output{{Kind: "video", Name: "y.mp4", URL: "https://v16-kling.klingai.com/x/y.mp4?sig=1"}}, st.Outputs)
	require.NotEmpty(t, st.Data["billing"])
}

func TestFindByOurID(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		data   string
		found  bool
		absent bool
	}{
		"there":            {`[{"id":"` + taskID + `","status":"submitted","external_id":"job_1-1"}]`, true, false},
		"not there":        {`[]`, false, true},
		"other tasks":      {`[{"id":"` + taskID + `","status":"submitted","external_id":"job_2-1"}]`, false, false},
		"no list":          {`null`, false, false},
		"an object":        {`{}`, false, false},
		"something else":   {`["x"]`, false, false},
		"an unknown state": {`[{"id":"` + taskID + `","status":"dreaming","external_id":"job_1-1"}]`, false, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = fmt.Fprintf(w, `{"code":0,"message":"SUCCEED","data":%s}`, tt.data)
			})
			lost := providers.Lost{SentAt: time.Now(), Request: providers.Request{ClientID: "job_1-1", Feature: tasks.TextToVideo}}
			st, err := at(t, double.URL, nil).Find(t.Context(), lost)
			require.Equal(t, "external_task_ids=job_1-1", double.Requests()[0].Query)
			switch {
			case tt.found:
				require.NoError(t, err)
				require.Equal(t, taskID, st.RemoteID)
			case tt.absent:
				require.ErrorIs(t, err, providers.ErrAbsent)
			default:
				require.Error(t, err)
				require.NotErrorIs(t, err, providers.ErrAbsent)
			}
		})
	}
}

func TestPollIsAboutTheTaskAskedFor(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"code":0,"data":[{"id":"1","status":"succeeded","outputs":[{"type":"video","url":"https://a/b"}]}]}`)
	})
	_, err := at(t, double.URL, nil).Poll(t.Context(), providers.Ref{RemoteID: taskID, Feature: tasks.TextToVideo})
	require.Equal(t, classify.Server, classify.Classify(err).Class)
}

// TestVendorsWebhook reads a webhook that the vendor's documentation shows.
func TestVendorsWebhook(t *testing.T) {
	t.Parallel()
	p := at(t, "", map[string]any{"webhook_secret": secret})
	p.now = func() time.Time { return time.Unix(1781080794, 0) }
	header := http.Header{}
	header.Set("webhook-id", "9876543210")
	header.Set("webhook-timestamp", "1781080794")
	header.Set("webhook-signature", "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=")
	body := `{"id":"1234567890","status":"succeeded","message":"","create_time":1781080778802,"update_time":1781080794151}`
	hint, err := p.ReadWebhook(t.Context(), header, []byte(body))
	require.NoError(t, err)
	require.Equal(t, providers.Hint{RemoteID: "1234567890", EventID: "9876543210"}, hint)

	hint, err = at(t, "", nil).ReadWebhook(t.Context(), http.Header{}, []byte(`{"task_id":"`+taskID+`"}`))
	require.NoError(t, err, "without a secret the token in the URL has to do")
	require.Equal(t, taskID, hint.RemoteID)
}

func TestRefusalsDoNotQuote(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = fmt.Fprintf(w, `{"code":1201,"message":%q}`, "not good: "+string(body))
	})
	_, err := at(t, double.URL, nil).Submit(t.Context(), providers.Request{
		Feature: tasks.TextToVideo, Input: map[string]any{"prompt": providertest.Prompt},
	})
	require.Equal(t, classify.Validation, classify.Classify(err).Class)
	require.NotContains(t, err.Error(), providertest.Prompt)
}
