package comfyui

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Workflow is a graph that makes one feature.
type Workflow struct {
	Feature tasks.Feature `json:"feature"`
	// Graph is the graph in API format, as JSON in a text; GraphFile is a file
	// that holds it. One of them is given. In its inputs {name} stands for a
	// declared input and {model} for the model's value; a text that is nothing
	// but a placeholder gets the value with its type.
	Graph     string                   `json:"graph"`
	GraphFile string                   `json:"graph_file"`
	Input     providers.Declarations   `json:"input"`
	Models    providers.DeclaredModels `json:"models"`
}

// workflow is a checked [Workflow].
type workflow struct {
	config Workflow
	graph  map[string]node
}

// node is one node of a graph. What else stands in it is kept.
type node map[string]any

// seedName is an input that is chosen where the caller does not say: ComfyUI
// answers the same graph from its cache.
const seedName = "seed"

func (c Config) compile() ([]*workflow, []error) {
	var problems []error
	if len(c.Workflows) == 0 {
		problems = append(problems, errors.New("workflows: is empty"))
	}
	var workflows []*workflow
	for i, config := range c.Workflows {
		at := fmt.Sprintf("workflows[%d]", i)
		if config.Feature == "" {
			problems = append(problems, fmt.Errorf("%s.feature: is missing", at))
		}
		if slices.ContainsFunc(c.Workflows[:i], func(other Workflow) bool { return other.Feature == config.Feature }) {
			problems = append(problems, fmt.Errorf("%s.feature: there is a workflow for it already", at))
		}
		problems = append(problems, config.Input.Problems(at+".input")...)
		problems = append(problems, config.Models.Problems(at+".models")...)
		graph, err := config.read()
		if err != nil {
			problems = append(problems, fmt.Errorf("%s.%w", at, err))
			continue
		}
		w := &workflow{config: config, graph: graph}
		problems = append(problems, w.problems(at)...)
		workflows = append(workflows, w)
	}
	return workflows, problems
}

func (c Workflow) read() (map[string]node, error) {
	name, text := "graph", []byte(c.Graph)
	switch {
	case (c.Graph == "") == (c.GraphFile == ""):
		return nil, errors.New("graph: one of graph and graph_file is needed")
	case c.GraphFile != "":
		var err error
		name = "graph_file"
		if text, err = os.ReadFile(c.GraphFile); err != nil {
			return nil, fmt.Errorf("graph_file: %w", err)
		}
	}
	var graph map[string]node
	if json.Unmarshal(text, &graph) != nil || len(graph) == 0 {
		return nil, fmt.Errorf("%s: is not a graph in API format", name)
	}
	for id, n := range graph {
		if _, ok := n["class_type"].(string); !ok {
			return nil, fmt.Errorf("%s: node %s has no class_type; export the graph in API format", name, id)
		}
	}
	return graph, nil
}

var placeholder = regexp.MustCompile(`\{([a-z][a-z0-9_]*)\}`)

// problems refuses placeholders that stand for nothing or may have no value,
// and inputs that have no place.
func (w *workflow) problems(at string) []error {
	var problems []error
	used := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(w.graph)) {
		inputs, _ := w.graph[id]["inputs"].(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(inputs)) {
			text, _ := inputs[key].(string)
			for _, match := range placeholder.FindAllStringSubmatch(text, -1) {
				used[match[1]] = true
				if err := w.place(match[1], key); err != nil {
					problems = append(problems, fmt.Errorf("%s.graph: node %s, %s: {%s} %w", at, id, key, match[1], err))
				}
			}
		}
	}
	for i, declared := range w.config.Input {
		if !used[declared.Name] {
			problems = append(problems, fmt.Errorf("%s.input[%d]: {%s} stands nowhere in the graph", at, i, declared.Name))
		}
	}
	if len(w.config.Models) > 0 && !used["model"] {
		problems = append(problems, fmt.Errorf("%s.models: {model} stands nowhere in the graph", at))
	}
	return problems
}

// place says why a placeholder cannot stand at an input of a node.
func (w *workflow) place(name, key string) error {
	if name == "model" {
		if len(w.config.Models) == 0 {
			return errors.New("needs models")
		}
		return nil
	}
	declared := w.config.Input.Get(name)
	switch {
	case declared == nil:
		return errors.New("is not declared in input")
	case !declared.Required && declared.Default == nil && name != seedName:
		return errors.New("may be missing: require it, or give it a default")
	case key == "filename_prefix":
		return errors.New("would be part of a path")
	}
	return nil
}

// values are those of the placeholders, but for files.
func (w *workflow) values(req providers.Request) map[string]any {
	values := w.config.Input.Values(req.Input)
	if value, ok := w.config.Models.Value(req.Model); ok {
		values["model"] = value
	}
	if _, given := values[seedName]; !given && w.config.Input.Get(seedName) != nil {
		values[seedName] = seedOf(req.ClientID)
	}
	return values
}

// seedOf is a seed for an attempt: another for each, and the same for its
// submissions.
func seedOf(clientID string) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(clientID)) // a hash takes everything
	return float64(h.Sum32())
}

// fill returns a copy of the graph with its placeholders replaced.
func (w *workflow) fill(values map[string]any) map[string]node {
	graph := make(map[string]node, len(w.graph))
	for id, n := range w.graph {
		filled := maps.Clone(n)
		inputs, _ := n["inputs"].(map[string]any)
		inputs = maps.Clone(inputs)
		for key, value := range inputs {
			if text, ok := value.(string); ok {
				inputs[key] = fillText(text, values)
			}
		}
		filled["inputs"] = inputs
		graph[id] = filled
	}
	return graph
}

func fillText(text string, values map[string]any) any {
	if match := placeholder.FindStringSubmatch(text); match != nil && match[0] == text {
		return values[match[1]]
	}
	// In one pass, so that a value which looks like a placeholder stays.
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		return providers.Plain(values[strings.Trim(found, "{}")])
	})
}
