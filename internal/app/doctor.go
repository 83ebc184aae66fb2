package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/config"
	"github.com/easel-jobs/easel/internal/embedded"
	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// DoctorOptions say what [Doctor] does beyond looking.
type DoctorOptions struct {
	Log *zap.Logger
	// AfterRestore looks up or holds every open job first, and lets paid submits
	// resume.
	AfterRestore bool
	// Repair mends what is found.
	Repair bool
	// SkipFiles leaves artifact storage out, which may take long to list.
	SkipFiles bool
}

// connectPatience is how long a command waits for Redis.
const connectPatience = 3 * time.Second

// Doctor compares records, indexes, tasks and files, and mends on demand where
// they disagree. Workers may run meanwhile.
//
// The restoration is nil unless it was asked for.
func Doctor(ctx context.Context, cfg *config.Config, opts DoctorOptions) (*orchestrator.Examination, *orchestrator.Restoration, error) {
	var examination *orchestrator.Examination
	var restoration *orchestrator.Restoration
	err := visit(ctx, cfg, opts.Log, func(ctx context.Context, p *platform) (err error) {
		doctor := p.doctor(opts)
		if opts.AfterRestore {
			if restoration, err = doctor.AfterRestore(ctx); err != nil {
				return err
			}
		}
		if opts.Repair {
			examination, err = doctor.Repair(ctx)
		} else {
			examination, err = doctor.Examine(ctx)
		}
		return err
	})
	return examination, restoration, err
}

func (p *platform) doctor(opts DoctorOptions) *orchestrator.Doctor {
	doctor := &orchestrator.Doctor{Engine: p.engine, Ledger: p.store, Board: p.inspector}
	if !opts.SkipFiles {
		doctor.Files = p.artifacts
	}
	return doctor
}

// visit opens the installation for a command that ends: a Redis that is not
// there is not waited for as a server does.
func visit(ctx context.Context, cfg *config.Config, log *zap.Logger, do func(context.Context, *platform) error) error {
	if log == nil {
		log = zap.NewNop()
	}
	url := cfg.Redis.URL.Reveal()
	if url == "" {
		own, err := ownRedis(ctx, cfg, log)
		if err != nil {
			return err
		}
		defer func() {
			if err := own.Close(); err != nil {
				log.Warn("stop Redis", zap.Error(err))
			}
		}()
		url = own.URL()
	}
	connecting, connected := context.WithTimeout(ctx, connectPatience)
	p, err := open(connecting, cfg, log, url)
	connected()
	if err != nil {
		return err
	}
	defer p.close()
	return do(ctx, p)
}

// ownRedis starts the Redis of the data directory, which only one process may
// have at a time.
func ownRedis(ctx context.Context, cfg *config.Config, log *zap.Logger) (*embedded.Server, error) {
	server, err := embedded.Start(context.WithoutCancel(ctx), embedded.Config{DataDir: cfg.DataDir, Logger: log.Named("redis")})
	if err != nil {
		return nil, fmt.Errorf("no Redis is configured, and that of the data directory cannot be used (stop easel up first): %w", err)
	}
	if !server.Durable() {
		return nil, errors.Join(errors.New("no Redis is configured, and there is none to look at in the data directory"), server.Close())
	}
	return server, nil
}
