package app

import (
	"context"
	"fmt"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/fetch"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/providers/record"
)

// Record takes a configured provider through the session's calls and writes its
// answers down. It needs no Redis and runs no job.
func Record(ctx context.Context, cfg *config.Config, name string, session record.Session) error {
	guard, err := fetch.NewGuard(fetch.Policy{AllowOrigins: origins(cfg)})
	if err != nil {
		return err
	}
	outside := guard.Client()
	defer outside.CloseIdleConnections()
	for _, settings := range settingsOf(cfg, outside.Transport) {
		if settings.Name != name {
			continue
		}
		opener, known := openers[settings.Adapter()]
		if !known {
			return fmt.Errorf("there is no adapter %q", settings.Adapter())
		}
		session.Key, session.BaseURL = settings.APIKey, settings.BaseURL
		session.Open = func(recorder *record.Recorder, key providers.Secret) (providers.Provider, error) {
			with := settings
			with.APIKey, with.Transport = key, recorder
			return opener(with)
		}
		return session.Run(ctx)
	}
	return fmt.Errorf("provider %q is not configured", name)
}
