package luma

import (
	"regexp"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models by feature, the default first.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:  {"photon-1", "photon-flash-1"},
	tasks.ImageToImage: {"photon-1", "photon-flash-1"},
	tasks.TextToVideo:  {"ray-2", "ray-flash-2"},
	tasks.ImageToVideo: {"ray-2", "ray-flash-2"},
}

var checks = map[string]providers.Check{
	"prompt":       providers.TextUpTo(5000),
	"aspect_ratio": providers.OneOf("1:1", "3:4", "4:3", "9:16", "16:9", "9:21", "21:9"),
	"n":            providers.Whole(1, 1),
	"image":        providers.OneFetched,
	"format":       providers.OneOf("jpg", "png"),
	"resolution":   providers.OneOf("540p", "720p", "1080p", "4k"),
	"duration":     duration,
	"size":         func(any) string { return "this provider takes an aspect_ratio, and a resolution for videos" },
}

var lengths = regexp.MustCompile(`^[59]s?$`)

func duration(v any) string {
	if text, ok := seconds(v).(string); !ok || !lengths.MatchString(text) {
		return "must be 5 or 9 seconds"
	}
	return ""
}

// inputs says what each feature takes.
var inputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToImage:  {Required: []string{"prompt"}, Checks: checks, Reserved: reserved},
	tasks.ImageToImage: {Required: []string{"image", "prompt"}, Checks: checks, Reserved: reserved},
	tasks.TextToVideo:  {Required: []string{"prompt"}, Checks: checks, Reserved: reserved},
	tasks.ImageToVideo: {Required: []string{"image", "prompt"}, Checks: checks, Reserved: reserved},
}

// reserved are the parameters that are ours to set. Whoever waits is Easel.
var reserved = providers.Reserved("sync", "sync_timeout", "generation_type")

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, _ string, given map[string]any) error {
	in, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	return in.Check(given)
}

// input is the input as the model gets it.
func input(req providers.Request) map[string]any {
	body := req.WithFiles(providers.Attachment.Address)
	body["model"] = providers.ModelOr(models, req.Feature, req.Model)
	delete(body, "n") // there is one
	if length, ok := body["duration"]; ok {
		body["duration"] = seconds(length)
	}
	picture, ok := body["image"]
	if !ok {
		return body
	}
	delete(body, "image")
	switch req.Feature {
	case tasks.ImageToImage:
		body["modify_image_ref"] = map[string]any{"url": picture}
	case tasks.ImageToVideo:
		body["keyframes"] = map[string]any{"frame0": map[string]any{"type": "image", "url": picture}}
	default:
		body["image_ref"] = []any{map[string]any{"url": picture}}
	}
	return body
}
