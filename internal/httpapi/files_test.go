package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The engine is what the API is written for.
var _ Files = (*orchestrator.Engine)(nil)

func (e *engine) Upload(_ context.Context, tenant, claimed string, r io.Reader) (*tasks.Upload, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("store the file: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	u := &tasks.Upload{
		ID: "file_" + strconv.Itoa(len(e.uploads)+1), Tenant: tenant, Key: "k", MediaType: claimed,
		Bytes: int64(len(data)), SHA256: "5eed", CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour),
	}
	e.uploads = append(e.uploads, u)
	return u, nil
}

func (e *engine) GetUpload(_ context.Context, tenant, id string) (*tasks.Upload, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, u := range e.uploads {
		if u.ID == id && u.Tenant == tenant {
			return u, nil
		}
	}
	return nil, orchestrator.ErrNoUpload
}

func (e *engine) EraseUpload(ctx context.Context, tenant, id string) error {
	u, err := e.GetUpload(ctx, tenant, id)
	if err == nil {
		u.Tenant = "nobody"
	}
	return err
}

func TestUpload(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Limits.FileBytes = 10 })
	for _, tt := range []struct{ claim, want string }{
		{"image/png", "image/png"}, {"image/png; q=1", "image/png"},
		{"application/x-www-form-urlencoded", ""}, {"nonsense;;", ""},
	} {
		a := r.do("POST", "/v1/files", "0123456789", "Content-Type: "+tt.claim)
		require.Equal(t, 201, a.StatusCode, a.body)
		require.Equal(t, tt.want, a.json(t)["media_type"], tt.claim)
		require.Equal(t, "/v1/files/"+a.json(t)["id"].(string), a.Header.Get("Location"))
		require.NotContains(t, a.json(t), "tenant")
		require.NotContains(t, a.json(t), "key")
	}
	require.Equal(t, 200, r.do("GET", "/v1/files/file_1", "").StatusCode)
	require.Equal(t, 204, r.do("DELETE", "/v1/files/file_1", "").StatusCode)
	requireProblem(t, r.do("GET", "/v1/files/file_1", ""), 404, codeNotFound)
	requireProblem(t, r.do("DELETE", "/v1/files/file_1", ""), 404, codeNotFound)

	held := len(r.engine.uploads)
	requireProblem(t, r.do("POST", "/v1/files", "01234567890"), 413, codeTooLarge)
	requireProblem(t, r.do("POST", "/v1/files", "x", "Content-Type: multipart/form-data; boundary=x"), 415, codeUnsupportedType)
	requireProblem(t, r.do("POST", "/v1/files", "x", "Content-Encoding: gzip"), 415, codeUnsupportedType)
	chunked, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+"/v1/files", struct{ io.Reader }{strings.NewReader("01234567890")})
	require.NoError(t, err)
	res, err := r.client.Do(chunked)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	require.Equal(t, 413, res.StatusCode, "a length that is not told is counted")
	require.Len(t, r.engine.uploads, held)
}

// openUpload begins an upload and brings a part of it.
func openUpload(t *testing.T, r *rig, part string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(waitLong)))
	_, err = io.WriteString(conn, "POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"+part)
	require.NoError(t, err)
	return conn
}

func requireAnswer(t *testing.T, conn net.Conn, status int, code string) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	requireProblem(t, answer{res, string(raw)}, status, code)
}

func TestUploadsThatDoNotCome(t *testing.T) {
	t.Parallel()
	t.Run("silence", func(t *testing.T) {
		t.Parallel()
		r := serve(t)
		r.server.uploadIdle = 20 * time.Millisecond
		requireAnswer(t, openUpload(t, r, "x"), 400, codeMalformed)
		require.Empty(t, r.engine.uploads)
	})
	t.Run("a byte at a time", func(t *testing.T) {
		t.Parallel()
		r := serve(t, func(c *Config) { c.Limits.UploadTime = 200 * time.Millisecond })
		conn := openUpload(t, r, "x")
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				case <-time.After(5 * time.Millisecond):
					if _, err := io.WriteString(conn, "x"); err != nil {
						return
					}
				}
			}
		}()
		requireAnswer(t, conn, 400, codeMalformed)
		close(stop)
		<-done
		require.Empty(t, r.engine.uploads)
	})
	t.Run("too many", func(t *testing.T) {
		t.Parallel()
		r := serve(t, func(c *Config) { c.Limits.Uploads = 2 })
		first, second := openUpload(t, r, "x"), openUpload(t, r, "x")
		require.Eventually(t, func() bool { return r.server.uploads.count() == 2 }, waitLong, waitStep)
		a := r.do("POST", "/v1/files", "x")
		requireProblem(t, a, 503, codeUnavailable)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		require.Equal(t, 202, r.do("POST", "/v1/jobs", sunset).StatusCode, "others are served meanwhile")
		require.NoError(t, first.Close())
		require.NoError(t, second.Close())
		require.Eventually(t, func() bool { return r.do("POST", "/v1/files", "x").StatusCode == 201 }, waitLong, waitStep)
	})
}
