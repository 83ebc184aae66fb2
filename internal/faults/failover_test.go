package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/providers/sketch"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// faulty stands before a provider and answers submissions with its present
// fault. Everything else passes.
type faulty struct {
	service *sketch.Service
	fault   atomic.Pointer[string]
	asked   atomic.Int64 // submissions that met a fault
}

func (p *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := p.fault.Load()
	if fault == nil || r.Method != http.MethodPost || r.URL.Path != "/v1/generations" {
		p.service.ServeHTTP(w, r)
		return
	}
	p.asked.Add(1)
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]string{"code": code, "message": "as the test wants it"}})
	}
	switch *fault {
	case "500":
		refuse(http.StatusInternalServerError, "internal_error")
	case "401":
		refuse(http.StatusUnauthorized, "unauthorized")
	case "429":
		w.Header().Set("Retry-After", "1")
		refuse(http.StatusTooManyRequests, "rate_limited")
	case "timeout":
		_, _ = io.Copy(io.Discard, r.Body) // so that the server sees the caller go
		<-r.Context().Done()
	case "hang":
		// It is created, and nobody hears of it.
		body, _ := io.ReadAll(r.Body)
		created := r.Clone(r.Context())
		created.Body = io.NopCloser(bytes.NewReader(body))
		p.service.ServeHTTP(httptest.NewRecorder(), created)
		<-r.Context().Done()
	}
}

// TestProviderFailover has the first of two providers answer with each fault in turn,
// 200 jobs for each, and lays what was expected beside the bills: no attempt was
// accepted twice, and no job but once.
func TestProviderFailover(t *testing.T) {
	t.Parallel()
	const jobsPerFault = 200
	serve := func(handler http.Handler) string {
		server := httptest.NewServer(handler)
		t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
		return server.URL
	}
	newService := func() *sketch.Service {
		s, err := sketch.NewService(sketch.ServiceConfig{AllowSimulate: true})
		require.NoError(t, err)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	first, second := &faulty{service: newService()}, newService()
	f := newFleet(t, settings{Extra: fmt.Sprintf(
		"  - {name: first, use: sketch, base_url: %q, submit_timeout: 2s, options: {allow_simulate: true}}\n"+
			"  - {name: second, use: sketch, base_url: %q, options: {allow_simulate: true}}\n", serve(first), serve(second))})
	f.work(3)
	accepted := func(s *sketch.Service) int {
		stats, err := s.Stats()
		require.NoError(t, err)
		require.Zero(t, stats.Duplicates, "an attempt was accepted twice")
		return stats.Accepted
	}
	for _, test := range []struct {
		fault string
		// lasts is where jobs may end; the first where something was bought
		// there before anybody could tell.
		lasts []string
	}{
		{"500", []string{"second"}},
		{"401", []string{"second"}},
		{"429", []string{"second"}},
		{"timeout", []string{"second"}},
		{"hang", []string{"first", "second"}},
	} {
		first.fault.Store(&test.fault)
		first.asked.Store(0)
		boughtFirst, boughtSecond := accepted(first.service), accepted(second)
		ids := f.enqueue(jobsPerFault, func(int) tasks.Draft {
			draft := noop(`{"sync":false,"duration_ms":100}`)
			draft.ProviderID, draft.FallbackProviderIDs = "first", []string{"second"}
			return draft
		})
		jobs := f.awaitRest(ids, 3*patience)
		ended, passedOver := map[string]int{}, 0
		for id, job := range jobs {
			require.Equal(t, tasks.StatusCompleted, job.Status, "%s: %s: %+v", test.fault, id, job.Error)
			require.Contains(t, test.lasts, job.ProviderID, "%s: %s: %+v", test.fault, id, job.Attempts)
			ended[job.ProviderID]++
			passedOver += requireHops(t, job)
		}
		boughtFirst, boughtSecond = accepted(first.service)-boughtFirst, accepted(second)-boughtSecond
		t.Logf("%-8s last provider: first %3d, second %3d; accepted: first %3d, second %3d; the first was asked %d times and passed over %d times",
			test.fault, ended["first"], ended["second"], boughtFirst, boughtSecond, first.asked.Load(), passedOver)
		require.Equal(t, ended["first"], boughtFirst)
		require.Equal(t, ended["second"], boughtSecond)
		require.NotZero(t, first.asked.Load(), "the fault was met")
		_, err := f.api.ResumeProvider(t.Context(), "first") // forgets what is held against it
		require.NoError(t, err)
		time.Sleep(1100 * time.Millisecond) // it has asked to be left alone for as long, and processes look once a second
	}
}

// requireHops checks that each hop of a job is an attempt with its reason, and
// that one was accepted. It returns how often a provider was passed over.
func requireHops(t *testing.T, job client.Job) (passedOver int) {
	t.Helper()
	accepted := 0
	for i, attempt := range job.Attempts {
		require.Equal(t, i+1, attempt.Number)
		if attempt.Outcome == tasks.OutcomeAccepted {
			accepted++
			continue
		}
		require.NotNil(t, attempt.Error, "a hop has its reason: %+v", attempt)
		if attempt.Error.Code == "circuit_open" {
			passedOver++
		}
	}
	require.Equal(t, 1, accepted, "%+v", job.Attempts)
	return passedOver
}
