package providertest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Picture is a PNG of one pixel, for inputs, and PictureBase64 the same.
var Picture = mustDecode(PictureBase64)

// PictureBase64 is [Picture] in base64.
const PictureBase64 = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func mustDecode(text string) []byte {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	return data
}

// Sending is a request, and what an adapter must make of it.
type Sending struct {
	Request providers.Request
	// Path is where it goes, with its query.
	Path string
	// Body is its JSON. Texts that begin with … stand for any that end like it.
	Body map[string]any
}

// RequireSendings submits each request, and holds what the provider gets to
// what is wanted and, unless it is nil, to the provider's own description.
func RequireSendings(t *testing.T, a Adapter, d *Description, sendings map[string]Sending) {
	t.Helper()
	a = a.withDefaults(t)
	for name, s := range sendings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, double := a.start(t, a.reply(t, "submit.http").ServeHTTP)
			_, err := p.Submit(t.Context(), s.Request)
			require.NoError(t, err)
			require.Len(t, double.Requests(), 1)
			got := double.Requests()[0]
			where := got.Path
			if got.Query != "" {
				where += "?" + got.Query
			}
			require.Equal(t, s.Path, where)
			var body map[string]any
			require.NoError(t, json.Unmarshal(got.Body, &body))
			requireLike(t, s.Body, body)
			if d != nil {
				d.Require(t, got)
			}
		})
	}
}

// requireLike compares a body with a wanted one in which texts may be cut.
func requireLike(t *testing.T, want, got map[string]any) {
	t.Helper()
	for key, value := range want {
		text, ok := value.(string)
		have, _ := got[key].(string)
		if tail, cut := strings.CutPrefix(text, "…"); ok && cut {
			require.Truef(t, strings.HasSuffix(have, tail), "%s must end in %s", key, tail)
			got[key] = value
		}
	}
	require.Equal(t, want, got)
}

// Wrong is an input that an adapter must refuse.
type Wrong struct {
	Feature tasks.Feature
	Model   string
	Input   map[string]any
	Field   string // what the error points to, such as /input_data/size
}

// RequireRefusals holds the adapter to refuse each input, when it is asked and
// when it is to be submitted, without a call.
func RequireRefusals(t *testing.T, a Adapter, wrongs []Wrong) {
	t.Helper()
	a = a.withDefaults(t)
	p, double := a.start(t, hang)
	checker, ok := p.(providers.InputChecker)
	require.True(t, ok, "the adapter is no InputChecker")
	for _, wrong := range wrongs {
		what := strings.Join([]string{string(wrong.Feature), wrong.Model, wrong.Field}, " ")
		info := classify.Classify(checker.CheckInput(wrong.Feature, wrong.Model, wrong.Input))
		require.Equal(t, classify.Validation, info.Class, what)
		require.Equal(t, wrong.Field, info.Field, what)
		_, err := p.Submit(t.Context(), providers.Request{Feature: wrong.Feature, Model: wrong.Model, Input: wrong.Input})
		require.Equal(t, wrong.Field, classify.Classify(err).Field, what)
	}
	require.Empty(t, double.Requests(), "what is wrong is not sent")
}

// Sends is a [Sending] in one line.
func Sends(request providers.Request, path string, body map[string]any) Sending {
	return Sending{Request: request, Path: path, Body: body}
}

// Refuses is a [Wrong] in one line.
func Refuses(feature tasks.Feature, model string, input map[string]any, field string) Wrong {
	return Wrong{Feature: feature, Model: model, Input: input, Field: field}
}
