package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/well", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/ill", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.Handle("/moved", http.RedirectHandler("/well", http.StatusFound))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, nobody.Close())

	require.NoError(t, healthcheck(t.Context(), server.URL+"/well"))
	require.ErrorContains(t, healthcheck(t.Context(), server.URL+"/ill"), "503")
	require.ErrorContains(t, healthcheck(t.Context(), server.URL+"/moved"), "302")
	require.ErrorContains(t, healthcheck(t.Context(), "http://"+nobody.Addr().String()), "not healthy")
	for _, wrong := range []string{"", "localhost:8080", "ftp://localhost", "http://"} {
		require.Equal(t, exitUsage, exitCode(healthcheck(t.Context(), wrong)), wrong)
	}
}

func TestHealthcheckIsForContainers(t *testing.T) {
	t.Parallel()
	p := &program{}
	cmd, _, err := p.command().Find([]string{"healthcheck"})
	require.NoError(t, err)
	require.Equal(t, "healthcheck", cmd.Name())
	require.True(t, cmd.Hidden)
}
