package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// readTimeout bounds what a scrape may ask of Redis.
const readTimeout = 5 * time.Second

// Queue is how much waits on one queue, and how long the oldest task that could
// run has waited.
type Queue struct {
	Name      string
	States    map[string]int // pending, active, scheduled, retry, archived, completed
	OldestAge time.Duration
	Paused    bool
}

// WatchQueues has the queues read whenever Prometheus asks. What cannot be read
// is counted and left out; the other metrics are still served.
func (m *Metrics) WatchQueues(read func(context.Context) ([]Queue, error)) {
	m.registry.MustRegister(&queueCollector{read: read, failed: m.scrapeErrors.WithLabelValues("queues")})
}

// WatchJobs has the jobs counted by status whenever Prometheus asks.
func (m *Metrics) WatchJobs(read func(context.Context) (map[tasks.Status]int64, error)) {
	m.registry.MustRegister(&jobCollector{read: read, failed: m.scrapeErrors.WithLabelValues("jobs")})
}

// Provider is what is at a provider's gate.
type Provider struct {
	Name     string
	InFlight int
	Waiting  int
	Paused   bool
	Open     map[string]bool // by model, empty for all: whether the circuit is open
}

// WatchProviders has the providers read whenever Prometheus asks.
func (m *Metrics) WatchProviders(read func(context.Context) ([]Provider, error)) {
	m.registry.MustRegister(&providerCollector{read: read, failed: m.scrapeErrors.WithLabelValues("providers")})
}

var (
	queueTasks  = prometheus.NewDesc("easel_queue_tasks", "Tasks on a queue, by state.", []string{"queue", "state"}, nil)
	queueAge    = prometheus.NewDesc("easel_queue_oldest_age_seconds", "How long the oldest pending task has waited.", []string{"queue"}, nil)
	queuePaused = prometheus.NewDesc("easel_queue_paused", "1 while an operator has paused the queue.", []string{"queue"}, nil)
	jobsByState = prometheus.NewDesc("easel_jobs", "Jobs that are kept, by status.", []string{"status"}, nil)
)

var (
	providerInFlight = prometheus.NewDesc("easel_provider_in_flight", "Submissions that a provider works on, or may be working on.", []string{"provider"}, nil)
	providerWaiting  = prometheus.NewDesc("easel_provider_waiting", "Jobs that stand in line for a provider.", []string{"provider"}, nil)
	providerPaused   = prometheus.NewDesc("easel_provider_paused", "1 while an operator has paused the provider.", []string{"provider"}, nil)
	providerCircuit  = prometheus.NewDesc("easel_provider_circuit_open", "1 while a model at a provider, or all of them where the label is empty, is passed over.", []string{"provider", "model"}, nil)
)

type providerCollector struct {
	read   func(context.Context) ([]Provider, error)
	failed prometheus.Counter
}

// Describe implements [prometheus.Collector].
func (c *providerCollector) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{providerInFlight, providerWaiting, providerPaused, providerCircuit} {
		out <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *providerCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	providers, err := c.read(ctx)
	if err != nil {
		c.failed.Inc()
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for _, p := range providers {
		gauge(providerInFlight, float64(p.InFlight), p.Name)
		gauge(providerWaiting, float64(p.Waiting), p.Name)
		gauge(providerPaused, bit(p.Paused), p.Name)
		for model, open := range p.Open {
			gauge(providerCircuit, bit(open), p.Name, model)
		}
	}
}

func bit(set bool) float64 {
	if set {
		return 1
	}
	return 0
}

type queueCollector struct {
	read   func(context.Context) ([]Queue, error)
	failed prometheus.Counter
}

// Describe implements [prometheus.Collector].
func (c *queueCollector) Describe(out chan<- *prometheus.Desc) {
	out <- queueTasks
	out <- queueAge
	out <- queuePaused
}

// Collect implements [prometheus.Collector].
func (c *queueCollector) Collect(out chan<- prometheus.Metric) {
	// Prometheus' interface brings no context.
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	queues, err := c.read(ctx)
	if err != nil {
		c.failed.Inc()
		return
	}
	for _, q := range queues {
		for state, n := range q.States {
			out <- prometheus.MustNewConstMetric(queueTasks, prometheus.GaugeValue, float64(n), q.Name, state)
		}
		out <- prometheus.MustNewConstMetric(queueAge, prometheus.GaugeValue, q.OldestAge.Seconds(), q.Name)
		out <- prometheus.MustNewConstMetric(queuePaused, prometheus.GaugeValue, bit(q.Paused), q.Name)
	}
}

type jobCollector struct {
	read   func(context.Context) (map[tasks.Status]int64, error)
	failed prometheus.Counter
}

// Describe implements [prometheus.Collector].
func (c *jobCollector) Describe(out chan<- *prometheus.Desc) { out <- jobsByState }

// Collect implements [prometheus.Collector]. A status without jobs is a zero and
// not a gap, so that an alert on it can be written.
func (c *jobCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	counts, err := c.read(ctx)
	if err != nil {
		c.failed.Inc()
		return
	}
	for _, status := range tasks.Statuses {
		out <- prometheus.MustNewConstMetric(jobsByState, prometheus.GaugeValue, float64(counts[status]), string(status))
	}
}
