package elevenlabs

import (
	"encoding/json"
	"errors"
	"fmt"
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

const george = "JBFqnCBsd6RMkjVDRZzb"

func at(t testing.TB, baseURL string) *Provider {
	t.Helper()
	p, err := Open(providers.Settings{Name: "elevenlabs", BaseURL: baseURL, APIKey: providertest.Secret})
	require.NoError(t, err)
	return p.(*Provider)
}

func adapter(t *testing.T) providertest.Adapter {
	t.Helper()
	return providertest.Adapter{
		New:     func(baseURL string) providers.Provider { return at(t, baseURL) },
		Replies: os.DirFS("testdata"),
		Request: providers.Request{
			JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: tasks.TextToSpeech, Input: m{"text": providertest.Prompt},
		},
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, adapter(t))
}

func TestRequests(t *testing.T) {
	t.Parallel()
	providertest.RequireSendings(t, adapter(t), nil, map[string]providertest.Sending{
		"speech": providertest.Sends(
			providers.Request{Feature: tasks.TextToSpeech, Input: m{"text": "hello"}},
			"/v1/text-to-speech/"+george+"?output_format=mp3_44100_128", m{"text": "hello", "model_id": "eleven_multilingual_v2"},
		),
		"everything": providertest.Sends(
			providers.Request{Feature: tasks.TextToSpeech, Model: "eleven_v3", Input: m{
				"text": "hallo", "voice": "21m00Tcm4TlvDq8ikWAM", "format": "opus", "language": "de", "seed": 7.0, "speed": 0.9, "stability": 0.4,
				"voice_settings": m{"style": 0.1}, "previous_text": "so",
			}},
			"/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM?output_format=opus_48000_128", m{
				"text": "hallo", "model_id": "eleven_v3", "language_code": "de", "seed": 7.0, "previous_text": "so",
				"voice_settings": m{"speed": 0.9, "stability": 0.4, "style": 0.1},
			},
		),
		"a format of its own": providertest.Sends(
			providers.Request{Feature: tasks.TextToSpeech, Input: m{"text": "hello", "output_format": "ulaw_8000"}},
			"/v1/text-to-speech/"+george+"?output_format=ulaw_8000", m{"text": "hello", "model_id": "eleven_multilingual_v2"},
		),
		"a sound": providertest.Sends(
			providers.Request{Feature: tasks.TextToAudio, Input: m{"prompt": "rain", "duration": 2.5, "prompt_influence": 0.3}},
			"/v1/sound-generation?output_format=mp3_44100_128",
			m{"text": "rain", "duration_seconds": 2.5, "prompt_influence": 0.3, "model_id": "eleven_text_to_sound_v2"},
		),
		"music": providertest.Sends(
			providers.Request{Feature: tasks.TextToAudio, Model: "music_v1", Input: m{"prompt": "a waltz", "duration": 30.0, "format": "wav"}},
			"/v1/music?output_format=wav_44100", m{"prompt": "a waltz", "music_length_ms": 30000.0, "model_id": "music_v1"},
		),
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	speech := tasks.TextToSpeech
	var wrongs []providertest.Wrong
	for _, key := range []string{"model_id", "enable_logging", "xi_api_key", "webhook_url", "voice_id"} {
		wrongs = append(wrongs, providertest.Refuses(speech, "", m{"text": "x", key: "y"}, "/input_data/"+key))
	}
	providertest.RequireRefusals(t, adapter(t), append(wrongs,
		providertest.Refuses(speech, "", m{}, "/input_data/text"),
		providertest.Refuses(speech, "", m{"text": strings.Repeat("x", 10_001)}, "/input_data/text"),
		providertest.Refuses(speech, "eleven_v3", m{"text": strings.Repeat("x", 5_001)}, "/input_data/text"),
		providertest.Refuses(speech, "", m{"text": "x", "voice": "../../v1/history"}, "/input_data/voice"),
		providertest.Refuses(speech, "", m{"text": "x", "format": "ogg"}, "/input_data/format"),
		providertest.Refuses(speech, "", m{"text": "x", "speed": 3.0}, "/input_data/speed"),
		providertest.Refuses(speech, "Eleven!", m{"text": "x"}, "/model"),
		providertest.Refuses(tasks.TextToAudio, "", m{"prompt": "x", "duration": 60.0}, "/input_data/duration"),
		providertest.Refuses(tasks.TextToImage, "", m{}, "/feature_type"),
	))
}

func TestWhatTheAnswerTells(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, providertest.MustReply(t, os.DirFS("testdata"), "submit.http").ServeHTTP)
	st, err := at(t, double.URL).Submit(t.Context(), adapter(t).Request)
	require.NoError(t, err)
	require.Equal(t, "audio/mpeg", st.Outputs[0].MediaType)
	require.Equal(t, m{"character_cost": 44.0, "request_id": "req_1"}, st.Data)
	require.Equal(t, providertest.Secret, double.Requests()[0].Header.Get("Xi-Api-Key"))

	double.Answer(providertest.MustReply(t, os.DirFS("testdata"), "submit-validation-voice.http").ServeHTTP)
	_, err = at(t, double.URL).Submit(t.Context(), adapter(t).Request)
	require.Equal(t, "/input_data/voice", classify.Classify(err).Field)
}

// TestFind looks a lost speech up in the history, and fetches its sound.
func TestFind(t *testing.T) {
	t.Parallel()
	sent := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	item := func(id, text, model string, after time.Duration) m {
		return m{"history_item_id": id, "text": text, "voice_id": george, "model_id": model, "date_unix": sent.Add(after).Unix()}
	}
	page := func(more bool, items ...m) m {
		return m{"history": items, "has_more": more, "last_history_item_id": "last"}
	}
	const model = "eleven_multilingual_v2"
	tests := map[string]struct {
		pages []m
		found string
	}{
		"there":                  {[]m{page(false, item("i1", "hello", model, time.Second), item("i0", "good day", model, 0))}, "i1"},
		"on the second page":     {[]m{page(true, item("i3", "other", model, time.Minute)), page(false, item("i1", "hello", model, 0))}, "i1"},
		"not there":              {[]m{page(false)}, ""},
		"another text":           {[]m{page(false, item("i1", "hello there", model, 0))}, ""},
		"another model":          {[]m{page(false, item("i1", "hello", "eleven_v3", 0))}, ""},
		"long before":            {[]m{page(false, item("i1", "hello", model, -time.Hour))}, ""},
		"two that fit":           {[]m{page(false, item("i1", "hello", model, 0), item("i2", "hello", model, time.Second))}, ""},
		"a history without text": {[]m{page(false, m{"history_item_id": "i1", "text": nil, "date_unix": sent.Unix()})}, ""},
		"no history":             {[]m{{"detail": "x"}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := tt.pages
			double := providertest.NewDouble(t, func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/v1/history":
					next := pages[0]
					if r.URL.Query().Get("start_after_history_item_id") == "last" {
						next = pages[1]
					}
					_ = json.NewEncoder(w).Encode(next)
				case "/v1/history/i1":
					_ = json.NewEncoder(w).Encode(m{"history_item_id": "i1"})
				default:
					w.Header().Set("Content-Type", "audio/mpeg")
					_, _ = io.WriteString(w, r.URL.Path)
				}
			})
			p := at(t, double.URL)
			st, err := p.Find(t.Context(), providers.Lost{
				SentAt: sent, Request: providers.Request{Feature: tasks.TextToSpeech, Input: m{"text": "hello"}},
			})
			require.NotErrorIs(t, err, providers.ErrAbsent, "an account can keep nothing")
			require.Equal(t, fmt.Sprintf("date_after_unix=%d&page_size=100&source=TTS&voice_id=%s", sent.Add(-2*time.Minute).Unix(), george), double.Requests()[0].Query)
			require.Equal(t, tt.found, st.RemoteID)
			if tt.found == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			again, err := p.Poll(t.Context(), providers.Ref{RemoteID: st.RemoteID})
			require.NoError(t, err)
			require.Equal(t, st, again)
			body, err := p.Download(t.Context(), providers.Ref{}, st.Outputs[0])
			require.NoError(t, err)
			sound, err := io.ReadAll(body)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			require.Equal(t, "/v1/history/i1/audio", string(sound))
		})
	}
	_, err := at(t, "http://127.0.0.1:1").Find(t.Context(), providers.Lost{Request: providers.Request{Feature: tasks.TextToAudio}})
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, err := Open(providers.Settings{Name: "elevenlabs"})
	require.ErrorContains(t, err, "api_key: is missing")
	_, err = Open(providers.Settings{Name: "elevenlabs", APIKey: "k", Options: m{"voice": "../x"}})
	require.ErrorContains(t, err, "options: voice")
	_, err = Open(providers.Settings{Name: "elevenlabs", APIKey: "k", Options: m{"voices": 1}})
	require.ErrorContains(t, err, "options: voices")
	require.True(t, at(t, "http://x").ValidRemoteID("ja9xsmfGhxYcymxGcOGB"))
	require.False(t, at(t, "http://x").ValidRemoteID("a/b"))
}
