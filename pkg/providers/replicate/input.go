package replicate

import (
	"regexp"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models are official ones, which run without the id of a version; the default
// comes first. Any other can be configured.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:      {"black-forest-labs/flux-1.1-pro", "black-forest-labs/flux-schnell", "black-forest-labs/flux-dev", "bytedance/seedream-4", "ideogram-ai/ideogram-v3-turbo"},
	tasks.ImageToImage:     {"black-forest-labs/flux-kontext-pro", "google/nano-banana", "qwen/qwen-image-edit"},
	tasks.Upscale:          {"topazlabs/image-upscale", "recraft-ai/recraft-crisp-upscale"},
	tasks.RemoveBackground: {"bria/remove-background", "recraft-ai/recraft-remove-background"},
	tasks.TextToVideo:      {"bytedance/seedance-1-lite", "wan-video/wan-2.2-t2v-fast", "google/veo-3-fast", "minimax/hailuo-02"},
	tasks.ImageToVideo:     {"bytedance/seedance-1-lite", "wan-video/wan-2.2-i2v-fast", "kwaivgi/kling-v2.1", "minimax/hailuo-02"},
	tasks.TextToSpeech:     {"minimax/speech-02-turbo", "minimax/speech-02-hd"},
	tasks.TextToAudio:      {"google/lyria-2", "minimax/music-1.5"},
}

// names are what models call the common names, where it is not the usual.
var names = map[string]map[string]string{
	"black-forest-labs/flux-kontext-pro": {"image": "input_image"},
	"google/nano-banana":                 {"image": "image_input[]"},
	"bytedance/seedream-4":               {"image": "image_input[]", "n": "max_images"},
	"kwaivgi/kling-v2.1":                 {"image": "start_image"},
	"minimax/hailuo-02":                  {"image": "first_frame_image"},
}

var prompt = map[string]providers.Check{
	"prompt": providers.TextUpTo(32000), "n": providers.Whole(1, 10), "seed": providers.Whole(0, 1<<32),
	"aspect_ratio": providers.TextUpTo(30), "size": providers.PixelSize, "duration": providers.Seconds(1, 60),
	"image": providers.FilesUpTo(10), "mask": providers.OneFile,
}

// inputs says what each feature takes from any model.
var inputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToImage:      {Required: []string{"prompt"}, Names: map[string]string{"n": "num_outputs"}, Checks: prompt},
	tasks.ImageToImage:     {Required: []string{"prompt", "image"}, Names: map[string]string{"n": "num_outputs"}, Checks: prompt},
	tasks.Upscale:          {Required: []string{"image"}, Checks: map[string]providers.Check{"image": providers.OneFile}},
	tasks.RemoveBackground: {Required: []string{"image"}, Checks: map[string]providers.Check{"image": providers.OneFile}},
	tasks.TextToVideo:      {Required: []string{"prompt"}, Checks: prompt},
	tasks.ImageToVideo:     {Required: []string{"image"}, Checks: prompt},
	tasks.TextToSpeech: {
		Required: []string{"text"}, Names: map[string]string{"voice": "voice_id"},
		Checks: map[string]providers.Check{"text": providers.TextUpTo(10000), "voice": providers.TextUpTo(200)},
	},
	tasks.TextToAudio: {Required: []string{"prompt"}, Checks: prompt},
}

// reserved are the parameters of predictions and models that are ours to set.
// The key of somebody else's account has no place in a job.
var reserved = providers.Reserved("openai_api_key", "hf_token", "hf_api_token", "replicate_api_token")

var modelForm = regexp.MustCompile(`^([a-f0-9]{64}|(deployments/)?[A-Za-z0-9._-]+/[A-Za-z0-9._-]+(:[a-f0-9]{64})?)$`)

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	in, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	if model != "" && !modelForm.MatchString(model) {
		return &classify.Error{Class: classify.Validation, Field: "/model", Message: "must be owner/name, owner/name:version or a version"}
	}
	in.Reserved = reserved
	in.Excludes = map[string]string{"aspect_ratio": "size"}
	return p.named(in, feature, model).Check(input)
}

func (p *Provider) named(in providers.Inputs, feature tasks.Feature, model string) providers.Inputs {
	model = providers.ModelOr(models, feature, model)
	return in.WithNames(names[model], p.options.Inputs, model)
}

// input is the input as the model gets it: files as data URIs, a size as width
// and height.
func (p *Provider) input(req providers.Request) map[string]any {
	body := p.named(inputs[req.Feature], req.Feature, req.Model).Rename(req.WithFiles(providers.Attachment.Address))
	if size, ok := body["size"].(string); ok && body["width"] == nil {
		delete(body, "size")
		body["width"], body["height"] = providers.WidthAndHeight(size)
	}
	return body
}
