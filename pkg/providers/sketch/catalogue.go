package sketch

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The models.
const (
	ModelDefault = "sketch-1"
	ModelNoop    = "sketch-noop" // answers at once with one pixel
)

// offer is one feature: what it takes, what it makes, how long it takes.
type offer struct {
	feature  tasks.Feature
	models   []string
	kind     string
	keys     []string // of the input, see schemaOf
	required []string
	shortest time.Duration
	longest  time.Duration
}

// catalogue is everything that can be ordered.
var catalogue = []offer{
	{
		feature: tasks.TextToImage, models: []string{ModelDefault, ModelNoop}, kind: "image",
		keys: []string{"prompt", "style", "size", "n", "seed", "format"}, required: []string{"prompt"},
		shortest: time.Second, longest: 2 * time.Second,
	},
	{
		feature: tasks.ImageToImage, models: []string{ModelDefault}, kind: "image",
		keys:     []string{"image", "prompt", "style", "strength", "size", "n", "seed", "format"},
		required: []string{"image", "prompt"}, shortest: time.Second, longest: 2 * time.Second,
	},
	{
		feature: tasks.Upscale, models: []string{ModelDefault}, kind: "image",
		keys: []string{"image", "factor", "format"}, required: []string{"image"},
		shortest: 800 * time.Millisecond, longest: 1500 * time.Millisecond,
	},
	{
		feature: tasks.RemoveBackground, models: []string{ModelDefault}, kind: "image",
		keys: []string{"image"}, required: []string{"image"},
		shortest: 800 * time.Millisecond, longest: 1500 * time.Millisecond,
	},
	{
		feature: tasks.TextToVideo, models: []string{ModelDefault}, kind: "video",
		keys: []string{"prompt", "style", "size", "duration", "seed"}, required: []string{"prompt"},
		shortest: 2500 * time.Millisecond, longest: 5 * time.Second,
	},
	{
		feature: tasks.ImageToVideo, models: []string{ModelDefault}, kind: "video",
		keys: []string{"image", "prompt", "style", "size", "duration", "seed"}, required: []string{"image"},
		shortest: 2500 * time.Millisecond, longest: 5 * time.Second,
	},
	{
		feature: tasks.TextToSpeech, models: []string{ModelDefault}, kind: "audio",
		keys: []string{"text", "voice", "seed"}, required: []string{"text"},
		shortest: 700 * time.Millisecond, longest: 1500 * time.Millisecond,
	},
	{
		feature: tasks.TextToAudio, models: []string{ModelDefault}, kind: "audio",
		keys: []string{"prompt", "duration", "seed"}, required: []string{"prompt"},
		shortest: time.Second, longest: 2500 * time.Millisecond,
	},
}

// offerOf returns the offer of a feature, or nil.
func offerOf(f tasks.Feature) *offer {
	i := slices.IndexFunc(catalogue, func(o offer) bool { return o.feature == f })
	if i < 0 {
		return nil
	}
	return &catalogue[i]
}

// features describes the catalogue in the words of the contract.
func features() []providers.FeatureCapability {
	out := make([]providers.FeatureCapability, len(catalogue))
	for i, o := range catalogue {
		out[i] = providers.FeatureCapability{Feature: o.feature, Models: slices.Clone(o.models), Input: o.schema()}
	}
	return out
}

// properties are the JSON Schemas of the input's keys.
var properties = map[string]map[string]any{
	"prompt":   {"type": "string", "minLength": 1, "maxLength": maxText, "description": "What to draw or play. Words such as sunset, ocean, forest, night choose mood and composition."},
	"text":     {"type": "string", "minLength": 1, "maxLength": maxText, "description": "What to say."},
	"style":    {"type": "string", "maxLength": 200, "description": "Further words that choose mood and composition."},
	"size":     {"type": "string", "pattern": `^[0-9]{2,4}x[0-9]{2,4}$`, "description": "Width x height, 64 to 2048 each (videos to 1024); at most 4194304 pixels over all pictures."},
	"n":        {"type": "integer", "minimum": 1, "maximum": maxCount, "default": 1, "description": "How many pictures."},
	"seed":     {"type": "integer", "minimum": 0, "maximum": maxSeed, "default": 0, "description": "The same prompt and seed give the same result."},
	"format":   {"type": "string", "enum": []string{"png", "jpeg"}, "default": "png"},
	"strength": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.7, "description": "How far to go from the original."},
	"factor":   {"type": "integer", "enum": []int{2, 4}, "default": 2},
	"duration": {"type": "number", "minimum": 1, "maximum": 30, "description": "Seconds; videos last at most 8."},
	"voice":    {"type": "string", "enum": voices, "description": "Chosen by the seed when it is not given."},
	"image":    {"description": "The picture to work on: PNG, JPEG, GIF or WebP, at most 16777216 pixels."},
}

var voices = []string{"alto", "tenor", "chime"}

// schema is the JSON Schema of the offer's input. Other keys are allowed.
func (o offer) schema() json.RawMessage {
	chosen := map[string]any{}
	for _, key := range o.keys {
		chosen[key] = properties[key]
	}
	raw, err := json.Marshal(map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
		"properties": chosen, "required": o.required,
	})
	if err != nil {
		panic("sketch: schema of built-in values: " + err.Error()) // a programming error
	}
	return raw
}
