package openai

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers/providertest"
)

// description is OpenAI's own description of the API, cut down to media.
var description = sync.OnceValues(func() (routers.Router, error) {
	doc, err := openapi3.NewLoader().LoadFromFile("testdata/openai-media.json")
	if err != nil {
		return nil, err
	}
	doc.Servers = nil
	return gorillamux.NewRouter(doc)
})

// requireDescribed holds a request to the provider's description of its API.
func requireDescribed(t *testing.T, got providertest.Recorded) {
	t.Helper()
	require.NoError(t, described(t, got))
}

func described(t *testing.T, got providertest.Recorded) error {
	t.Helper()
	router, err := description()
	require.NoError(t, err)
	req, err := http.NewRequestWithContext(t.Context(), got.Method, got.Path+"?"+got.Query, bytes.NewReader(got.Body))
	require.NoError(t, err)
	req.Header = got.Header
	route, params, err := router.FindRoute(req)
	if err != nil {
		return err
	}
	if form := route.Operation.RequestBody.Value.Content["multipart/form-data"]; got.Header.Get("Content-Type") != "application/json" {
		return describedForm(form.Schema.Value, fields(t, got))
	}
	return openapi3filter.ValidateRequest(t.Context(), &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	})
}

// describedForm is for forms, which the filter cannot read where a field has
// several types.
func describedForm(schema *openapi3.Schema, fields map[string]any) error {
	for name, value := range fields {
		property := schema.Properties[name]
		if property == nil {
			return fmt.Errorf("the form has no field %s", name)
		}
		if property.Value.Type.Is("integer") {
			number, err := strconv.ParseFloat(value.(string), 64)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fields[name] = number
		}
	}
	return schema.VisitJSON(fields)
}

// A check that cannot fail says nothing.
func TestDescriptionRefuses(t *testing.T) {
	t.Parallel()
	asJSON := http.Header{"Content-Type": {"application/json"}}
	form := func(name, value string) providertest.Recorded {
		var body bytes.Buffer
		writer := multipart.NewWriter(&body)
		require.NoError(t, writer.WriteField("prompt", "x"))
		require.NoError(t, writer.WriteField(name, value))
		require.NoError(t, writer.Close())
		return providertest.Recorded{
			Method: "POST", Path: "/videos", Header: http.Header{"Content-Type": {writer.FormDataContentType()}}, Body: body.Bytes(),
		}
	}
	for name, bad := range map[string]providertest.Recorded{
		"no prompt":     {Method: "POST", Path: "/images/generations", Header: asJSON, Body: []byte(`{"model":"gpt-image-1.5"}`)},
		"too many":      {Method: "POST", Path: "/images/generations", Header: asJSON, Body: []byte(`{"prompt":"x","n":11}`)},
		"no voice":      {Method: "POST", Path: "/audio/speech", Header: asJSON, Body: []byte(`{"input":"x","model":"tts-1"}`)},
		"a number":      {Method: "POST", Path: "/videos", Header: asJSON, Body: []byte(`{"prompt":"x","seconds":8}`)},
		"no such path":  {Method: "POST", Path: "/paintings", Header: asJSON, Body: []byte(`{}`)},
		"no such field": form("duration", "8"),
		"no such value": form("seconds", "5"),
	} {
		require.Error(t, described(t, bad), name)
	}
}
