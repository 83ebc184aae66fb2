package openai

import (
	"embed"
	"encoding/json"

	"github.com/easel-jobs/easel/pkg/tasks"
)

//go:embed schemas/*.json
var schemas embed.FS

// schema is the JSON Schema of a feature's input.
func schema(feature tasks.Feature) json.RawMessage {
	raw, err := schemas.ReadFile("schemas/" + string(feature) + ".json")
	if err != nil {
		// The files are compiled in, one for each feature.
		panic("openai: no schema for " + string(feature))
	}
	return raw
}
