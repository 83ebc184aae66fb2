package sketch

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// entry is one accepted generation as the ledger keeps it.
type entry struct {
	ID         string          `json:"id"`
	ClientID   string          `json:"client_id"`
	Reference  string          `json:"reference,omitempty"`
	Feature    tasks.Feature   `json:"feature"`
	Model      string          `json:"model"`
	Input      json.RawMessage `json:"input"`
	Files      []entryFile     `json:"files,omitempty"`
	WebhookURL string          `json:"webhook_url,omitempty"`
	AcceptedAt time.Time       `json:"accepted_at"`
	StartsAt   time.Time       `json:"starts_at"`
	DoneAt     time.Time       `json:"done_at,omitzero"` // zero: never
	// Doom is the class of failure that the generation will end with.
	Doom classify.Class `json:"doom,omitempty"`

	CanceledAt time.Time `json:"-"` // kept beside the entry, which never changes
}

// entryFile is an input file. On disk its data lies beside the entry.
type entryFile struct {
	Pointer   string `json:"pointer"`
	MediaType string `json:"media_type"`
	Data      []byte `json:"-"`
}

// errNoEntry is what a ledger answers to an id it has not given out.
var errNoEntry = errors.New("no such generation")

// A ledger remembers what was accepted. Entries never change; a cancel is a
// mark of its own.
type ledger interface {
	// Add writes an entry. It lasts once Add has returned.
	Add(e entry) error
	// Get returns the entry with its files. errNoEntry.
	Get(id string) (entry, error)
	// ByClient lists the entries of a client id, oldest first, without files.
	ByClient(clientID string) ([]entry, error)
	// All lists everything, without files.
	All() ([]entry, error)
	// Cancel marks the entry, if it is not marked yet.
	Cancel(id string, at time.Time) error
	// Take takes one of n places under a name and reports whether there was
	// one left.
	Take(name string, n int) (bool, error)
}

// idPattern is what ids look like: a hash of the client id, by which a disk
// ledger finds its entries, and a random number.
var idPattern = regexp.MustCompile(`^sk_([0-9a-f]{16})_([0-9a-f]{16})$`)

// newID names a generation of a client id; without one it is found by nobody.
func newID(clientID string) string {
	if clientID == "" {
		clientID = rand.Text()
	}
	var nonce [8]byte
	_, _ = rand.Read(nonce[:]) // never fails, by its documentation
	return fmt.Sprintf("sk_%s_%s", shortHash(clientID), hex.EncodeToString(nonce[:]))
}

func shortHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}

// memoryLedger forgets everything with the process.
type memoryLedger struct {
	mu       sync.Mutex
	entries  map[string]entry
	byClient map[string][]string
	taken    map[string]int
}

func newMemoryLedger() *memoryLedger {
	return &memoryLedger{entries: map[string]entry{}, byClient: map[string][]string{}, taken: map[string]int{}}
}

// Add implements ledger.
func (l *memoryLedger) Add(e entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries[e.ID] = e
	l.byClient[e.ClientID] = append(l.byClient[e.ClientID], e.ID)
	return nil
}

// Get implements ledger.
func (l *memoryLedger) Get(id string) (entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[id]
	if !ok {
		return entry{}, errNoEntry
	}
	return e, nil
}

// ByClient implements ledger.
func (l *memoryLedger) ByClient(clientID string) ([]entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []entry
	for _, id := range l.byClient[clientID] {
		out = append(out, l.entries[id])
	}
	sortEntries(out)
	return out, nil
}

// All implements ledger.
func (l *memoryLedger) All() ([]entry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]entry, 0, len(l.entries))
	for _, e := range l.entries {
		out = append(out, e)
	}
	sortEntries(out)
	return out, nil
}

// Cancel implements ledger.
func (l *memoryLedger) Cancel(id string, at time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[id]
	if !ok {
		return errNoEntry
	}
	if e.CanceledAt.IsZero() {
		e.CanceledAt = at
		l.entries[id] = e
	}
	return nil
}

// Take implements ledger.
func (l *memoryLedger) Take(name string, n int) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.taken[name] >= n {
		return false, nil
	}
	l.taken[name]++
	return true, nil
}

func sortEntries(entries []entry) {
	slices.SortFunc(entries, func(a, b entry) int { return a.AcceptedAt.Compare(b.AcceptedAt) })
}
