package openai

import (
	"context"
	"mime"
	"net/http"
	"strings"

	"github.com/easel-jobs/easel/pkg/providers"
)

const defaultVoice = "alloy"

// mediaTypes of the formats that can be asked for.
var mediaTypes = map[string]string{
	"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp",
	"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac",
	"flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm",
}

func (p *Provider) speak(ctx context.Context, req providers.Request) (providers.Status, error) {
	body := p.speechBody(req)
	format, _ := body["response_format"].(string)
	return p.sound(ctx, "/audio/speech", body, format)
}

// sound makes a call that answers with the bytes of a sound, of the format if
// the answer does not say.
func (p *Provider) sound(ctx context.Context, path string, body map[string]any, format string) (providers.Status, error) {
	payload, err := providers.JSONPayload(body)
	if err != nil {
		return providers.Status{}, err
	}
	reply, err := p.client.Do(ctx, providers.Call{
		URL: path, Payload: payload, Submit: true,
		Header: http.Header{"Accept": {"audio/*, application/octet-stream"}},
	})
	if err != nil {
		return providers.Status{}, err
	}
	claimed, _, err := mime.ParseMediaType(reply.Header.Get("Content-Type"))
	sound := strings.HasPrefix(claimed, "audio/")
	if !sound && claimed != "application/octet-stream" || err != nil || len(reply.Body) == 0 {
		return providers.Status{}, p.client.Strange(true, "the answer is no sound")
	}
	if !sound {
		claimed = mediaTypes[format]
	}
	return providers.Status{State: providers.Succeeded, Outputs: []providers.Output{
		{Kind: "audio", MediaType: claimed, Data: reply.Body},
	}}, nil
}

func (p *Provider) speechBody(req providers.Request) map[string]any {
	body := p.passOn(req)
	if _, ok := body["response_format"]; !ok {
		body["response_format"] = "mp3"
	}
	if _, ok := body["voice"]; !ok && !p.preset.foreign {
		body["voice"] = defaultVoice
	}
	return body
}
