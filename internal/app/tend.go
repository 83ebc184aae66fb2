package app

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/internal/telemetry"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	archiveAge   = 30 * 24 * time.Hour
	trimInterval = 10 * time.Minute
)

// trimArchive deletes old archived tasks in small portions, so that asynq's own
// trim, which fails half-way on large ones, never has anything to do.
func (p *platform) trimArchive(ctx context.Context) error {
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if n, err := p.inspector.TrimArchive(ctx, archiveAge); err != nil && ctx.Err() == nil {
			p.log.Warn("trim archive", zap.Error(err))
		} else if n > 0 {
			p.log.Info("trimmed archive", zap.Int("tasks", n))
		}
	}
}

// metricsHandler serves the process's metrics.
func (p *platform) metricsHandler() http.Handler { return p.metrics.Handler() }

// countJobs reads how many jobs there are in each status.
func (p *platform) countJobs(ctx context.Context) (map[tasks.Status]int64, error) {
	counts, err := p.store.Counts(ctx)
	if err != nil {
		return nil, err
	}
	byStatus := map[tasks.Status]int64{}
	for state, n := range counts.Jobs {
		byStatus[state.Status()] += n
	}
	return byStatus, nil
}

// countProviders reads what is at the providers' gates. The circuit of a provider
// as a whole is always told, so that an alert on it can be written.
func (p *platform) countProviders(ctx context.Context) ([]telemetry.Provider, error) {
	infos, err := p.engine.ProviderInfos(ctx)
	if err != nil {
		return nil, err
	}
	providers := make([]telemetry.Provider, 0, len(infos))
	for _, info := range infos {
		provider := telemetry.Provider{
			Name: info.Name, InFlight: info.Gate.InFlight, Waiting: info.Gate.Waiting,
			Paused: !info.Gate.PausedSince.IsZero(), Open: map[string]bool{"": false},
		}
		for _, circuit := range info.Health.Circuits {
			provider.Open[circuit.Model] = true
		}
		providers = append(providers, provider)
	}
	return providers, nil
}

// countTasks reads how full the queues are.
func (p *platform) countTasks(ctx context.Context) ([]telemetry.Queue, error) {
	stats, err := p.inspector.Stats(ctx)
	if err != nil {
		return nil, err
	}
	queues := make([]telemetry.Queue, 0, len(stats))
	for _, s := range stats {
		q := telemetry.Queue{Name: s.Queue, States: map[string]int{}, OldestAge: s.Latency, Paused: s.Paused}
		for state, n := range s.Size {
			q.States[string(state)] = int(n)
		}
		queues = append(queues, q)
	}
	return queues, nil
}
