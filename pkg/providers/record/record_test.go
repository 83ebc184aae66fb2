package record_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/luma"
	"github.com/easel-jobs/easel/pkg/providers/openai"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/providers/record"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	key    = "sk-live-3c9b27aa51f04e6f8d7b"
	prompt = "my grandmother's house in Zwolle, from memory"
	nasty  = "something that no moderation lets pass"
	picky  = "a sunset over the harbour of Vlissingen, in oil"
)

// vendor speaks OpenAI's API, and tells more of its caller than is good.
type vendor struct {
	t       *testing.T
	polls   atomic.Int32
	created atomic.Int64
}

func (v *vendor) answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Openai-Organization", "acme-secret-lab")
	w.Header().Set("Set-Cookie", "session="+key)
	w.Header().Set("X-Request-Id", "req_for_"+key)
	w.Header().Set("X-Ratelimit-Remaining-Requests", "17")
	w.WriteHeader(status)
	assertNoError(v.t, json.NewEncoder(w).Encode(body))
}

func assertNoError(t *testing.T, err error) {
	if err != nil {
		t.Error(err)
	}
}

func (v *vendor) refuse(w http.ResponseWriter, status int, code, message string) {
	v.answer(w, status, map[string]any{"error": map[string]any{"message": message, "type": "invalid_request_error", "param": nil, "code": code}})
}

func (v *vendor) video(r *http.Request, status string) map[string]any {
	return map[string]any{
		"id": "video_68d7512d07848190b3e45da0ecbebcde004da08e1e0678d5", "object": "video", "model": "sora-2", "status": status, "progress": 3,
		"created_at": v.created.Load(), "completed_at": nil, "expires_at": nil, "prompt": prompt, "size": "720x1280", "seconds": "4",
		"remixed_from_video_id": nil, "error": nil, "user_id": "user-8812", "email": "ann@example.com",
		"preview": fmt.Sprintf("http://ann:%s@%s/preview.png?X-Amz-Signature=%s&sig=%s", key, r.Host, strings.Repeat("ab12", 16), key),
		"note":    "asked with Bearer " + key + " as " + base64.StdEncoding.EncodeToString([]byte(key)),
	}
}

func newVendor(t *testing.T) string {
	v := &vendor{t: t}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /videos", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assertNoError(t, err)
		switch {
		case strings.Contains(string(body), nasty):
			v.refuse(w, http.StatusBadRequest, "moderation_blocked", "Your request was blocked by our moderation system: "+nasty)
		case strings.Contains(string(body), "no-such-model"):
			v.refuse(w, http.StatusNotFound, "model_not_found", "The model does not exist for acme.")
		default:
			v.created.Store(time.Now().Unix())
			v.answer(w, http.StatusOK, v.video(r, "queued"))
		}
	})
	mux.HandleFunc("GET /videos/{id}", func(w http.ResponseWriter, r *http.Request) {
		if v.polls.Add(1) < 3 {
			v.answer(w, http.StatusOK, v.video(r, "in_progress"))
			return
		}
		v.answer(w, http.StatusOK, v.video(r, "completed"))
	})
	mux.HandleFunc("GET /videos", func(w http.ResponseWriter, r *http.Request) {
		v.answer(w, http.StatusOK, map[string]any{"object": "list", "data": []any{v.video(r, "in_progress")}, "has_more": false})
	})
	mux.HandleFunc("GET /videos/{id}/content", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		_, err := w.Write(append([]byte("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"), make([]byte, 100_000)...))
		assertNoError(t, err)
	})
	mux.HandleFunc("POST /images/generations", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assertNoError(t, err)
		if strings.Contains(string(body), nasty) {
			v.refuse(w, http.StatusBadRequest, "moderation_blocked", "blocked")
			return
		}
		picture, err := base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
		assertNoError(t, err)
		v.answer(w, http.StatusOK, map[string]any{
			"created": time.Now().Unix(), "output_format": "png",
			"data": []any{map[string]any{"b64_json": base64.StdEncoding.EncodeToString(append(picture, make([]byte, 50_000)...)), "revised_prompt": picky}},
		})
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+key {
			v.refuse(w, http.StatusUnauthorized, "invalid_api_key", "Incorrect API key provided: "+strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+".")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// session records from the vendor into a new directory.
func session(t *testing.T, url string, request providers.Request) (record.Session, *[]string) {
	var told []string
	return record.Session{
		Open: func(recorder *record.Recorder, key providers.Secret) (providers.Provider, error) {
			return openai.Open(providers.Settings{Name: "openai", BaseURL: url, APIKey: key, Transport: recorder})
		},
		Key: key, BaseURL: url, Request: request, Refused: nasty, Faults: true, Dir: t.TempDir(), Patience: time.Minute,
		Told: func(name string) { told = append(told, name) },
	}, &told
}

// requireClean holds that nothing of what must not be in a repository is there.
func requireClean(t *testing.T, dir, url string) {
	t.Helper()
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		raw, err := os.ReadFile(filepath.Join(dir, file.Name()))
		require.NoError(t, err)
		require.Less(t, len(raw), 4<<10, file.Name())
		for _, forbidden := range []string{
			key, base64.StdEncoding.EncodeToString([]byte(key)), "this-key-is-not-one", prompt, "Zwolle", nasty, picky, "Vlissingen",
			"X-Amz-Signature", "ab12ab12", "ann@example.com", "user-8812", "acme-secret-lab", "req_for_", "Set-Cookie", url,
		} {
			require.NotContains(t, string(raw), forbidden, file.Name())
		}
	}
}

// replay holds an adapter to the contract by what was recorded, and by what is
// kept for it where that was not seen.
func replay(t *testing.T, dir, kept string, request providers.Request) {
	t.Helper()
	seen, err := filepath.Glob(filepath.Join(kept, "*.http"))
	require.NoError(t, err)
	for _, file := range seen {
		target := filepath.Join(dir, filepath.Base(file))
		if _, err := os.Stat(target); err == nil {
			continue
		}
		raw, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(target, raw, 0o600))
	}
	providertest.Run(t, providertest.Adapter{
		New: func(baseURL string) providers.Provider {
			p, err := openai.New(openai.Config{BaseURL: baseURL, APIKey: providertest.Secret, MaxAnswer: 16 << 20})
			require.NoError(t, err)
			return p
		},
		Replies: os.DirFS(dir), Request: request,
	})
}

func TestRecordedVideoPassesTheSuite(t *testing.T) {
	t.Parallel()
	url := newVendor(t)
	s, told := session(t, url, record.Request(tasks.TextToVideo, "sora-2", map[string]any{"prompt": prompt}))
	s.Quick()
	require.NoError(t, s.Run(t.Context()))
	slices.Sort(*told)
	require.Equal(t, []string{
		"download.http", "found.http", "refused.http", "running.http", "running.http", "submit-authentication-recorded.http",
		"submit-not_found-recorded.http", "submit.http", "succeeded.http",
	}, *told)
	requireClean(t, s.Dir, url)
	raw, err := os.ReadFile(filepath.Join(s.Dir, "submit.http"))
	require.NoError(t, err)
	require.Contains(t, string(raw), "X-Ratelimit-Remaining-Requests: 17")
	require.Contains(t, string(raw), `"created_at":{{Unix}}`)
	require.Contains(t, string(raw), `"prompt":"`+providertest.Prompt+`"`)
	require.Contains(t, string(raw), `"preview":"{{BaseURL}}/preview.png"`)
	replay(t, s.Dir, "../openai/testdata/video", record.Request(tasks.TextToVideo, "sora-2", map[string]any{"prompt": providertest.Prompt}))
}

func TestRecordedImagePassesTheSuite(t *testing.T) {
	t.Parallel()
	url := newVendor(t)
	s, _ := session(t, url, record.Request(tasks.TextToImage, "gpt-image-1.5", map[string]any{"prompt": prompt}))
	s.Quick()
	s.Faults = false
	require.NoError(t, s.Run(t.Context()))
	requireClean(t, s.Dir, url)
	replay(t, s.Dir, "none", record.Request(tasks.TextToImage, "gpt-image-1.5", map[string]any{"prompt": providertest.Prompt}))
}

// TestLinksAreNotWritten records a provider that fetches files and tells in its
// answers where they are.
func TestLinksAreNotWritten(t *testing.T) {
	t.Parallel()
	double := providertest.NewDouble(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"id": "5b2f7a60-9f4e-4a53-9d5e-1c6a0b1f3d11", "state": "completed", "model": "photon-1", "assets": map[string]any{"image": "https://cdn.example/y.jpg"},
			"request": map[string]any{"url": providertest.Link}, "note": "signed with " + providertest.Signature,
		})
	})
	request := record.Request(tasks.ImageToImage, "photon-1", map[string]any{"prompt": prompt, "image": map[string]any{"$file": 0.0}})
	request.Files = []providers.File{{Pointer: "/image", URL: providertest.Link}}
	s := record.Session{
		Key: key, Request: request, Dir: t.TempDir(),
		Open: func(recorder *record.Recorder, key providers.Secret) (providers.Provider, error) {
			return luma.Open(providers.Settings{Name: "luma", BaseURL: double.URL, APIKey: key, Transport: recorder})
		},
	}
	s.Quick()
	require.NoError(t, s.Run(t.Context()))
	require.Contains(t, string(double.Requests()[0].Body), providertest.Signature)
	raw, err := os.ReadFile(filepath.Join(s.Dir, "submit.http"))
	require.NoError(t, err)
	require.Contains(t, string(raw), "completed")
	require.NotContains(t, string(raw), providertest.Signature)
}

// TestSecretsAreNotWritten gives the scrubber what it has no rule for: the file
// is refused rather than written.
func TestSecretsAreNotWritten(t *testing.T) {
	t.Parallel()
	s := record.Scrubber{Secrets: []string{key}, Prompts: []string{prompt}}
	for name, body := range map[string]string{
		"upper case":          `{"a":"` + strings.ToUpper(key) + `"}`,
		"a prompt, lowercase": `{"a":"` + strings.ToLower(prompt) + `"}`,
		"text":                "said " + strings.ToUpper(key),
	} {
		_, err := s.File(record.Exchange{Status: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)})
		require.Error(t, err, name)
		require.NotContains(t, strings.ToLower(err.Error()), key, name)
	}
	require.Equal(t, providertest.Prompt, record.Prompt)
}
