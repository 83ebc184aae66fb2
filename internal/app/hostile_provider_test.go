package app

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// villain speaks OpenAI's image API, after its own fashion: each prompt has an
// answer of its own.
func villain(t *testing.T, answers map[string]http.HandlerFunc) func(*config.Config) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Prompt string }
		_ = json.NewDecoder(r.Body).Decode(&body) // what has no prompt has no answer
		if answer := answers[body.Prompt]; answer != nil {
			answer(w, r)
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return func(c *config.Config) {
		c.Providers = append(c.Providers, config.Provider{
			Name: "painter", Use: "openai", BaseURL: server.URL, OnUnknown: "hold", Concurrency: 16, SubmitTimeout: 3 * time.Second,
		})
	}
}

// mostMemory is what one hostile answer may make the process allocate, all in
// all: the bound of an answer (64 MiB), read into a buffer that grows step by
// step, and what other tests do meanwhile. An answer without a bound would pass
// it in a second.
const mostMemory = 2 << 30

// TestHostileProvider runs jobs at a provider that answers with what would keep
// a worker for ever, or fill its memory. It is not parallel: it looks at what
// the process allocates.
func TestHostileProvider(t *testing.T) {
	var reached atomic.Int32
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(internal.Close)
	flood := []byte(strings.Repeat("x", 1<<20))
	endless := func(w io.Writer, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(flood); err != nil {
				return
			}
		}
	}
	says := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	picture := fmt.Sprintf(`{"b64_json":%q}`, pixel)
	s := serveOn(t, villain(t, map[string]http.HandlerFunc{
		"an endless body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"data":[{"b64_json":"`)
			endless(w, r)
		},
		"a slow body": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(50 * time.Millisecond):
				}
			}
		},
		"no answer": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"a decompression bomb": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, `{"data":[{"b64_json":"`)
			endless(z, r)
		},
		"a page":            says(200, "<!doctype html><html>hello</html>", "Content-Type", "text/html"),
		"a list":            says(200, "[1,2,3]"),
		"a number for data": says(200, `{"data":7}`),
		"deep data":         says(200, strings.Repeat(`{"data":[`, 100_000)),
		"moved inside":      says(307, "", "Location", internal.URL+"/secret"),
		"an endless error": func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			endless(w, r)
		},
		"no UTF-8":           says(400, "{\"error\":{\"message\":\"\xff\xfe\x1b[31m"+strings.Repeat("long ", 100_000)+"\",\"code\":\"\xff\"}}"),
		"an absurd wait":     says(429, `{"error":{"message":"later"}}`, "Retry-After", "99999999999"),
		"a wait of ages":     says(503, `{"error":{"message":"later"}}`, "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"),
		"ten thousand files": says(200, `{"created":1,"output_format":"png","data":[`+strings.Repeat(picture+",", 9_999)+picture+`]}`),
		"a picture that is a bomb": says(200, fmt.Sprintf(`{"created":1,"output_format":"png","data":[{"b64_json":%q}]}`,
			base64.StdEncoding.EncodeToString(blankPNG(50_000, 50_000, 0)))),
	}))
	elsewhere := func() tasks.Status {
		return s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","provider_id":"sketch","model":"sketch-noop","input_data":{"prompt":"x"}}`,
			"Prefer", "wait=30").job(t).Status
	}
	require.Equal(t, tasks.StatusCompleted, elsewhere()) // the queues exist from here on

	for _, test := range []hostility{
		// Accepted, perhaps: nobody can say, and nothing is bought again.
		{"an endless body", tasks.StatusUnresolved},
		{"a slow body", tasks.StatusUnresolved},
		{"no answer", tasks.StatusUnresolved},
		{"a decompression bomb", tasks.StatusUnresolved},
		{"a page", tasks.StatusUnresolved},
		{"a list", tasks.StatusUnresolved},
		{"a number for data", tasks.StatusUnresolved},
		{"deep data", tasks.StatusUnresolved},
		// Refused: the message is cut and made legible.
		{"an endless error", tasks.StatusFailed},
		{"no UTF-8", tasks.StatusFailed},
		{"moved inside", tasks.StatusFailed},
		// Too much is cut, and what is paid for is kept.
		{"ten thousand files", tasks.StatusCompleted},
		{"a picture that is a bomb", tasks.StatusCompleted},
		// A wait is obeyed, and never outlasts the job's own time. The last ones: what
		// they ask for holds for all jobs.
		{"an absurd wait", tasks.StatusFailed},
		{"a wait of ages", tasks.StatusFailed},
	} {
		t.Run(test.prompt, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			begun := time.Now()
			job := s.do("POST", "/v1/jobs", fmt.Sprintf(
				`{"feature_type":"text-to-image","provider_id":"painter","timeout_ms":%d,"input_data":{"prompt":%q}}`,
				test.limit(), test.prompt), "Prefer", "wait=60").job(t)
			runtime.ReadMemStats(&after)
			require.Equal(t, test.rests, job.Status, "%+v", job.Error)
			require.Less(t, time.Since(begun), 50*time.Second)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(mostMemory))
			raw, err := json.Marshal(job)
			require.NoError(t, err)
			require.Less(t, len(raw), 128<<10, "the record stays small")
			if job.Error != nil {
				require.LessOrEqual(t, len(job.Error.Message), 1000)
				require.True(t, utf8.ValidString(job.Error.Message))
				require.NotContains(t, job.Error.Message, "\x1b")
			}
			if test.rests == tasks.StatusCompleted {
				require.LessOrEqual(t, len(job.Result.Artifacts), 64)
			}
		})
	}
	require.Zero(t, reached.Load(), "nothing inside was called")
	require.Equal(t, tasks.StatusCompleted, elsewhere(), "other providers' jobs go on")
}

// hostility is a prompt and what its job comes to.
type hostility struct {
	prompt string
	rests  tasks.Status
}

// limit is the time that the job has, in milliseconds: those that are put off
// have little.
func (h hostility) limit() int {
	if strings.Contains(h.prompt, "wait") {
		return 5_000
	}
	return 60_000
}
