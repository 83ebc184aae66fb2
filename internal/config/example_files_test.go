package config_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/easel-jobs/easel/internal/config"
)

const exampleFile = "../../configs/example.yaml"

func TestExampleIsTheDefaults(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.LoadOptions{File: exampleFile, LookupEnv: env{}.lookup})
	require.NoError(t, err)
	want := config.Default()
	c.API.CORSOrigins, c.API.FileOrigins, c.Webhooks.AllowPrivate = nil, nil, nil // empty and absent are the same
	c.Providers[0].Options = nil
	require.Equal(t, want, c)
}

// TestExampleHasEveryKey switches on what the example has commented out: that
// must be a valid configuration too, and together they must name every setting.
func TestExampleHasEveryKey(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(exampleFile)
	require.NoError(t, err)
	var text strings.Builder
	for line := range strings.Lines(string(raw)) {
		if setting, off := strings.CutPrefix(line, "#"); off && strings.HasPrefix(setting, "  ") {
			line = setting
		}
		text.WriteString(line)
	}
	environment := env{"EASEL_SECRET_KEY": "sixteen letters.", "EASEL_BACKEND_KEY": "k", "EASEL_WEBHOOK_SECRET": "w"}
	_, err = load(t, text.String(), environment)
	require.NoError(t, err)

	var tree map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(text.String()), &tree))
	requireKeys(t, reflect.TypeFor[config.Config](), tree, "")
}

func requireKeys(t *testing.T, section reflect.Type, tree map[string]any, path string) {
	t.Helper()
	for i := range section.NumField() {
		field := section.Field(i)
		name := field.Tag.Get("yaml")
		require.NotEmpty(t, name, "%s%s has no key", path, field.Name)
		require.Contains(t, tree, name, "%s%s is not in the example", path, name)
		below, value := field.Type, tree[name]
		if elements, ok := value.([]any); ok && len(elements) > 0 {
			below, value = below.Elem(), elements[0]
		}
		if below.Kind() == reflect.Struct {
			require.IsType(t, map[string]any{}, value, "%s%s", path, name)
			requireKeys(t, below, value.(map[string]any), path+name+".")
		} else if below.Kind() == reflect.Slice && below.Elem().Kind() == reflect.Struct {
			t.Errorf("%s%s shows no element", path, name)
		}
	}
}

func TestDemoLoads(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.LoadOptions{File: "../../configs/demo.yaml", LookupEnv: env{}.lookup})
	require.NoError(t, err)
	require.NotNil(t, c.Provider("sketch"))
	require.Empty(t, c.Redis.URL, "the demo needs nothing installed")
	require.True(t, config.Loopback(c.API.Listen))
}
