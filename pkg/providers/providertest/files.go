package providertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Signature signs [Link]. Like a credential it must never be printed.
const Signature = "bm90LXByaW50ZWQtbm90LXByaW50ZWQ"

// Link is where a provider that fetches files finds one.
const Link = "https://easel.example/v1/jobs/job_1/inputs/0?expires=1900000000&signature=" + Signature

// fromPictures are features that are made from a picture.
var fromPictures = []tasks.Feature{tasks.ImageToImage, tasks.ImageToVideo, tasks.Upscale, tasks.RemoveBackground}

// checkFiles holds the adapter to what it declares: a file's bytes go along, or
// where the provider fetches, its URL and nothing else. What comes back of the
// submission is looked at elsewhere.
func checkFiles(t testing.TB, a Adapter) {
	p, double := a.start(t, http.NotFound)
	c := p.Capabilities()
	i := slices.IndexFunc(c.Features, func(f providers.FeatureCapability) bool { return slices.Contains(fromPictures, f.Feature) })
	if i < 0 || c.Files == "" {
		return
	}
	feature := c.Features[i]
	_, err := p.Submit(t.Context(), fileRequest(t, feature, providers.File{Data: Picture}))
	switch c.Files {
	case providers.HandoverURL:
		info := classify.Classify(err)
		require.Equal(t, classify.Validation, info.Class, "a file without a URL is refused: %v", err)
		require.Equal(t, "/input_data/image", info.Field)
		require.Empty(t, double.Requests(), "and nothing is sent")
	case providers.HandoverDataURI:
		require.True(t, sent(double, func(body []byte) bool { return holds(body, PictureBase64) }), "the file goes in base64")
	default: // some servers want a form for one feature, and base64 for another
		require.True(t, sent(double, func(body []byte) bool { return bytes.Contains(body, Picture) || holds(body, PictureBase64) }), "the file goes")
	}
	if c.Files != providers.HandoverURL && c.LargestInline == 0 {
		return
	}
	double.Answer(a.routed(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		said := "cannot read " + Link
		_ = json.NewEncoder(w).Encode(map[string]any{"message": said, "detail": said, "error": map[string]any{"message": said}})
	}))
	_, err = p.Submit(t.Context(), fileRequest(t, feature, providers.File{URL: Link}))
	require.True(t, sent(double, func(body []byte) bool { return holds(body, Link) }), "the URL goes where the file stood")
	require.Error(t, err)
	require.NotContains(t, fmt.Sprintf("%v %+v", err, classify.Classify(err)), Signature, "no error prints the URL's signature")
}

// fileRequest is a request of the feature that has a stored picture, and a prompt
// where it takes one.
func fileRequest(t testing.TB, feature providers.FeatureCapability, file providers.File) providers.Request {
	t.Helper()
	var schema struct {
		Properties map[string]any `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(feature.Input, &schema))
	file.Pointer, file.MediaType = "/image", "image/png"
	req := providers.Request{
		JobID: "job_1", ClientID: "job_1-1", Submission: 1, Feature: feature.Feature,
		Input: map[string]any{"image": map[string]any{"$file": 0.0}}, Files: []providers.File{file},
	}
	if _, takes := schema.Properties["prompt"]; takes {
		req.Input["prompt"] = Prompt
	}
	return req
}

func sent(double *Double, found func(body []byte) bool) bool {
	return slices.ContainsFunc(double.Requests(), func(r Recorded) bool { return found(r.Body) })
}

// holds reports whether a text of the JSON ends in the one that is wanted.
func holds(body []byte, text string) bool {
	var value any
	return json.Unmarshal(body, &value) == nil && within(value, text)
}

func within(v any, text string) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if within(item, text) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(item any) bool { return within(item, text) })
	case string:
		return strings.HasSuffix(v, text)
	}
	return false
}
