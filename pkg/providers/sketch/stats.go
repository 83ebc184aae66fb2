package sketch

import (
	"net/http"
	"slices"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
)

// Stats counts what was accepted: the provider's own account of what was
// bought. It is read from the ledger, so that it holds across processes.
type Stats struct {
	Accepted   int            `json:"accepted"`
	Duplicates int            `json:"duplicates"` // accepted under a client id that had been accepted before
	ByClient   map[string]int `json:"by_client"`
	// MaxInFlight is the most generations that were under way at one moment.
	MaxInFlight int `json:"max_in_flight"`
	// MaxCalls is the most submissions that this process was answering at one
	// moment.
	MaxCalls int `json:"max_calls"`
}

// Stats reads the ledger.
func (s *Service) Stats() (Stats, error) {
	entries, err := s.ledger.All()
	if err != nil {
		return Stats{}, err
	}
	st := Stats{Accepted: len(entries), ByClient: map[string]int{}, MaxInFlight: maxInFlight(entries)}
	for _, e := range entries {
		if e.ClientID == "" {
			continue
		}
		if st.ByClient[e.ClientID]++; st.ByClient[e.ClientID] > 1 {
			st.Duplicates++
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.MaxCalls = s.maxCall
	return st, nil
}

// Generation is one accepted generation, as whoever pays for it would find it on
// the bill.
type Generation struct {
	ID         string
	ClientID   string
	Reference  string
	Status     string // queued, running, succeeded, failed or canceled
	AcceptedAt time.Time
}

// Bill lists everything that was accepted, oldest first.
func (s *Service) Bill() ([]Generation, error) {
	entries, err := s.ledger.All()
	if err != nil {
		return nil, err
	}
	bill := make([]Generation, 0, len(entries))
	for _, e := range entries {
		o, err := e.order()
		if err != nil {
			return nil, err
		}
		bill = append(bill, Generation{
			ID: e.ID, ClientID: e.ClientID, Reference: e.Reference, Status: s.report(e, o).Status, AcceptedAt: e.AcceptedAt,
		})
	}
	return bill, nil
}

// maxInFlight sweeps over the beginnings and ends of all generations.
func maxInFlight(entries []entry) int {
	type edge struct {
		at   time.Time
		step int
	}
	var edges []edge
	for _, e := range entries {
		end := e.DoneAt
		if !e.CanceledAt.IsZero() {
			end = e.CanceledAt
		}
		edges = append(edges, edge{e.AcceptedAt, +1})
		if !end.IsZero() {
			edges = append(edges, edge{end, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return b.step - a.step // what takes no time was under way for a moment
	})
	now, most := 0, 0
	for _, e := range edges {
		now += e.step
		most = max(most, now)
	}
	return most
}

func (s *Service) stats(w http.ResponseWriter, _ *http.Request) {
	st, err := s.Stats()
	if err != nil {
		answerFault(w, faults[classify.Server], 0)
		return
	}
	answer(w, http.StatusOK, st)
}
