package app

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func pixelBytes(t *testing.T) []byte {
	data, err := base64.StdEncoding.DecodeString(pixel)
	require.NoError(t, err)
	return data
}

// upload brings the pixel and returns its id.
func (s *server) upload(header ...string) tasks.UploadView {
	s.t.Helper()
	a := s.do("POST", "/v1/files", string(pixelBytes(s.t)), append([]string{"Content-Type", "image/png"}, header...)...)
	require.Equal(s.t, http.StatusCreated, a.status, "%s", a.body)
	var u tasks.UploadView
	require.NoError(s.t, json.Unmarshal(a.body, &u))
	require.Equal(s.t, "/v1/files/"+u.ID, a.header.Get("Location"))
	return u
}

func upscale(image string) string {
	return `{"feature_type":"upscale","input_data":{"image":` + image + `}}`
}

// inputs are the files of a job's input, as they lie in storage.
func (s *server) inputs(job string) []string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "artifacts", job, "inputs", "*"))
	require.NoError(s.t, err)
	return files
}

// TestFilesOfEveryOrigin runs one job for each way in which a file can come. All
// of them end as the same bytes in the job's own directory, and what they came
// from can go.
func TestFilesOfEveryOrigin(t *testing.T) {
	t.Parallel()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(pixelBytes(t)) }))
	t.Cleanup(web.Close)
	s := serveOn(t, func(c *config.Config) { c.API.FileOrigins = []string{web.URL} })

	uploaded := s.upload()
	sum := sha256.Sum256(pixelBytes(t))
	require.Equal(t, hex.EncodeToString(sum[:]), uploaded.SHA256)
	require.Equal(t, "image/png", uploaded.MediaType)
	require.EqualValues(t, len(pixelBytes(t)), uploaded.Bytes)
	require.Equal(t, http.StatusOK, s.do("GET", "/v1/files/"+uploaded.ID, "").status)

	made := s.do("POST", "/v1/jobs", upscale(`{"file":"`+uploaded.ID+`"}`), "Prefer", "wait=30").job(t)
	require.Equal(t, tasks.StatusCompleted, made.Status, "%+v", made.Error)
	require.JSONEq(t, `{"image":{"$file":0}}`, string(made.InputData))

	for name, image := range map[string]string{
		"data URL": `"data:image/png;base64,` + pixel + `"`,
		"URL":      fmt.Sprintf(`{"file":%q}`, web.URL+"/pixel.png?signature=secret"),
		"job":      fmt.Sprintf(`{"job":%q,"artifact":0}`, made.ID),
	} {
		job := s.do("POST", "/v1/jobs", upscale(image), "Prefer", "wait=30").job(t)
		require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %+v", name, job.Error)
		files := s.inputs(job.ID)
		require.Len(t, files, 1, name)
		got, err := os.ReadFile(files[0])
		require.NoError(t, err)
		if name == "job" {
			require.EqualValues(t, made.Result.Artifacts[0].Bytes, len(got))
			continue
		}
		require.Equal(t, pixelBytes(t), got, name)
	}

	// Neither the request nor the record holds bytes, or a signed address.
	keys, err := s.redis.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	for _, key := range keys {
		text := s.dump(key)
		require.NotContains(t, text, "signature=secret", key)
		require.NotContains(t, text, pixel[:40], key)
	}

	// What a job was made from goes, and the job that is waiting does not mind.
	waiting := s.do("POST", "/v1/jobs", fmt.Sprintf(
		`{"feature_type":"upscale","run_at":%q,"input_data":{"image":{"job":%q,"artifact":0},"also":{"file":%q}}}`,
		time.Now().Add(2*time.Second).Format(time.RFC3339Nano), made.ID, uploaded.ID)).job(t)
	require.Len(t, s.inputs(waiting.ID), 2)
	require.Equal(t, http.StatusNoContent, s.do("DELETE", "/v1/jobs/"+made.ID, "").status)
	require.Equal(t, http.StatusNoContent, s.do("DELETE", "/v1/files/"+uploaded.ID, "").status)
	require.Equal(t, http.StatusNotFound, s.do("GET", "/v1/files/"+uploaded.ID, "").status)
	for _, trace := range s.traces() {
		require.NotContains(t, trace, uploaded.ID)
		require.NotContains(t, trace, made.ID)
	}
	require.Eventually(t, func() bool {
		return s.do("GET", "/v1/jobs/"+waiting.ID, "").job(t).Status == tasks.StatusCompleted
	}, 30*time.Second, 50*time.Millisecond)

	// Its files are its own to lose.
	require.Equal(t, http.StatusNoContent, s.do("DELETE", "/v1/jobs/"+waiting.ID, "").status)
	require.Empty(t, s.inputs(waiting.ID))
}

// dump is all that a key holds.
func (s *server) dump(key string) string {
	ctx := s.t.Context()
	switch s.redis.Type(ctx, key).Val() {
	case "hash":
		return fmt.Sprint(s.redis.HGetAll(ctx, key).Val())
	case "string":
		return s.redis.Get(ctx, key).Val()
	case "zset":
		return fmt.Sprint(s.redis.ZRange(ctx, key, 0, -1).Val())
	case "list":
		return fmt.Sprint(s.redis.LRange(ctx, key, 0, -1).Val())
	case "set":
		return fmt.Sprint(s.redis.SMembers(ctx, key).Val())
	}
	return ""
}

// TestFilesThatAreRefused leaves Redis and storage as they were.
func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	var inside atomic.Int32
	private := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	t.Cleanup(private.Close)
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, private.URL, http.StatusFound)
		case "/large":
			_, _ = w.Write(make([]byte, 200<<10))
		case "/page":
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write([]byte("<!doctype html><html></html>"))
		case "/empty":
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(public.Close)
	s := serveOn(t, newPainter(t).beside, func(c *config.Config) {
		c.API.MaxFile = 100 * 1024
		c.API.FileOrigins = []string{public.URL}
		c.Providers = append(c.Providers, config.Provider{
			Name: "neighbour", Use: "openai", BaseURL: private.URL, OnUnknown: "hold", Concurrency: 1,
		})
		c.API.Keys = []config.APIKey{
			{Name: "ann", Key: annsKey, Tenant: "ann", Scopes: []string{"jobs"}},
			{Name: "bob", Key: bobsKey, Tenant: "bob", Scopes: []string{"jobs"}},
		}
	})
	ann := []string{"Authorization", "Bearer " + annsKey}
	bob := []string{"Authorization", "Bearer " + bobsKey}
	file := s.upload(bob...)
	made := s.do("POST", "/v1/jobs", `{"feature_type":"text-to-image","provider_id":"sketch","model":"sketch-noop","input_data":{"prompt":"x"}}`,
		append(bob, "Prefer", "wait=30")...).job(t)
	require.Equal(t, tasks.StatusCompleted, made.Status)
	expired := s.upload(ann...)
	s.age(expired.ID)
	s.awaitQuiet()
	before := s.traces()

	named := func(image string) string {
		return `{"feature_type":"upscale","provider_id":"sketch","input_data":{"image":` + image + `}}`
	}
	url := func(address string) string { return named(fmt.Sprintf(`{"file":%q}`, address)) }
	for _, test := range []struct{ name, body, pointer, says string }{
		{"unknown upload", named(`{"file":"file_01JD3XK8M5Q0R7Z4N9T2V6W8YB"}`), "#/input_data/image", "no uploaded file"},
		{"no id", named(`{"file":"file_../../etc"}`), "#/input_data/image", "no uploaded file"},
		{"expired upload", named(`{"file":"` + expired.ID + `"}`), "#/input_data/image", "no uploaded file"},
		{"foreign upload", named(`{"file":"` + file.ID + `"}`), "#/input_data/image", "no uploaded file"},
		{"unknown job", named(`{"job":"job_01JD3XK8M5Q0R7Z4N9T2V6W8YB","artifact":0}`), "#/input_data/image", "no job"},
		{"foreign job", named(`{"job":"` + made.ID + `","artifact":0}`), "#/input_data/image", "no job"},
		{"no artifact named", named(`{"job":"` + made.ID + `"}`), "#/input_data/image", "no artifact of it"},
		{"no whole artifact", named(`{"job":"` + made.ID + `","artifact":0.5}`), "#/input_data/image", "whole number"},
		{"inside", url(private.URL + "/secret"), "#/input_data/image", "cannot be fetched"},
		{"moved inside", url(public.URL + "/moved"), "#/input_data/image", "cannot be fetched"},
		{"metadata", url("https://169.254.169.254/latest/"), "#/input_data/image", "not public"},
		{"loopback", url("https://localhost/"), "#/input_data/image", "not public"},
		{"user name", url("https://user:password@example.com/"), "#/input_data/image", "user name"},
		{"not there", url(public.URL + "/nothing"), "#/input_data/image", "could not be fetched"},
		{"too large", url(public.URL + "/large"), "#/input_data/image", "larger than"},
		{"a page", url(public.URL + "/page"), "#/input_data/image", "media type"},
		{"empty", url(public.URL + "/empty"), "#/input_data/image", "empty"},
	} {
		a := s.do("POST", "/v1/jobs", test.body, ann...)
		require.Equal(t, http.StatusUnprocessableEntity, a.status, "%s: %s", test.name, a.body)
		var problem struct {
			Errors []struct{ Pointer, Detail string }
		}
		require.NoError(t, json.Unmarshal(a.body, &problem))
		require.NotEmpty(t, problem.Errors, test.name)
		require.Contains(t, problem.Errors[0].Pointer, test.pointer, test.name)
		require.Contains(t, problem.Errors[0].Detail, test.says, test.name)
		require.NotContains(t, string(a.body), "password@", test.name)
		require.Equal(t, before, s.traces(), test.name)
	}
	require.Zero(t, inside.Load(), "a provider's own address is no caller's to have fetched")

	several := s.do("POST", "/v1/jobs", `{"feature_type":"upscale","provider_id":"sketch","input_data":{"image":{"file":"`+expired.ID+`"},"b":{"file":"`+file.ID+`"}}}`, ann...)
	require.Contains(t, string(several.body), `"#/input_data/b"`)
	require.Contains(t, string(several.body), `"#/input_data/image"`)

	for name, refused := range map[string]struct {
		body   string
		header []string
		status int
	}{
		"empty":        {"", []string{"Content-Type", "image/png"}, 422},
		"too large":    {strings.Repeat("x", 101<<10), nil, 413},
		"a page":       {"<!doctype html><html></html>", []string{"Content-Type", "image/png"}, 422},
		"a bomb":       {string(blankPNG(50_000, 50_000, 0)), []string{"Content-Type", "image/png"}, 422},
		"no picture":   {"\x89PNG\r\n\x1a\n....", []string{"Content-Type", "image/png"}, 422},
		"a form":       {"--x\r\n\r\n--x--", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		"compressed":   {"x", []string{"Content-Encoding", "gzip"}, 415},
		"without keys": {"x", []string{"Authorization", "Bearer nobody"}, 401},
	} {
		a := s.do("POST", "/v1/files", refused.body, append(slices.Clone(ann), refused.header...)...)
		require.Equal(t, refused.status, a.status, "%s: %s", name, a.body)
		require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), name)
		require.Equal(t, before, s.traces(), name)
	}
	for _, method := range []string{"GET", "DELETE"} {
		foreign := s.do(method, "/v1/files/"+file.ID, "", ann...)
		missing := s.do(method, "/v1/files/file_01JD3XK8M5Q0R7Z4N9T2V6W8YB", "", ann...)
		require.Equal(t, http.StatusNotFound, foreign.status)
		require.Len(t, foreign.body, len(missing.body))
	}
	require.Equal(t, before, s.traces())
	require.Equal(t, http.StatusOK, s.do("GET", "/v1/files/"+file.ID, "", bob...).status)
}

// age makes an upload's time end now. What is left of it is not yet purged.
func (s *server) age(id string) {
	s.t.Helper()
	ctx := s.t.Context()
	raw, err := s.redis.Get(ctx, "easel:file:"+id).Bytes()
	require.NoError(s.t, err)
	var u tasks.Upload
	require.NoError(s.t, json.Unmarshal(raw, &u))
	u.ExpiresAt = time.Now().Add(-time.Second)
	raw, err = json.Marshal(u)
	require.NoError(s.t, err)
	require.NoError(s.t, s.redis.Set(ctx, "easel:file:"+id, raw, 0).Err())
}

// TestUploadsExpire leaves nothing of an upload that nobody used, whether it was
// complete or its process was killed on the way.
func TestUploadsExpire(t *testing.T) {
	t.Parallel()
	s := serveOn(t)
	s.submit(`{"prompt":"x"}`)
	s.awaitQuiet()
	before := s.traces()
	u := s.upload()
	require.NotEqual(t, before, s.traces())

	// What a process that was killed leaves: a record that is not complete, and
	// a part of the bytes.
	cut := tasks.Upload{ID: "file_01JD3XK8M5Q0R7Z4N9T2V6W8YB", Tenant: tasks.DefaultTenant, ExpiresAt: time.Now().Add(-time.Second)}
	raw, err := json.Marshal(cut)
	require.NoError(t, err)
	part := filepath.Join(s.dir, "artifacts", cut.ID)
	require.NoError(t, os.MkdirAll(part, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(part, "data.png"), pixelBytes(t)[:20], 0o600))
	require.NoError(t, s.redis.Set(t.Context(), "easel:file:"+cut.ID, raw, 0).Err())

	s.age(u.ID)
	due := float64(time.Now().Add(-time.Second).UnixMilli())
	for _, id := range []string{u.ID, cut.ID} {
		require.NoError(t, s.redis.ZAdd(t.Context(), "easel:purge", redis.Z{Score: due, Member: id}).Err())
	}
	require.Eventually(t, func() bool { return slices.Equal(before, s.traces()) }, 30*time.Second, 50*time.Millisecond)
}

// TestSameRequestOutlivesItsFiles repeats a request whose answer was lost after
// what it was made from has gone.
func TestSameRequestOutlivesItsFiles(t *testing.T) {
	t.Parallel()
	s := serveOn(t)
	u := s.upload()
	body := upscale(`{"file":"` + u.ID + `"}`)
	first := s.do("POST", "/v1/jobs", body, "Idempotency-Key", "k", "Prefer", "wait=30")
	require.Equal(t, http.StatusOK, first.status, "%s", first.body)
	again := s.do("POST", "/v1/jobs", body, "Idempotency-Key", "k")
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, http.StatusNoContent, s.do("DELETE", "/v1/files/"+u.ID, "").status)

	before := s.traces()
	again = s.do("POST", "/v1/jobs", body, "Idempotency-Key", "k")
	require.Equal(t, http.StatusOK, again.status, "%s", again.body)
	require.Equal(t, "true", again.header.Get("Idempotent-Replayed"))
	require.Equal(t, first.job(t).ID, again.job(t).ID)
	other := s.do("POST", "/v1/jobs", upscale(`{"file":"file_01JD3XK8M5Q0R7Z4N9T2V6W8YB"}`), "Idempotency-Key", "k")
	require.Equal(t, http.StatusUnprocessableEntity, other.status, "%s", other.body)
	require.Equal(t, http.StatusUnprocessableEntity, s.do("POST", "/v1/jobs", body, "Idempotency-Key", "k2").status)
	require.Equal(t, before, s.traces())
	require.Equal(t, http.StatusNoContent, s.do("DELETE", "/v1/jobs/"+first.job(t).ID, "").status)
	require.Equal(t, http.StatusUnprocessableEntity, s.do("POST", "/v1/jobs", body, "Idempotency-Key", "k").status, "its key is free")
}
