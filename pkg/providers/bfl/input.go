package bfl

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models by feature, the default first. A model is a path of the API.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:  {"flux-2-pro", "flux-2-max", "flux-2-flex", "flux-2-klein-9b", "flux-2-klein-4b", "flux-pro-1.1", "flux-pro-1.1-ultra", "flux-kontext-pro", "flux-dev"},
	tasks.ImageToImage: {"flux-2-pro", "flux-2-max", "flux-2-flex", "flux-kontext-pro", "flux-kontext-max", "flux-pro-1.0-fill"},
	tasks.TextToVideo:  {"flux-3-video"},
}

// shaped are the models that take an aspect_ratio; the others want a width and
// a height.
var shaped = []string{"flux-pro-1.1-ultra", "flux-kontext-pro", "flux-kontext-max", "flux-3-video"}

// sizes are about a megapixel each, in steps of 32.
var sizes = map[string]string{
	"1:1": "1024x1024", "16:9": "1344x768", "9:16": "768x1344", "4:3": "1152x864", "3:4": "864x1152", "3:2": "1248x832", "2:3": "832x1248",
}

// reserved are the parameters that are ours to set.
var reserved = providers.Reserved("mode", "finetune_id", "input_image*", "image_prompt")

var modelForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{2,63}$`)

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, given map[string]any) error {
	if models[feature] == nil {
		return providers.NotOffered()
	}
	if model != "" && !modelForm.MatchString(model) {
		return &classify.Error{Class: classify.Validation, Field: "/model", Message: "must be a name such as flux-2-pro"}
	}
	return inputs(feature, providers.ModelOr(models, feature, model)).Check(given)
}

// inputs says what a feature takes from a model.
func inputs(feature tasks.Feature, model string) providers.Inputs {
	in := providers.Inputs{
		Required: []string{"prompt"}, Reserved: reserved, Excludes: map[string]string{"aspect_ratio": "size"},
		Checks: map[string]providers.Check{
			"prompt": providers.TextUpTo(32000), "seed": providers.Whole(0, 1<<32), "n": providers.Whole(1, 1), "mask": providers.OneFile,
			"size": providers.PixelSize, "aspect_ratio": providers.OneOf(slices.Sorted(maps.Keys(sizes))...),
			"output_format": providers.OneOf("jpeg", "png", "webp"), "image": providers.FilesUpTo(8), "duration": providers.Seconds(5, 20),
		},
	}
	if slices.Contains(shaped, model) {
		in.Checks["aspect_ratio"] = providers.AspectRatio
		in.Checks["size"] = func(any) string { return "this model takes an aspect_ratio instead" }
	}
	if placeOf(model, 0) == placeOf(model, 1) {
		in.Checks["image"] = providers.OneFile
	}
	if feature == tasks.ImageToImage {
		in.Required = []string{"image", "prompt"}
	}
	return in
}

// input is the input as the model gets it.
func input(req providers.Request) (map[string]any, []tasks.Warning, error) {
	model := providers.ModelOr(models, req.Feature, req.Model)
	body := req.WithFiles(providers.Attachment.AddressOrBase64)
	delete(body, "n") // there is one
	if req.Feature == tasks.TextToVideo {
		body["mode"] = "t2v"
	}
	if err := putFiles(body, req, model); err != nil {
		return nil, nil, err
	}
	size, _ := body["size"].(string)
	var warnings []tasks.Warning
	if ratio, ok := body["aspect_ratio"].(string); ok && !slices.Contains(shaped, model) {
		delete(body, "aspect_ratio")
		size = sizes[ratio]
		if ratio == "16:9" || ratio == "9:16" {
			warnings = append(warnings, tasks.Warning{
				Code: "size_approximated", Pointer: "/input_data/aspect_ratio", Message: "the picture is nearly of that shape, in steps of 32 pixels",
			})
		}
	}
	if size != "" {
		delete(body, "size")
		body["width"], body["height"] = providers.WidthAndHeight(size)
	}
	return body, warnings, nil
}

// putFiles writes the pictures where the model looks for them.
func putFiles(body map[string]any, req providers.Request, model string) error {
	masks, err := req.Attachments("mask")
	if err != nil {
		return err
	}
	for _, mask := range masks {
		body["mask"] = mask.AddressOrBase64()
	}
	pictures, err := req.Attachments("image")
	if err != nil {
		return err
	}
	delete(body, "image")
	for i, picture := range pictures {
		body[placeOf(model, i)] = picture.AddressOrBase64()
	}
	return nil
}

// placeOf is what the model calls its picture of that index.
func placeOf(model string, i int) string {
	switch {
	case model == "flux-pro-1.0-fill":
		return "image"
	case model == "flux-pro-1.1", model == "flux-pro-1.1-ultra", model == "flux-dev":
		return "image_prompt"
	case i == 0:
		return "input_image"
	}
	return fmt.Sprintf("input_image_%d", i+1)
}
