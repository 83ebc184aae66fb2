//go:build !easel_http

package client

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/app"
)

// engineOptions are the options of [Connect] and [Embedded].
type engineOptions struct {
	configFile string
	dataDir    string
	tenant     string
	worker     bool
	log        *zap.Logger
	specs      []ProviderSpec
}

// WithConfigFile has the process read the installation's configuration file, and
// the environment beside it, as its API and workers do. For [Connect] and
// [Embedded].
func WithConfigFile(path string) OpenOption {
	return func(o *opening) {
		o.engine.configFile = path
		o.only("WithConfigFile", byConnect, byEmbedded)
	}
}

// WithDataDir says where the process keeps its files. An [Embedded] Easel with a
// data directory finds its jobs again when it is opened anew; without one they
// go with it. For [Connect] and [Embedded].
func WithDataDir(path string) OpenOption {
	return func(o *opening) {
		o.engine.dataDir = path
		o.only("WithDataDir", byConnect, byEmbedded)
	}
}

// WithTenant says whose jobs the client works on, where it is not the default
// tenant's. Over HTTP the key says it. For [Connect] and [Embedded].
func WithTenant(name string) OpenOption {
	return func(o *opening) {
		o.engine.tenant = name
		o.only("WithTenant", byConnect, byEmbedded)
	}
}

// WithWorker runs a worker in this process, which providers can be registered
// with. It takes part in all that its installation does, and so has to know all
// its providers: by [WithConfigFile], or because all of them are functions of
// programs ([Client.RegisterProvider]). An [Embedded] Easel always has one. For
// [Connect].
func WithWorker() OpenOption {
	return func(o *opening) {
		o.engine.worker = true
		o.only("WithWorker", byConnect, byEmbedded)
	}
}

// WithProvider registers a provider before the first job is run; see
// [Client.RegisterProvider]. For [Connect] with a worker, and [Embedded].
func WithProvider(spec ProviderSpec) OpenOption {
	return func(o *opening) {
		o.engine.specs = append(o.engine.specs, spec)
		o.only("WithProvider", byConnect, byEmbedded)
	}
}

// WithLogger has the process log what nobody asked for. For [Connect] and
// [Embedded].
func WithLogger(log *zap.Logger) OpenOption {
	return func(o *opening) {
		o.engine.log = log
		o.only("WithLogger", byConnect, byEmbedded)
	}
}

// connectPatience is how long [Connect] waits for a Redis and an installation
// that are not there yet: programs start in any order.
const connectPatience = 15 * time.Second

// Connect makes a client of the Easel that lives in the Redis at redisURL,
// without a server in between: jobs are written, watched and read there, and the
// installation's workers run them. What the client has to know of the
// installation its API and workers have left in Redis; [WithConfigFile] says it
// instead. Storage that is a directory must be one that this process can reach.
//
// The context bounds the opening, not the client: [Client.Close] ends that.
func Connect(ctx context.Context, redisURL string, options ...OpenOption) (*Client, error) {
	o, err := open(byConnect, options)
	if err != nil {
		return nil, err
	}
	if redisURL == "" {
		return nil, fmt.Errorf("%w: Connect needs the URL of a Redis; Embedded brings its own", ErrUnsupported)
	}
	return o.connect(ctx, app.ServiceOptions{RedisURL: redisURL, Worker: o.engine.worker, Patience: connectPatience})
}

// Embedded opens a whole Easel in this process: a Redis of its own, a worker,
// and the registered providers, with the drawing provider "sketch" for those who
// have none. It is for tests, command-line programs and services that need no
// more than one process. Where redis-server is installed, and [WithDataDir]
// says where to, its jobs outlive the process.
func Embedded(ctx context.Context, options ...OpenOption) (*Client, error) {
	o, err := open(byEmbedded, options)
	if err != nil {
		return nil, err
	}
	return o.connect(ctx, app.ServiceOptions{Worker: true})
}

func (o opening) connect(ctx context.Context, s app.ServiceOptions) (*Client, error) {
	s.ConfigFile, s.DataDir, s.Tenant, s.Log = o.engine.configFile, o.engine.dataDir, o.engine.tenant, o.engine.log
	if len(o.engine.specs) > 0 && !s.Worker {
		return nil, errNoWorker
	}
	for _, spec := range o.engine.specs {
		entry, err := spec.entry()
		if err != nil {
			return nil, err
		}
		s.Providers = append(s.Providers, entry)
	}
	service, err := app.OpenService(ctx, s)
	if err != nil {
		return nil, opened(err)
	}
	e := &engine{service: service, repeater: repeater{retries: o.retries, sleep: sleep}}
	return newClient(e, o), nil
}

// opened words an error of the opening.
func opened(err error) error {
	if isUnavailable(err) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return fmt.Errorf("easel: %w", err)
}
