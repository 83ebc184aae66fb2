package sketch

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// diskLedger keeps entries in a directory that processes may share:
//
//	generations/<2 digits>/<client hash>/<number>.json      an entry
//	generations/<2 digits>/<client hash>/<number>.<n>.file  its n-th input file
//	generations/<2 digits>/<client hash>/<number>.canceled  when it was canceled
//	taken/<hash of the name>.<n>                            the n-th place, taken
//
// An entry appears by renaming a complete file, a mark or a place by creating
// one that must not exist: both happen once, whoever else is at it.
type diskLedger struct{ dir string }

func newDiskLedger(dir string) (*diskLedger, error) {
	for _, sub := range []string{"generations", "taken"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("sketch ledger: %w", err)
		}
	}
	return &diskLedger{dir: dir}, nil
}

func (l *diskLedger) folder(clientHash string) string {
	return filepath.Join(l.dir, "generations", clientHash[:2], clientHash)
}

// stem is the path of an entry without its ending. It is false for an id that
// is not one of ours, which must not become a path.
func (l *diskLedger) stem(id string) (string, bool) {
	parts := idPattern.FindStringSubmatch(id)
	if parts == nil {
		return "", false
	}
	return filepath.Join(l.folder(parts[1]), parts[2]), true
}

// Add implements ledger.
func (l *diskLedger) Add(e entry) error {
	stem, ok := l.stem(e.ID)
	if !ok {
		return fmt.Errorf("sketch ledger: %w", errNoEntry)
	}
	if err := os.MkdirAll(filepath.Dir(stem), 0o700); err != nil {
		return fmt.Errorf("sketch ledger: %w", err)
	}
	for i, f := range e.Files {
		if err := os.WriteFile(filePath(stem, i), f.Data, 0o600); err != nil {
			return fmt.Errorf("sketch ledger: %w", err)
		}
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("sketch ledger: %w", err)
	}
	if err := writeWhole(stem+".json", raw); err != nil {
		return fmt.Errorf("sketch ledger: %w", err)
	}
	return nil
}

func filePath(stem string, n int) string { return fmt.Sprintf("%s.%d.file", stem, n) }

// writeWhole makes a file appear with all of its content or not at all.
func writeWhole(path string, data []byte) error {
	draft := path + "." + rand.Text() + ".draft"
	if err := os.WriteFile(draft, data, 0o600); err != nil {
		return err
	}
	if err := os.Rename(draft, path); err != nil {
		return errors.Join(err, os.Remove(draft))
	}
	return nil
}

// Get implements ledger.
func (l *diskLedger) Get(id string) (entry, error) {
	stem, ok := l.stem(id)
	if !ok {
		return entry{}, errNoEntry
	}
	e, err := readEntry(stem + ".json")
	if err != nil {
		return entry{}, err
	}
	for i := range e.Files {
		if e.Files[i].Data, err = os.ReadFile(filePath(stem, i)); err != nil {
			return entry{}, fmt.Errorf("sketch ledger: %w", err)
		}
	}
	return e, nil
}

// readEntry reads an entry and its mark, but not its files.
func readEntry(path string) (entry, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return entry{}, errNoEntry
	}
	if err != nil {
		return entry{}, fmt.Errorf("sketch ledger: %w", err)
	}
	var e entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return entry{}, fmt.Errorf("sketch ledger: %s cannot be read", filepath.Base(path))
	}
	mark, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".canceled")
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err == nil {
		err = e.CanceledAt.UnmarshalText(mark)
	}
	if err != nil {
		return entry{}, fmt.Errorf("sketch ledger: %w", err)
	}
	return e, nil
}

// ByClient implements ledger.
func (l *diskLedger) ByClient(clientID string) ([]entry, error) {
	var out []entry
	err := l.walk(l.folder(shortHash(clientID)), func(e entry) {
		if e.ClientID == clientID {
			out = append(out, e)
		}
	})
	sortEntries(out)
	return out, err
}

// All implements ledger.
func (l *diskLedger) All() ([]entry, error) {
	var out []entry
	err := l.walk(filepath.Join(l.dir, "generations"), func(e entry) { out = append(out, e) })
	sortEntries(out)
	return out, err
}

func (l *diskLedger) walk(root string, visit func(entry)) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		e, err := readEntry(path)
		if err == nil {
			visit(e)
		}
		return err
	})
}

// Cancel implements ledger.
func (l *diskLedger) Cancel(id string, at time.Time) error {
	stem, ok := l.stem(id)
	if !ok {
		return errNoEntry
	}
	if _, err := os.Stat(stem + ".json"); err != nil {
		return errNoEntry
	}
	text, err := at.UTC().MarshalText()
	if err != nil {
		return fmt.Errorf("sketch ledger: %w", err)
	}
	if _, err := os.Stat(stem + ".canceled"); err == nil {
		return nil
	}
	// Two cancels at once may both write; either time is as good.
	if err := writeWhole(stem+".canceled", text); err != nil {
		return fmt.Errorf("sketch ledger: %w", err)
	}
	return nil
}

// Take implements ledger.
func (l *diskLedger) Take(name string, n int) (bool, error) {
	for i := range n {
		path := filepath.Join(l.dir, "taken", fmt.Sprintf("%s.%d", shortHash(name), i))
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("sketch ledger: %w", err)
		}
		return true, f.Close()
	}
	return false, nil
}

// secretOf returns the random secret of a directory, made by whoever comes
// first. It is written aside and linked into place, so that nobody reads half.
func secretOf(dir string) (string, error) {
	path := filepath.Join(dir, "webhook-secret")
	if raw, err := os.ReadFile(path); err == nil {
		return string(raw), nil
	}
	draft := path + "." + rand.Text() + ".draft"
	if err := os.WriteFile(draft, []byte(rand.Text()), 0o600); err != nil {
		return "", fmt.Errorf("sketch webhook secret: %w", err)
	}
	defer os.Remove(draft)
	if err := os.Link(draft, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("sketch webhook secret: %w", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("sketch webhook secret: %w", err)
	}
	return string(raw), nil
}
