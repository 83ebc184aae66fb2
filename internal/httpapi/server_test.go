package httpapi

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// How long tests wait for an event, and how often they look.
const (
	waitLong = 10 * time.Second
	waitStep = time.Millisecond
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is an API over a fake engine, served over real HTTP.
type rig struct {
	t      *testing.T
	engine *engine
	server *server
	url    string
	client *http.Client
}

// serve starts the API: on loopback and without keys unless with says
// otherwise.
func serve(t *testing.T, with ...func(*Config)) *rig {
	t.Helper()
	cfg := Config{Loopback: true, Version: "1.2.3"}
	fake := newEngine()
	cfg.Jobs, cfg.Files = fake, fake
	for _, change := range with {
		change(&cfg)
	}
	s := newServer(cfg)
	web := httptest.NewUnstartedServer(nil)
	web.Config = Server(s.handler())
	web.Start()
	t.Cleanup(web.Close)
	client := web.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &rig{t: t, engine: fake, server: s, url: web.URL, client: client}
}

// answer is a response, read to its end.
type answer struct {
	*http.Response
	body string
}

func (a answer) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(a.body), &v), a.body)
	return v
}

// do sends a request. Headers are given as "Name: value"; a body is JSON unless
// they say otherwise.
func (r *rig) do(method, path, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	require.NoError(r.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		switch {
		case name == "Host":
			req.Host = value
		case name == "Content-Type":
			req.Header.Set(name, value)
		default:
			req.Header.Add(name, value)
		}
	}
	return r.send(req)
}

func (r *rig) send(req *http.Request) answer {
	r.t.Helper()
	res, err := r.client.Do(req)
	require.NoError(r.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(r.t, err)
	return answer{res, string(raw)}
}

// job creates a job and returns its id.
func (r *rig) job(headers ...string) string {
	r.t.Helper()
	a := r.do("POST", "/v1/jobs", sunset, headers...)
	require.Equal(r.t, 202, a.StatusCode, a.body)
	return a.json(r.t)["id"].(string)
}

const sunset = `{"feature_type":"text-to-image","input_data":{"prompt":"A secret sunset"}}`

// requireProblem holds an answer to the shape of problems, and returns it.
func requireProblem(t *testing.T, a answer, status int, code string) map[string]any {
	t.Helper()
	require.Equal(t, status, a.StatusCode, a.body)
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
	p := a.json(t)
	require.Equal(t, code, p["code"], a.body)
	require.EqualValues(t, status, p["status"])
	require.Equal(t, "/docs#"+code, p["type"])
	require.NotEmpty(t, p["title"])
	require.NotEmpty(t, p["detail"])
	require.Equal(t, a.Header.Get("X-Request-Id"), p["request_id"])
	require.NotEmpty(t, p["request_id"])
	require.NotContains(t, a.body, "$schema")
	return p
}

// places lists where a problem's faults stand.
func places(p map[string]any) []string {
	var places []string
	faults, _ := p["errors"].([]any)
	for _, fault := range faults {
		f := fault.(map[string]any)
		for _, member := range []string{"pointer", "parameter", "header"} {
			if place, ok := f[member].(string); ok {
				places = append(places, place)
			}
		}
	}
	return places
}

func TestUnknownRoutes(t *testing.T) {
	t.Parallel()
	r := serve(t)
	tests := []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/v2/jobs", 404, codeNotFound, ""},
		{"GET", "/v1/jobs/job_1/nothing", 404, codeNotFound, ""},
		{"PUT", "/v1/jobs", 405, codeMethodNotAllowed, "GET, HEAD, POST"},
		{"GET", "/v1/jobs/job_1/cancel", 405, codeMethodNotAllowed, "POST"},
		{"GET", "/v1/webhooks/sketch/job_1/token", 405, codeMethodNotAllowed, "POST"},
		{"POST", "/healthz", 405, codeMethodNotAllowed, "GET, HEAD"},
		{"PATCH", "/v1/jobs/job_1", 405, codeMethodNotAllowed, "DELETE, GET, HEAD"},
	}
	for _, tt := range tests {
		a := r.do(tt.method, tt.path, "")
		requireProblem(t, a, tt.status, tt.code)
		require.Equal(t, tt.allow, a.Header.Get("Allow"), tt.path)
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	r := serve(t)
	a := r.do("GET", "/", "", "Accept: text/html,*/*")
	require.Equal(t, 303, a.StatusCode)
	require.Equal(t, "/docs", a.Header.Get("Location"))
	a = r.do("GET", "/", "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "1.2.3", a.json(t)["version"])
}
