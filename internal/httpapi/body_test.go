package httpapi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDepth(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		`1`: 0, `{}`: 1, `[[],[]]`: 2, `{"a":"[[[["}`: 1, `{"a":"\"[[["}`: 1, `["\\",[1]]`: 2, `}}}`: 0,
	} {
		require.Equal(t, want, depth([]byte(text)), text)
	}
}

func TestBodiesThatDoNotCome(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) { c.Limits.BodyTime = 20 * time.Millisecond })
	tests := []struct {
		name, path string
		hangUp     bool
		status     int
		code       string
	}{
		{"silence", "/v1/jobs", false, 400, codeMalformed},
		{"the end", "/v1/jobs", true, 400, codeMalformed},
		{"silence where nobody reads", "/v1/nowhere", false, 404, codeNotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(waitLong)))
			_, err = io.WriteString(conn, "POST "+tt.path+" HTTP/1.1\r\nHost: localhost\r\n"+
				"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
			require.NoError(t, err)
			if tt.hangUp {
				require.NoError(t, conn.(*net.TCPConn).CloseWrite())
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer res.Body.Close()
			raw, err := io.ReadAll(res.Body)
			require.NoError(t, err)
			requireProblem(t, answer{res, string(raw)}, tt.status, tt.code)
			require.Equal(t, !tt.hangUp, res.Close, "a body that may still come leaves the connection of no use")
		})
	}
	require.Empty(t, r.engine.jobs)
}
