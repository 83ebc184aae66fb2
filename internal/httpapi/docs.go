package httpapi

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// The page at /docs is the OpenAPI document, rendered once by the server: one
// file of HTML without scripts, which loads nothing from anywhere.

//go:embed docs.html
var docsTemplate string

//go:embed docs.css
var docsStyle string

// docsPolicy lets the page use its own style sheet and nothing else.
func docsPolicy() string {
	sum := sha256.Sum256([]byte(docsStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

func (s *server) serveDocs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Security-Policy", docsPolicy())
	w.Header().Set("Referrer-Policy", "no-referrer")
	// A client that has gone away is no failure of ours.
	_, _ = w.Write(s.docs)
}

type docsPage struct {
	Title, Version string
	Intro          []string
	Style          template.CSS
	Groups         []docsGroup
	Schemas        []docsSchema
	Problems       []problemKind
}

type docsGroup struct {
	Name, Description string
	Operations        []docsOperation
}

type docsOperation struct {
	ID, Method, Path, Summary, Description string
	Scope                                  string
	Parameters                             []docsParameter
	Body                                   template.HTML
	BodyRequired                           bool
	Responses                              []docsResponse
	Curl                                   string
}

type docsParameter struct {
	Name, In    string
	Required    bool
	Type        template.HTML
	Description string
}

type docsResponse struct {
	Status, Description string
	Type                template.HTML
	Problem             bool
}

type docsSchema struct {
	Name       string
	Properties []docsProperty
}

type docsProperty struct {
	Name        string
	Required    bool
	Type        template.HTML
	Description string
	Example     string
}

// renderDocs makes the page. Template and document are part of the program:
// that they do not fit is a mistake that every start would show.
func renderDocs(document *huma.OpenAPI, operations []*huma.Operation) []byte {
	page := docsPage{
		Title: document.Info.Title, Version: document.Info.Version,
		Intro: strings.Split(document.Info.Description, "\n\n"), Style: template.CSS(docsStyle),
		Groups: docsGroups(document.Tags, operations), Schemas: docsSchemas(document), Problems: problemKinds,
	}
	var b bytes.Buffer
	if err := template.Must(template.New("docs").Parse(docsTemplate)).Execute(&b, page); err != nil {
		panic("httpapi: the documentation cannot be rendered: " + err.Error())
	}
	return b.Bytes()
}

// docsGroups groups the operations by tag, in the order of the routes.
func docsGroups(tags []*huma.Tag, operations []*huma.Operation) []docsGroup {
	groups := make([]docsGroup, 0, len(tags))
	for _, tag := range tags {
		group := docsGroup{Name: tag.Name, Description: tag.Description}
		for _, operation := range operations {
			if slices.Contains(operation.Tags, tag.Name) {
				group.Operations = append(group.Operations, docsOperationOf(operation))
			}
		}
		groups = append(groups, group)
	}
	return groups
}

func docsOperationOf(operation *huma.Operation) docsOperation {
	view := docsOperation{
		ID: operation.OperationID, Method: operation.Method, Path: operation.Path,
		Summary: operation.Summary, Description: strings.ReplaceAll(operation.Description, "`", ""), Curl: curl(operation),
	}
	if len(operation.Security) > 0 {
		view.Scope = strings.Join(operation.Security[0][securityScheme], ", ")
	}
	for _, p := range operation.Parameters {
		view.Parameters = append(view.Parameters, docsParameter{
			Name: p.Name, In: p.In, Required: p.Required, Type: typeOf(p.Schema), Description: p.Description,
		})
	}
	if operation.RequestBody != nil {
		view.BodyRequired = operation.RequestBody.Required
		view.Body = contentOf(operation.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(operation.Responses)) {
		response := operation.Responses[status]
		_, isProblem := response.Content["application/problem+json"]
		if status == "default" {
			continue
		}
		view.Responses = append(view.Responses, docsResponse{
			Status: status, Description: response.Description, Type: contentOf(response.Content), Problem: isProblem,
		})
	}
	return view
}

// contentOf shows a JSON schema, or the media type of anything else.
func contentOf(content map[string]*huma.MediaType) template.HTML {
	if len(content) == 0 {
		return ""
	}
	mediaType := slices.Min(slices.Collect(maps.Keys(content)))
	if strings.HasSuffix(mediaType, "json") {
		return typeOf(content[mediaType].Schema)
	}
	return template.HTML(template.HTMLEscapeString(mediaType))
}

// typeOf writes a schema in words, with links to the nouns in it.
func typeOf(s *huma.Schema) template.HTML {
	switch {
	case s == nil:
		return "any"
	case s.Ref != "":
		name := template.HTMLEscapeString(strings.TrimPrefix(s.Ref, schemaPrefix))
		return template.HTML(fmt.Sprintf(`<a href="#schema-%s">%s</a>`, name, name))
	case len(s.AnyOf) == 2:
		return typeOf(s.AnyOf[0]) + " or null"
	case s.Type == huma.TypeArray:
		return "list of " + typeOf(s.Items)
	case s.Type == huma.TypeObject && s.AdditionalProperties != nil:
		if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
			return "map of " + typeOf(values)
		}
	case s.Type == "":
		return "any JSON"
	}
	text := s.Type
	if s.Format == "date-time" {
		text = "time"
	}
	if len(s.Enum) > 0 {
		choices := make([]string, len(s.Enum))
		for i, choice := range s.Enum {
			choices[i] = fmt.Sprint(choice)
		}
		text = strings.Join(choices, " | ")
	}
	if s.Minimum != nil && s.Maximum != nil {
		text += fmt.Sprintf(" from %.0f to %.0f", *s.Minimum, *s.Maximum)
	}
	if s.Nullable {
		text += " or null"
	}
	return template.HTML(template.HTMLEscapeString(text))
}

func docsSchemas(document *huma.OpenAPI) []docsSchema {
	schemas := document.Components.Schemas.Map()
	var views []docsSchema
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		view := docsSchema{Name: name}
		for _, property := range slices.Sorted(maps.Keys(schemas[name].Properties)) {
			s := schemas[name].Properties[property]
			view.Properties = append(view.Properties, docsProperty{
				Name: property, Required: slices.Contains(schemas[name].Required, property) && requests[name],
				Type: typeOf(s), Description: s.Description, Example: exampleOf(s),
			})
		}
		views = append(views, view)
	}
	return views
}

func exampleOf(s *huma.Schema) string {
	if len(s.Examples) == 0 {
		return ""
	}
	raw, err := json.Marshal(s.Examples[0])
	if err != nil {
		return ""
	}
	return string(raw)
}

// curlBodies are the bodies of the examples, by operation.
var curlBodies = map[string]string{
	"create-job":  `{"feature_type":"text-to-image","input_data":{"prompt":"A beautiful sunset"}}`,
	"create-jobs": `{"jobs":[{"feature_type":"text-to-image","input_data":{"prompt":"A beautiful sunset"}}]}`,
	"retry-job":   `{"mode":"resume"}`,
	"resolve-job": `{"outcome":"not_created"}`,
}

// curl is the operation as a command to copy.
func curl(operation *huma.Operation) string {
	path := strings.NewReplacer("{id}", "$JOB", "{n}", "0").Replace(operation.Path)
	var b strings.Builder
	b.WriteString("curl ")
	if operation.OperationID == "watch-job" {
		b.WriteString("-N ")
	}
	if operation.Method != http.MethodGet && curlBodies[operation.OperationID] == "" {
		b.WriteString("-X " + operation.Method + " ")
	}
	b.WriteString(`"$EASEL_URL` + path + `"`)
	if len(operation.Security) > 0 {
		b.WriteString(" \\\n  -H \"Authorization: Bearer $EASEL_TOKEN\"")
	}
	if body := curlBodies[operation.OperationID]; body != "" {
		b.WriteString(" \\\n  -H \"Content-Type: application/json\" \\\n  -d '" + body + "'")
	}
	return b.String()
}
