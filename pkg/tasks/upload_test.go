package tasks

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSourceOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Source{
		`{"file":"file_1"}`:            {Upload: "file_1"},
		`{"file":"https://a/b?c"}`:     {URL: "https://a/b?c"},
		`{"job":"job_1","artifact":0}`: {Job: "job_1"},
		`{"job":"job_1","artifact":7}`: {Job: "job_1", Artifact: 7},
	} {
		source, is, err := SourceOf(objectOf(t, text))
		require.NoError(t, err, text)
		require.True(t, is, text)
		require.Equal(t, want, source, text)
		require.NotContains(t, source.String(), "?c", "what may be signed is not shown")
	}
	for _, text := range []string{
		`{}`, `{"file":"picture.png"}`, `{"file":7}`, `{"file":"file_1","more":1}`, `{"url":"https://a/b"}`,
		`{"job":"painter","artifact":0}`, `{"job":"job_1","artifact":0,"more":1}`, `{"job":"job_1","size":"x"}`, `{"artifact":0}`,
	} {
		_, is, err := SourceOf(objectOf(t, text))
		require.NoError(t, err, text)
		require.False(t, is, "%s is the provider's", text)
	}
	for _, text := range []string{
		`{"job":"job_1"}`, `{"job":"job_1","artifact":-1}`, `{"job":"job_1","artifact":0.5}`, `{"job":"job_1","artifact":"0"}`,
		`{"job":"job_1","artifact":1e300}`,
	} {
		_, _, err := SourceOf(objectOf(t, text))
		require.Error(t, err, text)
		require.NotContains(t, err.Error(), "job_1")
	}
	n, whole := wholeNumber(json.Number("12"))
	require.True(t, whole)
	require.Equal(t, 12, n)
}

func objectOf(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &object))
	return object
}

// TestHashOfNamedFiles counts a file that the input only names by its name.
func TestHashOfNamedFiles(t *testing.T) {
	t.Parallel()
	request := Request{FeatureType: Upscale, InputData: json.RawMessage(`{"image":{"$file":0}}`)}
	hash := func(f File) string {
		request.Files = []File{f}
		return request.Hash()
	}
	named := File{Pointer: "/image", Source: "file_1"}
	copied := File{Pointer: "/image", Source: "file_1", Key: "job_1/inputs/0.png", SHA256: "ab", Bytes: 3, MediaType: "image/png"}
	require.Equal(t, hash(named), hash(copied))
	require.NotEqual(t, hash(named), hash(File{Pointer: "/image", Source: "file_2"}))
	require.NotEqual(t, hash(File{Pointer: "/image", SHA256: "ab"}), hash(File{Pointer: "/image", SHA256: "cd"}))
}
