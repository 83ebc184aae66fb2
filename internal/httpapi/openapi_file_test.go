package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write generated documents again")

// documentFile is what client generators are fed with.
const documentFile = "../../docs/openapi.json"

// TestDocumentFile holds the file to what the server shows. The release is left
// out of it: it would change without the API.
func TestDocumentFile(t *testing.T) {
	t.Parallel()
	r := serve(t, func(c *Config) {
		c.Version = "v1"
		c.Metrics = http.NotFoundHandler()
		c.Loopback = false
		c.Keys = func() []Key { return []Key{{Secret: "k"}} }
	})
	var want bytes.Buffer
	require.NoError(t, json.Indent(&want, []byte(r.do("GET", "/openapi.json", "").body), "", "  "))
	want.WriteByte('\n')
	if *update {
		require.NoError(t, os.WriteFile(documentFile, want.Bytes(), 0o644))
	}
	got, err := os.ReadFile(documentFile)
	require.NoError(t, err)
	require.True(t, bytes.Equal(want.Bytes(), got), "docs/openapi.json is out of date: make docs")
}
