package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// report is everything that a run has found.
type report struct {
	Machine machine        `json:"machine"`
	Rounds  int            `json:"rounds"`
	Timed   []*table       `json:"timed"`
	Traffic *trafficReport `json:"traffic"`
	Memory  *memoryReport  `json:"memory"`
}

// table holds one measurement of several contenders.
type table struct {
	Title    string    `json:"title"`
	Unit     string    `json:"unit"`
	Better   string    `json:"better"`   // more or less
	Baseline string    `json:"baseline"` // the contender that the others are compared to
	Rows     []*series `json:"rows"`
}

// series are the values of one contender, one per round.
type series struct {
	Name   string    `json:"name"`
	Rounds []float64 `json:"rounds"`
}

// add notes the value of one contender in this round.
func (t *table) add(name string, value float64) {
	s := t.row(name)
	if s == nil {
		s = &series{Name: name}
		t.Rows = append(t.Rows, s)
	}
	s.Rounds = append(s.Rounds, value)
}

func (t *table) row(name string) *series {
	for _, s := range t.Rows {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// ratio is the median of the ratios to the baseline, each taken within one
// round: what slows both sides down for a minute does not show in it.
func (t *table) ratio(s *series) float64 {
	base := t.row(t.Baseline)
	if base == nil {
		return math.NaN()
	}
	ratios := make([]float64, min(len(s.Rounds), len(base.Rounds)))
	for i := range ratios {
		ratios[i] = s.Rounds[i] / base.Rounds[i]
	}
	return median(ratios)
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile interpolates between the two values beside it.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	place := q * float64(len(sorted)-1)
	below := int(place)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (place-float64(below))*(sorted[above]-sorted[below])
}

func (r *report) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

func (r *report) writeText(w io.Writer) error {
	m := r.Machine
	page := &page{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	page.line("%s · %d cores · %s · Redis %s, appendonly yes, appendfsync %s · %d rounds", m.Date, m.Cores, m.Go, m.Redis, m.Fsync, r.Rounds)
	for _, t := range r.Timed {
		page.timed(t)
	}
	page.traffic(r.Traffic)
	page.memory(r.Memory)
	return page.Flush()
}

// page is a report on its way to a reader.
type page struct{ *tabwriter.Writer }

// line writes one line; its columns are separated by tabs. What goes wrong shows
// when the page is flushed.
func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *page) heading(title, note string) {
	p.line("")
	p.line("%s (%s)", title, note)
}

func (p *page) timed(t *table) {
	p.heading(t.Title, t.Unit+"; "+t.Better+" is better")
	p.line("  \tmedian\tleast … most\t× %s", t.Baseline)
	for _, s := range t.Rows {
		p.line("  %s\t%s\t%s … %s\t%.2f", s.Name, number(median(s.Rounds)), number(slices.Min(s.Rounds)), number(slices.Max(s.Rounds)), t.ratio(s))
	}
}

func (p *page) traffic(t *trafficReport) {
	p.heading("Redis traffic", "per job; the idle polling of the worker is subtracted")
	p.line("  stage\tround trips\tscripts\tcommands in Redis\tbytes in\tbytes out\tRedis CPU µs")
	for _, side := range t.Sides {
		p.line("%s", side.Name)
		for _, s := range side.Stages {
			p.line("  %s\t%.2f\t%.2f\t%.1f\t%.0f\t%.0f\t%.0f", s.Stage, s.RoundTrips, s.Scripts, s.Commands, s.BytesIn, s.BytesOut, s.CPU)
		}
		p.line("  idle worker, per second\t%.1f\t%.1f\t%.1f\t%.0f\t%.0f\t%.0f", side.Idle.RoundTrips, side.Idle.Scripts, side.Idle.Commands, side.Idle.BytesIn, side.Idle.BytesOut, side.Idle.CPU)
	}
	p.heading("Redis round trips", "per job, by who makes them")
	for _, side := range t.Sides {
		p.line("%s", side.Name)
		for _, trip := range side.Trips {
			p.line("  %s\t%.2f\t%s\t%s", trip.Stage, trip.PerJob, trip.Command, trip.Caller)
		}
	}
}

func (p *page) memory(m *memoryReport) {
	p.heading("Memory in Redis of a job that waits", fmt.Sprintf("bytes; %d jobs of %d bytes", m.Jobs, m.Payload))
	for _, row := range m.Rows {
		p.line("  %s\t%.0f\t× %.2f", row.Name, row.BytesPerJob, row.BytesPerJob/m.Rows[0].BytesPerJob)
	}
}

// number writes a value with about three digits.
func number(v float64) string {
	switch magnitude := math.Abs(v); {
	case magnitude >= 100:
		return fmt.Sprintf("%.0f", v)
	case magnitude >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
