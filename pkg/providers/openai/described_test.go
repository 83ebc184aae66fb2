package openai

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers/providertest"
)

// description is OpenAI's own description of the API, cut down to media.
func description(t *testing.T) *providertest.Description {
	t.Helper()
	return providertest.ReadDescription(t, "testdata/openai-media.json")
}

// A check that cannot fail says nothing.
func TestDescriptionRefuses(t *testing.T) {
	t.Parallel()
	described := description(t)
	asJSON := http.Header{"Content-Type": {"application/json"}}
	form := func(name, value string) providertest.Recorded {
		var body bytes.Buffer
		writer := multipart.NewWriter(&body)
		require.NoError(t, writer.WriteField("prompt", "x"))
		require.NoError(t, writer.WriteField(name, value))
		require.NoError(t, writer.Close())
		return providertest.Recorded{
			Method: "POST", Path: "/videos", Header: http.Header{"Content-Type": {writer.FormDataContentType()}}, Body: body.Bytes(),
		}
	}
	for name, bad := range map[string]providertest.Recorded{
		"no prompt":     {Method: "POST", Path: "/images/generations", Header: asJSON, Body: []byte(`{"model":"gpt-image-1.5"}`)},
		"too many":      {Method: "POST", Path: "/images/generations", Header: asJSON, Body: []byte(`{"prompt":"x","n":11}`)},
		"no voice":      {Method: "POST", Path: "/audio/speech", Header: asJSON, Body: []byte(`{"input":"x","model":"tts-1"}`)},
		"a number":      {Method: "POST", Path: "/videos", Header: asJSON, Body: []byte(`{"prompt":"x","seconds":8}`)},
		"no such path":  {Method: "POST", Path: "/paintings", Header: asJSON, Body: []byte(`{}`)},
		"no such field": form("duration", "8"),
		"no such value": form("seconds", "5"),
	} {
		require.Error(t, described.Check(bad), name)
	}
}
