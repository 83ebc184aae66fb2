package providers

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func declared(t *testing.T, raw string) Declarations {
	t.Helper()
	var d Declarations
	require.NoError(t, json.Unmarshal([]byte(raw), &d))
	return d
}

const exampleDeclarations = `[
	{"name":"text","required":true,"max_length":10},
	{"name":"voice","enum":["en","de"],"default":"en"},
	{"name":"code","pattern":"[a-z]+"},
	{"name":"steps","type":"integer","minimum":1,"maximum":50,"default":20},
	{"name":"scale","type":"number"},
	{"name":"tiled","type":"boolean"},
	{"name":"image","type":"file","accept":["image/png"]}
]`

func TestDeclarationsCheck(t *testing.T) {
	t.Parallel()
	d := declared(t, exampleDeclarations)
	require.Empty(t, d.Problems("input"))
	for input, want := range map[string]string{
		`{"text":"hello"}`: "",
		`{"text":"x","voice":"de","steps":1,"code":"abc","scale":-1.5,"tiled":true,"image":{"$file":0}}`: "",
		`{}`:                            "text: is required",
		`{"text":" "}`:                  "text: must not be empty",
		`{"text":7}`:                    "text: must be a text",
		`{"text":"a\u0000b"}`:           "text: must be a text without null characters",
		`{"text":"12345678901"}`:        "text: must have at most 10 characters",
		`{"text":"x","promt":1}`:        "promt: is not an input of this feature",
		`{"text":"x","voice":"fr"}`:     "voice: must be one of en, de",
		`{"text":"x","code":"ABC"}`:     "code: does not have the form that it must have",
		`{"text":"x","code":"abc\n-x"}`: "code: does not have the form that it must have",
		`{"text":"x","steps":0}`:        "steps: must be at least 1",
		`{"text":"x","steps":51}`:       "steps: must be at most 50",
		`{"text":"x","steps":1.5}`:      "steps: must be a whole number",
		`{"text":"x","steps":"20"}`:     "steps: must be a number",
		`{"text":"x","tiled":"yes"}`:    "tiled: must be true or false",
		`{"text":"x","image":""}`:       "image: must be a file",
		`{"text":"x","image":["a"]}`:    "image: must be a file",
	} {
		var values map[string]any
		require.NoError(t, json.Unmarshal([]byte(input), &values))
		key, detail := d.Check(values)
		got := ""
		if detail != "" {
			got = key + ": " + detail
		}
		require.Equal(t, want, got, input)
	}
	values := d.Values(map[string]any{"text": "x", "image": "data:…"})
	require.Equal(t, map[string]any{"text": "x", "voice": "en", "steps": 20.0}, values, "defaults stand in; files go another way")
	require.True(t, d.Get("image").Accepts("image/png"))
	require.False(t, d.Get("image").Accepts("text/plain"))
}

func TestDeclarationsSchema(t *testing.T) {
	t.Parallel()
	var schema map[string]any
	require.NoError(t, json.Unmarshal(declared(t, exampleDeclarations).Schema(), &schema))
	require.Equal(t, []any{"text"}, schema["required"])
	require.Equal(t, false, schema["additionalProperties"])
	properties := schema["properties"].(map[string]any)
	require.Equal(t, map[string]any{"type": "integer", "minimum": 1.0, "maximum": 50.0, "default": 20.0}, properties["steps"])
	require.Equal(t, "^(?:[a-z]+)$", properties["code"].(map[string]any)["pattern"])
	require.NotContains(t, properties["image"], "type", "a file is a text or a reference")
}

func TestDeclarationsProblems(t *testing.T) {
	t.Parallel()
	problems := declared(t, `[
		{"name":"Text"}, {"name":"a"}, {"name":"a"}, {"name":"b","type":"list"}, {"name":"c","pattern":"("},
		{"name":"d","default":5}, {"name":"e","type":"integer","enum":[1,"2"]}, {"name":"f","type":"file","default":"x"},
		{"name":"g","enum":["x"],"default":"y"}, {"name":"h","accept":["image/png"]}
	]`).Problems("input")
	var texts []string
	for _, problem := range problems {
		texts = append(texts, problem.Error())
	}
	require.Equal(t, []string{
		"input[0].name: must be lower case letters, digits and underscores",
		`input[2].name: "a" is taken`,
		"input[3].type: must be string, integer, number, boolean or file",
		"input[4].pattern: is not a regular expression",
		"input[5].default: must be a text",
		"input[6].enum[1]: must be a number",
		"input[7].default: a file has none",
		"input[8].default: must be one of x",
		"input[9].accept: is for files",
	}, texts)
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for want, value := range map[string]any{"x": "x", "4294967295": 4294967295.0, "1.5": 1.5, "7": 7, "true": true, "": nil} {
		require.Equal(t, want, Plain(value))
	}
}

func TestDeclaredModels(t *testing.T) {
	t.Parallel()
	models := DeclaredModels{{Name: "small"}, {Name: "large", Value: "/models/large.gguf"}}
	for name, want := range map[string]string{"": "small", "small": "small", "large": "/models/large.gguf"} {
		value, ok := models.Value(name)
		require.True(t, ok, name)
		require.Equal(t, want, value)
	}
	_, ok := models.Value("huge")
	require.False(t, ok)
	_, ok = DeclaredModels(nil).Value("any")
	require.False(t, ok, "where there are no models none may be named")
	require.Equal(t, []string{"small", "large"}, models.Names())
	require.Len(t, DeclaredModels{{}}.Problems("models"), 1)
}
