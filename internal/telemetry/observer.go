package telemetry

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// Observer is what the engine reports to. It counts, and it logs what a person
// may want to read.
type Observer struct {
	metrics *Metrics
	log     *zap.Logger
}

var _ orchestrator.Observer = (*Observer)(nil)

// NewObserver reports to the metrics and the log.
func NewObserver(metrics *Metrics, log *zap.Logger) *Observer {
	return &Observer{metrics: metrics, log: log}
}

// JobAccepted implements [orchestrator.Observer].
func (o *Observer) JobAccepted(job *tasks.Job) {
	o.metrics.jobsAccepted.WithLabelValues(string(job.Request.FeatureType), job.ProviderID).Inc()
	o.log.Debug("job accepted", about(job)...)
}

// JobRested implements [orchestrator.Observer].
func (o *Observer) JobRested(job *tasks.Job) {
	fields := append(about(job), zap.String("status", string(job.State.Status())), zap.Int("attempts", len(job.Attempts)))
	class := ""
	if job.Error != nil {
		class = string(job.Error.Class)
		fields = append(fields, zap.String("class", class), zap.String("code", job.Error.Code))
	}
	o.metrics.jobsRested.WithLabelValues(string(job.Request.FeatureType), job.ProviderID, string(job.State.Status()), class).Inc()
	o.log.Info("job came to rest", fields...)
}

// ProviderCalled implements [orchestrator.Observer].
func (o *Observer) ProviderCalled(provider, call string, class classify.Class, took time.Duration) {
	outcome := string(class)
	if outcome == "" {
		outcome = "ok"
	}
	o.metrics.providerCalls.WithLabelValues(provider, call, outcome).Inc()
	o.metrics.providerTimes.WithLabelValues(provider, call).Observe(took.Seconds())
	o.log.Debug("provider called", zap.String("provider", provider), zap.String("call", call),
		zap.String("class", outcome), zap.Duration("took", took))
}

// StageTook implements [orchestrator.Observer].
func (o *Observer) StageTook(stage string, job *tasks.Job, took time.Duration) {
	// Two clocks are compared, so that a short stage may seem to have ended
	// before it began.
	seconds := max(took, 0).Seconds()
	o.metrics.stages.WithLabelValues(stage, string(job.Request.FeatureType), job.ProviderID).Observe(seconds)
}

// Repaired implements [orchestrator.Observer].
func (o *Observer) Repaired(what string, job *tasks.Job) {
	o.metrics.repairs.WithLabelValues(what).Inc()
	o.log.Warn("job repaired", append(about(job), zap.String("what", what))...)
}

// PutBack implements [orchestrator.Observer]. It happens again and again while
// two releases run side by side, so that it is counted and hardly logged.
func (o *Observer) PutBack(reason string) {
	o.metrics.putBack.WithLabelValues(reason).Inc()
	o.log.Debug("task put back", zap.String("reason", reason))
}

// PutOff implements [orchestrator.Observer].
func (o *Observer) PutOff(provider string) { o.metrics.putOff.WithLabelValues(provider).Inc() }

// Delivered implements [orchestrator.Observer].
func (o *Observer) Delivered(job *tasks.Job, status int, err error) {
	o.metrics.deliveries.WithLabelValues(statusClass(status)).Inc()
	fields := append(about(job), zap.Int("webhook_status", status))
	if err != nil {
		o.log.Warn("webhook not delivered", append(fields, reason(err))...)
		return
	}
	o.log.Debug("webhook delivered", fields...)
}

// Alert implements [orchestrator.Observer].
func (o *Observer) Alert(provider string, failure *tasks.Failure) {
	o.metrics.alerts.WithLabelValues(provider, string(failure.Class)).Inc()
	o.log.Error("provider needs an operator", zap.String("provider", provider), zap.String("class", string(failure.Class)),
		zap.String("code", failure.Code), zap.Int("provider_status", failure.ProviderStatus), zap.String("problem", failure.Message))
}

// Failed implements [orchestrator.Observer].
func (o *Observer) Failed(doing, jobID string, err error) {
	o.metrics.errors.WithLabelValues(doing).Inc()
	if errors.Is(err, orchestrator.ErrUnavailable) {
		o.metrics.RedisFailed()
	}
	fields := []zap.Field{zap.String("doing", doing), reason(err)}
	if jobID != "" {
		fields = append(fields, zap.String("job", jobID))
	}
	o.log.Error("something failed", fields...)
}

// about says which job a line is about. Its input, user and metadata belong to
// the caller and are not logged.
func about(job *tasks.Job) []zap.Field {
	return []zap.Field{
		zap.String("job", job.ID), zap.String("tenant", job.Tenant),
		zap.String("feature", string(job.Request.FeatureType)), zap.String("provider", job.ProviderID),
	}
}

// reason is an error without the URL that net/http puts into its own: a
// caller's webhook may carry a token there.
func reason(err error) zap.Field {
	if call, ok := errors.AsType[*url.Error](err); ok {
		return zap.String("error", call.Op+": "+call.Err.Error())
	}
	return zap.Error(err)
}

func statusClass(status int) string {
	if status < 100 || status > 599 {
		return "none"
	}
	return fmt.Sprintf("%dxx", status/100)
}
