package faults

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// vendor is a double of OpenAI's API over HTTP, by its wire shapes. What it does
// with a submission is the last word of the prompt; it counts what it has
// accepted, for which the account would be billed.
type vendor struct {
	mu       sync.Mutex
	asked    map[string]int // submissions by prompt
	accepted map[string]int
	kept     []vendorVideo // in the order of creation
	strange  []string      // requests that OpenAI would not understand

	left      int       // of the submissions that the rate limit allows
	resets    time.Time // when it allows them again; zero until somebody exceeds it
	throttled int
}

type vendorVideo struct {
	ID        string `json:"id"`
	Object    string `json:"object"`
	Model     string `json:"model"`
	Status    string `json:"status"`
	Progress  int    `json:"progress"`
	CreatedAt int64  `json:"created_at"`
	Prompt    string `json:"prompt"`
	Size      string `json:"size"`
	Seconds   string `json:"seconds"`
	Error     any    `json:"error"`
}

const (
	vendorKey = "sk-test-0123456789abcdef"
	// vendorBurst is how many submissions the rate limit lets through at a time.
	vendorBurst = 150
	// onePixel is a whole PNG in base64.
	onePixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

func newVendor(t *testing.T) (*vendor, string) {
	v := &vendor{asked: map[string]int{}, accepted: map[string]int{}, left: vendorBurst}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/images/generations", v.submit(v.image))
	mux.HandleFunc("POST /v1/videos", v.submit(v.video))
	mux.HandleFunc("GET /v1/videos", v.list)
	mux.HandleFunc("GET /v1/videos/{id}", v.poll)
	mux.HandleFunc("GET /v1/videos/{id}/content", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "video/mp4")
		_, _ = io.WriteString(w, "\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp41")
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+vendorKey {
			refuse(w, http.StatusUnauthorized, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return v, server.URL + "/v1"
}

// refuse answers an error as OpenAI words it.
func refuse(w http.ResponseWriter, status int, kind, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{
		"message": message, "type": kind, "param": nil, "code": code,
	}})
}

// fate is what the double does with a prompt.
func fate(prompt string) string { return prompt[strings.LastIndexByte(prompt, ' ')+1:] }

// throttle reports whether the rate limit is exceeded. It is lifted a second
// after somebody was refused. The caller holds the lock.
func (v *vendor) throttle(now time.Time) bool {
	switch {
	case v.left == 0 && v.resets.IsZero():
		v.resets = now.Add(time.Second)
	case v.left == 0 && !now.Before(v.resets):
		v.left, v.resets = vendorBurst, time.Time{}
	}
	if v.left == 0 {
		v.throttled++
		return true
	}
	v.left--
	return false
}

// submit does with a submission what its prompt says: refuses it, or accepts it
// and answers, or accepts it and breaks off.
func (v *vendor) submit(accept func(prompt string) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Prompt, Model string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Prompt == "" || body.Model == "" {
			v.mu.Lock()
			v.strange = append(v.strange, r.URL.Path)
			v.mu.Unlock()
			refuse(w, http.StatusBadRequest, "invalid_request_error", "missing_required_parameter", "Missing required parameter.")
			return
		}
		v.mu.Lock()
		if v.throttle(time.Now()) {
			v.mu.Unlock()
			w.Header().Set("Retry-After", "1")
			refuse(w, http.StatusTooManyRequests, "requests", "rate_limit_exceeded", "Rate limit reached.")
			return
		}
		v.asked[body.Prompt]++
		first := v.asked[body.Prompt] == 1
		v.mu.Unlock()
		switch fate := fate(body.Prompt); {
		case fate == "invalid":
			refuse(w, http.StatusBadRequest, "invalid_request_error", "invalid_value", "Invalid value: 'size'.")
			return
		case fate == "blocked":
			refuse(w, http.StatusBadRequest, "image_generation_user_error", "moderation_blocked", "Your request was rejected by the safety system.")
			return
		case fate == "unpaid":
			refuse(w, http.StatusTooManyRequests, "insufficient_quota", "insufficient_quota", "You exceeded your current quota.")
			return
		case fate == "broken" && first:
			refuse(w, http.StatusInternalServerError, "server_error", "server_error", "The server had an error while processing your request.")
			return
		}
		v.mu.Lock()
		v.accepted[body.Prompt]++
		answer := accept(body.Prompt)
		v.mu.Unlock()
		if fate(body.Prompt) == "cut" {
			panic(http.ErrAbortHandler) // closes the connection without an answer
		}
		v.answer(w, answer)
	}
}

func (v *vendor) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Openai-Poll-After-Ms", "1000")
	_ = json.NewEncoder(w).Encode(body)
}

func (v *vendor) image(string) any {
	return map[string]any{
		"created": time.Now().Unix(), "output_format": "png", "size": "1024x1024", "quality": "low",
		"data":  []map[string]string{{"b64_json": onePixel}},
		"usage": map[string]int{"total_tokens": 1582},
	}
}

// video creates one. The caller holds the lock.
func (v *vendor) video(prompt string) any {
	made := vendorVideo{
		ID: fmt.Sprintf("video_%d", len(v.kept)+1), Object: "video", Model: "sora-2", Status: "queued",
		CreatedAt: time.Now().Unix(), Prompt: prompt, Size: "720x1280", Seconds: "4",
	}
	v.kept = append(v.kept, made)
	return made
}

// poll finishes a video when it is asked for.
func (v *vendor) poll(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(strings.TrimPrefix(r.PathValue("id"), "video_"))
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil || n < 1 || n > len(v.kept) {
		refuse(w, http.StatusNotFound, "invalid_request_error", "video_not_found", "No such video.")
		return
	}
	v.kept[n-1].Status, v.kept[n-1].Progress = "completed", 100
	v.answer(w, v.kept[n-1])
}

// list is a page of the account's videos, newest first.
func (v *vendor) list(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	limit, err := strconv.Atoi(query.Get("limit"))
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil || limit < 1 || limit > 100 || query.Get("order") != "desc" {
		v.strange = append(v.strange, r.URL.String())
	}
	page, more := []vendorVideo{}, false
	reached := query.Get("after") == ""
	for i := len(v.kept) - 1; i >= 0; i-- {
		switch {
		case !reached:
			reached = v.kept[i].ID == query.Get("after")
		case len(page) == limit:
			more = true
		default:
			page = append(page, v.kept[i])
		}
	}
	v.answer(w, map[string]any{"object": "list", "data": page, "has_more": more})
}

// fates are what becomes of the jobs, in turn: an image or a video, and what the
// provider does with it.
var fates = []struct {
	feature  tasks.Feature
	fate     string
	status   tasks.Status
	class    classify.Class // of the job's error
	attempts int
	asked    int // submissions that the rate limit let through
	bought   int // of these accepted
}{
	{tasks.TextToImage, "good", tasks.StatusCompleted, "", 1, 1, 1},
	{tasks.TextToVideo, "good", tasks.StatusCompleted, "", 1, 1, 1},
	{tasks.TextToImage, "invalid", tasks.StatusFailed, classify.Validation, 1, 1, 0},
	{tasks.TextToVideo, "cut", tasks.StatusCompleted, "", 1, 1, 1},
	{tasks.TextToImage, "blocked", tasks.StatusFailed, classify.ContentPolicy, 1, 1, 0},
	{tasks.TextToVideo, "good", tasks.StatusCompleted, "", 1, 1, 1},
	{tasks.TextToImage, "broken", tasks.StatusCompleted, "", 2, 2, 1},
	{tasks.TextToImage, "unpaid", tasks.StatusFailed, classify.Quota, 1, 1, 0},
	{tasks.TextToImage, "cut", tasks.StatusUnresolved, classify.UnknownOutcome, 1, 1, 1},
	{tasks.TextToVideo, "broken", tasks.StatusCompleted, "", 2, 2, 1},
	{tasks.TextToImage, "good", tasks.StatusCompleted, "", 1, 1, 1},
}

// TestThousandJobsAtOpenAI takes images and videos through the adapter to a
// provider that refuses, throttles, breaks and loses answers, and compares what
// it would bill with what the jobs say.
func TestThousandJobsAtOpenAI(t *testing.T) {
	t.Parallel()
	v, baseURL := newVendor(t)
	f := newFleet(t, settings{Extra: fmt.Sprintf(
		`  - {name: openai, use: openai, base_url: %q, api_key: %q, concurrency: 64}`, baseURL, vendorKey)})
	f.work(2)
	prompt := func(i int) string { return fmt.Sprintf("picture %d shall be %s", i, fates[i%len(fates)].fate) }
	ids := f.enqueue(1000, func(i int) tasks.Draft {
		is := fates[i%len(fates)]
		draft := tasks.Draft{
			FeatureType: is.feature, ProviderID: "openai", Model: map[tasks.Feature]string{
				tasks.TextToImage: "gpt-image-1.5", tasks.TextToVideo: "sora-2",
			}[is.feature],
			InputData: json.RawMessage(fmt.Sprintf(`{"prompt":%q}`, prompt(i))),
		}
		if is.fate == "good" {
			none := 0
			draft.RetryAttempts = &none // a rate limit, and no other failure, is waited out all the same
		}
		return draft
	})
	jobs := f.awaitRest(ids, patience)

	v.mu.Lock()
	defer v.mu.Unlock()
	require.Empty(t, v.strange)
	require.GreaterOrEqual(t, v.throttled, 5, "the rate limit was exceeded again and again")
	billed, recorded, unknown := 0, 0, 0
	for i, id := range ids {
		job, want := jobs[id], fates[i%len(fates)]
		say := fmt.Sprintf("job %d, a %s that is %s: %+v", i, want.feature, want.fate, job.Error)
		require.Equal(t, want.status, job.Status, say)
		require.Equal(t, want.asked, v.asked[prompt(i)], "calls of %s", say)
		require.Equal(t, want.bought, v.accepted[prompt(i)], "accepted of %s", say)
		require.Len(t, job.Attempts, want.attempts, say)
		if want.class == "" {
			require.Nil(t, job.Error, say)
			require.Len(t, job.Result.Artifacts, 1, say)
		} else {
			require.Equal(t, string(want.class), job.Error.Class, say)
		}
		if want.fate == "broken" {
			require.Equal(t, string(classify.Server), job.Attempts[0].Error.Class, say)
		}
		if want.status == tasks.StatusCompleted && want.feature == tasks.TextToVideo {
			require.NotNil(t, job.Attempts[want.attempts-1].RemoteID, say)
		}
		billed += v.accepted[prompt(i)]
		for _, a := range job.Attempts {
			switch a.Outcome {
			case tasks.OutcomeAccepted:
				recorded++
			case tasks.OutcomeUnknown:
				unknown++
			}
		}
	}
	require.Len(t, v.asked, len(ids), "no other prompt was ever sent")
	require.Equal(t, billed, recorded+unknown, "what is billed is recorded")
	require.NotZero(t, unknown)
}
