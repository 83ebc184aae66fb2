package kling

import (
	"maps"
	"regexp"
	"strconv"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models by feature, the default first.
var models = map[tasks.Feature][]string{
	tasks.TextToVideo:  {"kling-3.0", "kling-3.0-turbo"},
	tasks.ImageToVideo: {"kling-3.0", "kling-3.0-turbo"},
}

// settings are the keys that the API wants below settings.
var settings = []string{"resolution", "aspect_ratio", "duration", "audio", "multi_shot"}

var checks = map[string]providers.Check{
	"prompt":       providers.TextUpTo(26000),
	"aspect_ratio": providers.OneOf("16:9", "9:16", "1:1"),
	"resolution":   providers.OneOf("720p", "1080p", "4k"),
	"audio":        providers.OneOf("native", "off"),
	"duration":     providers.Seconds(3, 15),
	"n":            providers.Whole(1, 1),
	"image":        providers.OneFile,
	"image_tail":   providers.OneFile,
	"size":         func(any) string { return "this provider takes a resolution and an aspect_ratio" },
}

// reserved are the parameters that are ours to set: callbacks and the id of the
// task stand in options, pictures in contents.
var reserved = providers.Reserved("options", "settings", "contents", "external_*", "watermark_info")

var inputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToVideo:  {Required: []string{"prompt"}, Checks: checks, Reserved: reserved},
	tasks.ImageToVideo: {Required: []string{"image"}, Checks: checks, Reserved: reserved},
}

var modelForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{2,63}$`)

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, given map[string]any) error {
	in, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	if model != "" && !modelForm.MatchString(model) {
		return &classify.Error{Class: classify.Validation, Field: "/model", Message: "must be a name such as kling-3.0"}
	}
	return in.Check(given)
}

// input is the request's body: the input with its parts where the API looks for
// them.
func input(req providers.Request) (map[string]any, error) {
	body := maps.Clone(req.Input)
	delete(body, "n") // there is one
	set := map[string]any{}
	for _, key := range settings {
		if value, ok := body[key]; ok {
			set[key] = value
			delete(body, key)
		}
	}
	if text, ok := set["duration"].(string); ok {
		set["duration"], _ = strconv.ParseFloat(text, 64) // it has been checked
	}
	if len(set) > 0 {
		body["settings"] = set
	}
	if req.Feature == tasks.ImageToVideo {
		contents, err := contentsOf(req)
		if err != nil {
			return nil, err
		}
		body["contents"] = contents
		for _, key := range []string{"prompt", "image", "image_tail"} {
			delete(body, key)
		}
	}
	chosen := map[string]any{}
	if req.ClientID != "" {
		chosen["external_task_id"] = req.ClientID
	}
	if req.WebhookURL != "" {
		chosen["callback_url"] = req.WebhookURL
	}
	if len(chosen) > 0 {
		body["options"] = chosen
	}
	return body, nil
}

// contentsOf are the prompt and the pictures, each with its part to play.
func contentsOf(req providers.Request) ([]any, error) {
	var contents []any
	if text := req.Text("prompt", ""); text != "" {
		contents = append(contents, map[string]any{"type": "prompt", "text": text})
	}
	for _, frame := range []struct{ key, kind string }{{"image", "first_frame"}, {"image_tail", "last_frame"}} {
		files, err := req.Attachments(frame.key)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			contents = append(contents, map[string]any{"type": frame.kind, "url": file.AddressOrBase64()})
		}
	}
	return contents, nil
}
