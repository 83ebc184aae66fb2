package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// fetched is a file as a provider got it from us.
type fetched struct {
	link   string
	status int
	header http.Header
	body   string
}

// dream stands in for Luma: it fetches what it is given, when it is given it and
// again when it is asked how it fares, and tells in each answer what was asked
// of it.
type dream struct {
	url string

	mu      sync.Mutex
	request map[string]any
	fetches []fetched
	reports sync.WaitGroup
}

const dreamID = "5b2f7a60-9f4e-4a53-9d5e-1c6a0b1f3d11"

func newDream(t *testing.T) *dream {
	d := &dream{}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /generations/image", func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.request = nil
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&d.request))
		d.fetch(t)
		if d.request["prompt"] == "what cannot be read" {
			w.WriteHeader(http.StatusBadRequest)
			_ = json.NewEncoder(w).Encode(map[string]any{"detail": "could not read " + d.link()})
			return
		}
		w.WriteHeader(http.StatusCreated)
		d.tell(w, "queued", nil)
		callback, _ := d.request["callback_url"].(string)
		d.reports.Go(func() { d.report(t, callback) })
	})
	mux.HandleFunc("GET /generations/"+dreamID, func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.fetch(t)
		d.tell(w, "completed", map[string]any{"image": d.url + "/made.png"})
	})
	mux.HandleFunc("GET /made.png", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pixelBytes(t)) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Cleanup(d.reports.Wait)
	d.url = server.URL
	return d
}

// report tells Easel by webhook that there is something to be asked for.
func (d *dream) report(t *testing.T, callback string) {
	response, err := http.Post(callback, "application/json", strings.NewReader(`{"id":"`+dreamID+`","state":"completed"}`)) //nolint:gosec,noctx // as providers do
	if assert.NoError(t, err) {
		_ = response.Body.Close()
	}
}

func (d *dream) link() string {
	picture, _ := d.request["modify_image_ref"].(map[string]any)
	link, _ := picture["url"].(string)
	return link
}

func (d *dream) fetch(t *testing.T) {
	response, err := http.Get(d.link()) //nolint:gosec,noctx // as providers do
	if !assert.NoError(t, err) {
		return
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	assert.NoError(t, err)
	d.fetches = append(d.fetches, fetched{d.link(), response.StatusCode, response.Header, string(body)})
}

func (d *dream) tell(w http.ResponseWriter, state string, assets any) {
	_ = json.NewEncoder(w).Encode(map[string]any{
		"id": dreamID, "state": state, "created_at": time.Now().Format(time.RFC3339Nano), "model": "photon-1", "assets": assets, "request": d.request,
	})
}

// taken returns what was fetched since it was last asked.
func (d *dream) taken() []fetched {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.fetches
	d.fetches = nil
	return taken
}

func (d *dream) beside(c *config.Config) {
	c.Providers = append(c.Providers, config.Provider{Name: "luma", Use: "luma", APIKey: "k", BaseURL: d.url, OnUnknown: "hold", Concurrency: 4})
}

// front is the address under which the outside reaches an API that has yet to be
// started, as a proxy gives one.
type front struct {
	url string

	mu     sync.Mutex
	behind *httputil.ReverseProxy
}

func newFront(t *testing.T) *front {
	f := &front{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		behind := f.behind
		f.mu.Unlock()
		behind.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

func (f *front) leadTo(t *testing.T, address string) {
	target, err := url.Parse(address)
	require.NoError(t, err)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = httputil.NewSingleHostReverseProxy(target)
}

func repaint(prompt, image string) string {
	return fmt.Sprintf(`{"feature_type":"image-to-image","provider_id":"luma","input_data":{"prompt":%q,"image":%s}}`, prompt, image)
}

// TestProviderFetchesInputFiles has a provider that takes nothing but URLs made
// to fetch files of every origin from the API, and looks for the links wherever
// they do not belong.
func TestProviderFetchesInputFiles(t *testing.T) {
	t.Parallel()
	luma, outside := newDream(t), newFront(t)
	core, logs := observer.New(zap.DebugLevel)
	s := serveLogged(t, zap.New(core), luma.beside, func(c *config.Config) {
		c.API.PublicURL = outside.url
		c.SecretKey = []config.Secret{"the first secret of this server"}
		c.API.Keys = []config.APIKey{{Name: "ann", Key: annsKey, Tenant: "ann", Scopes: []string{"jobs"}}}
	})
	outside.leadTo(t, s.url)
	ann := []string{"Authorization", "Bearer " + annsKey}
	run := func(body string) tasks.View {
		job := s.do("POST", "/v1/jobs", body, append(ann, "Prefer", "wait=30")...).job(t)
		require.True(t, job.Status == tasks.StatusCompleted || job.Status == tasks.StatusFailed, "%s: %+v", job.Status, job.Error)
		return job
	}
	uploaded := s.upload(ann...)
	source := run(`{"feature_type":"text-to-image","provider_id":"sketch","model":"sketch-noop","input_data":{"prompt":"x"}}`)

	var job tasks.View
	var links []string
	for origin, image := range map[string]string{
		"upload": `{"file":"` + uploaded.ID + `"}`, "data URL": `"data:image/png;base64,` + pixel + `"`, "job": `{"job":"` + source.ID + `","artifact":0}`,
	} {
		job = run(repaint("in blue", image))
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", origin, job.Error)
		require.Len(t, s.inputs(job.ID), 1)
		stored, err := os.ReadFile(s.inputs(job.ID)[0])
		require.NoError(t, err)
		taken := luma.taken()
		require.GreaterOrEqual(t, len(taken), 2, "while it is submitted, and after")
		for _, f := range taken {
			require.Equal(t, http.StatusOK, f.status, "%s: %s", origin, f.body)
			require.Equal(t, string(stored), f.body, origin)
			require.Equal(t, "image/png", f.header.Get("Content-Type"))
			require.Equal(t, fmt.Sprint(len(stored)), f.header.Get("Content-Length"))
			require.Equal(t, "sandbox; default-src 'none'", f.header.Get("Content-Security-Policy"))
			require.NotContains(t, fmt.Sprint(f.header), "ann", "whose it is, nobody is told")
			require.True(t, strings.HasPrefix(f.link, outside.url+"/v1/jobs/"+job.ID+"/inputs/0?"))
			links = append(links, f.link)
		}
	}
	unread := run(repaint("what cannot be read", `{"file":"`+uploaded.ID+`"}`))
	require.Equal(t, tasks.StatusFailed, unread.Status)
	require.Contains(t, unread.Error.Message, "could not read")
	links = append(links, luma.taken()[0].link)
	s.requireNoLink(logs, links, ann)

	// The link ends with the job's time, opens one file, and cannot be altered.
	link, err := url.Parse(links[len(links)-2])
	require.NoError(t, err)
	expires := link.Query().Get("expires")
	until := job.CreatedAt.Add(s.running.platform.cfg.Defaults.Timeout + time.Hour)
	require.Equal(t, fmt.Sprint(until.Unix()), expires)
	ask := func(path, query string, header ...string) int {
		return s.do("GET", path+"?"+query, "", header...).status
	}
	path := "/v1/jobs/" + job.ID + "/inputs/0"
	require.Equal(t, http.StatusOK, ask(path, link.RawQuery))
	require.Equal(t, http.StatusPartialContent, ask(path, link.RawQuery, "Range", "bytes=0-3"))
	require.Equal(t, http.StatusOK, s.do("HEAD", path+"?"+link.RawQuery, "").status)
	past, err := url.Parse(s.running.platform.links.Input(job.ID, 0, time.Now().Add(-time.Second)))
	require.NoError(t, err)
	for name, asked := range map[string][2]string{
		"expired":        {path, past.RawQuery},
		"prolonged":      {path, strings.Replace(link.RawQuery, expires, "9999999999", 1)},
		"forged":         {path, "expires=" + expires + "&signature=AAAA"},
		"unsigned":       {path, ""},
		"another file":   {"/v1/jobs/" + job.ID + "/inputs/1", link.RawQuery},
		"another job":    {"/v1/jobs/" + unread.ID + "/inputs/0", link.RawQuery},
		"the result":     {"/v1/jobs/" + job.ID + "/artifacts/0", link.RawQuery},
		"the job itself": {"/v1/jobs/" + job.ID, link.RawQuery},
	} {
		a := s.do("GET", asked[0]+"?"+asked[1], "")
		require.Equal(t, http.StatusUnauthorized, a.status, name)
		require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), name)
	}

	// The secret can be rotated: the old one verifies until it is taken out.
	const newer = "the second secret of this server"
	require.Equal(t, http.StatusOK, s.under(newer, "the first secret of this server").do("GET", path+"?"+link.RawQuery, "").status)
	require.Equal(t, http.StatusUnauthorized, s.under(newer).do("GET", path+"?"+link.RawQuery, "").status)

	require.Equal(t, http.StatusNoContent, s.do("DELETE", "/v1/jobs/"+job.ID, "", ann...).status)
	require.Equal(t, http.StatusNotFound, ask(path, link.RawQuery), "an erased job's files are gone, whoever has a link")
}

// requireNoLink looks for the links' signatures in what is logged, kept and shown.
func (s *server) requireNoLink(logs *observer.ObservedLogs, links, key []string) {
	s.t.Helper()
	places := map[string]string{"the list": string(s.do("GET", "/v1/jobs?include=input", "", key...).body)}
	for _, entry := range logs.All() {
		places["the log"] += entry.Message + fmt.Sprint(entry.ContextMap()) + "\n"
	}
	keys, err := s.redis.Keys(s.t.Context(), "*").Result()
	require.NoError(s.t, err)
	for _, name := range keys {
		places[name] = s.dump(name)
	}
	for _, link := range links {
		address, err := url.Parse(link)
		require.NoError(s.t, err)
		signature := address.Query().Get("signature")
		require.NotEmpty(s.t, signature)
		for place, text := range places {
			require.NotContains(s.t, text, signature, place)
		}
	}
}

// under is the same installation's API with other secrets.
func (s *server) under(secrets ...config.Secret) *server {
	s.t.Helper()
	cfg := *s.running.platform.cfg
	cfg.SecretKey = secrets
	p, err := open(s.t.Context(), &cfg, zap.NewNop(), cfg.Redis.URL.Reveal())
	require.NoError(s.t, err)
	s.t.Cleanup(p.close)
	api := httptest.NewServer(p.apiHandler(cfg.API.Listen, nil))
	s.t.Cleanup(api.Close)
	return &server{t: s.t, url: api.URL}
}

// TestFilesThatCannotBeFetched are refused at the door of a server that nobody
// outside can reach; addresses of the caller's own go on.
func TestFilesThatCannotBeFetched(t *testing.T) {
	t.Parallel()
	luma := newDream(t)
	s := serveOn(t, luma.beside)
	first := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","provider_id":"sketch","model":"sketch-noop","input_data":{"prompt":"x"}}`, "Prefer", "wait=30")
	require.Equal(t, tasks.StatusCompleted, first.job(t).Status) // the queues exist from here on
	uploaded := s.upload()
	s.awaitQuiet()
	before := s.traces()
	for origin, image := range map[string]string{"upload": `{"file":"` + uploaded.ID + `"}`, "data URL": `"data:image/png;base64,` + pixel + `"`} {
		a := s.do("POST", "/v1/jobs", repaint("in blue", image))
		require.Equal(t, http.StatusUnprocessableEntity, a.status, "%s: %s", origin, a.body)
		var problem struct {
			Errors []struct{ Pointer, Detail string }
		}
		require.NoError(t, json.Unmarshal(a.body, &problem))
		require.Equal(t, "#/input_data/image", problem.Errors[0].Pointer, origin)
		require.Contains(t, problem.Errors[0].Detail, "api.public_url", origin)
		require.Equal(t, before, s.traces(), origin)
	}
	require.Empty(t, luma.taken())
}

func TestWhoCanBeReached(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"https://easel.example.com": true, "https://easel.example.com/below": true, "http://127.0.0.1:8080": true, "http://localhost": true, "http://[::1]:80": true,
		"": false, "http://easel.example.com": false, "http://10.0.0.1": false, "/v1": false, "ftp://127.0.0.1": false,
	} {
		require.Equal(t, want, (&links{publicURL: address}).reachable(), address)
	}
}
