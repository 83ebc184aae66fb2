package sdwebui

import (
	"maps"
	"slices"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// drawing is what both ways of drawing take. Anything else is refused.
var drawing = map[string]providers.Check{
	"prompt": providers.TextUpTo(10000), "negative_prompt": anyText, "size": providers.PixelSize, "aspect_ratio": providers.AspectRatio,
	"steps": providers.Whole(1, 150), "guidance": providers.Number(0, 30), "sampler": providers.TextUpTo(100), "scheduler": providers.TextUpTo(100),
	"seed": providers.Whole(-1, 1<<32-1), "n": providers.Whole(1, 8),
}

// inputs says what each feature takes.
var inputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToImage: {Required: []string{"prompt"}, Checks: drawing, Names: names, Excludes: excludes},
	tasks.ImageToImage: {
		Required: []string{"prompt", "image"}, Names: names, Excludes: excludes,
		Checks: with(drawing, map[string]providers.Check{
			"image": providers.OneFile, "mask": providers.OneFile, "strength": providers.Number(0, 1),
		}),
	},
	tasks.Upscale: {Required: []string{"image"}, Checks: map[string]providers.Check{"image": providers.OneFile, "factor": providers.Number(1, 8)}, Names: names},
}

var names = map[string]string{
	"guidance": "cfg_scale", "sampler": "sampler_name", "n": "batch_size", "strength": "denoising_strength", "factor": "upscaling_resize",
}

var excludes = map[string]string{"aspect_ratio": "size"}

func with(a, b map[string]providers.Check) map[string]providers.Check {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

func anyText(v any) string {
	if _, ok := v.(string); !ok {
		return "must be a text"
	}
	return ""
}

// CheckInput implements [providers.InputChecker]. It refuses every key that is
// not listed: scripts, alwayson_scripts, override_settings and their like among
// them.
func (p *Provider) CheckInput(feature tasks.Feature, _ string, input map[string]any) error {
	in, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	for _, key := range slices.Sorted(maps.Keys(input)) {
		if in.Checks[key] == nil {
			return providers.InvalidInput(key, "is not an input of this provider")
		}
	}
	return in.Check(input)
}

// body is the request as the server gets it.
func (p *Provider) body(req providers.Request) (map[string]any, error) {
	body := inputs[req.Feature].Rename(req.Input)
	for _, key := range []string{"image", "mask"} {
		files, err := req.Attachments(key)
		if err != nil {
			return nil, err
		}
		if len(files) == 0 {
			continue
		}
		if files[0].URL != "" {
			return nil, providers.InvalidInput(key, "must be a file that comes along: the server fetches none")
		}
		body[key] = files[0].Base64()
	}
	if req.Feature == tasks.Upscale {
		body["upscaler_1"] = p.options.Upscaler
		if req.Model != "" {
			body["upscaler_1"] = req.Model
		}
		return body, nil
	}
	if image, ok := body["image"]; ok {
		body["init_images"] = []any{image}
		delete(body, "image")
	}
	if size, ok := body["size"].(string); ok {
		delete(body, "size")
		body["width"], body["height"] = providers.WidthAndHeight(size)
	}
	if ratio, ok := body["aspect_ratio"].(string); ok {
		delete(body, "aspect_ratio")
		body["width"], body["height"] = p.shape(ratio)
	}
	if req.Model != "" {
		body["override_settings"] = map[string]any{"sd_model_checkpoint": req.Model}
		body["override_settings_restore_afterwards"] = true
	}
	// A label for whoever looks at the server; it does not deduplicate.
	body["force_task_id"] = "task(easel-" + req.ClientID + ")"
	body["send_images"], body["save_images"] = true, false
	return body, nil
}
