package telemetry

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the counters and histograms of one process, in a registry of
// their own.
type Metrics struct {
	registry *prometheus.Registry

	jobsAccepted  *prometheus.CounterVec
	jobsRested    *prometheus.CounterVec
	stages        *prometheus.HistogramVec
	providerCalls *prometheus.CounterVec
	providerTimes *prometheus.HistogramVec
	alerts        *prometheus.CounterVec
	repairs       *prometheus.CounterVec
	putBack       *prometheus.CounterVec
	putOff        *prometheus.CounterVec
	deliveries    *prometheus.CounterVec
	errors        *prometheus.CounterVec
	redisErrors   prometheus.Counter
	scrapeErrors  *prometheus.CounterVec
	httpRequests  *prometheus.CounterVec
	httpTimes     *prometheus.HistogramVec
	httpInFlight  prometheus.Gauge
}

// jobTimes suit generations, which take from a second to an hour; callTimes
// suit calls, which take from milliseconds to minutes.
var (
	jobTimes  = []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800, 3600}
	callTimes = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}
)

// NewMetrics makes the metrics of a process that runs this version of Easel.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),

		jobsAccepted:  counter("jobs_accepted_total", "Jobs that were accepted.", "feature", "provider"),
		jobsRested:    counter("jobs_rested_total", "Jobs that came to rest, by how. The class is that of their error.", "feature", "provider", "status", "class"),
		stages:        histogram("stage_duration_seconds", "How long jobs spent in each stage: queue, submit, provider, copy; total is from acceptance to rest.", jobTimes, "stage", "feature", "provider"),
		providerCalls: counter("provider_calls_total", "Calls to providers. The class is that of the failure, ok when there was none.", "provider", "call", "class"),
		providerTimes: histogram("provider_call_duration_seconds", "How long calls to providers took.", callTimes, "provider", "call"),
		alerts:        counter("alerts_total", "Failures that an operator must end: a key is refused, money is out.", "provider", "class"),
		repairs:       counter("repairs_total", "What the reconciler has mended.", "what"),
		putBack:       counter("tasks_put_back_total", "Tasks that this worker gave back, because it cannot handle them.", "reason"),
		putOff:        counter("submits_put_off_total", "Submissions that found no room at their provider and were put off until their turn.", "provider"),
		deliveries:    counter("webhook_deliveries_total", "Tries of webhooks to callers, by how the receiver answered; none when it was not reached.", "status"),
		errors:        counter("errors_total", "Errors that ended where they were logged.", "doing"),
		redisErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "easel_redis_errors_total", Help: "Commands that Redis did not answer as it should.",
		}),
		scrapeErrors: counter("scrape_errors_total", "Numbers that could not be read when Prometheus asked.", "source"),
		httpRequests: counter("http_requests_total", "Requests that were answered.", "method", "route", "status"),
		httpTimes:    histogram("http_request_duration_seconds", "How long answers took. Event streams are not counted.", callTimes, "method", "route"),
		httpInFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "easel_http_requests_in_flight", Help: "Requests that are being answered, event streams too.",
		}),
	}
	m.registry.MustRegister(
		m.jobsAccepted, m.jobsRested, m.stages, m.providerCalls, m.providerTimes, m.alerts, m.repairs, m.putBack, m.putOff,
		m.deliveries, m.errors, m.redisErrors, m.scrapeErrors, m.httpRequests, m.httpTimes, m.httpInFlight,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(version),
	)
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "easel_" + name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "easel_" + name, Help: help, Buckets: buckets}, labels)
}

func buildInfo(version string) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "easel_build_info", Help: "1, labelled with what is running.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	}, func() float64 { return 1 })
}

// RedisFailed counts a command that Redis did not answer as it should.
func (m *Metrics) RedisFailed() { m.redisErrors.Inc() }

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: 4,
		Timeout:             10 * time.Second,
	})
}
