package openai

import (
	"context"
	"net/http"
	"regexp"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// localReserved are LocalAI's parameters that are ours to set: which backend
// runs, what it is given, and files by their place on the server or elsewhere.
var localReserved = append([]string{
	"backend", "params", "file", "files", "ref_images", "start_image", "end_image", "audio", "functions", "tools", "grammar*", "input_data",
}, reserved...)

// localVoice is a speaker, and not the path of a file at the server.
var localVoice = providers.Matching(regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 _.-]{0,127}$`), "the name of a speaker")

var drawn = map[string]providers.Check{
	"prompt": providers.TextUpTo(32000), "n": providers.Whole(1, 10), "size": size, "seed": providers.Whole(-1, 1<<32-1), "step": providers.Whole(1, 500),
	"aspect_ratio": ratios(imageSizes("")), "image": providers.OneFile, "mask": providers.OneFile,
}

var drawnShape = map[string]string{"aspect_ratio": "size"}

var filmed = map[string]providers.Check{
	"prompt": providers.TextUpTo(32000), "duration": providers.Seconds(1, 600), "size": providers.PixelSize, "fps": providers.Whole(1, 120),
	"seed": providers.Whole(-1, 1<<32-1), "image": providers.OneFile, "last_frame": providers.OneFile,
}

// localInputs says what LocalAI takes.
var localInputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToImage:  {Required: []string{"prompt"}, Checks: drawn, Names: map[string]string{"steps": "step"}, Excludes: drawnShape},
	tasks.ImageToImage: {Required: []string{"prompt", "image"}, Checks: drawn, Names: map[string]string{"steps": "step"}, Excludes: drawnShape},
	tasks.Upscale: {Required: []string{"image"}, Names: map[string]string{"factor": "scale"}, Checks: map[string]providers.Check{
		"image": providers.OneFile, "factor": scale,
	}},
	tasks.TextToVideo:  {Required: []string{"prompt"}, Checks: filmed, Names: map[string]string{"duration": "seconds", "steps": "step", "guidance": "cfg_scale"}},
	tasks.ImageToVideo: {Required: []string{"image"}, Checks: filmed, Names: map[string]string{"duration": "seconds", "steps": "step", "guidance": "cfg_scale"}},
	tasks.TextToSpeech: {
		Required: []string{"text"}, Names: map[string]string{"text": "input", "format": "response_format"},
		Checks: map[string]providers.Check{
			"text": providers.TextUpTo(32000), "voice": localVoice, "speed": providers.Number(0.25, 4),
			"format": providers.OneOf("mp3", "opus", "aac", "flac", "wav", "pcm"),
		},
	},
	tasks.TextToAudio: {Required: []string{"prompt"}, Names: map[string]string{"prompt": "text", "duration": "duration_seconds"}, Checks: map[string]providers.Check{
		"prompt": providers.TextUpTo(32000), "duration": providers.Number(0.5, 600),
	}},
}

func scale(v any) string {
	if v != 2.0 && v != 4.0 {
		return "must be 2 or 4"
	}
	return ""
}

// localEdit draws from a picture: over a mask by the endpoint for it, and else
// as a drawing that begins with the picture.
func (p *Provider) localEdit(ctx context.Context, req providers.Request) (providers.Status, error) {
	body, warnings := p.imageBody(req)
	image, err := localFile(req, "image")
	if err != nil {
		return providers.Status{}, err
	}
	if _, masked := req.Input["mask"]; !masked {
		body["file"] = image.Base64()
		return p.image(ctx, "/images/generations", body, nil, warnings)
	}
	mask, err := localFile(req, "mask")
	if err != nil {
		return providers.Status{}, err
	}
	rename(body, "step", "steps")
	delete(body, "response_format")
	form := formOf(body)
	image.AddTo(form, "image", "image")
	mask.AddTo(form, "mask", "mask")
	return p.image(ctx, "/images/inpainting", nil, form.Payload(), warnings)
}

func (p *Provider) localUpscale(ctx context.Context, req providers.Request) (providers.Status, error) {
	image, err := localFile(req, "image")
	if err != nil {
		return providers.Status{}, err
	}
	form := formOf(p.passOn(req))
	image.AddTo(form, "image", "image")
	return p.image(ctx, "/images/upscale", nil, form.Payload(), nil)
}

func (p *Provider) localSound(ctx context.Context, req providers.Request) (providers.Status, error) {
	body := p.passOn(req)
	rename(body, "model", "model_id")
	return p.sound(ctx, "/sound-generation", body, "wav")
}

// localVideo films, and answers with the film. The endpoint stands beside v1.
func (p *Provider) localVideo(ctx context.Context, req providers.Request) (providers.Status, error) {
	body := p.passOn(req)
	delete(body, "last_frame")
	for key, own := range map[string]string{"image": "start_image", "last_frame": "end_image"} {
		if _, given := req.Input[key]; !given {
			continue
		}
		frame, err := localFile(req, key)
		if err != nil {
			return providers.Status{}, err
		}
		body[own] = frame.Base64()
	}
	if seconds, ok := body["seconds"].(float64); ok {
		body["seconds"] = providers.Plain(seconds)
	}
	body["response_format"] = p.config.ResponseFormat
	var made struct {
		Data *[]image `json:"data"`
	}
	address := strings.TrimSuffix(strings.TrimSuffix(p.config.BaseURL, "/"), "/v1") + "/video"
	answer, err := p.client.JSON(ctx, providers.Call{URL: address, Submit: true}, body, &made)
	if err != nil {
		return providers.Status{}, err
	}
	if made.Data == nil {
		return providers.Status{}, p.client.Strange(true, "the answer has no film")
	}
	return p.client.Completed(true, providers.Status{}, answer.Body, req.Feature)
}

// localFile is the file at a key, with its bytes: a server of one's own is not
// made to fetch addresses of callers.
func localFile(req providers.Request, key string) (providers.Attachment, error) {
	files, err := req.Attachments(key)
	if err != nil {
		return providers.Attachment{}, err
	}
	if files[0].URL != "" {
		return providers.Attachment{}, providers.InvalidInput(key, "must be a file that comes along: the server is not made to fetch any")
	}
	return files[0], nil
}

// decodeLocalError reads OpenAI's bodies, and those of some endpoints that hold
// only a text: they are the server's own all the same.
func decodeLocalError(status int, header http.Header, body []byte) *classify.Error {
	if failure := decodeError(status, header, body); failure != nil {
		return failure
	}
	return providers.DecodeError(status, header, body)
}

func rename(body map[string]any, from, to string) {
	if value, given := body[from]; given {
		delete(body, from)
		body[to] = value
	}
}
