package sketch_test

import (
	"os"
	"testing"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
)

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Adapter{
		New: func(baseURL string) providers.Provider {
			config := sketch.Defaults()
			config.BaseURL, config.APIKey = baseURL, providertest.Secret
			p, err := sketch.New(config)
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Replies: os.DirFS("testdata"),
	})
}
