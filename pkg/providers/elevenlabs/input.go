package elevenlabs

import (
	"maps"
	"net/url"
	"regexp"
	"slices"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// models by feature, the default first. Music is made by a model of its own.
var models = map[tasks.Feature][]string{
	tasks.TextToSpeech: {"eleven_multilingual_v2", "eleven_v3", "eleven_flash_v2_5", "eleven_turbo_v2_5"},
	tasks.TextToAudio:  {"eleven_text_to_sound_v2", music},
}

const music = "music_v1"

// longest are the characters that a model says at once; others say 10,000.
var longest = map[string]int{"eleven_v3": 5000, "eleven_flash_v2_5": 40000, "eleven_turbo_v2_5": 40000}

// formats are the names of what can be asked for in a word.
var formats = map[string]string{"mp3": "mp3_44100_128", "opus": "opus_48000_128", "wav": "wav_44100", "pcm": "pcm_24000"}

var voiceForm = regexp.MustCompile(`^[A-Za-z0-9]{8,64}$`)

// settings are the keys that stand in voice_settings.
var settings = []string{"speed", "stability", "similarity_boost", "style", "use_speaker_boost"}

// reserved are the parameters that are ours to set: without logging a lost
// answer cannot be found again.
var reserved = providers.Reserved("model_id", "enable_logging", "optimize_streaming_latency", "xi_api_key", "xi-api-key", "voice_id", "composition_plan", "store_for_inpainting")

func speech(model string) providers.Inputs {
	most, ok := longest[model]
	if !ok {
		most = 10_000
	}
	return providers.Inputs{
		Required: []string{"text"}, Names: map[string]string{"language": "language_code"},
		Checks: map[string]providers.Check{
			"text": providers.TextUpTo(most), "voice": providers.Matching(voiceForm, "a voice's id"), "seed": providers.Whole(0, 1<<32-1),
			"speed": providers.Number(0.7, 1.2), "stability": providers.Number(0, 1), "similarity_boost": providers.Number(0, 1),
			"style": providers.Number(0, 1), "format": providers.OneOf(slices.Sorted(maps.Keys(formats))...), "language": providers.TextUpTo(10),
		},
	}
}

func sound(model string) providers.Inputs {
	in := providers.Inputs{
		Required: []string{"prompt"}, Names: map[string]string{"prompt": "text", "duration": "duration_seconds"},
		Checks: map[string]providers.Check{
			"prompt": providers.TextUpTo(2000), "duration": providers.Number(0.5, 30), "prompt_influence": providers.Number(0, 1),
			"format": providers.OneOf(slices.Sorted(maps.Keys(formats))...),
		},
	}
	if model == music {
		in.Names = map[string]string{"duration": "music_length_ms"}
		in.Checks["prompt"], in.Checks["duration"] = providers.TextUpTo(4100), providers.Number(3, 600)
	}
	return in
}

// inputs says what each feature takes from a model.
var inputs = map[tasks.Feature]func(model string) providers.Inputs{tasks.TextToSpeech: speech, tasks.TextToAudio: sound}

// CheckInput implements [providers.InputChecker].
func (p *Provider) CheckInput(feature tasks.Feature, model string, input map[string]any) error {
	describe, ok := inputs[feature]
	if !ok {
		return providers.NotOffered()
	}
	if model != "" && !modelForm.MatchString(model) {
		return &classify.Error{Class: classify.Validation, Field: "/model", Message: "must be a model's id"}
	}
	in := describe(providers.ModelOr(models, feature, model))
	in.Reserved = reserved
	return in.Check(input)
}

var modelForm = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

func (p *Provider) voice(req providers.Request) string { return req.Text("voice", p.options.Voice) }

// body is where a request goes, and what it says there.
func (p *Provider) body(req providers.Request) (path string, query url.Values, body map[string]any) {
	model := providers.ModelOr(models, req.Feature, req.Model)
	body = inputs[req.Feature](model).Rename(req.Input)
	body["model_id"] = model
	query = url.Values{"output_format": {formats[req.Text("format", "mp3")]}}
	delete(body, "format")
	if own, ok := body["output_format"].(string); ok { // one that has no word
		query.Set("output_format", own)
		delete(body, "output_format")
	}
	switch {
	case model == music:
		if seconds, ok := body["music_length_ms"].(float64); ok {
			body["music_length_ms"] = seconds * 1000
		}
		return "/v1/music", query, body
	case req.Feature == tasks.TextToAudio:
		return "/v1/sound-generation", query, body
	}
	delete(body, "voice")
	own, _ := body["voice_settings"].(map[string]any)
	chosen := maps.Clone(own)
	for _, key := range settings {
		if value, given := body[key]; given {
			if chosen == nil {
				chosen = map[string]any{}
			}
			chosen[key] = value
			delete(body, key)
		}
	}
	if len(chosen) > 0 {
		body["voice_settings"] = chosen
	}
	return "/v1/text-to-speech/" + url.PathEscape(p.voice(req)), query, body
}
