package fal

import (
	"maps"
	"regexp"
	"slices"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models by feature, the default first. Any other can be configured.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:      {"fal-ai/flux/dev", "fal-ai/flux/schnell", "fal-ai/flux-pro/v1.1", "fal-ai/flux-pro/v1.1-ultra", "fal-ai/bytedance/seedream/v4/text-to-image", "fal-ai/qwen-image"},
	tasks.ImageToImage:     {"fal-ai/flux-pro/kontext", "fal-ai/nano-banana/edit", "fal-ai/bytedance/seedream/v4/edit", "fal-ai/flux/dev/image-to-image"},
	tasks.Upscale:          {"fal-ai/clarity-upscaler", "fal-ai/esrgan"},
	tasks.RemoveBackground: {"fal-ai/birefnet/v2", "fal-ai/bria/background/remove"},
	tasks.TextToVideo:      {"fal-ai/bytedance/seedance/v1/lite/text-to-video", "fal-ai/wan/v2.2-a14b/text-to-video", "fal-ai/veo3/fast"},
	tasks.ImageToVideo:     {"fal-ai/bytedance/seedance/v1/lite/image-to-video", "fal-ai/wan/v2.2-a14b/image-to-video", "fal-ai/kling-video/v2.1/standard/image-to-video"},
	tasks.TextToSpeech:     {"fal-ai/elevenlabs/tts/turbo-v2.5", "fal-ai/kokoro/american-english"},
	tasks.TextToAudio:      {"fal-ai/elevenlabs/sound-effects", "fal-ai/stable-audio"},
}

// names are what models call the common names, where it is not the usual.
var names = map[string]map[string]string{
	"fal-ai/nano-banana/edit":           {"image": "image_urls[]"},
	"fal-ai/bytedance/seedream/v4/edit": {"image": "image_urls[]"},
	"fal-ai/kokoro/american-english":    {"text": "prompt"},
	"fal-ai/elevenlabs/sound-effects":   {"prompt": "text", "duration": "duration_seconds"},
	"fal-ai/stable-audio":               {"duration": "seconds_total"},
}

// sized are the models that want an image_size where others want an
// aspect_ratio.
var sized = []string{
	"fal-ai/flux/dev", "fal-ai/flux/schnell", "fal-ai/flux-pro/v1.1", "fal-ai/bytedance/seedream/v4/text-to-image",
	"fal-ai/bytedance/seedream/v4/edit", "fal-ai/qwen-image",
}

// sizes are fal's names of aspect ratios.
var sizes = map[string]string{
	"1:1": "square_hd", "4:3": "landscape_4_3", "3:4": "portrait_4_3", "16:9": "landscape_16_9", "9:16": "portrait_16_9",
}

var usual = map[string]string{"image": "image_url", "mask": "mask_url", "n": "num_images"}

var prompt = map[string]providers.Check{
	"prompt": providers.TextUpTo(32000), "n": providers.Whole(1, 10), "seed": providers.Whole(0, 1<<32),
	"aspect_ratio": providers.TextUpTo(30), "size": providers.PixelSize, "duration": providers.Seconds(1, 300),
	"image": providers.FilesUpTo(10), "mask": providers.OneFile,
}

var picture = map[string]providers.Check{"image": providers.OneFile}

// inputs says what each feature takes from any model.
var inputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToImage:      {Required: []string{"prompt"}, Names: usual, Checks: prompt},
	tasks.ImageToImage:     {Required: []string{"prompt", "image"}, Names: usual, Checks: prompt},
	tasks.Upscale:          {Required: []string{"image"}, Names: usual, Checks: picture},
	tasks.RemoveBackground: {Required: []string{"image"}, Names: usual, Checks: picture},
	tasks.TextToVideo:      {Required: []string{"prompt"}, Names: usual, Checks: prompt},
	tasks.ImageToVideo:     {Required: []string{"image"}, Names: usual, Checks: prompt},
	tasks.TextToSpeech: {Required: []string{"text"}, Checks: map[string]providers.Check{
		"text": providers.TextUpTo(10000), "voice": providers.TextUpTo(200),
	}},
	tasks.TextToAudio: {Required: []string{"prompt"}, Checks: prompt},
}

// reserved are the parameters that are ours to set. With sync_mode the answer
// would hold the files and the history would not.
var reserved = providers.Reserved("fal_webhook", "fal_*", "sync_mode", "openai_api_key")

var modelForm = regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){1,6}$`)

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	in, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	if model != "" && !modelForm.MatchString(model) {
		return &classify.Error{Class: classify.Validation, Field: "/model", Message: "must be owner/app, or a path below it"}
	}
	in = p.named(in, feature, model)
	in.Reserved = reserved
	in.Excludes = map[string]string{"aspect_ratio": "size"}
	if slices.Contains(sized, providers.ModelOr(models, feature, model)) {
		in.Checks = maps.Clone(in.Checks)
		in.Checks["aspect_ratio"] = providers.OneOf(slices.Sorted(maps.Keys(sizes))...)
	}
	return in.Check(input)
}

func (p *Provider) named(in providers.Inputs, feature tasks.Feature, model string) providers.Inputs {
	model = providers.ModelOr(models, feature, model)
	return in.WithNames(names[model], p.options.Inputs, model)
}

// input is the input as the model gets it: files as data URIs, and sizes in
// fal's way.
func (p *Provider) input(req providers.Request) map[string]any {
	body := p.named(inputs[req.Feature], req.Feature, req.Model).Rename(req.WithFiles(providers.Attachment.Address))
	if size, ok := body["size"].(string); ok {
		delete(body, "size")
		width, height := providers.WidthAndHeight(size)
		body["image_size"] = map[string]any{"width": width, "height": height}
	}
	if ratio, ok := body["aspect_ratio"].(string); ok && slices.Contains(sized, providers.ModelOr(models, req.Feature, req.Model)) {
		delete(body, "aspect_ratio")
		body["image_size"] = sizes[ratio]
	}
	return body
}
