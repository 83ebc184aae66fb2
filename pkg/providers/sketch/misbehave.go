package sketch

import (
	"fmt"
	"net/http"
)

// strikes reports whether a fault happens this time, and counts it where it is
// to happen a certain number of times only.
func (s *Service) strikes(sim simulation, what, counter string) bool {
	if sim.Times == 0 {
		return true
	}
	// A ledger that cannot be read is trouble enough: the fault stays away.
	struck, err := s.ledger.Take(what+":"+counter, sim.Times)
	return err == nil && struck
}

// fail answers with the class of failure that was asked for.
func (s *Service) fail(w http.ResponseWriter, sim simulation) {
	f := faults[sim.Fail]
	if f.status == 0 {
		cut()
	}
	answerFault(w, f, sim.RetryAfter)
}

// cut ends the connection without an answer; net/http does it when a handler
// panics with this value.
func cut() { panic(http.ErrAbortHandler) }

// misbehaves plays the tricks that follow once the service has done its work,
// and reports whether it has answered.
func (s *Service) misbehaves(w http.ResponseWriter, r *http.Request, sim simulation, counter string) bool {
	if sim.Hang > 0 && s.strikes(sim, "hang", counter) && !s.pause(r.Context(), sim.Hang.duration()) {
		cut()
	}
	switch {
	case sim.LoseAnswer && s.strikes(sim, "lose", counter):
		cut()
	case sim.Answer500 && s.strikes(sim, "500", counter):
		page(w, http.StatusInternalServerError, "Internal Server Error")
	case sim.Garbage && s.strikes(sim, "garbage", counter):
		page(w, http.StatusOK, "It works!")
	default:
		return false
	}
	return true
}

// page answers as a proxy or a wrong address would.
func page(w http.ResponseWriter, status int, title string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, "<html><body><h1>%s</h1></body></html>\n", title)
}

// blips fails a poll, every other one by cutting the connection, and reports
// whether it has.
func (s *Service) blips(w http.ResponseWriter, id string, n int) bool {
	for i := range n {
		struck, err := s.ledger.Take(fmt.Sprintf("blip %d:%s", i, id), 1)
		if err != nil {
			return false
		}
		if !struck {
			continue
		}
		if i%2 == 1 {
			cut()
		}
		page(w, http.StatusServiceUnavailable, "Service Unavailable")
		return true
	}
	return false
}
