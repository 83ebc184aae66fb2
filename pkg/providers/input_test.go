package providers

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

type values = map[string]any

func TestInputs(t *testing.T) {
	t.Parallel()
	in := Inputs{
		Required: []string{"prompt"},
		Checks: map[string]Check{
			"prompt": TextUpTo(5), "n": Whole(1, 4), "speed": Number(0.5, 2), "mode": OneOf("std", "pro"),
			"size": PixelSize, "aspect_ratio": AspectRatio, "duration": Seconds(1, 10), "image": OneFile, "images": FilesUpTo(2), "video": OneFetched,
		},
		Names:    map[string]string{"prompt": "promptText", "duration": "seconds"},
		Excludes: map[string]string{"aspect_ratio": "size"},
		Reserved: []string{"webhook*", "model", "options/callback_url"},
	}
	tests := map[string]struct {
		input values
		field string
	}{
		"good": {values{
			"prompt": "ä fox", "n": 4.0, "speed": 0.5, "mode": "pro", "size": "10x10", "duration": "10", "image": values{"$file": 0.0},
			"images": []any{"a", "b"}, "video": "https://a", "else": nil, "options": values{"quality": 1.0},
		}, ""},
		"under the provider's name": {values{"promptText": "x"}, ""},
		"required":                  {values{}, "prompt"},
		"null":                      {values{"prompt": nil}, "prompt"},
		"blank":                     {values{"prompt": " \n"}, "prompt"},
		"long":                      {values{"prompt": "foxes!"}, "prompt"},
		"no text":                   {values{"prompt": 7.0}, "prompt"},
		"a half":                    {values{"prompt": "x", "n": 1.5}, "n"},
		"too many":                  {values{"prompt": "x", "n": 5.0}, "n"},
		"a number as text":          {values{"prompt": "x", "n": "1"}, "n"},
		"too fast":                  {values{"prompt": "x", "speed": 2.1}, "speed"},
		"no such word":              {values{"prompt": "x", "mode": "turbo"}, "mode"},
		"size":                      {values{"prompt": "x", "size": "10x"}, "size"},
		"ratio":                     {values{"prompt": "x", "aspect_ratio": "wide"}, "aspect_ratio"},
		"ratio beside size":         {values{"prompt": "x", "aspect_ratio": "1:1", "size": "10x10"}, "aspect_ratio"},
		"seconds":                   {values{"prompt": "x", "duration": "10abc"}, "duration"},
		"half a second":             {values{"prompt": "x", "duration": 0.5}, "duration"},
		"no file":                   {values{"prompt": "x", "image": 7.0}, "image"},
		"three files":               {values{"prompt": "x", "images": []any{"a", "b", "c"}}, "images"},
		"no files":                  {values{"prompt": "x", "images": []any{}}, "images"},
		"base64 to be fetched":      {values{"prompt": "x", "video": "AAAA"}, "video"},
		"an open address":           {values{"prompt": "x", "video": "http://a"}, "video"},
		"nothing to be fetched":     {values{"prompt": "x", "video": nil}, "video"},
		"both names":                {values{"prompt": "x", "duration": 5.0, "seconds": 5.0}, "seconds"},
		"reserved":                  {values{"prompt": "x", "model": "y"}, "model"},
		"reserved in capitals":      {values{"prompt": "x", "Model": "y"}, "Model"},
		"reserved by its beginning": {values{"prompt": "x", "webhook_events_filter": "y"}, "webhook_events_filter"},
		"reserved inside":           {values{"prompt": "x", "options": values{"callback_url": "y"}}, "options/callback_url"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := in.Check(tt.input)
			if tt.field == "" {
				require.NoError(t, err)
				return
			}
			info := classify.Classify(err)
			require.Equal(t, classify.Validation, info.Class)
			require.Equal(t, "/input_data/"+tt.field, info.Field)
			require.NotEmpty(t, info.Message)
		})
	}
	lists := in.WithNames(map[string]string{"image": "image_urls[]"}, []InputName{{"m", "prompt", "text"}, {"n", "prompt", "words"}}, "m")
	require.Equal(t, values{"image_urls": []any{"a"}, "text": "x", "seconds": 1.0}, lists.Rename(values{"image": "a", "prompt": "x", "duration": 1.0}))
	require.Equal(t, values{"image_urls": []any{"a", "b"}}, lists.Rename(values{"image": []any{"a", "b"}}))
	require.Equal(t, "promptText", in.Names["prompt"], "the inputs stay as they were")
	require.Equal(t, "/input_data/image_urls", classify.Classify(lists.Check(values{"text": "x", "image": "a", "image_urls": []any{"b"}})).Field)
	require.Contains(t, Reserved("sync"), "sync")

	given := values{"prompt": "x", "duration": 5.0, "seed": 7.0}
	require.Equal(t, values{"promptText": "x", "seconds": 5.0, "seed": 7.0}, in.Rename(given))
	require.Equal(t, values{"prompt": "x", "duration": 5.0, "seed": 7.0}, given, "the input stays as it was")
}

func TestAttachments(t *testing.T) {
	t.Parallel()
	data, err := base64.StdEncoding.DecodeString(pixel)
	require.NoError(t, err)
	file := File{MediaType: "image/webp", Data: []byte("stored")}
	at := func(pointer string) File { f := file; f.Pointer = pointer; return f }
	req := Request{
		Input: values{
			"image": []any{values{"$file": 0.0}, "https://a/b.png", "data:image/png;base64," + pixel, pixel},
			"mask":  values{"$file": 1.0}, "bad": "not a file!", "deep": values{"a/b": []any{"x", values{"$file": 2.0}}},
		},
		Files: []File{at("/image/0"), at("/mask"), at("/deep/a~1b/1")},
	}
	got, err := req.Attachments("image")
	require.NoError(t, err)
	stored, png := Attachment{Data: file.Data, MediaType: "image/webp"}, Attachment{Data: data, MediaType: "image/png"}
	require.Equal(t, []Attachment{stored, {URL: "https://a/b.png"}, png, png}, got)
	require.Equal(t, "https://a/b.png", got[1].Address())
	require.Equal(t, "https://a/b.png", got[1].AddressOrBase64())
	require.Equal(t, "data:image/png;base64,"+pixel, got[2].Address())
	require.Equal(t, pixel, got[2].AddressOrBase64())

	none, err := req.Attachments("nothing")
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = req.Attachments("bad")
	require.Equal(t, "/input_data/bad", classify.Classify(err).Field)
	require.NotContains(t, err.Error(), "not a file!")

	before := req.Input["image"].([]any)[0]
	whole := req.WithFiles(Attachment.Address)
	address := "data:image/webp;base64," + base64.StdEncoding.EncodeToString(file.Data)
	require.Equal(t, values{
		"image": []any{address, "https://a/b.png", "data:image/png;base64," + pixel, pixel},
		"mask":  address, "bad": "not a file!", "deep": values{"a/b": []any{"x", address}},
	}, whole)
	require.Equal(t, before, req.Input["image"].([]any)[0], "the request stays as it was")

	var form Form
	stored.AddTo(&form, "image", "picture")
	body := new(strings.Builder)
	for _, segment := range form.Payload().segments {
		body.Write(segment)
	}
	require.Contains(t, body.String(), `name="image"; filename="picture.webp"`)
	require.NotPanics(t, func() { (&Request{Files: []File{at("/gone/0")}}).WithFiles(Attachment.Address) })
}

func TestFeatures(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{"schemas/text-to-image.json": {Data: []byte(`{"type":"object"}`)}, "schemas/upscale.json": {Data: []byte(`{`)}}
	models := map[tasks.Feature][]string{tasks.TextToImage: {"a", "b"}}
	features := Features(files, models)
	require.Equal(t, []FeatureCapability{{Feature: tasks.TextToImage, Models: []string{"a", "b"}, Input: []byte(`{"type":"object"}`)}}, features)
	require.Equal(t, "a", ModelOr(models, tasks.TextToImage, ""))
	require.Equal(t, "c", ModelOr(models, tasks.TextToImage, "c"))
	require.Empty(t, ModelOr(models, tasks.Upscale, ""))
	width, height := WidthAndHeight("1024x768")
	require.Equal(t, []float64{1024, 768}, []float64{width, height})
	features[0].Models[0] = "changed"
	require.Equal(t, "a", models[tasks.TextToImage][0])
	require.Panics(t, func() { Features(files, map[tasks.Feature][]string{tasks.Upscale: nil}) }, "no JSON")
	require.Panics(t, func() { Features(files, map[tasks.Feature][]string{tasks.TextToVideo: nil}) }, "no file")
}
