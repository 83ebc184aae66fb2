package tasks

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzMoves takes a job through events in any order. It goes where the table
// says or stays where it is, and what has ended for good stays ended.
func FuzzMoves(f *testing.F) {
	events, states := everyEvent(), everyState()
	index := func(m Move) []byte {
		for e, event := range events {
			for s, state := range states {
				if event == m.Event && state == m.To {
					return []byte{byte(e), byte(s)}
				}
			}
		}
		return nil
	}
	walk := func(moves ...Move) []byte {
		var path []byte
		for _, m := range moves {
			path = append(path, index(m)...)
		}
		return path
	}
	f.Add(walk(Move{Queued, EventStart, Submitting}, Move{Submitting, EventAccepted, Processing}, Move{Processing, EventStored, Completed}, Move{Completed, EventLate, Completed}))
	f.Add(walk(Move{Queued, EventStart, Submitting}, Move{Submitting, EventHold, Unresolved}, Move{Unresolved, EventNotCreated, Queued}, Move{Queued, EventCancel, Canceled}, Move{Canceled, EventRegenerate, Queued}))
	f.Add(walk(Move{Queued, EventDeadline, Failed}, Move{Failed, EventRegenerate, Queued}, Move{Failed, EventResume, Processing}))
	f.Add([]byte{255, 255, 0, 9, 3})
	f.Fuzz(func(t *testing.T, path []byte) {
		job := &Job{ID: "job_1", State: Queued, Version: 3}
		for i := 0; i+1 < len(path); i += 2 {
			before := job.State
			event, to := events[int(path[i])%len(events)], states[int(path[i+1])%len(states)]
			err := job.Move(event, to)
			if err != nil {
				if job.State != before {
					t.Fatalf("%s was refused, and took the job from %s to %s", event, before, job.State)
				}
				continue
			}
			if !slices.Contains(Moves, Move{before, event, to}) || job.State != to {
				t.Fatalf("%s took the job from %s to %s, and should to %s", event, before, job.State, to)
			}
			switch before {
			case Completed, Canceled:
				require.Equal(t, before, job.State, "%s does not end it", event)
			case Failed:
				if job.State != Failed {
					require.Contains(t, []Event{EventResume, EventRegenerate}, event)
				}
			case Unresolved:
				require.NotContains(t, []Event{EventStart, EventRegenerate}, event, "it is not bought by a click")
			}
			if job.State == Submitting && before != Submitting {
				require.Equal(t, EventStart, event, "only an intent begins a submission")
			}
		}
		require.NotEmpty(t, job.State.Status())
		require.EqualValues(t, 3, job.Version, "versions are the store's")
	})
}

func everyEvent() []Event {
	seen := map[Event]bool{}
	var events []Event
	for _, m := range Moves {
		if !seen[m.Event] {
			seen[m.Event] = true
			events = append(events, m.Event)
		}
	}
	return append(events, "nobody's")
}

func everyState() []State {
	seen := map[State]bool{}
	var states []State
	for _, m := range Moves {
		for _, s := range []State{m.From, m.To} {
			if !seen[s] {
				seen[s] = true
				states = append(states, s)
			}
		}
	}
	return append(states, "nowhere")
}

// FuzzSourceOf reads objects that may name a file.
func FuzzSourceOf(f *testing.F) {
	for _, seed := range []string{
		`{"file":"file_1"}`, `{"file":"https://a/b?c"}`, `{"job":"job_1","artifact":0}`, `{"job":"job_1","artifact":1e308}`,
		`{"job":"job_1"}`, `{"artifact":0}`, `{"file":{"file":"file_1"}}`, `{"job":"job_","artifact":-0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var object map[string]any
		if json.Unmarshal(raw, &object) != nil {
			return
		}
		source, is, err := SourceOf(object)
		if !is || err != nil {
			require.Zero(t, source)
			require.False(t, is)
			return
		}
		set := 0
		for _, name := range []string{source.Upload, source.Job, source.URL} {
			if name != "" {
				set++
			}
		}
		require.Equal(t, 1, set, "%+v", source)
		require.GreaterOrEqual(t, source.Artifact, 0)
		require.NotEmpty(t, source.String())
	})
}
