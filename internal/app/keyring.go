package app

import (
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/httpapi"
)

// Reload reads the configuration again, so that a key that was taken out of it
// stops working without a restart. Nil: the configuration never changes.
type Reload func() (*config.Config, error)

// keyringAge is how old the keys may be that a request is held against.
const keyringAge = 500 * time.Millisecond

// keyring holds the keys that open the API now. A configuration that cannot be
// read leaves the last good keys in force, and says so once.
type keyring struct {
	reload Reload
	log    *zap.Logger

	mu      sync.Mutex
	keys    []httpapi.Key
	readAt  time.Time
	problem string
}

func newKeyring(cfg *config.Config, reload Reload, log *zap.Logger) *keyring {
	return &keyring{reload: reload, log: log, keys: keysOf(cfg), readAt: time.Now()}
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
	if k.reload == nil || time.Since(k.readAt) < keyringAge {
		return k.keys
	}
	k.readAt = time.Now()
	cfg, err := k.reload()
	if err != nil {
		if k.problem != err.Error() {
			k.problem = err.Error()
			k.log.Error("the configuration cannot be read again; its last keys stay in force", zap.Error(err))
		}
		return k.keys
	}
	k.problem, k.keys = "", keysOf(cfg)
	return k.keys
}
