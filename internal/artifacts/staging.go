package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"go.uber.org/zap"
	"gocloud.dev/gcerrors"

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
// has none does not count. Bytes that are not what they were said to be are kept
// too, so that nothing paid for is turned away here: whether they are a result
// is decided when they are copied.
func (s *Store) Stage(ctx context.Context, prefix string, st providers.Status) ([]tasks.Output, error) {
	if err := checkKey(prefix); err != nil {
		return nil, err
	}
	outputs, entries, err := stagingOf(prefix, st)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", prefix, err)
	}
	failure := s.storeEntries(ctx, prefix, entries)
	if failure == nil {
		return outputs, nil
	}
	if s.spool == nil {
		return nil, fmt.Errorf("stage %s: %w", prefix, failure)
	}
	if err := s.spool.put(prefix, entries); err != nil {
		return nil, fmt.Errorf("stage %s: %w", prefix, errors.Join(failure, fmt.Errorf("spool: %w", err)))
	}
	s.log.Warn("artifact storage failed, output is spooled", zap.String("prefix", prefix), zap.Error(failure))
	return uncopied(outputs), nil
}

// uncopied are outputs that lie in a spool: where they are to stay there is
// nothing yet.
func uncopied(outputs []tasks.Output) []tasks.Output {
	for i := range outputs {
		outputs[i].Stored = nil
	}
	return outputs
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
			stored, err := storedAs(prefix, i, out)
			if err != nil {
				return nil, nil, err
			}
			entries = append(entries, entry{path.Base(stored.Key), stored.MediaType, out.Data})
			kept.Key = stored.Key
			if kept.MediaType == "" {
				kept.MediaType = stored.MediaType
			}
			if stored.SHA256 != "" {
				kept.Stored = &stored
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

// storedAs is the artifact that an output's bytes become. It has no hash when
// they are not what they were said to be.
func storedAs(prefix string, index int, out providers.Output) (tasks.Artifact, error) {
	head := out.Data[:min(len(out.Data), headSize)]
	mediaType, refused := mediaTypeOf(head, out.MediaType)
	if refused != nil {
		var err error
		if mediaType, err = mediaTypeOf(head, ""); err != nil {
			return tasks.Artifact{}, err
		}
	}
	stored := tasks.Artifact{
		Key:  fmt.Sprintf("%s/%d%s", prefix, index, Extension(mediaType)),
		Kind: kindOf(mediaType, out.MediaType), MediaType: mediaType, Bytes: int64(len(out.Data)),
	}
	if refused == nil {
		hash := sha256.Sum256(out.Data)
		stored.SHA256 = hex.EncodeToString(hash[:])
		addMeasures(&stored, bytes.NewReader(out.Data))
	}
	return stored, nil
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
	if _, spooled := r.(*spooledFile); spooled {
		return st, uncopied(m.Outputs), nil
	}
	return st, m.Outputs, nil
}

// Unstage implements [orchestrator.Artifacts].
func (s *Store) Unstage(ctx context.Context, prefix string) error {
	if err := checkKey(prefix); err != nil {
		return err
	}
	if s.spool != nil {
		if err := s.spool.remove(prefix); err != nil {
			return storageError(ctx, "delete", prefix, err)
		}
	}
	key := prefix + "/" + manifestName
	if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return storageError(ctx, "delete", key, err)
	}
	return nil
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
