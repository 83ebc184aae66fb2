package artifacts

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func dataURL(mediaType string, data []byte) string {
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
}

func object(t *testing.T, value any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(value)
	require.NoError(t, err)
	return raw
}

func TestStoreInputs(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *Store) {
		picture, mask, sound := pngFile(t, 3, 2), jpegFile(t, 3, 2), wavFile(10, 0)
		input := object(t, map[string]any{
			"prompt": "a <b>", "seed": json.Number("9007199254740993"),
			"image": dataURL("image/png", picture),
			"list":  []any{"x", map[string]any{"a/b~": strings.TrimRight(dataURL("IMAGE/JPEG", mask), "=")}},
			"voice": base64.StdEncoding.EncodeToString(sound),
			"svg":   "data:image/svg+xml,%3Csvg%20xmlns='http://www.w3.org/2000/svg'/%3E",
		})
		replaced, files, err := s.StoreInputs(t.Context(), "job_1", input, nil)
		require.NoError(t, err)
		require.Equal(t, `{"image":{"$file":0},"list":["x",{"a/b~":{"$file":1}}],"prompt":"a <b>","seed":9007199254740993,`+
			`"svg":{"$file":2},"voice":{"$file":3}}`, string(replaced))

		want := []struct{ pointer, key, mediaType, content string }{
			{"/image", "job_1/inputs/0.png", "image/png", string(picture)},
			{"/list/1/a~1b~0", "job_1/inputs/1.jpg", "image/jpeg", string(mask)},
			{"/svg", "job_1/inputs/2.svg", "image/svg+xml", "<svg xmlns='http://www.w3.org/2000/svg'/>"},
			{"/voice", "job_1/inputs/3.wav", "audio/wav", string(sound)},
		}
		require.Len(t, files, len(want))
		for i, w := range want {
			require.Equal(t, i, files[i].Index)
			require.Equal(t, w.pointer, files[i].Pointer)
			require.Equal(t, w.key, files[i].Key)
			require.Equal(t, w.mediaType, files[i].MediaType)
			require.EqualValues(t, len(w.content), files[i].Bytes)
			require.Len(t, files[i].SHA256, 64)
			require.Equal(t, w.content, content(t, s, files[i].Key))
		}
	})
}

func TestEqualRequestsHashTheSame(t *testing.T) {
	t.Parallel()
	s := directory(t)
	a, b := dataURL("image/png", pngFile(t, 1, 1)), dataURL("image/png", pngFile(t, 2, 2))
	hash := func(job, input string) string {
		replaced, files, err := s.StoreInputs(t.Context(), job, json.RawMessage(input), nil)
		require.NoError(t, err)
		return tasks.Request{InputData: replaced, Files: files}.Hash()
	}
	one := hash("job_1", fmt.Sprintf(`{"image":%q,"mask":%q}`, a, b))
	require.Equal(t, one, hash("job_2", fmt.Sprintf(`{ "mask":%q, "image":%q }`, b, a)))
	require.NotEqual(t, one, hash("job_3", fmt.Sprintf(`{"image":%q,"mask":%q}`, b, a)))
}

func TestStoreInputsLeavesTextAlone(t *testing.T) {
	t.Parallel()
	s := directory(t)
	for _, input := range []string{
		`{"b":1.50, "a":"text","a2":null}`,
		`{}`,
		`[]`,
		`{"prompt":"data: a chart of the data, in blue"}`,
		`{"prompt":"data:, and more of it"}`,
		`{"prompt":"data:blue,green"}`,
		`{"prompt":"data:image/png"}`,
		`{"image":"https://example.com/a.png"}`,
		`{"short":"` + base64.StdEncoding.EncodeToString(make([]byte, 3000)) + `"}`,
		`{"long":"` + strings.Repeat("words and words ", 10000) + `"}`,
	} {
		replaced, files, err := s.StoreInputs(t.Context(), "job_1", json.RawMessage(input), nil)
		require.NoError(t, err, input[:min(len(input), 50)])
		require.Equal(t, input, string(replaced))
		require.Empty(t, files)
	}
	requireNothing(t, s)
}

func TestStoreInputsRefuses(t *testing.T) {
	t.Parallel()
	limits := InputLimits{FileBytes: 4000, TotalBytes: 6000, Files: 3, Pixels: 1000, Depth: 3, InlineBase64: 500}
	file := func(n int) string { return dataURL("application/octet-stream", bytes.Repeat([]byte{1}, n)) }
	tests := []struct {
		name    string
		input   any
		field   string
		message string
	}{
		{"reference", map[string]any{"image": map[string]any{"$file": 0}}, "/input_data/image", "$file"},
		{"reference, at the top", map[string]any{"$file": 0}, "/input_data", "$file"},
		{"no base64", map[string]any{"image": "data:image/png;base64,secret payload!"}, "/input_data/image", "base64"},
		{"no escape", map[string]any{"image": "data:image/png,%zz"}, "/input_data/image", "escaped"},
		{"empty", map[string]any{"image": "data:image/png;base64,"}, "/input_data/image", "empty"},
		{"page", map[string]any{"image": dataURL("image/png", []byte("<html>secret payload</html>"))}, "/input_data/image", "not what its media type says"},
		{"broken picture", map[string]any{"image": dataURL("image/png", pngFile(t, 3, 2)[:20])}, "/input_data/image", "not a readable image/png"},
		{"too many pixels", map[string]any{"image": dataURL("image/png", pngFile(t, 40, 30))}, "/input_data/image", "more than 1000 pixels"},
		{"bomb", map[string]any{"image": dataURL("image/png", pngBomb(t, 1<<31-1, 1<<31-1))}, "/input_data/image", ""},
		{"too large", map[string]any{"image": file(4001)}, "/input_data/image", "larger than 4000 bytes"},
		{"far too large", map[string]any{"image": file(40010)}, "/input_data/image", "larger than 4000 bytes"},
		{"too large, plain", map[string]any{"image": base64.StdEncoding.EncodeToString(make([]byte, 4001))}, "/input_data/image", "larger than 4000 bytes"},
		{"too large together", map[string]any{"a": file(4000), "b": file(2001)}, "/input_data/b", "larger than 6000 bytes"},
		{"too many", map[string]any{"a": []any{file(1), file(1), file(1), file(1)}}, "/input_data/a/3", "more than 3 files"},
		{"too deep", map[string]any{"a": []any{[]any{[]any{1}}}}, "/input_data/a/0/0/0", "deeper than 3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := directory(t)
			s.inputs = limits
			_, _, err := s.StoreInputs(t.Context(), "job_1", object(t, tt.input), nil)
			var failure *classify.Error
			require.True(t, errors.As(err, &failure), "%v", err)
			require.Equal(t, classify.Validation, failure.Class)
			require.Equal(t, tt.field, failure.Field)
			require.Contains(t, failure.Message, tt.message)
			require.NotContains(t, err.Error(), "secret payload")
			requireNothing(t, s)
		})
	}

	t.Run("not JSON", func(t *testing.T) {
		t.Parallel()
		for _, input := range []string{"", "{", "{}{}", "secret payload"} {
			_, _, err := directory(t).StoreInputs(t.Context(), "job_1", json.RawMessage(input), nil)
			requireClass(t, err, classify.Validation, "input_invalid")
			require.NotContains(t, err.Error(), "secret payload")
		}
	})

	t.Run("everything at once", func(t *testing.T) {
		t.Parallel()
		s := directory(t)
		_, _, err := s.StoreInputs(t.Context(), "job_1", object(t, map[string]any{
			"good": dataURL("image/png", pngFile(t, 3, 2)), "a": "data:image/png;base64,!", "b": map[string]any{"$file": 1},
		}), nil)
		joined, ok := err.(interface{ Unwrap() []error })
		require.True(t, ok)
		require.Len(t, joined.Unwrap(), 2)
		requireNothing(t, s)
	})
}

func TestStoreInputsLeavesNothingWhenStorageFails(t *testing.T) {
	t.Parallel()
	s := directory(t)
	block(t, s, "job_1")
	_, _, err := s.StoreInputs(t.Context(), "job_1", object(t, map[string]any{"image": dataURL("image/png", pngFile(t, 3, 2))}), nil)
	requireClass(t, err, classify.Server, CodeStorage)
}

func FuzzStoreInputs(f *testing.F) {
	f.Add([]byte(`{"image":"data:image/gif;base64,R0lGODlhAQABAAAAACw="}`))
	f.Add([]byte(`{"a":[{"b":"data:;base64,AA"}],"$file":1}`))
	f.Add([]byte(`{"a":"data:image/svg+xml,%3Csvg/%3E"}`))
	f.Fuzz(func(t *testing.T, input []byte) {
		x := &extraction{limits: DefaultInputLimits()}
		value, err := decode(input)
		if err != nil {
			return
		}
		value = x.value("", value, 0)
		if len(x.problems) > 0 {
			return
		}
		replaced, err := encode(value)
		require.NoError(t, err)
		require.True(t, json.Valid(replaced))
		require.LessOrEqual(t, len(x.files), x.limits.Files)
	})
}

func FuzzMeasure(f *testing.F) {
	f.Add(mp4File(0))
	f.Add(avifFile())
	f.Add(wavFile(0, 1))
	f.Add(flacFile())
	f.Fuzz(func(t *testing.T, data []byte) {
		for mediaType := range measurers {
			m := measure(mediaType, bytes.NewReader(data), int64(len(data)))
			require.GreaterOrEqual(t, m.width, 0)
			require.GreaterOrEqual(t, m.height, 0)
			require.GreaterOrEqual(t, m.duration, time.Duration(0))
		}
	})
}
