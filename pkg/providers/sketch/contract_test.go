package sketch_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/providertest"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
)

func sign(at time.Time, body []byte) http.Header {
	mac := hmac.New(sha256.New, []byte("drawn"))
	_, _ = fmt.Fprintf(mac, "%d.%s", at.Unix(), body)
	header := http.Header{}
	header.Set(sketch.SignatureHeader, fmt.Sprintf("t=%d,v1=%x", at.Unix(), mac.Sum(nil)))
	return header
}

func TestContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, providertest.Adapter{
		New: func(baseURL string) providers.Provider {
			config := sketch.Defaults()
			config.BaseURL, config.APIKey, config.WebhookSecret = baseURL, providertest.Secret, "drawn"
			p, err := sketch.New(config)
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Replies: os.DirFS("testdata"),
		Webhook: &providertest.Webhook{
			Body: `{"event_id":"evt_1","id":"sk_0123456789abcdef_fedcba9876543210","status":"succeeded"}`, Sign: sign,
		},
	})
}
