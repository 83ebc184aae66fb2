package httpapi

import (
	"encoding/json"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// spec is the part of an OpenAPI document that the tests look at.
type spec struct {
	OpenAPI    string
	Paths      map[string]map[string]operationSpec
	Components struct {
		Schemas map[string]struct {
			Type                 any
			Required             []string
			AdditionalProperties any
			Properties           map[string]map[string]any
		}
	}
}

type operationSpec struct {
	OperationID string
	Security    []map[string][]string
	Parameters  []struct{ Name, In string }
	RequestBody *struct{ Content map[string]any }
	Responses   map[string]struct{ Content map[string]any }
}

func document(t *testing.T) (spec, string) {
	t.Helper()
	r := serve(t, func(c *Config) {
		c.Metrics = http.NotFoundHandler()
		c.Loopback = false
		c.Keys = func() []Key { return []Key{{Secret: "k"}} }
	})
	a := r.do("GET", "/openapi.json", "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	var s spec
	require.NoError(t, json.Unmarshal([]byte(a.body), &s))
	return s, a.body
}

func TestDocumentHasEveryRoute(t *testing.T) {
	t.Parallel()
	s, raw := document(t)
	require.Equal(t, "3.1.0", s.OpenAPI)
	require.NotContains(t, raw, "$schema")
	require.NotContains(t, raw, "ErrorModel")

	got := map[string]string{} // call to scope
	ids := map[string]bool{}
	for path, methods := range s.Paths {
		for method, operation := range methods {
			scope := ""
			if len(operation.Security) > 0 {
				scope = strings.Join(operation.Security[0]["key"], " ")
			}
			got[strings.ToUpper(method)+" "+path] = scope
			require.False(t, ids[operation.OperationID], operation.OperationID)
			ids[operation.OperationID] = true
			var inPath []string
			for _, p := range operation.Parameters {
				if p.In == "path" {
					inPath = append(inPath, "{"+p.Name+"}")
				}
			}
			require.ElementsMatch(t, regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1), inPath, path)
			require.Contains(t, operation.Responses, "default")
			require.Contains(t, operation.Responses["default"].Content, "application/problem+json")
		}
	}
	require.Equal(t, map[string]string{
		"POST /v1/jobs": "jobs", "POST /v1/jobs/batch": "jobs", "POST /v1/jobs/adopt": "operate", "GET /v1/jobs": "jobs", "GET /v1/jobs/{id}": "jobs",
		"GET /v1/jobs/{id}/events": "jobs", "POST /v1/jobs/{id}/cancel": "jobs", "POST /v1/jobs/{id}/retry": "jobs",
		"POST /v1/jobs/{id}/resolve": "operate", "DELETE /v1/jobs/{id}": "jobs", "GET /v1/jobs/{id}/artifacts/{n}": "jobs", "GET /v1/jobs/{id}/inputs/{n}": "jobs",
		"POST /v1/files": "jobs", "GET /v1/files/{id}": "jobs", "DELETE /v1/files/{id}": "jobs",
		"POST /v1/providers/{name}/pause": "operate", "POST /v1/providers/{name}/resume": "operate",
		"GET /v1/providers": "jobs", "GET /v1/features": "jobs", "POST /v1/webhooks/{provider}/{job}/{token}": "",
		"GET /healthz": "", "GET /readyz": "", "GET /metrics": "operate",
	}, got)
	require.Contains(t, s.Paths["/v1/jobs/{id}/events"]["get"].Responses["200"].Content, "text/event-stream")
	for _, path := range []string{"/v1/jobs", "/v1/jobs/batch", "/v1/jobs/adopt", "/v1/jobs/{id}/retry", "/v1/jobs/{id}/resolve"} {
		require.Contains(t, s.Paths[path]["post"].RequestBody.Content, "application/json", path)
	}
}

func TestDocumentRefersToWhatIsThere(t *testing.T) {
	t.Parallel()
	s, raw := document(t)
	references := regexp.MustCompile(`"\$ref":"([^"]+)"`).FindAllStringSubmatch(raw, -1)
	require.NotEmpty(t, references)
	for _, reference := range references {
		name, ok := strings.CutPrefix(reference[1], schemaPrefix)
		require.True(t, ok, reference[1])
		require.Contains(t, s.Components.Schemas, name)
	}
}

func TestDocumentDescribesTheRealTypes(t *testing.T) {
	t.Parallel()
	s, _ := document(t)
	schemas := s.Components.Schemas
	for name, sample := range map[string]any{"JobRequest": tasks.Draft{}, "Job": tasks.View{}, "Problem": Problem{}, "Artifact": tasks.ArtifactView{}} {
		for _, field := range fields(reflect.TypeOf(sample)) {
			property, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if property == "" {
				continue
			}
			require.Contains(t, schemas[name].Properties, property)
		}
	}
	require.Equal(t, []string{"feature_type", "input_data"}, schemas["JobRequest"].Required)
	require.Equal(t, false, schemas["JobRequest"].AdditionalProperties)
	require.Equal(t, true, schemas["Job"].AdditionalProperties, "answers grow")
	require.Contains(t, schemas["BatchItem"].Properties, "feature_type")
	require.Contains(t, schemas["BatchItem"].Properties, "idempotency_key")
	require.Equal(t, []any{"string", "null"}, schemas["BatchItem"].Properties["run_at"]["type"])
	require.Equal(t, "object", schemas["JobRequest"].Properties["input_data"]["type"])
	require.Equal(t, "array", schemas["Job"].Properties["attempts"]["type"])
	require.Equal(t, []any{map[string]any{"$ref": "#/components/schemas/Result"}, map[string]any{"type": "null"}}, schemas["Job"].Properties["result"]["anyOf"])
	for name, schema := range schemas {
		for property, s := range schema.Properties {
			if s["$ref"] == nil && s["anyOf"] == nil {
				require.NotEqual(t, "", s["type"], name+"."+property)
			}
		}
	}
}

func TestEveryFieldIsDescribed(t *testing.T) {
	t.Parallel()
	s, _ := document(t)
	for key := range descriptions {
		name, property, _ := strings.Cut(key, ".")
		require.Contains(t, s.Components.Schemas, name, key)
		require.Contains(t, s.Components.Schemas[name].Properties, property, key)
	}
	for property, schema := range s.Components.Schemas["JobRequest"].Properties {
		require.NotEmpty(t, schema["description"], property)
	}
}

// The decoder is written by hand, the document made from the type: a field that
// is in one and not in the other is a mistake.
func TestDraftsAreDecodedWhole(t *testing.T) {
	t.Parallel()
	raw := `{"feature_type":"f","input_data":{"a":1},"user_id":"u","provider_id":"p","fallback_provider_ids":["q"],"model":"m",
		"retry_attempts":1,"retry_delay_ms":2,"timeout_ms":3,"webhook_url":"w","metadata":{"k":"v\n"},"priority":"low","run_at":"2026-01-02T15:04:05+01:00"}`
	got, err := decodeDraft(json.RawMessage(raw))
	require.NoError(t, err)
	var want tasks.Draft
	require.NoError(t, json.Unmarshal([]byte(raw), &want))
	require.Equal(t, want, got)
	value := reflect.ValueOf(got)
	for i := range value.NumField() {
		require.False(t, value.Field(i).IsZero(), value.Type().Field(i).Name)
	}
}

func TestDocsLoadNothing(t *testing.T) {
	t.Parallel()
	r := serve(t)
	a := r.do("GET", "/docs", "")
	require.Equal(t, 200, a.StatusCode)
	require.Equal(t, "text/html; charset=utf-8", a.Header.Get("Content-Type"))
	require.Contains(t, a.Header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-")
	for _, asset := range []string{"<script", "<link", "<img", "@import", "url(", `src=`} {
		require.NotContains(t, a.body, asset)
	}
	for _, link := range regexp.MustCompile(`href="([^"]*)"`).FindAllStringSubmatch(a.body, -1) {
		require.Regexp(t, `^(#|/openapi\.json$)`, link[1])
		if anchor, ok := strings.CutPrefix(link[1], "#"); ok {
			require.Contains(t, a.body, `id="`+anchor+`"`)
		}
	}
	for _, text := range []string{"Create a job", "/v1/jobs/{id}/artifacts/{n}", `id="idempotency_key_reused"`, "schema-Artifact", "A beautiful sunset"} {
		require.Contains(t, a.body, text)
	}
	require.NotContains(t, a.body, "ZgotmplZ", "what the template engine writes in place of what it does not trust")
}
