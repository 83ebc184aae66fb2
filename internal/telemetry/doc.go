// Package telemetry makes what happens visible: the logger, the Prometheus
// metrics, and the [Observer] that the engine reports to and that writes to
// both.
//
// # What it refuses to know
//
// Where the numbers come from. Redis, asynq and the HTTP routes are known
// elsewhere; what must be measured when Prometheus asks is fed in as a function.
// No prompt, key, payload or URL of a caller becomes a log field or a label.
package telemetry
