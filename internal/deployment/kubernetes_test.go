package deployment

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// TestKubernetesGivesWorkersTime reads the manifests, and compares what they
// grant with what the configuration beside them needs.
func TestKubernetesGivesWorkersTime(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join(root, "deploy", "kubernetes.yaml"))
	require.NoError(t, err)
	worker, err := configOf(readCompose(t).Services["worker"], filled(t))
	require.NoError(t, err)
	found := map[string]bool{}
	decoder := yaml.NewDecoder(bytes.NewReader(raw))
	for {
		var object struct {
			Kind string `yaml:"kind"`
			Spec struct {
				Template struct {
					Spec struct {
						Grace      int `yaml:"terminationGracePeriodSeconds"`
						Containers []struct {
							Command []string `yaml:"command"`
						} `yaml:"containers"`
					} `yaml:"spec"`
				} `yaml:"template"`
			} `yaml:"spec"`
		}
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		for _, container := range object.Spec.Template.Spec.Containers {
			name := strings.TrimPrefix(container.Command[0], "/usr/local/bin/")
			require.Contains(t, imagePrograms(t), name)
			found[name] = true
			if name == "worker" {
				grace := time.Duration(object.Spec.Template.Spec.Grace) * time.Second
				require.Greater(t, grace, worker.Worker.ShutdownTimeout, "a deploy would cut off a paid call")
			}
		}
	}
	for _, name := range programs {
		require.True(t, found[name], "%s does not run", name)
	}
}
