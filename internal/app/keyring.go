package app

import (
	"sync"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/httpapi"
)

// Reload brings the configuration as it is now, so that a key that was taken out
// of it stops working without a restart; see [config.Reloader]. Every request
// asks it. Nil: the configuration never changes.
type Reload func() (*config.Config, error)

// keyring holds the keys that open the API now. A configuration that cannot be
// read leaves the last good keys in force, and says so once.
type keyring struct {
	reload Reload
	log    *zap.Logger

	mu      sync.Mutex
	cfg     *config.Config // whose keys they are
	keys    []httpapi.Key
	problem string
}

func newKeyring(cfg *config.Config, reload Reload, log *zap.Logger) *keyring {
	return &keyring{reload: reload, log: log, cfg: cfg, keys: keysOf(cfg)}
}

func keysOf(cfg *config.Config) []httpapi.Key {
	keys := make([]httpapi.Key, 0, len(cfg.API.Keys))
	for _, k := range cfg.API.Keys {
		keys = append(keys, httpapi.Key{Name: k.Name, Secret: k.Key.Reveal(), Tenant: k.Tenant, Scopes: k.Scopes})
	}
	return keys
}

// current returns the keys of the configuration as it is now.
func (k *keyring) current() []httpapi.Key {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reload == nil {
		return k.keys
	}
	cfg, err := k.reload()
	if err != nil {
		if k.problem != err.Error() {
			k.problem = err.Error()
			k.log.Error("the configuration cannot be read again; its last keys stay in force", zap.Error(err))
		}
		return k.keys
	}
	if k.problem = ""; cfg != k.cfg {
		k.cfg, k.keys = cfg, keysOf(cfg)
	}
	return k.keys
}
