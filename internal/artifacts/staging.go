package artifacts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

const (
	manifestName = "manifest.json"
	// maxManifest bounds what is read back. Data and warnings are small.
	maxManifest = 16 << 20
	// storageTime is how long storage may take over one staging before the
	// spool gets it: the answer is in memory only, and must come to rest.
	storageTime = time.Minute
)

// manifest is what a synchronous provider answered, beside the bytes.
type manifest struct {
	Schema   int             `json:"schema"`
	RemoteID string          `json:"remote_id,omitempty"`
	Message  string          `json:"message,omitempty"`
	Data     map[string]any  `json:"data,omitempty"`
	Cost     *tasks.Cost     `json:"cost,omitempty"`
	Warnings []tasks.Warning `json:"warnings,omitempty"`
	Outputs  []tasks.Output  `json:"outputs"`
}

// entry is one file of a staging, ready to be written.
type entry struct {
	name      string // below the prefix
	mediaType string
	data      []byte
}

// Stage implements [orchestrator.Artifacts]. The manifest is written last: what
// has none does not count. What the bytes are is checked when they are copied to
// their final place, not here, so that nothing paid for is turned away.
func (s *Store) Stage(ctx context.Context, prefix string, st providers.Status) ([]tasks.Output, error) {
	if err := checkKey(prefix); err != nil {
		return nil, err
	}
	outputs, entries, err := stagingOf(prefix, st)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", prefix, err)
	}
	stored := s.storeEntries(ctx, prefix, entries)
	if stored == nil {
		return outputs, nil
	}
	if s.spool == nil {
		return nil, fmt.Errorf("stage %s: %w", prefix, stored)
	}
	if err := s.spool.put(prefix, entries); err != nil {
		return nil, fmt.Errorf("stage %s: %w", prefix, errors.Join(stored, fmt.Errorf("spool: %w", err)))
	}
	s.log.Warn("artifact storage failed, output is spooled", zap.String("prefix", prefix), zap.Error(stored))
	return outputs, nil
}

// stagingOf lays out the files of a staging, the manifest last.
func stagingOf(prefix string, st providers.Status) ([]tasks.Output, []entry, error) {
	m := manifest{
		Schema: 1, RemoteID: st.RemoteID, Message: st.Message, Data: st.Data, Cost: st.Cost, Warnings: st.Warnings,
		Outputs: []tasks.Output{},
	}
	var entries []entry
	for i, out := range st.Outputs {
		kept := tasks.Output{Kind: out.Kind, MediaType: out.MediaType, URL: out.URL, Name: out.Name}
		if len(out.Data) > 0 {
			sniffed, err := mediaTypeOf(out.Data[:min(len(out.Data), headSize)], "")
			if err != nil {
				return nil, nil, err
			}
			name := fmt.Sprintf("%d%s", i, Extension(sniffed))
			entries = append(entries, entry{name, sniffed, out.Data})
			kept.Key = prefix + "/" + name
			if kept.MediaType == "" {
				kept.MediaType = sniffed
			}
		}
		m.Outputs = append(m.Outputs, kept)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return nil, nil, fmt.Errorf("encode manifest: %w", err)
	}
	return m.Outputs, append(entries, entry{manifestName, "application/json", raw}), nil
}

func (s *Store) storeEntries(ctx context.Context, prefix string, entries []entry) error {
	ctx, cancel := context.WithTimeout(ctx, storageTime)
	defer cancel()
	last := len(entries) - 1
	for _, e := range entries[:last] {
		if err := s.writeFile(ctx, prefix+"/"+e.name, e.mediaType, bytes.NewReader(e.data)); err != nil {
			return err
		}
	}
	// The manifest comes last, and makes the names of all of them last.
	return s.write(ctx, prefix+"/"+entries[last].name, entries[last].mediaType, bytes.NewReader(entries[last].data))
}

// Staged implements [orchestrator.Artifacts]. Storage is asked first, then this
// machine's spool. That nothing is there is only said when both could be asked.
func (s *Store) Staged(ctx context.Context, prefix string) (providers.Status, []tasks.Output, error) {
	key := prefix + "/" + manifestName
	r, err := s.Open(ctx, key)
	if err != nil {
		return providers.Status{}, nil, fmt.Errorf("staged %s: %w", prefix, err)
	}
	defer r.Close()
	m, err := readManifest(r)
	if err != nil {
		return providers.Status{}, nil, storageError(ctx, "read", key, err)
	}
	st := providers.Status{
		State: providers.Succeeded, RemoteID: m.RemoteID, Message: m.Message, Data: m.Data, Cost: m.Cost, Warnings: m.Warnings,
	}
	for _, out := range m.Outputs {
		st.Outputs = append(st.Outputs, providers.Output{Kind: out.Kind, MediaType: out.MediaType, URL: out.URL, Name: out.Name})
	}
	return st, m.Outputs, nil
}

func readManifest(r io.Reader) (manifest, error) {
	var m manifest
	d := json.NewDecoder(io.LimitReader(r, maxManifest))
	d.UseNumber() // a seed may have more digits than a float64
	if err := d.Decode(&m); err != nil {
		return m, fmt.Errorf("manifest: %w", err)
	}
	if m.Schema != 1 {
		return m, fmt.Errorf("manifest: %w", orchestrator.ErrNewerSchema)
	}
	return m, nil
}
