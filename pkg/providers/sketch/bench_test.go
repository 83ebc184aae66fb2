package sketch_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// What a load test pays for the provider itself.
func BenchmarkNoop(b *testing.B) {
	config := sketch.Defaults()
	config.Dir = b.TempDir()
	p, err := sketch.New(config)
	require.NoError(b, err)
	defer p.(io.Closer).Close()
	req := providers.Request{ClientID: "c", JobID: "j", Feature: tasks.TextToImage, Model: sketch.ModelNoop, Input: map[string]any{"prompt": "x"}}
	for b.Loop() {
		if _, err := p.Submit(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}
