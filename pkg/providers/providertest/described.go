package providertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/stretchr/testify/require"
)

// Description is a provider's own description of its API, to which an adapter's
// requests are held.
type Description struct {
	router     routers.Router
	operations []string
}

// ReadDescription reads an OpenAPI document from a file. Paths are those below
// the API's base URL, as adapters write them.
func ReadDescription(t testing.TB, file string) *Description {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromFile(file)
	require.NoError(t, err)
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	require.NoError(t, err)
	d := &Description{router: router}
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			d.operations = append(d.operations, method+" "+path)
		}
	}
	slices.Sort(d.operations)
	return d
}

// Operations are what the API can be asked for, such as "GET /jobs/{id}".
func (d *Description) Operations() []string { return d.operations }

// Require fails the test unless the description knows such a request.
func (d *Description) Require(t testing.TB, got Recorded) {
	t.Helper()
	require.NoError(t, d.Check(got), "%s %s", got.Method, got.Path)
}

// find is the request again, with the operation that it asks for.
func (d *Description) find(got Recorded) (*http.Request, *routers.Route, map[string]string, error) {
	req, err := http.NewRequestWithContext(context.Background(), got.Method, got.Path+"?"+got.Query, bytes.NewReader(got.Body))
	if err != nil {
		return nil, nil, nil, err
	}
	req.Header = got.Header
	route, params, err := d.router.FindRoute(req)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s %s: %w", got.Method, got.Path, err)
	}
	return req, route, params, nil
}

// Operation is which of [Description.Operations] a request asks for.
func (d *Description) Operation(got Recorded) (string, error) {
	_, route, _, err := d.find(got)
	if err != nil {
		return "", err
	}
	return route.Method + " " + route.Path, nil
}

// Check says in what a request is not as described, nil if it is.
func (d *Description) Check(got Recorded) error {
	req, route, params, err := d.find(got)
	if err != nil {
		return err
	}
	if kind := got.Header.Get("Content-Type"); strings.HasPrefix(kind, "multipart/") {
		form := route.Operation.RequestBody.Value.Content["multipart/form-data"]
		if form == nil {
			return errors.New("the operation takes no form")
		}
		fields, err := got.Form()
		if err != nil {
			return err
		}
		return checkForm(form.Schema.Value, fields)
	}
	return openapi3filter.ValidateRequest(req.Context(), &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, SkipSettingDefaults: true},
	})
}

// checkForm is for forms, which the filter cannot read where a field has
// several types.
func checkForm(schema *openapi3.Schema, fields map[string]any) error {
	for name, value := range fields {
		property := schema.Properties[name]
		if property == nil {
			return fmt.Errorf("the form has no field %s", name)
		}
		text, isText := value.(string)
		if isText && (property.Value.Type.Is("integer") || property.Value.Type.Is("number")) {
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fields[name] = number
		}
	}
	return schema.VisitJSON(fields)
}

// Form reads the request's body as a form. Files are given by name, type and
// size; what comes several times is joined by commas.
func (r Recorded) Form() (map[string]any, error) {
	_, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	fields := map[string]any{}
	reader := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		value := any(string(data))
		if part.FileName() != "" {
			value = fmt.Sprintf("%s %s %d", part.FileName(), part.Header.Get("Content-Type"), len(data))
		}
		if before, again := fields[part.FormName()]; again {
			value = fmt.Sprint(before, ", ", value)
		}
		fields[part.FormName()] = value
	}
}
