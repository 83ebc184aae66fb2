package providers

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// shape is one place where providers put what they have made.
type shape struct {
	path string
	kind string // what stands there; empty: anything
	// bare says that a text there may be base64; otherwise it is a URL or a
	// data URI, and any other text is only a text.
	bare bool
	// loose says that files may stand anywhere below, as in the output of a
	// model that somebody else has written.
	loose bool
}

// shapes are the documented shapes of results. The first that has files counts;
// those of the wanted kind are looked at before the others.
var shapes = []shape{
	{path: "images[]", kind: "image", bare: true},                                    // fal, stable-diffusion-webui
	{path: "image", kind: "image", bare: true},                                       // fal's upscalers, Stability
	{path: "videos[]", kind: "video", bare: true},                                    // fal
	{path: "video", kind: "video", bare: true},                                       // fal, Stability
	{path: "audio", kind: "audio", bare: true},                                       // fal, Stability
	{path: "audio_file", kind: "audio"},                                              // fal
	{path: "audio_url", kind: "audio"},                                               // fal
	{path: "audio_base64", kind: "audio", bare: true},                                // ElevenLabs
	{path: "model_mesh", kind: "file"},                                               // fal
	{path: "assets.image", kind: "image"},                                            // Luma
	{path: "assets.video", kind: "video"},                                            // Luma
	{path: "assets.audio", kind: "audio"},                                            // Luma
	{path: "task_result.images[]", kind: "image"},                                    // Kling, before 2026
	{path: "task_result.videos[]", kind: "video"},                                    // Kling, before 2026
	{path: "task_result.audios[]", kind: "audio"},                                    // Kling, before 2026
	{path: "artifacts[]", kind: "image"},                                             // Stability v1
	{path: "predictions[]", kind: "image"},                                           // Imagen
	{path: "candidates[].content.parts[].inlineData"},                                // Gemini
	{path: "candidates[].content.parts[].inline_data"},                               // Gemini, in its other spelling
	{path: "response.generateVideoResponse.generatedSamples[].video", kind: "video"}, // Veo
	{path: "data[]"},              // OpenAI and who copies it
	{path: "outputs[]"},           // Kling
	{path: "output", loose: true}, // Replicate, Runway, Luma Agents
	{path: "result.sample"},       // BFL
	{path: "result.samples[]"},    // BFL
	{path: "result", bare: true},  // Stability's results
	{path: "image_url", kind: "image"},
	{path: "video_url", kind: "video"},
	{path: "url"},
}

// The names that a file's parts have.
var (
	dataKeys = []string{"b64_json", "base64", "bytesBase64Encoded", "data"}
	urlKeys  = []string{"url", "uri", "image_url", "video_url", "audio_url"}
	typeKeys = []string{"content_type", "mimeType", "mime_type", "media_type"}
	nameKeys = []string{"file_name", "filename", "name"}
)

// maxDepth is how far below its place a file may stand.
const maxDepth = 4

// FindOutputs finds the files in a provider's answer, in whatever documented
// shape they come. Kind is what the feature makes (see [KindOf]): it is looked
// for first, and assumed where nothing says what a file is. An error means that
// there are files and one of them cannot be read.
func FindOutputs(answer []byte, kind string) ([]Output, error) {
	var document any
	if err := json.Unmarshal(answer, &document); err != nil {
		return nil, fmt.Errorf("the answer is not JSON")
	}
	return findOutputs(document, kind)
}

func findOutputs(document any, kind string) ([]Output, error) {
	for _, s := range preferring(kind) {
		var found []Output
		for _, value := range valuesAt(document, s.path) {
			files, err := s.read(value, kind, maxDepth)
			if err != nil {
				return nil, err
			}
			found = append(found, files...)
		}
		if len(found) > 0 {
			return found, nil
		}
	}
	return nil, nil
}

// preferring lists the shapes with those of the wanted kind in front.
func preferring(kind string) []shape {
	list := slices.Clone(shapes)
	slices.SortStableFunc(list, func(a, b shape) int { return a.distance(kind) - b.distance(kind) })
	return list
}

func (s shape) distance(kind string) int {
	switch s.kind {
	case kind:
		return 0
	case "":
		return 1
	}
	return 2
}

// read reads the files in a value.
func (s shape) read(v any, kind string, depth int) ([]Output, error) {
	if depth == 0 {
		return nil, nil
	}
	switch v := v.(type) {
	case string:
		return s.readText(v, Output{}, kind, s.bare)
	case []any:
		return s.readAll(v, kind, depth)
	case map[string]any:
		described := Output{MediaType: textAt(v, typeKeys), Name: textAt(v, nameKeys)}
		if said, _ := v["type"].(string); slices.Contains([]string{"image", "video", "audio"}, said) {
			described.Kind = said
		}
		if text := textAt(v, dataKeys); text != "" {
			return s.readText(text, described, kind, true)
		}
		if text := textAt(v, urlKeys); text != "" {
			return s.readText(text, described, kind, false)
		}
		if s.loose {
			return s.readAll(eachValue(v), kind, depth)
		}
	}
	return nil, nil
}

func (s shape) readAll(values []any, kind string, depth int) ([]Output, error) {
	var all []Output
	for _, value := range values {
		files, err := s.read(value, kind, depth-1)
		if err != nil {
			return nil, err
		}
		all = append(all, files...)
	}
	return all, nil
}

// readText reads a URL, a data URI or base64.
func (s shape) readText(text string, o Output, kind string, bare bool) ([]Output, error) {
	switch {
	case isURL(text):
		o.URL = text
		if o.Name == "" {
			o.Name = nameIn(text)
		}
	case bare, strings.HasPrefix(text, "data:"):
		data, mediaType, err := decodeData(text)
		if err != nil || len(data) == 0 {
			return nil, fmt.Errorf("a file in the answer is not base64")
		}
		o.Data = data
		if o.MediaType == "" {
			o.MediaType = mediaType
		}
	default:
		return nil, nil
	}
	if o.Kind == "" {
		o.Kind = s.kindOf(o, kind)
	}
	return []Output{o}, nil
}

// kindOf says what a file is: by its place, its media type, its name, and last
// by what was wanted.
func (s shape) kindOf(o Output, wanted string) string {
	if s.kind != "" {
		return s.kind
	}
	for _, said := range []string{o.MediaType, mediaTypes[strings.ToLower(path.Ext(o.Name))]} {
		if kind, _, _ := strings.Cut(said, "/"); kind == "image" || kind == "video" || kind == "audio" {
			return kind
		}
	}
	return wanted
}

// mediaTypes by extension; the system's own table differs between machines.
var mediaTypes = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif",
	".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime",
	".mp3": "audio/mpeg", ".wav": "audio/wav", ".ogg": "audio/ogg", ".flac": "audio/flac", ".m4a": "audio/mp4",
}

// nameIn is the last part of a URL's path, if it looks like the name of a file.
func nameIn(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	if name := path.Base(parsed.Path); mediaTypes[strings.ToLower(path.Ext(name))] != "" {
		return name
	}
	return ""
}

// KindOf is what a feature makes: image, video or audio.
func KindOf(feature tasks.Feature) string {
	_, made, found := strings.Cut(string(feature), "-to-")
	switch {
	case found && made == "video", strings.HasPrefix(string(feature), "video"):
		return "video"
	case found && (made == "speech" || made == "audio" || made == "music"):
		return "audio"
	}
	return "image"
}

// Completed finishes the status of a generation that its provider calls
// complete: with the files in the answer, or as failed where there are none: for
// the reason that the answer hides, or for no reason (code no_output). Files
// that are there have been paid for and count, whatever else the answer says;
// that goes into a warning.
func (c *Client) Completed(submitted bool, st Status, answer []byte, feature tasks.Feature) (Status, error) {
	var document any
	if err := json.Unmarshal(answer, &document); err != nil {
		return Status{}, c.Strange(submitted, "the answer is not JSON")
	}
	outputs, err := findOutputs(document, KindOf(feature))
	if err != nil {
		return Status{}, c.Strange(submitted, "%v", err)
	}
	hidden := said(document, hiddenMessages, hiddenCodes)
	switch {
	case len(outputs) > 0:
		st.State, st.Outputs = Succeeded, outputs
		if hidden != nil {
			st.Warnings = append(st.Warnings, tasks.Warning{Code: "provider_error", Message: c.Failed(hidden.Code, hidden.Message).Message})
		}
	case hidden != nil:
		st.State, st.Failure = Failed, c.Failed(hidden.Code, hidden.Message)
	default:
		st.State, st.Failure = Failed, c.failure(classify.GenerationFailed, 0, "no_output", "the provider calls the generation complete and has no output for it")
	}
	return st, nil
}
