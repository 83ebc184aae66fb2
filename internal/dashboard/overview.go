package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"go.uber.org/zap"
)

// Overview is what the first page shows. What is nil or empty is not known, and
// shown as such.
type Overview struct {
	Checks    []Check
	Counts    *Counts
	Providers []Provider
	Queues    []Queue
}

// Check is one thing that must be well, such as Redis.
type Check struct {
	Name   string
	OK     bool
	Detail string // what is wrong, or a remark; no addresses with credentials
}

// Counts are the jobs that matter to an operator.
type Counts struct {
	Waiting    int64 // accepted, not yet at a provider
	Running    int64 // at a provider, or being copied
	Unresolved int64 // may have been bought; need an answer
	Failed     int64
	// FailedWithin is how far back Failed counts. Zero means all that are kept.
	FailedWithin time.Duration
}

// Provider is how a provider fares.
type Provider struct {
	Name     string
	Adapter  string
	Features []string
	OK       bool
	Degraded bool      // some of its models are passed over
	Reason   string    // why either
	Since    time.Time // since when, if known

	PausedSince time.Time // zero: nobody has paused it
	Until       time.Time // it has asked to be left alone until then
	Waiting     int       // jobs that stand in line before it
}

// Queue is how deep a queue is.
type Queue struct {
	Name                                        string
	Pending, Active, Scheduled, Retry, Archived int64
	// Latency is how long the oldest pending task has waited.
	Latency time.Duration
	Paused  bool
	// Workers is how many processes serve the queue, or nil when unknown.
	Workers *int
}

// overviewWait bounds how long the first page waits for its numbers.
const overviewWait = 5 * time.Second

// overviewPage is what the overview's template shows.
type overviewPage struct {
	Overview
	Headline   string
	Incomplete bool
	Links      []link
}

type link struct{ Title, Text, URL string }

func (s *server) showOverview(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), overviewWait)
	defer cancel()
	overview, err := s.Overview(ctx)
	if err != nil {
		s.Logger.Error("dashboard overview", zap.Error(err))
	}
	page := overviewPage{Overview: overview, Incomplete: err != nil, Headline: headline(overview, err), Links: s.links()}
	s.render(w, r, http.StatusOK, "overview", "Overview", page)
}

// headline says in one line what an operator should look at first.
func headline(o Overview, err error) string {
	for _, c := range o.Checks {
		if !c.OK {
			return c.Name + " needs attention"
		}
	}
	if err != nil {
		return "Some numbers are missing"
	}
	if o.Counts != nil && o.Counts.Unresolved == 1 {
		return "One job needs an answer"
	}
	if o.Counts != nil && o.Counts.Unresolved > 1 {
		return number(o.Counts.Unresolved) + " jobs need an answer"
	}
	for _, p := range o.Providers {
		if !p.OK {
			return p.Name + " is down"
		}
	}
	for _, p := range o.Providers {
		if !p.PausedSince.IsZero() {
			return p.Name + " is paused"
		}
	}
	return "All is well"
}

func (s *server) links() []link {
	links := []link{
		{"Jobs", "Every job with its attempts, errors and results", "/jobs"},
		{"Queues", "asynqmon: tasks, retries and the archive", queuesPath + "/"},
	}
	if s.APIURL == "" {
		return links
	}
	docs, err := url.JoinPath(s.APIURL, "docs")
	if err != nil {
		return links // New has checked the URL
	}
	return append(links, link{"API reference", "Every call, with its fields and errors", docs})
}
