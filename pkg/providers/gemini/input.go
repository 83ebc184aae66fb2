package gemini

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models by feature, the default first.
var models = map[tasks.Feature][]string{
	tasks.TextToImage:  {"gemini-3.1-flash-image", "gemini-3-pro-image", "gemini-2.5-flash-image"},
	tasks.ImageToImage: {"gemini-3.1-flash-image", "gemini-3-pro-image", "gemini-2.5-flash-image"},
	tasks.TextToVideo:  {"veo-3.1-generate-preview", "veo-3.1-fast-generate-preview", "veo-3.1-lite-generate-preview"},
	tasks.ImageToVideo: {"veo-3.1-generate-preview", "veo-3.1-fast-generate-preview", "veo-3.1-lite-generate-preview"},
}

// pictures is what both ways of drawing take. What is not mentioned goes into
// the generationConfig as it is.
var pictures = map[string]providers.Check{
	"prompt": providers.TextUpTo(32000), "seed": providers.Whole(0, 1<<31-1), "n": providers.Whole(1, 1),
	"aspect_ratio": providers.OneOf("1:1", "1:4", "4:1", "1:8", "8:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"),
	"image_size":   providers.OneOf("512", "1K", "2K", "4K"), "image": providers.FilesUpTo(14),
}

// films is what both ways of filming take. What is not mentioned goes into the
// parameters as it is.
var films = map[string]providers.Check{
	"prompt": providers.TextUpTo(32000), "seed": providers.Whole(0, 1<<32-1), "n": providers.Whole(1, 4), "negative_prompt": providers.TextUpTo(32000),
	"aspect_ratio": providers.OneOf("16:9", "9:16"), "resolution": providers.OneOf("720p", "1080p", "4k"), "duration": providers.Seconds(4, 8),
	"image": providers.OneFile, "last_frame": providers.OneFile, "reference_images": providers.FilesUpTo(3),
}

var filmNames = map[string]string{
	"n": "sampleCount", "negative_prompt": "negativePrompt", "aspect_ratio": "aspectRatio", "duration": "durationSeconds",
}

// inputs says what each feature takes.
var inputs = map[tasks.Feature]providers.Inputs{
	tasks.TextToImage:  {Required: []string{"prompt"}, Checks: pictures},
	tasks.ImageToImage: {Required: []string{"prompt", "image"}, Checks: pictures},
	tasks.TextToVideo:  {Required: []string{"prompt"}, Checks: films, Names: filmNames},
	tasks.ImageToVideo: {Required: []string{"image"}, Checks: films, Names: filmNames},
}

// reserved are the parameters that are ours to set: the form of the answer, what
// is kept, the switches of safety, and whatever would bring in something else
// than the caller's prompt and files.
var reserved = providers.Reserved(
	"contents", "instances", "parameters", "generationConfig", "generation_config", "safetySettings", "personGeneration", "person_generation",
	"tools", "toolConfig", "systemInstruction", "cachedContent", "store", "responseModalities", "response_modalities", "imageConfig", "candidateCount",
	"storageUri", "size", "video", "labels",
)

var modelForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	in, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	if model != "" && !modelForm.MatchString(model) {
		return &classify.Error{Class: classify.Validation, Field: "/model", Message: "must be a model's name, without models/"}
	}
	in.Reserved = reserved
	if feature == tasks.TextToImage {
		in.Reserved = append(slices.Clone(reserved), "image")
	}
	return in.Check(input)
}

// drawing is the body of generateContent.
func drawing(req providers.Request) (map[string]any, error) {
	parts := []any{map[string]any{"text": req.Text("prompt", "")}}
	files, err := bytesAt(req, "image")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		parts = append(parts, map[string]any{"inlineData": map[string]any{"mimeType": file.MediaType, "data": file.Base64()}})
	}
	config := rest(req, inputs[req.Feature], "image", "prompt", "n", "aspect_ratio", "image_size")
	config["responseModalities"] = []string{"IMAGE"}
	shape := map[string]any{}
	for key, own := range map[string]string{"aspect_ratio": "aspectRatio", "image_size": "imageSize"} {
		if value, given := req.Input[key]; given {
			shape[own] = value
		}
	}
	if len(shape) > 0 {
		config["imageConfig"] = shape
	}
	return map[string]any{
		"contents": []any{map[string]any{"role": "user", "parts": parts}}, "generationConfig": config,
	}, nil
}

// filming is the body of predictLongRunning.
func filming(req providers.Request) (map[string]any, error) {
	instance := map[string]any{}
	if prompt := req.Text("prompt", ""); prompt != "" {
		instance["prompt"] = prompt
	}
	for key, own := range map[string]string{"image": "image", "last_frame": "lastFrame"} {
		files, err := bytesAt(req, key)
		if err != nil {
			return nil, err
		}
		if len(files) > 0 {
			instance[own] = frame(files[0])
		}
	}
	references, err := bytesAt(req, "reference_images")
	if err != nil {
		return nil, err
	}
	var list []any
	for _, file := range references {
		list = append(list, map[string]any{"image": frame(file), "referenceType": "asset"})
	}
	if len(list) > 0 {
		instance["referenceImages"] = list
	}
	parameters := rest(req, inputs[req.Feature], "image", "last_frame", "reference_images", "prompt")
	if text, ok := parameters["durationSeconds"].(string); ok {
		parameters["durationSeconds"], _ = strconv.ParseFloat(text, 64) // checked
	}
	body := map[string]any{"instances": []any{instance}}
	if len(parameters) > 0 {
		body["parameters"] = parameters
	}
	return body, nil
}

func frame(file providers.Attachment) map[string]any {
	return map[string]any{"bytesBase64Encoded": file.Base64(), "mimeType": file.MediaType}
}

// rest is the input under the API's names, without what stands elsewhere.
func rest(req providers.Request, in providers.Inputs, elsewhere ...string) map[string]any {
	body := in.Rename(req.Input)
	maps.DeleteFunc(body, func(key string, _ any) bool { return slices.Contains(elsewhere, key) })
	return body
}

// bytesAt are the files at a key. The API fetches none.
func bytesAt(req providers.Request, key string) ([]providers.Attachment, error) {
	files, err := req.Attachments(key)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if file.URL != "" || !strings.HasPrefix(file.MediaType, "image/") {
			return nil, providers.InvalidInput(key, "must be pictures that come along: this provider fetches none")
		}
	}
	return files, nil
}
