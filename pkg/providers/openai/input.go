package openai

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// reserved are the provider's parameters that are ours to set: they would
// change who is asked, or the form of the answer.
var reserved = []string{
	"model", "stream", "stream_format", "partial_images", "user", "webhook*", "input", "images", "image[]", "input_reference",
	"response_format",
}

// CheckInput implements [providers.InputChecker]. It refuses what is surely
// wrong; parameters that it does not know are the provider's to judge.
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	if !slices.Contains(p.preset.features, feature) {
		return providers.NotOffered()
	}
	return p.inputs(feature, model).Check(input)
}

// inputs says what a feature takes at this server.
func (p *Provider) inputs(feature tasks.Feature, model string) providers.Inputs {
	if in, ok := p.preset.inputs[feature]; ok {
		in.Reserved = localReserved
		return in
	}
	in := inputs[feature](model)
	in.Reserved = reserved
	return in
}

// inputs says what each feature takes from a model.
var inputs = map[tasks.Feature]func(model string) providers.Inputs{
	tasks.TextToImage: imageInputs,
	tasks.ImageToImage: func(model string) providers.Inputs {
		in := imageInputs(model)
		in.Required = []string{"image", "prompt"}
		in.Checks["image"], in.Checks["mask"] = providers.FilesUpTo(16), providers.OneFile
		return in
	},
	tasks.TextToSpeech: speechInputs,
	tasks.TextToVideo:  videoInputs,
	tasks.ImageToVideo: func(model string) providers.Inputs {
		in := videoInputs(model)
		in.Required = []string{"image", "prompt"}
		in.Checks["image"] = providers.OneFile
		return in
	},
}

var size = providers.Matching(regexp.MustCompile(`^([1-9][0-9]{1,4}x[1-9][0-9]{1,4}|auto)$`), "a width and a height such as 1024x1024")

func imageInputs(model string) providers.Inputs {
	return providers.Inputs{
		Required: []string{"prompt"},
		Excludes: map[string]string{"aspect_ratio": "size"},
		Checks: map[string]providers.Check{
			"prompt": providers.TextUpTo(maxPrompt(model)), "n": providers.Whole(1, 10), "output_compression": providers.Whole(0, 100),
			"size": size, "aspect_ratio": ratios(imageSizes(model)),
		},
	}
}

func speechInputs(string) providers.Inputs {
	return providers.Inputs{
		Required: []string{"text"},
		Names:    map[string]string{"text": "input", "format": "response_format"},
		Checks: map[string]providers.Check{
			"text": providers.TextUpTo(4096), "speed": providers.Number(0.25, 4),
			"format": providers.OneOf("mp3", "opus", "aac", "flac", "wav", "pcm"), "voice": voice,
		},
	}
}

func voice(v any) string {
	switch v.(type) {
	case string, map[string]any:
		return ""
	}
	return "must be a name"
}

func videoInputs(string) providers.Inputs {
	return providers.Inputs{
		Required: []string{"prompt"},
		Names:    map[string]string{"duration": "seconds"},
		Excludes: map[string]string{"aspect_ratio": "size"},
		Checks: map[string]providers.Check{
			"prompt": providers.TextUpTo(32000), "duration": providers.Seconds(1, 999), "seconds": providers.Seconds(1, 999),
			"size": size, "aspect_ratio": ratios(videoSizes),
		},
	}
}

func ratios(sizes map[string]string) providers.Check {
	return providers.OneOf(slices.Sorted(maps.Keys(sizes))...)
}

func maxPrompt(model string) int {
	switch {
	case strings.HasPrefix(model, "dall-e-2"):
		return 1000
	case strings.HasPrefix(model, "dall-e-3"):
		return 4000
	}
	return 32000
}

// videoSizes are the sizes of aspect ratios.
var videoSizes = map[string]string{"16:9": "1280x720", "9:16": "720x1280"}

// imageSizes are the sizes of aspect ratios, as near as the model comes.
func imageSizes(model string) map[string]string {
	switch {
	case strings.HasPrefix(model, "gpt-image-2"): // any size that divides by 16
		return map[string]string{
			"1:1": "1024x1024", "3:2": "1536x1024", "2:3": "1024x1536", "4:3": "1536x1152", "3:4": "1152x1536",
			"16:9": "1536x864", "9:16": "864x1536",
		}
	case strings.HasPrefix(model, "dall-e-3"):
		return map[string]string{"1:1": "1024x1024", "16:9": "1792x1024", "9:16": "1024x1792"}
	case strings.HasPrefix(model, "dall-e-2"):
		return map[string]string{"1:1": "1024x1024"}
	}
	return map[string]string{
		"1:1": "1024x1024", "3:2": "1536x1024", "2:3": "1024x1536", "4:3": "1536x1024", "3:4": "1024x1536",
		"16:9": "1536x1024", "9:16": "1024x1536",
	}
}

// passOn is the input as the provider gets it: our files taken out, the model
// put in, if there is one.
func (p *Provider) passOn(req providers.Request) map[string]any {
	body := p.inputs(req.Feature, req.Model).Rename(req.Input)
	delete(body, "image")
	delete(body, "mask")
	if req.Model != "" {
		body["model"] = req.Model
	}
	return body
}

// imageBody is the body of both image calls, but for the pictures.
func (p *Provider) imageBody(req providers.Request) (map[string]any, []tasks.Warning) {
	body := p.passOn(req)
	var warnings []tasks.Warning
	if ratio, ok := body["aspect_ratio"].(string); ok {
		delete(body, "aspect_ratio")
		body["size"] = imageSizes(req.Model)[ratio]
		if !sameShape(ratio, imageSizes(req.Model)[ratio]) {
			warnings = append(warnings, tasks.Warning{
				Code: "size_approximated", Pointer: "/input_data/aspect_ratio",
				Message: "the model has no such aspect ratio; the nearest one was used",
			})
		}
	}
	foldStyle(body, req.Model)
	switch {
	case p.config.ResponseFormat != "":
		body["response_format"] = p.config.ResponseFormat
	case strings.HasPrefix(req.Model, "dall-e"):
		body["response_format"] = "b64_json"
	}
	return body, warnings
}

// foldStyle writes a style into the prompt: only dall-e-3 has a parameter of
// that name, and it knows two.
func foldStyle(body map[string]any, model string) {
	style, ok := body["style"].(string)
	if !ok || strings.HasPrefix(model, "dall-e-3") && (style == "vivid" || style == "natural") {
		return
	}
	delete(body, "style")
	if style != "" {
		body["prompt"] = fmt.Sprintf("%s\n\nStyle: %s", body["prompt"], style)
	}
}

func sameShape(ratio, size string) bool {
	var a, b, w, h int
	_, _ = fmt.Sscanf(ratio, "%d:%d", &a, &b)
	_, _ = fmt.Sscanf(size, "%dx%d", &w, &h)
	return a*h == b*w
}

func byURL(pictures []providers.Attachment) bool {
	return slices.ContainsFunc(pictures, func(one providers.Attachment) bool { return one.URL != "" })
}

// references are pictures as JSON has them.
func references(pictures []providers.Attachment) []any {
	list := make([]any, len(pictures))
	for i, one := range pictures {
		list[i] = map[string]any{"image_url": one.Address()}
	}
	return list
}

// formOf writes the body as the fields of a form.
func formOf(body map[string]any) *providers.Form {
	var form providers.Form
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if text, ok := body[key].(string); ok {
			form.Field(key, text)
			continue
		}
		// The input came in as JSON, and so it can be encoded.
		raw, _ := json.Marshal(body[key])
		form.Field(key, string(raw))
	}
	return &form
}
