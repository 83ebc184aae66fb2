package providers

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

// TestFindOutputs goes through the results that providers have documented.
func TestFindOutputs(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		feature tasks.Feature
		answer  string
		want    []string // kind, media type, name, and where it is
	}{
		"openai, bytes":              {tasks.TextToImage, `{"created":1,"data":[{"b64_json":"PIXEL","revised_prompt":"x"}]}`, []string{"image image/png  PIXEL"}},
		"openai, addresses":          {tasks.TextToImage, `{"data":[{"url":"https://a/1.png?s=1"},{"url":"https://a/2"}]}`, []string{"image  1.png https://a/1.png?s=1", "image   https://a/2"}},
		"localai, a data URI":        {tasks.TextToImage, `{"data":[{"b64_json":"data:image/png;base64,PIXEL"}]}`, []string{"image image/png  PIXEL"}},
		"replicate, a text":          {tasks.TextToImage, `{"status":"succeeded","output":"https://a/out.webp"}`, []string{"image  out.webp https://a/out.webp"}},
		"replicate, a list":          {tasks.TextToImage, `{"output":["https://a/0.png","https://a/1.png"]}`, []string{"image  0.png https://a/0.png", "image  1.png https://a/1.png"}},
		"replicate, a map":           {tasks.TextToAudio, `{"output":{"spectrogram":"https://a/s.png","audio":"https://a/a.wav","notes":"calm"}}`, []string{"audio  a.wav https://a/a.wav", "image  s.png https://a/s.png"}},
		"replicate, lists in a map":  {tasks.TextToImage, `{"output":{"images":["https://a/0"],"seeds":[7]}}`, []string{"image   https://a/0"}},
		"replicate, a data URI":      {tasks.TextToImage, `{"output":"data:image/png;base64,PIXEL"}`, []string{"image image/png  PIXEL"}},
		"replicate, words":           {tasks.TextToImage, `{"output":["on","ce "]}`, nil},
		"replicate, removed":         {tasks.TextToImage, `{"output":null,"data_removed":true}`, nil},
		"fal, images":                {tasks.TextToImage, `{"images":[{"url":"https://a/b","width":1,"height":1,"content_type":"image/jpeg","file_name":"b.jpg"}],"seed":7}`, []string{"image image/jpeg b.jpg https://a/b"}},
		"fal, inline":                {tasks.TextToImage, `{"images":[{"url":"data:image/png;base64,PIXEL","content_type":"image/png"}]}`, []string{"image image/png  PIXEL"}},
		"fal, an image":              {tasks.Upscale, `{"image":{"url":"https://a/b.png"}}`, []string{"image  b.png https://a/b.png"}},
		"fal, a video":               {tasks.TextToVideo, `{"video":{"url":"https://a/b.mp4","content_type":"video/mp4"},"seed":1}`, []string{"video video/mp4 b.mp4 https://a/b.mp4"}},
		"fal, videos":                {tasks.TextToVideo, `{"videos":[{"url":"https://a/b"}]}`, []string{"video   https://a/b"}},
		"fal, a sound":               {tasks.TextToSpeech, `{"audio":{"url":"https://a/b.wav"}}`, []string{"audio  b.wav https://a/b.wav"}},
		"fal, an audio file":         {tasks.TextToAudio, `{"audio_file":{"url":"https://a/b"}}`, []string{"audio   https://a/b"}},
		"fal, a mesh":                {"text-to-3d", `{"model_mesh":{"url":"https://a/b.glb","content_type":"model/gltf-binary"}}`, []string{"file model/gltf-binary  https://a/b.glb"}},
		"gemini":                     {tasks.TextToImage, `{"candidates":[{"content":{"parts":[{"text":"here"},{"inlineData":{"mimeType":"image/png","data":"PIXEL"}}]}}]}`, []string{"image image/png  PIXEL"}},
		"gemini, refused":            {tasks.TextToImage, `{"candidates":[{"finishReason":"IMAGE_SAFETY"}]}`, nil},
		"imagen":                     {tasks.TextToImage, `{"predictions":[{"bytesBase64Encoded":"PIXEL","mimeType":"image/png"},{"raiFilteredReason":"x"}]}`, []string{"image image/png  PIXEL"}},
		"veo":                        {tasks.TextToVideo, `{"done":true,"response":{"generateVideoResponse":{"generatedSamples":[{"video":{"uri":"https://g/v:download?alt=media"}}]}}}`, []string{"video   https://g/v:download?alt=media"}},
		"bfl":                        {tasks.TextToImage, `{"status":"Ready","result":{"sample":"https://a/sample.jpeg?sig=1","prompt":"x","seed":42}}`, []string{"image  sample.jpeg https://a/sample.jpeg?sig=1"}},
		"stability":                  {tasks.TextToImage, `{"image":"PIXEL","finish_reason":"SUCCESS","seed":3}`, []string{"image image/png  PIXEL"}},
		"stability, results":         {tasks.TextToImage, `{"result":"PIXEL","finish_reason":"SUCCESS"}`, []string{"image image/png  PIXEL"}},
		"stability, v1":              {tasks.TextToImage, `{"artifacts":[{"base64":"PIXEL","finishReason":"SUCCESS"}]}`, []string{"image image/png  PIXEL"}},
		"runway":                     {tasks.ImageToVideo, `{"status":"SUCCEEDED","output":["https://a/o.mp4?_jwt=x"]}`, []string{"video  o.mp4 https://a/o.mp4?_jwt=x"}},
		"luma, a video":              {tasks.TextToVideo, `{"assets":{"image":"https://a/still.jpg","video":"https://a/v.mp4","progress_video":"https://a/p.mp4"}}`, []string{"video  v.mp4 https://a/v.mp4"}},
		"luma, an image":             {tasks.TextToImage, `{"assets":{"image":"https://a/i.jpg","video":null}}`, []string{"image  i.jpg https://a/i.jpg"}},
		"luma agents":                {tasks.TextToImage, `{"output":[{"type":"image","url":"https://a/x"}]}`, []string{"image   https://a/x"}},
		"kling":                      {tasks.TextToVideo, `{"outputs":[{"type":"video","url":"https://a/k","watermark_url":"https://a/w","duration":"5"}]}`, []string{"video   https://a/k"}},
		"kling, before":              {tasks.TextToVideo, `{"task_status":"succeed","task_result":{"videos":[{"id":"1","url":"https://a/k.mp4"}]}}`, []string{"video  k.mp4 https://a/k.mp4"}},
		"elevenlabs":                 {tasks.TextToSpeech, `{"audio_base64":"PIXEL","alignment":{}}`, []string{"audio image/png  PIXEL"}},
		"stable-diffusion-webui":     {tasks.TextToImage, `{"images":["PIXEL"],"parameters":{},"info":"{}"}`, []string{"image image/png  PIXEL"}},
		"an empty list":              {tasks.TextToImage, `{"images":[]}`, nil},
		"an empty address":           {tasks.TextToImage, `{"images":[{"url":""}]}`, nil},
		"a scheme that we do not":    {tasks.TextToImage, `{"images":[{"url":"gs://a/b.png"}],"output":["file:///etc/passwd"]}`, nil},
		"nothing":                    {tasks.TextToImage, `null`, nil},
		"too deep":                   {tasks.TextToImage, `{"output":[[[[[["https://a/b"]]]]]]}`, nil},
		"the wanted kind goes first": {tasks.TextToVideo, `{"image":{"url":"https://a/i"},"video":{"url":"https://a/v"}}`, []string{"video   https://a/v"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outputs, err := FindOutputs([]byte(strings.ReplaceAll(tt.answer, "PIXEL", pixel)), KindOf(tt.feature))
			require.NoError(t, err)
			var got []string
			for _, o := range outputs {
				where := o.URL
				if base64.StdEncoding.EncodeToString(o.Data) == pixel {
					where = "PIXEL"
				}
				got = append(got, fmt.Sprintf("%s %s %s %s", o.Kind, o.MediaType, o.Name, where))
			}
			require.Equal(t, tt.want, got)
		})
	}
	for _, answer := range []string{`{"data":[{"b64_json":"not base64!"}]}`, `{"images":["?"]}`, `{`} {
		_, err := FindOutputs([]byte(answer), "image")
		require.Error(t, err, answer)
	}
}

func TestCompleted(t *testing.T) {
	t.Parallel()
	client, err := NewClient(ClientConfig{
		Provider: "lumen", BaseURL: "https://lumen.example", Classes: map[string]classify.Class{"content_policy_violation": classify.ContentPolicy},
		Authorize: nil,
	})
	require.NoError(t, err)
	tests := map[string]struct {
		answer   string
		state    State
		class    classify.Class
		code     string
		warnings int
	}{
		"a file":             {`{"images":[{"url":"https://a/b"}]}`, Succeeded, "", "", 0},
		"nothing":            {`{"images":[]}`, Failed, classify.GenerationFailed, "no_output", 0},
		"not even a place":   {`{"ok":true}`, Failed, classify.GenerationFailed, "no_output", 0},
		"fal's hidden error": {`{"status":"COMPLETED","error":"Request timed out","error_type":"request_timeout"}`, Failed, classify.GenerationFailed, "request_timeout", 0},
		"fal's other one":    {`{"detail":[{"loc":["body","prompt"],"msg":"flagged","type":"content_policy_violation"}]}`, Failed, classify.ContentPolicy, "content_policy_violation", 0},
		"an error object":    {`{"output":null,"error":{"code":"oom","message":"out of memory"}}`, Failed, classify.GenerationFailed, "oom", 0},
		"no error":           {`{"error":null,"failure_reason":"","images":[{"url":"https://a/b"}]}`, Succeeded, "", "", 0},
		"gemini's refusal":   {`{"promptFeedback":{"blockReason":"SAFETY"}}`, Failed, classify.GenerationFailed, "SAFETY", 0},
		"both":               {`{"images":[{"url":"https://a/b"}],"error":"one of two failed"}`, Succeeded, "", "", 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st, err := client.Completed(false, Status{RemoteID: "r1"}, []byte(tt.answer), tasks.TextToImage)
			require.NoError(t, err)
			require.Equal(t, tt.state, st.State)
			require.Equal(t, "r1", st.RemoteID)
			require.Len(t, st.Warnings, tt.warnings)
			if tt.state == Succeeded {
				require.Nil(t, st.Failure)
				require.Len(t, st.Outputs, 1)
				return
			}
			require.Equal(t, tt.class, st.Failure.Class)
			require.Equal(t, tt.code, st.Failure.Code)
			require.NotEmpty(t, st.Failure.Message)
		})
	}
	for _, answer := range []string{`<html>`, `{"images":["?"]}`} {
		_, err = client.Completed(true, Status{}, []byte(answer), tasks.TextToImage)
		require.Equal(t, classify.UnknownOutcome, classify.Classify(err).Class, "what cannot be read may have been bought")
		_, err = client.Completed(false, Status{}, []byte(answer), tasks.TextToImage)
		require.Equal(t, classify.Server, classify.Classify(err).Class)
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	for feature, kind := range map[tasks.Feature]string{
		tasks.TextToImage: "image", tasks.ImageToImage: "image", tasks.Upscale: "image", tasks.RemoveBackground: "image",
		tasks.TextToVideo: "video", tasks.ImageToVideo: "video", "video-upscale": "video",
		tasks.TextToSpeech: "audio", tasks.TextToAudio: "audio", "text-to-music": "audio",
	} {
		require.Equal(t, kind, KindOf(feature), feature)
	}
}
