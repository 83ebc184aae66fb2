package stability

import (
	"maps"
	"slices"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models by feature, the default first. Where the API has none they are the
// names of its endpoints.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:      {"core", "ultra", "sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash"},
	tasks.ImageToImage:     {"sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "ultra", "inpaint", "structure", "sketch", "style"},
	tasks.Upscale:          {"fast", "conservative", "creative"},
	tasks.RemoveBackground: {"remove-background"},
	tasks.TextToAudio:      {"stable-audio-2.5", "stable-audio-2"},
}

// paths are the endpoints of models that have one of their own.
var paths = map[string]string{
	"core": "/v2beta/stable-image/generate/core", "ultra": "/v2beta/stable-image/generate/ultra",
	"inpaint": "/v2beta/stable-image/edit/inpaint", "remove-background": "/v2beta/stable-image/edit/remove-background",
	"structure": "/v2beta/stable-image/control/structure", "sketch": "/v2beta/stable-image/control/sketch", "style": "/v2beta/stable-image/control/style",
	"fast": "/v2beta/stable-image/upscale/fast", "conservative": "/v2beta/stable-image/upscale/conservative", "creative": creative,
	"stable-audio-2.5": audio, "stable-audio-2": audio,
}

const (
	sd3      = "/v2beta/stable-image/generate/sd3"
	creative = "/v2beta/stable-image/upscale/creative"
	audio    = "/v2beta/audio/stable-audio-2/text-to-audio"
)

var ratios = providers.OneOf("16:9", "1:1", "21:9", "2:3", "3:2", "4:5", "5:4", "9:16", "9:21")

var picture = map[string]providers.Check{
	"prompt": providers.TextUpTo(10000), "negative_prompt": providers.TextUpTo(10000), "aspect_ratio": ratios,
	"seed": providers.Whole(0, 4294967294), "n": providers.Whole(1, 1), "output_format": providers.OneOf("png", "jpeg", "webp"),
	"image": providers.OneFile, "mask": providers.OneFile, "strength": providers.Number(0, 1),
}

// inputs says what each feature takes.
var inputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToImage:      {Required: []string{"prompt"}, Checks: picture},
	tasks.ImageToImage:     {Required: []string{"prompt", "image"}, Checks: picture},
	tasks.Upscale:          {Required: []string{"image"}, Checks: picture},
	tasks.RemoveBackground: {Required: []string{"image"}, Checks: picture},
	tasks.TextToAudio: {Required: []string{"prompt"}, Checks: map[string]providers.Check{
		"prompt": providers.TextUpTo(10000), "duration": providers.Whole(1, 190), "seed": providers.Whole(0, 4294967294),
		"output_format": providers.OneOf("mp3", "wav"),
	}},
}

// reserved are the parameters that are ours to set. No size can be asked for,
// which is better said than passed over.
var reserved = providers.Reserved("mode", "size", "stability-client*")

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	in, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	model = providers.ModelOr(models, feature, model)
	if paths[model] == "" && !strings.HasPrefix(model, "sd3") {
		return &classify.Error{Class: classify.Validation, Field: "/model", Message: "this provider does not have the model"}
	}
	if feature == tasks.Upscale && model != "fast" {
		in.Required = []string{"image", "prompt"}
	}
	in.Reserved = reserved
	if feature == tasks.TextToImage {
		in.Reserved = append(slices.Clone(reserved), "image", "strength")
	}
	if feature == tasks.ImageToImage && strings.HasPrefix(model, "sd3") {
		in.Reserved = append(slices.Clone(reserved), "aspect_ratio") // the picture has one
	}
	return in.Check(input)
}

// defaultStrength is how far to go from a picture where nobody says: the API has
// no default.
const defaultStrength = 0.6

// form is where a request goes, and what it says there: every call is a form.
func (p *Provider) form(req providers.Request) (path string, form *providers.Form, err error) {
	model := providers.ModelOr(models, req.Feature, req.Model)
	body := maps.Clone(req.Input)
	delete(body, "n") // there is always one
	if path = paths[model]; path == "" {
		path, body["model"] = sd3, model
		if req.Feature == tasks.ImageToImage {
			body["mode"] = "image-to-image"
		}
	}
	if path == audio {
		body["model"] = model
	}
	takesStrength := path == sd3 || model == "ultra"
	if _, given := body["strength"]; !given && takesStrength && req.Feature == tasks.ImageToImage {
		body["strength"] = defaultStrength
	}
	form = &providers.Form{}
	for _, key := range slices.Sorted(maps.Keys(body)) {
		if key != "image" && key != "mask" {
			form.Field(key, providers.Plain(body[key]))
		}
	}
	for _, key := range []string{"image", "mask"} {
		files, err := req.Attachments(key)
		if err != nil {
			return "", nil, err
		}
		if len(files) == 0 {
			continue
		}
		if files[0].URL != "" {
			return "", nil, providers.InvalidInput(key, "must be a file that comes along: this provider fetches none")
		}
		files[0].AddTo(form, key, key)
	}
	return path, form, nil
}
