package openai

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// preset is what is known of a server that speaks OpenAI's API.
type preset struct {
	baseURL        string // where it listens if nobody says otherwise
	responseFormat string // sent with image requests; such servers answer with a URL of their own
	features       []tasks.Feature
	foreign        bool // it has no model of OpenAI's, and a default of its own
	synchronous    bool
	decodeError    func(int, http.Header, []byte) *classify.Error
	// own are the features that it does in a way of its own, and inputs what
	// they take.
	own    map[tasks.Feature]func(*Provider, context.Context, providers.Request) (providers.Status, error)
	inputs map[tasks.Feature]providers.Inputs
}

var asOpenAI = []tasks.Feature{tasks.TextToImage, tasks.ImageToImage, tasks.TextToSpeech, tasks.TextToVideo, tasks.ImageToVideo}

// presets by name. The empty one is OpenAI, and with a base URL any server.
var presets = map[string]preset{
	"": {baseURL: DefaultBaseURL, features: asOpenAI, decodeError: decodeError},
	"localai": {
		baseURL: "http://127.0.0.1:8080/v1", responseFormat: "b64_json", foreign: true, synchronous: true, decodeError: decodeLocalError,
		features: append([]tasks.Feature{tasks.Upscale, tasks.TextToAudio}, asOpenAI...), inputs: localInputs,
		own: map[tasks.Feature]func(*Provider, context.Context, providers.Request) (providers.Status, error){
			tasks.ImageToImage: (*Provider).localEdit, tasks.Upscale: (*Provider).localUpscale, tasks.TextToAudio: (*Provider).localSound,
			tasks.TextToVideo: (*Provider).localVideo, tasks.ImageToVideo: (*Provider).localVideo,
		},
	},
	"litellm": {
		baseURL: "http://127.0.0.1:4000/v1", foreign: true, decodeError: decodeError, features: asOpenAI,
	},
	"sd-server": { // of stable-diffusion.cpp
		baseURL: "http://127.0.0.1:1234/v1", responseFormat: "b64_json", foreign: true, synchronous: true, decodeError: decodeError,
		features: []tasks.Feature{tasks.TextToImage, tasks.ImageToImage},
	},
	"vllm-omni": {
		baseURL: "http://127.0.0.1:8091/v1", responseFormat: "b64_json", foreign: true, decodeError: decodeError, features: asOpenAI,
	},
}

func presetNames() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(presets)), func(name string) bool { return name == "" })
}
