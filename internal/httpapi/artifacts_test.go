package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestArtifact(t *testing.T) {
	t.Parallel()
	r := serve(t)
	id := r.job()
	path := "/v1/jobs/" + id + "/artifacts/0"
	requireProblem(t, r.do("GET", path, ""), 404, codeNotFound)
	r.engine.store(id, "image/png", []byte("0123456789"))

	a := r.do("GET", path, "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "0123456789", a.body)
	for name, value := range map[string]string{
		"Content-Type": "image/png", "Content-Length": "10", "ETag": `"5eed"`, "Accept-Ranges": "bytes",
		"Content-Disposition": "inline; filename=job_1-0.png", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'", "Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control": "private, no-cache", "Last-Modified": "Fri, 02 Jan 2026 15:04:05 GMT",
	} {
		require.Equal(t, value, a.Header.Get(name), name)
	}
	a = r.do("HEAD", path, "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "10", a.Header.Get("Content-Length"))
	require.Empty(t, a.body)

	a = r.do("GET", path, "", "Range: bytes=2-4")
	require.Equal(t, 206, a.StatusCode)
	require.Equal(t, "234", a.body)
	require.Equal(t, "bytes 2-4/10", a.Header.Get("Content-Range"))
	require.Equal(t, "0123456789", r.do("GET", path, "", "Range: bytes=2-4", `If-Range: "other"`).body)
	a = r.do("GET", path, "", "Range: bytes=20-")
	requireProblem(t, a, 416, codeNoRange)
	require.Equal(t, "bytes */10", a.Header.Get("Content-Range"))
	require.Empty(t, a.Header.Get("Content-Disposition"))
	require.Equal(t, 304, r.do("GET", path, "", `If-None-Match: "5eed"`).StatusCode)

	for _, missing := range []string{"1", "-1", "x", "99999999999999999999"} {
		requireProblem(t, r.do("GET", "/v1/jobs/"+id+"/artifacts/"+missing, ""), 404, codeNotFound)
	}
	requireProblem(t, r.do("GET", "/v1/jobs/job_404/artifacts/0", ""), 404, codeNotFound)
}

func TestArtifactDisposition(t *testing.T) {
	t.Parallel()
	for mediaType, want := range map[string]string{
		"image/png": "inline; png", "image/jpeg": "inline; jpg", "image/webp": "inline; webp", "image/gif": "inline; gif",
		"image/avif": "inline; avif", "video/mp4": "inline; mp4", "video/webm": "inline; webm", "audio/wav": "inline; wav",
		"audio/mpeg": "inline; mp3", "audio/ogg": "inline; ogg",
		"image/svg+xml": "attachment; svg", "text/html; charset=utf-8": "attachment; html", "application/pdf": "attachment; pdf",
		"application/xhtml+xml": "attachment; bin", "": "attachment; bin", "text/html\r\nX: y": "attachment; bin",
	} {
		header := http.Header{}
		storedFile{name: fileName("job_1\"\r\n/../x", "2"), mediaType: mediaType}.describe(header)
		disposition, extension, _ := strings.Cut(want, "; ")
		require.Equal(t, disposition+"; filename=job_1_______x-2."+extension, header.Get("Content-Disposition"), mediaType)
		require.NotContains(t, header.Get("Content-Type"), "\n")
	}
}

func TestSignedLinks(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys, func(c *Config) {
		c.LinkVerifier = func(r *http.Request) bool { return r.URL.Query().Get("signature") == "good" }
	})
	id := r.job(acme)
	r.engine.store(id, "image/png", []byte("picture"))
	path := "/v1/jobs/" + id + "/artifacts/0"

	a := r.do("GET", path+"?signature=good", "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "picture", a.body)
	require.Equal(t, "cross-origin", a.Header.Get("Cross-Origin-Resource-Policy"))
	p := requireProblem(t, r.do("GET", path+"?signature=bad", ""), 401, codeUnauthorized)
	require.Contains(t, p["detail"], "its link has expired")
	requireProblem(t, r.do("GET", path, ""), 401, codeUnauthorized)
	requireProblem(t, r.do("GET", path, "", globex), 404, codeNotFound)
	require.Equal(t, 200, r.do("GET", path, "", acme).StatusCode)
	requireProblem(t, r.do("GET", "/v1/jobs/"+id+"?signature=good", ""), 401, codeUnauthorized)
}

// TestInputFiles serves what a job is made from with the care of artifacts: to
// whoever has a signed link, and to the job's owner.
func TestInputFiles(t *testing.T) {
	t.Parallel()
	r := serve(t, withKeys, func(c *Config) {
		c.LinkVerifier = func(r *http.Request) bool { return r.URL.Query().Get("signature") == "good" }
	})
	id := r.job(acme)
	path := "/v1/jobs/" + id + "/inputs/0"
	missing := requireProblem(t, r.do("GET", path+"?signature=good", ""), 404, codeNotFound)
	r.engine.bring(id, "image/png", []byte("0123456789"))
	r.engine.bring(id, "image/svg+xml", []byte("<svg/>"))

	a := r.do("GET", path+"?signature=good", "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "0123456789", a.body)
	for name, value := range map[string]string{
		"Content-Type": "image/png", "Content-Length": "10", "ETag": `"5eed"`, "Accept-Ranges": "bytes",
		"Content-Disposition": "inline; filename=job_1-input-0.png", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "sandbox; default-src 'none'", "Cross-Origin-Resource-Policy": "cross-origin",
		"Cache-Control": "private, no-cache",
	} {
		require.Equal(t, value, a.Header.Get(name), name)
	}
	require.NotContains(t, fmt.Sprint(a.Header), "acme", "whose it is, nobody is told")
	a = r.do("HEAD", path+"?signature=good", "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "10", a.Header.Get("Content-Length"))
	require.Empty(t, a.body)
	a = r.do("GET", path+"?signature=good", "", "Range: bytes=2-4")
	require.Equal(t, 206, a.StatusCode)
	require.Equal(t, "234", a.body)
	requireProblem(t, r.do("GET", path+"?signature=good", "", "Range: bytes=20-"), 416, codeNoRange)
	a = r.do("GET", "/v1/jobs/"+id+"/inputs/1", "", acme)
	require.Equal(t, "attachment; filename=job_1-input-1.svg", a.Header.Get("Content-Disposition"))
	require.Equal(t, "same-origin", a.Header.Get("Cross-Origin-Resource-Policy"))

	require.Equal(t, 200, r.do("GET", path, "", acme).StatusCode)
	p := requireProblem(t, r.do("GET", path+"?signature=bad", ""), 401, codeUnauthorized)
	require.Contains(t, p["detail"], "its link has expired")
	requireProblem(t, r.do("GET", path, ""), 401, codeUnauthorized)
	requireProblem(t, r.do("PUT", path+"?signature=good", "x"), 405, codeMethodNotAllowed)
	foreign := requireProblem(t, r.do("GET", path, "", globex), 404, codeNotFound)
	require.Equal(t, missing["detail"], foreign["detail"], "another's file is no file")
	for _, index := range []string{"2", "-1", "x", "99999999999999999999"} {
		requireProblem(t, r.do("GET", "/v1/jobs/"+id+"/inputs/"+index, "", acme), 404, codeNotFound)
	}
}

func TestLocalPaths(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.LocalPath = func(key string) string { return "/srv/easel/" + key } })
	id := r.job()
	r.engine.store(id, "image/png", []byte("picture"))
	artifact := func(headers ...string) map[string]any {
		a := r.do("GET", "/v1/jobs/"+id, "", headers...)
		return a.json(t)["result"].(map[string]any)["artifacts"].([]any)[0].(map[string]any)
	}
	require.Equal(t, "/srv/easel/job_1/1/0", artifact()["path"])
	require.NotContains(t, artifact("X-Forwarded-For: 192.0.2.1"), "path")
	require.NotContains(t, artifact("Via: 1.1 proxy"), "path")

	plain := serve(t)
	id = plain.job()
	plain.engine.store(id, "image/png", []byte("picture"))
	require.NotContains(t, plain.do("GET", "/v1/jobs/"+id, "").body, `"path"`)
}
