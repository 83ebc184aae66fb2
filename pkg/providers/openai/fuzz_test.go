package openai

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// replies is a transport that answers everything with one reply.
type replies struct{ providertest.Reply }

// RoundTrip implements [http.RoundTripper].
func (r replies) RoundTrip(request *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, request)
	response := w.Result()
	response.Request = request
	return response, nil
}

// FuzzAnswers has the API answer anything, beginning with what it has really
// answered. What comes of it is a status that we know, or an error with a class.
func FuzzAnswers(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.http")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		reply := providertest.MustReply(f, os.DirFS("."), file)
		f.Add(reply.Status, reply.Header.Get("Content-Type"), reply.Body)
	}
	requests := []providers.Request{
		request(tasks.TextToImage, "gpt-image-1.5", map[string]any{"prompt": providertest.Prompt}),
		request(tasks.TextToVideo, "sora-2", map[string]any{"prompt": providertest.Prompt}),
		request(tasks.TextToSpeech, "tts-1", map[string]any{"text": providertest.Prompt}),
	}
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		if status < 200 || status > 999 || len(body) > 1<<20 || strings.ContainsAny(contentType, "\r\n\x00") {
			return
		}
		p, err := New(Config{
			BaseURL: "https://api.fuzz.test/v1", APIKey: providertest.Secret,
			transport: replies{providertest.Reply{Status: status, Header: http.Header{"Content-Type": {contentType}}, Body: body}},
		})
		require.NoError(t, err)
		check := func(call string, st providers.Status, err error) {
			if err != nil {
				var failure *classify.Error
				require.True(t, errors.As(err, &failure) || errors.Is(err, providers.ErrAbsent), "%s: %v", call, err)
				require.NotContains(t, err.Error(), providertest.Secret)
				require.NotContains(t, err.Error(), providertest.Prompt)
				return
			}
			require.Contains(t, []providers.State{providers.Queued, providers.Running, providers.Succeeded, providers.Failed, providers.Canceled}, st.State, call)
			if st.State == providers.Succeeded {
				require.NotEmpty(t, st.Outputs, "%s: an answer without output is no success", call)
			}
			if st.Percent != nil {
				require.GreaterOrEqual(t, *st.Percent, 0.0, call)
				require.LessOrEqual(t, *st.Percent, 100.0, call)
			}
			require.GreaterOrEqual(t, st.ETA, time.Duration(0))
		}
		for _, req := range requests {
			st, err := p.Submit(t.Context(), req)
			check("submit", st, err)
			if err == nil && !st.State.Done() {
				require.NotEmpty(t, st.RemoteID, "what is not done can be polled")
			}
		}
		st, err := p.Poll(t.Context(), providers.Ref{RemoteID: "video_1", Feature: tasks.TextToVideo})
		check("poll", st, err)
		st, err = p.Find(t.Context(), providers.Lost{Request: requests[1], SentAt: time.Now()})
		check("find", st, err)
	})
}
