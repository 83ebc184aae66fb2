package openai

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// reserved are the provider's parameters that are ours to set: they would
// change who is asked, or the form of the answer.
var reserved = []string{"model", "stream", "stream_format", "partial_images", "user", "webhook", "webhook_url", "input", "images", "image[]", "input_reference"}

// CheckInput implements [providers.InputChecker]. It refuses what is surely
// wrong; parameters that it does not know are the provider's to judge.
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	check, ok := checks[feature]
	if !ok {
		return &classify.Error{
			Class: classify.Validation, Provider: p.config.Name, Field: "/feature_type", Message: "this provider does not offer the feature",
		}
	}
	for _, key := range slices.Sorted(maps.Keys(input)) {
		if slices.Contains(reserved, key) || key == "response_format" {
			return p.invalid("/input_data/"+key, "cannot be set here")
		}
	}
	if field, detail := check(model, input); detail != "" {
		return p.invalid("/input_data/"+field, detail)
	}
	return nil
}

func (p *Provider) invalid(field, detail string) error {
	return &classify.Error{Class: classify.Validation, Provider: p.config.Name, Field: field, Message: detail}
}

// checks says per feature which field is wrong, and how; no detail means none.
var checks = map[tasks.Feature]func(model string, input map[string]any) (field, detail string){
	tasks.TextToImage: checkImage,
	tasks.ImageToImage: func(model string, input map[string]any) (string, string) {
		if !isPicture(input["image"]) {
			return "image", "must be a picture, or a list of up to 16"
		}
		if mask, ok := input["mask"]; ok && !isPicture(mask) {
			return "mask", "must be a picture"
		}
		return checkImage(model, input)
	},
	tasks.TextToSpeech: checkSpeech,
	tasks.TextToVideo:  checkVideo,
	tasks.ImageToVideo: func(model string, input map[string]any) (string, string) {
		if _, list := input["image"].([]any); list || !isPicture(input["image"]) {
			return "image", "must be a picture"
		}
		return checkVideo(model, input)
	},
}

var size = regexp.MustCompile(`^([1-9][0-9]{1,4}x[1-9][0-9]{1,4}|auto)$`)

func checkImage(model string, input map[string]any) (string, string) {
	if detail := checkText(input["prompt"], maxPrompt(model)); detail != "" {
		return "prompt", detail
	}
	if n, given := input["n"]; given && !isWhole(n, 1, 10) {
		return "n", "must be a whole number from 1 to 10"
	}
	if compression, given := input["output_compression"]; given && !isWhole(compression, 0, 100) {
		return "output_compression", "must be a whole number from 0 to 100"
	}
	return checkSize(input, imageSizes(model))
}

func checkSpeech(_ string, input map[string]any) (string, string) {
	if detail := checkText(input["text"], 4096); detail != "" {
		return "text", detail
	}
	if speed, given := input["speed"]; given {
		if v, ok := speed.(float64); !ok || v < 0.25 || v > 4 {
			return "speed", "must be a number from 0.25 to 4"
		}
	}
	if format, given := input["format"]; given {
		name, _ := format.(string)
		if !strings.HasPrefix(mediaTypes[name], "audio/") {
			return "format", "must be mp3, opus, aac, flac, wav or pcm"
		}
	}
	switch input["voice"].(type) {
	case nil, string, map[string]any:
		return "", ""
	}
	return "voice", "must be a name"
}

var seconds = regexp.MustCompile(`^[1-9][0-9]{0,2}$`)

func checkVideo(_ string, input map[string]any) (string, string) {
	if detail := checkText(input["prompt"], 32000); detail != "" {
		return "prompt", detail
	}
	for _, key := range []string{"duration", "seconds"} {
		if v, given := input[key]; given && !seconds.MatchString(fmt.Sprint(v)) {
			return key, "must be a whole number of seconds"
		}
	}
	if input["duration"] != nil && input["seconds"] != nil {
		return "seconds", "cannot be given beside duration"
	}
	return checkSize(input, videoSizes)
}

func checkText(v any, limit int) string {
	text, ok := v.(string)
	switch {
	case v == nil:
		return "is required"
	case !ok:
		return "must be a text"
	case strings.TrimSpace(text) == "":
		return "must not be empty"
	case utf8.RuneCountInString(text) > limit:
		return fmt.Sprintf("must have at most %d characters", limit)
	}
	return ""
}

func checkSize(input map[string]any, ratios map[string]string) (string, string) {
	given, sized := input["size"]
	if text, ok := given.(string); sized && (!ok || !size.MatchString(text)) {
		return "size", "must be a width and a height such as 1024x1024"
	}
	ratio, shaped := input["aspect_ratio"]
	if !shaped {
		return "", ""
	}
	if sized {
		return "aspect_ratio", "cannot be given beside size"
	}
	if text, ok := ratio.(string); !ok || ratios[text] == "" {
		return "aspect_ratio", "must be one of " + strings.Join(slices.Sorted(maps.Keys(ratios)), ", ")
	}
	return "", ""
}

func isWhole(v any, least, most float64) bool {
	n, ok := v.(float64)
	return ok && n == math.Trunc(n) && n >= least && n <= most
}

// isPicture reports whether v can be one: a URL, base64, the reference that
// takes a file's place, or a list of these.
func isPicture(v any) bool {
	switch v := v.(type) {
	case string:
		return v != ""
	case map[string]any:
		return len(v) > 0
	case []any:
		return len(v) > 0 && len(v) <= 16 && !slices.ContainsFunc(v, func(item any) bool { return !isPicture(item) })
	}
	return false
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
// put in.
func passOn(req providers.Request) map[string]any {
	body := maps.Clone(req.Input)
	delete(body, "image")
	delete(body, "mask")
	body["model"] = req.Model
	return body
}

func rename(body map[string]any, from, to string) {
	if v, ok := body[from]; ok {
		delete(body, from)
		body[to] = v
	}
}

// imageBody is the body of both image calls, but for the pictures.
func (p *Provider) imageBody(req providers.Request) (map[string]any, []tasks.Warning) {
	body := passOn(req)
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

// picture is one picture of the input: its bytes, or where it is.
type picture struct {
	data      []byte
	mediaType string
	url       string
}

// picturesAt collects the pictures that stand at a key of the input, none if
// there are none.
func (p *Provider) picturesAt(req providers.Request, key string) ([]picture, error) {
	v, given := req.Input[key]
	if !given {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		one, err := p.pictureAt(req, v, "/"+key)
		return []picture{one}, err
	}
	var pictures []picture
	for i, item := range list {
		one, err := p.pictureAt(req, item, fmt.Sprintf("/%s/%d", key, i))
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, one)
	}
	return pictures, nil
}

func (p *Provider) pictureAt(req providers.Request, v any, pointer string) (picture, error) {
	for _, file := range req.Files {
		if file.Pointer == pointer {
			return picture{data: file.Data, mediaType: file.MediaType}, nil
		}
	}
	text, _ := v.(string)
	if strings.HasPrefix(text, "https://") || strings.HasPrefix(text, "http://") {
		return picture{url: text}, nil
	}
	data, err := base64.StdEncoding.DecodeString(stripDataURL(text))
	if err != nil || len(data) == 0 {
		return picture{}, p.invalid("/input_data"+pointer, "must be a picture: a URL, a data URL or base64")
	}
	return picture{data: data, mediaType: http.DetectContentType(data)}, nil
}

func byURL(pictures []picture) bool {
	return slices.ContainsFunc(pictures, func(one picture) bool { return one.url != "" })
}

// references are pictures as JSON has them.
func references(pictures []picture) []any {
	list := make([]any, len(pictures))
	for i, one := range pictures {
		address := one.url
		if address == "" {
			address = "data:" + one.mediaType + ";base64," + base64.StdEncoding.EncodeToString(one.data)
		}
		list[i] = map[string]any{"image_url": address}
	}
	return list
}

var extensions = map[string]string{"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif"}

// attach adds the picture to a form. Servers go by the file's name.
func (one picture) attach(form *providers.Form, name, filename string) {
	form.File(name, filename+extensions[one.mediaType], one.mediaType, one.data)
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
