package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"
)

// LoadOptions say where the settings come from. The zero value reads the
// process' environment and the usual files.
type LoadOptions struct {
	// File is read instead of the search paths, and must exist. When empty,
	// the flag --config says it.
	File string
	// SearchPaths are tried in order until one exists; nil means
	// ./easel.yaml and /etc/easel/easel.yaml.
	SearchPaths []string
	// Flags win over everything; see [AddFlag].
	Flags *pflag.FlagSet
	// LookupEnv answers for the environment; nil means [os.LookupEnv].
	LookupEnv func(string) (string, bool)
	// AddProviders are adapters to add under their own names where the
	// configuration has no provider of that name. Their key is read from the
	// variable that the vendor's own tools use, such as OPENAI_API_KEY.
	AddProviders []string
}

// SearchPaths are the files that are looked for when none is named.
func SearchPaths() []string { return []string{"./easel.yaml", "/etc/easel/easel.yaml"} }

// Load reads the configuration and checks it. An error is an [*Error] that
// lists every problem, unless a file could not be read at all.
func Load(options LoadOptions) (*Config, error) {
	if options.LookupEnv == nil {
		options.LookupEnv = os.LookupEnv
	}
	file, tree, err := readFile(options)
	if err != nil {
		return nil, err
	}
	var found problems
	prune(tree, reflect.TypeFor[Config](), "", &found)
	expand(tree, "", options.LookupEnv, &found)

	merged, err := merge(tree, options)
	if err != nil {
		return nil, err
	}
	c := decode(merged, &found)
	c.fill()
	for _, name := range options.AddProviders {
		c.addProvider(name, options.LookupEnv, &found)
	}
	c.check(&found)
	if len(found) > 0 {
		slices.SortStableFunc(found, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
		return nil, &Error{File: file, Problems: found}
	}
	return c, nil
}

// named is the file that was named; empty: one of the search paths is taken.
func (o LoadOptions) named() string {
	if o.File == "" && o.Flags != nil {
		if flag := o.Flags.Lookup(configFlag); flag != nil {
			return flag.Value.String()
		}
	}
	return o.File
}

// files are where the configuration may stand, the first that exists counts.
func (o LoadOptions) files() []string {
	switch {
	case o.named() != "":
		return []string{o.named()}
	case o.SearchPaths != nil:
		return o.SearchPaths
	default:
		return SearchPaths()
	}
}

// readFile finds the file and parses it. No file at all is an empty tree.
func readFile(options LoadOptions) (string, map[string]any, error) {
	named := options.named()
	for _, path := range options.files() {
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) && named == "" {
			continue
		}
		if err != nil {
			return "", nil, fmt.Errorf("read configuration: %w", err)
		}
		tree, err := parse(raw)
		if err != nil {
			return "", nil, &Error{File: path, Problems: []Problem{{Detail: err.Error()}}}
		}
		return path, tree, nil
	}
	return "", map[string]any{}, nil
}

func parse(raw []byte) (map[string]any, error) {
	var document any
	if err := yaml.Unmarshal(raw, &document); err != nil {
		return nil, err
	}
	switch document := document.(type) {
	case nil:
		return map[string]any{}, nil
	case map[string]any:
		return document, nil
	default:
		return nil, errors.New("must be a YAML mapping of settings")
	}
}

// merge lays the sources over each other.
func merge(tree map[string]any, options LoadOptions) (*viper.Viper, error) {
	merged := viper.New()
	for path, value := range settings(reflect.ValueOf(*Default()), "") {
		if value.Kind() != reflect.Slice { // a list has no defaults to merge with
			merged.SetDefault(path, value.Interface())
		}
	}
	keepLists(tree)
	if err := merged.MergeConfigMap(tree); err != nil {
		return nil, fmt.Errorf("merge configuration file: %w", err)
	}
	if err := merged.MergeConfigMap(environment(options.LookupEnv)); err != nil {
		return nil, fmt.Errorf("merge environment: %w", err)
	}
	if options.Flags != nil {
		if err := bindFlags(merged, options.Flags); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

// list is a list that viper does not recognize as one: it would fold the case
// of the keys inside, and a provider's options are not ours to change.
type list []any

func keepLists(tree map[string]any) {
	for name, value := range tree {
		switch value := value.(type) {
		case map[string]any:
			keepLists(value)
		case []any:
			tree[name] = list(value)
		}
	}
}

// environment is what EASEL_* variables say, as a tree. A variable that is set
// to nothing counts as unset, since compose files cannot leave one out.
func environment(lookup func(string) (string, bool)) map[string]any {
	tree := map[string]any{}
	for path := range settings(reflect.ValueOf(Config{}), "") {
		value, _ := lookup(Variable(path))
		if value == "" {
			continue
		}
		section, name := tree, path
		if head, tail, nested := strings.Cut(path, "."); nested {
			if tree[head] == nil {
				tree[head] = map[string]any{}
			}
			section, name = tree[head].(map[string]any), tail
		}
		section[name] = value
	}
	return tree
}

// Variable is the environment variable of a setting: api.listen is
// EASEL_API_LISTEN.
func Variable(path string) string {
	return "EASEL_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// keyVariables are where the vendors' own tools look for a key.
var keyVariables = map[string]string{
	"bfl":        "BFL_API_KEY",
	"elevenlabs": "ELEVENLABS_API_KEY",
	"fal":        "FAL_KEY",
	"gemini":     "GEMINI_API_KEY",
	"kling":      "KLING_API_KEY",
	"luma":       "LUMAAI_API_KEY",
	"openai":     "OPENAI_API_KEY",
	"replicate":  "REPLICATE_API_TOKEN",
	"runway":     "RUNWAYML_API_SECRET",
	"stability":  "STABILITY_API_KEY",
}

func (c *Config) addProvider(name string, lookup func(string) (string, bool), found *problems) {
	if c.Provider(name) != nil {
		return
	}
	added := Provider{Name: name}
	if variable, needed := keyVariables[name]; needed {
		value, _ := lookup(variable)
		if value == "" {
			found.add(fmt.Sprintf("providers[%d].api_key", len(c.Providers)), "environment variable %s is not set", variable)
		}
		added.APIKey = Secret(value)
	}
	added.fill()
	c.Providers = append(c.Providers, added)
}
