package runway

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// endpoints by feature.
var endpoints = map[tasks.Feature]string{
	tasks.TextToImage:  "text_to_image",
	tasks.ImageToImage: "text_to_image",
	tasks.TextToVideo:  "text_to_video",
	tasks.ImageToVideo: "image_to_video",
	tasks.Upscale:      "image_upscale",
	tasks.TextToSpeech: "text_to_speech",
	tasks.TextToAudio:  "sound_effect",
}

// models by feature, the default first.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:  {"gen4_image", "gemini_2.5_flash", "seedream5_lite", "gpt_image_2"},
	tasks.ImageToImage: {"gen4_image", "gen4_image_turbo", "gemini_2.5_flash"},
	tasks.TextToVideo:  {"gen4.5", "veo3.1_fast", "veo3.1", "seedance2"},
	tasks.ImageToVideo: {"gen4_turbo", "gen4.5", "veo3.1_fast", "veo3.1", "seedance2"},
	tasks.Upscale:      {"magnific_precision_upscaler_v2"},
	tasks.TextToSpeech: {"eleven_multilingual_v2", "eleven_v3"},
	tasks.TextToAudio:  {"eleven_text_to_sound_v2"},
}

// films are the ratios of most models for video, in the API's way: in pixels.
var films = map[string]string{
	"16:9": "1280:720", "9:16": "720:1280", "1:1": "960:960", "4:3": "1104:832", "3:4": "832:1104", "21:9": "1584:672",
}

// wide and tall are all that some have.
var wideOrTall = map[string]string{"16:9": "1280:720", "9:16": "720:1280"}

var pictures = map[string]string{
	"16:9": "1920:1080", "9:16": "1080:1920", "1:1": "1024:1024", "4:3": "1440:1080", "3:4": "1080:1440", "21:9": "2112:912",
}

// ratios of models that have others.
var ratios = map[string]map[string]string{
	"veo3.1": wideOrTall, "veo3.1_fast": wideOrTall,
	"gemini_2.5_flash": {"16:9": "1344:768", "9:16": "768:1344", "1:1": "1024:1024", "4:3": "1184:864", "3:4": "864:1184", "21:9": "1536:672"},
	"seedream5_lite":   {"16:9": "2848:1600", "9:16": "1600:2848", "1:1": "2048:2048", "4:3": "2304:1728", "3:4": "1728:2304"},
	"gpt_image_2":      {"16:9": "1920:1088", "3:2": "1920:1280", "4:3": "1920:1440", "1:1": "1920:1920"},
	"seedance2":        {"16:9": "864:496", "9:16": "496:864", "1:1": "640:640", "4:3": "752:560", "3:4": "560:752", "21:9": "992:432"},
}

func ratiosOf(feature tasks.Feature, model string) map[string]string {
	switch known, ok := ratios[model]; {
	case ok:
		return known
	case feature == tasks.TextToVideo:
		return wideOrTall
	case feature == tasks.ImageToVideo:
		return films
	}
	return pictures
}

var reserved = providers.Reserved("contentModeration", "promptImage", "referenceImages", "imageUri")

// inputs says what a feature takes from a model.
func inputs(feature tasks.Feature, model string) providers.Inputs {
	in := providers.Inputs{
		Required: []string{"prompt"}, Reserved: reserved, Excludes: map[string]string{"aspect_ratio": "size"},
		Names: map[string]string{"prompt": "promptText", "negative_prompt": "negativePrompt", "n": "outputCount"},
		Checks: map[string]providers.Check{
			"prompt": providers.TextUpTo(5000), "seed": providers.Whole(0, 1<<32-1), "n": providers.Whole(1, 10),
			"size": providers.PixelSize, "aspect_ratio": providers.OneOf(slices.Sorted(maps.Keys(ratiosOf(feature, model)))...),
			"duration": providers.Seconds(1, 30), "image": providers.FilesUpTo(3),
		},
	}
	switch feature {
	case tasks.ImageToImage:
		in.Required = []string{"image", "prompt"}
	case tasks.ImageToVideo, tasks.Upscale:
		in.Required = []string{"image"}
		in.Checks["image"] = providers.OneFile
	case tasks.TextToSpeech:
		in.Required, in.Names = []string{"text"}, map[string]string{"text": "promptText"}
		in.Checks["text"], in.Checks["voice"] = providers.TextUpTo(1000), providers.TextUpTo(100)
	}
	return in
}

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, given map[string]any) error {
	if endpoints[feature] == "" {
		return providers.NotOffered()
	}
	return inputs(feature, providers.ModelOr(models, feature, model)).Check(given)
}

// maxURI is how long a data URI of a picture may be, and largestInline how many
// bytes fit into one.
const (
	maxURI        = 5 << 20
	largestInline = 3_900_000
)

// input is the input as the model gets it.
func input(req providers.Request) (map[string]any, error) {
	model := providers.ModelOr(models, req.Feature, req.Model)
	files, err := req.Attachments("image")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if len(file.Address()) > maxURI {
			return nil, providers.InvalidInput("image", "has more than the 3.9 MB that this provider takes inside a request, and "+providers.NeedsPublicURL)
		}
	}
	body := inputs(req.Feature, model).Rename(req.WithFiles(providers.Attachment.Address))
	delete(body, "image")
	body["model"] = model
	place(body, req.Feature, files)
	switch req.Feature {
	case tasks.TextToSpeech:
		speak(body)
	case tasks.Upscale, tasks.TextToAudio:
	default:
		shape(body, req.Feature, model)
	}
	if text, ok := body["duration"].(string); ok {
		body["duration"], _ = strconv.ParseFloat(text, 64) // it has been checked
	}
	if body["duration"] == nil && model == "gen4.5" {
		body["duration"] = 5
	}
	return body, nil
}

// place writes the pictures where the endpoint looks for them.
func place(body map[string]any, feature tasks.Feature, files []providers.Attachment) {
	switch feature {
	case tasks.ImageToVideo:
		body["promptImage"] = files[0].Address()
	case tasks.Upscale:
		body["imageUri"] = files[0].Address()
	default:
		var list []any
		for _, file := range files {
			list = append(list, map[string]any{"uri": file.Address()})
		}
		if len(list) > 0 {
			body["referenceImages"] = list
		}
	}
}

// shape writes a size, a ratio or neither as the API's ratio.
func shape(body map[string]any, feature tasks.Feature, model string) {
	size, sized := body["size"].(string)
	ratio, shaped := body["aspect_ratio"].(string)
	delete(body, "size")
	delete(body, "aspect_ratio")
	switch {
	case sized:
		body["ratio"] = strings.Replace(size, "x", ":", 1)
	case shaped:
		body["ratio"] = ratiosOf(feature, model)[ratio]
	case body["ratio"] == nil:
		body["ratio"] = ratiosOf(feature, model)["16:9"]
	}
}

const defaultVoice = "Maya"

// speak writes the name of a voice as the API has it.
func speak(body map[string]any) {
	voice, ok := body["voice"].(string)
	if !ok {
		voice = defaultVoice
	}
	body["voice"] = map[string]any{"type": "runway-preset", "presetId": voice}
}
