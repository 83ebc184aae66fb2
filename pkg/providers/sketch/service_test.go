package sketch_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers/sketch"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newService(t *testing.T, config sketch.ServiceConfig) *sketch.Service {
	t.Helper()
	s, err := sketch.NewService(config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// call makes a request of the service and decodes the answer.
func call(t *testing.T, s http.Handler, method, path string, body any) (int, map[string]any) {
	t.Helper()
	raw, err := json.Marshal(body)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(raw)))
	var out map[string]any
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &out), "%s %s: %s", method, path, w.Body)
	return w.Code, out
}

func sunset(clientID string, more ...any) map[string]any {
	input := map[string]any{"prompt": "a sunset"}
	for i := 0; i+1 < len(more); i += 2 {
		input[more[i].(string)] = more[i+1]
	}
	return map[string]any{"client_id": clientID, "feature": "text-to-image", "input": input}
}

func TestServiceLife(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := newService(t, sketch.ServiceConfig{MinDuration: 10 * time.Second, MaxDuration: 10 * time.Second, Now: clock.Now})
	status, out := call(t, s, "POST", "/v1/generations", sunset("job_1-1"))
	require.Equal(t, http.StatusAccepted, status)
	require.Equal(t, "queued", out["status"])
	id := out["id"].(string)
	path := "/v1/generations/" + id

	last := -1.0
	for _, step := range []struct {
		after   time.Duration
		status  string
		percent float64
	}{
		{0, "queued", 0}, {time.Second, "running", 0}, {4500 * time.Millisecond, "running", 50},
		{4499 * time.Millisecond, "running", 99}, {time.Millisecond, "succeeded", 100}, {time.Hour, "succeeded", 100},
	} {
		clock.advance(step.after)
		status, out = call(t, s, "GET", path, nil)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, step.status, out["status"])
		require.InDelta(t, step.percent, out["percent"], 0)
		require.GreaterOrEqual(t, out["percent"], last, "progress does not go back")
		last = out["percent"].(float64)
	}
	file := out["outputs"].([]any)[0].(map[string]any)["path"].(string)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", file, nil))
	require.Equal(t, "image/png", w.Header().Get("Content-Type"))
	picture, err := png.Decode(w.Body)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, 512, 512), picture.Bounds())

	status, out = call(t, s, "POST", path+"/cancel", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "succeeded", out["status"], "what has ended is not canceled")
}

func TestServiceCancel(t *testing.T) {
	t.Parallel()
	clock := newClock()
	for name, dir := range map[string]string{"memory": "", "disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, sketch.ServiceConfig{Dir: dir, MinDuration: time.Hour, Now: clock.Now})
			_, out := call(t, s, "POST", "/v1/generations", sunset("job_1-1"))
			path := "/v1/generations/" + out["id"].(string)
			for range 2 {
				_, out = call(t, s, "POST", path+"/cancel", nil)
				require.Equal(t, "canceled", out["status"])
			}
			_, out = call(t, s, "GET", path, nil)
			require.Equal(t, "canceled", out["status"])
			require.NotContains(t, out, "outputs")
			status, _ := call(t, s, "POST", "/v1/generations/sk_0123456789abcdef_0123456789abcdef/cancel", nil)
			require.Equal(t, http.StatusNotFound, status)
		})
	}
}

func TestServiceCounts(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{"memory": "", "disk": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := newClock()
			s := newService(t, sketch.ServiceConfig{Dir: dir, MinDuration: 10 * time.Second, AllowSimulate: true, Now: clock.Now})
			call(t, s, "POST", "/v1/generations", sunset("a"))
			call(t, s, "POST", "/v1/generations", sunset("b"))
			clock.advance(11 * time.Second)
			call(t, s, "POST", "/v1/generations", sunset("b"))
			status, _ := call(t, s, "POST", "/v1/generations", sunset("c", "simulate", map[string]any{"fail": "server"}))
			require.Equal(t, http.StatusInternalServerError, status)

			st, err := s.Stats()
			require.NoError(t, err)
			require.Equal(t, sketch.Stats{
				Accepted: 3, Duplicates: 1, ByClient: map[string]int{"a": 1, "b": 2}, MaxInFlight: 2, MaxCalls: 1,
			}, st, "what was refused is not counted")
			_, out := call(t, s, "GET", "/v1/stats", nil)
			require.InDelta(t, 3, out["accepted"], 0)
			require.InDelta(t, 1, out["duplicates"], 0)
		})
	}
}

func TestServiceRefuses(t *testing.T) {
	t.Parallel()
	picture := base64.StdEncoding.EncodeToString([]byte("not a picture"))
	tests := []struct {
		name  string
		body  any
		code  int
		field string
	}{
		{"nonsense", "x", 422, ""},
		{"feature", map[string]any{"feature": "text-to-smell", "input": map[string]any{}}, 404, ""},
		{"model", map[string]any{"feature": "text-to-video", "model": "sketch-noop", "input": map[string]any{}}, 404, ""},
		{"input", map[string]any{"feature": "text-to-image", "input": 7}, 422, "/input_data"},
		{"prompt", map[string]any{"feature": "text-to-image", "input": map[string]any{"prompt": " \t"}}, 422, "/input_data/prompt"},
		{"size", sunset("x", "size", "63x512"), 422, "/input_data/size"},
		{"pixels", sunset("x", "size", "2048x2048", "n", 2), 422, "/input_data/size"},
		{"n", sunset("x", "n", 5), 422, "/input_data/n"},
		{"seed", sunset("x", "seed", 1.5), 422, "/input_data/seed"},
		{"format", sunset("x", "format", "bmp"), 422, "/input_data/format"},
		{"simulate", sunset("x", "simulate", map[string]any{}), 422, "/input_data/simulate"},
		{"no image", map[string]any{"feature": "upscale", "input": map[string]any{}}, 422, "/input_data/image"},
		{"URL", map[string]any{"feature": "upscale", "input": map[string]any{"image": "https://example.com/a.png"}}, 422, "/input_data/image"},
		{"bad image", map[string]any{
			"feature": "upscale", "input": map[string]any{"image": map[string]any{"$file": 0}},
			"files": []any{map[string]any{"pointer": "/image", "data": picture}},
		}, 422, "/input_data/image"},
	}
	s := newService(t, sketch.ServiceConfig{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			status, out := call(t, s, "POST", "/v1/generations", test.body)
			require.Equal(t, test.code, status, out)
			field, _ := out["error"].(map[string]any)["field"].(string)
			require.Equal(t, test.field, field)
		})
	}
}

// A picture whose header promises more pixels than we would decode.
func TestServiceRefusesHugePictures(t *testing.T) {
	t.Parallel()
	var raw bytes.Buffer
	require.NoError(t, png.Encode(&raw, image.NewGray(image.Rect(0, 0, 4097, 4097))))
	s := newService(t, sketch.ServiceConfig{})
	status, out := call(t, s, "POST", "/v1/generations", map[string]any{
		"feature": "remove-background", "input": map[string]any{"image": map[string]any{"$file": 0}},
		"files": []any{map[string]any{"pointer": "/image", "data": raw.Bytes()}},
	})
	require.Equal(t, 422, status)
	require.Equal(t, "/input_data/image", out["error"].(map[string]any)["field"])
}

func TestServiceKey(t *testing.T) {
	t.Parallel()
	s := newService(t, sketch.ServiceConfig{APIKey: "correct"})
	status, out := call(t, s, "GET", "/v1/stats", nil)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Equal(t, "invalid_api_key", out["error"].(map[string]any)["code"])
}

func TestLedgerIsShared(t *testing.T) {
	t.Parallel()
	clock, dir := newClock(), t.TempDir()
	config := sketch.ServiceConfig{Dir: dir, MinDuration: time.Minute, AllowSimulate: true, Now: clock.Now}
	one, two := newService(t, config), newService(t, config)

	_, out := call(t, one, "POST", "/v1/generations", sunset("job_1-1"))
	id := out["id"].(string)
	_, out = call(t, two, "GET", "/v1/generations?client_id=job_1-1", nil)
	require.Len(t, out["generations"], 1)
	require.Equal(t, id, out["generations"].([]any)[0].(map[string]any)["id"])

	call(t, two, "POST", "/v1/generations/"+id+"/cancel", nil)
	_, out = call(t, one, "GET", "/v1/generations/"+id, nil)
	require.Equal(t, "canceled", out["status"])

	// Two failures, whichever process meets them.
	flaky := sunset("job_2-1", "simulate", map[string]any{"fail": "server", "times": 2})
	var codes []int
	for _, s := range []*sketch.Service{one, two, one} {
		status, _ := call(t, s, "POST", "/v1/generations", flaky)
		codes = append(codes, status)
	}
	require.Equal(t, []int{500, 500, 202}, codes)

	for _, s := range []*sketch.Service{one, two, newService(t, config)} {
		st, err := s.Stats()
		require.NoError(t, err)
		require.Equal(t, map[string]int{"job_1-1": 1, "job_2-1": 1}, st.ByClient)
	}
}

// Places are taken once, however many take them at the same time.
func TestLedgerCountsUnderContention(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := sketch.ServiceConfig{Dir: dir, AllowSimulate: true}
	services := []*sketch.Service{newService(t, config), newService(t, config)}
	body := sunset("job_1-1", "simulate", map[string]any{"fail": "overloaded", "times": 7})
	var mu sync.Mutex
	var wg sync.WaitGroup
	codes := map[int]int{}
	for i := range 20 {
		wg.Go(func() {
			status, _ := call(t, services[i%2], "POST", "/v1/generations", body)
			mu.Lock()
			defer mu.Unlock()
			codes[status]++
		})
	}
	wg.Wait()
	require.Equal(t, map[int]int{503: 7, 202: 13}, codes)
}

func TestServiceNoLookup(t *testing.T) {
	t.Parallel()
	s := newService(t, sketch.ServiceConfig{NoLookup: true})
	status, _ := call(t, s, "GET", "/v1/generations?client_id=a", nil)
	require.Equal(t, http.StatusForbidden, status)
}

// Ids become paths; whatever is not one of ours must not.
func TestServiceIgnoresForeignIDs(t *testing.T) {
	t.Parallel()
	s := newService(t, sketch.ServiceConfig{Dir: t.TempDir()})
	for _, path := range []string{
		"/v1/generations/x", "/v1/generations/..%2f..%2fsecret", "/v1/generations/sk_0123456789abcdef_0123456789abcdef",
		"/v1/files/x", "/v1/files/..%2f..%2fx-0", "/v1/files/sk_0123456789abcdef_0123456789abcdef-0",
	} {
		status, _ := call(t, s, "GET", path, nil)
		require.Equal(t, http.StatusNotFound, status, path)
	}
}
