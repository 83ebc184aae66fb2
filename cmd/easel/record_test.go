package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRecord(t *testing.T) {
	t.Parallel()
	const key = "sk-live-4d0a8e11bb7c"
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer "+key {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"message":"no","type":"invalid_request_error","code":"invalid_api_key"}}`)
			return
		}
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "no-such-model") {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{"message":"no","type":"invalid_request_error","code":"model_not_found"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"created":1,"data":[{"b64_json":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==","revised_prompt":"a red kite"}]}`)
	}))
	t.Cleanup(vendor.Close)
	dir := t.TempDir()
	file, out := filepath.Join(dir, "easel.yaml"), filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(file, []byte("data_dir: "+dir+"\nproviders: [{name: lab, use: openai, api_key: "+key+", base_url: '"+vendor.URL+"'}]\n"), 0o600))
	e := newEasel(nil)
	code := e.run(t.Context(), []string{
		"record", "--config", file, "--provider", "lab", "--model", "gpt-image-1", "--prompt", "a red kite above the dunes", "--faults", "--out", out,
	})
	require.Zero(t, code, "%s", &e.err)
	require.Equal(t, "submit.http\nsubmit-not_found-recorded.http\nsubmit-authentication-recorded.http\n", e.out.String())
	for _, name := range strings.Fields(e.out.String()) {
		raw, err := os.ReadFile(filepath.Join(out, name))
		require.NoError(t, err)
		require.NotContains(t, string(raw), key)
		require.NotContains(t, string(raw), "red kite")
	}
	require.Equal(t, exitUsage, newEasel(nil).run(t.Context(), []string{"record", "--provider", "lab"}))
	e = newEasel(nil)
	require.Equal(t, exitFailed, e.run(t.Context(), []string{"record", "--config", file, "--provider", "sketch", "--model", "sketch-noop", "--out", out}))
	require.Contains(t, e.err.String(), "nothing was recorded")
}
