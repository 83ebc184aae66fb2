package client_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
)

func TestUpload(t *testing.T) {
	t.Parallel()
	var got []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, strings.Join([]string{
			r.Method, r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("Content-Length"), string(body),
		}, " "))
		if string(body) == "bad" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(w, `{"status":413,"code":"content_too_large","detail":"too much"}`)
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"file_1","media_type":"image/png","bytes":3,"sha256":"ab","expires_at":"2026-01-02T03:04:05Z"}`)
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("-abc"), 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	_, err = f.Seek(1, io.SeekStart)
	require.NoError(t, err)

	file, err := client.Upload(t.Context(), server.URL+"/", "key", "image/png", f)
	require.NoError(t, err)
	require.NoError(t, f.Close(), "it is the caller's to close")
	require.Equal(t, "file_1", file.ID)
	require.EqualValues(t, 3, file.Bytes)
	_, err = client.Upload(t.Context(), server.URL, "", "", struct{ io.Reader }{strings.NewReader("xyz")})
	require.NoError(t, err)
	_, err = client.Upload(t.Context(), server.URL, "", "", strings.NewReader("bad"))
	var problem *client.Problem
	require.ErrorAs(t, err, &problem)
	require.Equal(t, 413, problem.Status)
	require.Equal(t, []string{
		"POST /v1/files Bearer key image/png 3 abc",
		"POST /v1/files  application/octet-stream  xyz",
		"POST /v1/files  application/octet-stream 3 bad",
	}, got, "a refusal is not repeated")
	server.Close()
	_, err = client.Upload(t.Context(), server.URL, "", "", strings.NewReader("x"))
	require.ErrorIs(t, err, client.ErrUnreachable)
	require.Equal(t, map[string]any{"job": "job_1", "artifact": 2}, client.ArtifactInput("job_1", 2))
	require.Equal(t, map[string]string{"file": "file_1"}, client.UploadInput("file_1"))
}
