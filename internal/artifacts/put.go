package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The codes of errors that are ours.
const (
	CodeStorage  = "storage_unavailable" // storage did not do what it was asked to
	CodeTooLarge = "file_too_large"
	CodeEmpty    = "file_empty"
	CodeNotMedia = "file_not_media" // a page or a message where a picture was claimed
)

// headSize is how much of a file is looked at before it is stored, and kept for
// measuring it afterwards. Headers of pictures fit, even with a colour profile.
const headSize = 256 << 10

// Put implements [orchestrator.Artifacts].
//
// What r fails with is passed on; a failure of storage is of class
// classify.Server, so that it is tried again.
func (s *Store) Put(ctx context.Context, key, claimedType string, r io.Reader, limit int64) (tasks.Artifact, error) {
	src, err := newSource(r, limit)
	if err != nil {
		return tasks.Artifact{}, fmt.Errorf("read %s: %w", key, err)
	}
	mediaType, err := mediaTypeOf(src.head, claimedType)
	if err != nil {
		return tasks.Artifact{}, fmt.Errorf("check %s: %w", key, err)
	}
	if stem, ok := strings.CutSuffix(key, ".*"); ok {
		key = stem + Extension(mediaType)
	}
	if err := s.write(ctx, key, mediaType, src); err != nil {
		return tasks.Artifact{}, err
	}
	stored := tasks.Artifact{
		Key: key, Kind: kindOf(mediaType, claimedType), MediaType: mediaType,
		Bytes: src.read, SHA256: hex.EncodeToString(src.hash.Sum(nil)),
	}
	p := &peeked{head: src.head, size: src.read, open: func() (io.ReadSeekCloser, error) { return s.Open(ctx, key) }}
	defer p.close()
	addMeasures(&stored, p)
	return stored, nil
}

// addMeasures never fails: what cannot be measured is stored all the same.
func addMeasures(stored *tasks.Artifact, r io.ReadSeeker) {
	m := measure(stored.MediaType, r, stored.Bytes)
	stored.Width, stored.Height, stored.Duration = m.width, m.height, m.duration.Milliseconds()
}

// write stores all of r or nothing. A file is on disk, and so is its name, when
// it returns: the job's record will say that it is there.
func (s *Store) write(ctx context.Context, key, mediaType string, r io.Reader) error {
	if err := s.writeFile(ctx, key, mediaType, r); err != nil || s.dir == "" {
		return err
	}
	if err := syncDirectories(filepath.Dir(s.Path(key)), s.dir); err != nil {
		return storageError(ctx, "store", key, err)
	}
	return nil
}

// writeFile is write without making the name last: who stores several files in
// one directory does that once, with the last of them.
func (s *Store) writeFile(ctx context.Context, key, mediaType string, r io.Reader) error {
	if err := checkKey(key); err != nil {
		return err
	}
	writing, cancel := context.WithCancel(ctx)
	defer cancel()
	var file *os.File
	w, err := s.bucket.NewWriter(writing, key, &blob.WriterOptions{
		ContentType: mediaType,
		BeforeWrite: func(as func(any) bool) error {
			as(&file) // stays nil where storage is not a directory
			return nil
		},
	})
	if err != nil {
		return storageError(ctx, "store", key, err)
	}
	source := &remembering{r: r}
	// Without ReadFrom, which would allocate a megabyte for each file.
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, source, make([]byte, 64<<10))
	if err == nil && file != nil {
		err = file.Sync()
	}
	if err != nil {
		// A writer whose context has ended stores nothing when it is closed.
		cancel()
		_ = w.Close()
		if source.err != nil {
			return fmt.Errorf("read %s: %w", key, source.err)
		}
		return storageError(ctx, "store", key, err)
	}
	if err := w.Close(); err != nil {
		return storageError(ctx, "store", key, err)
	}
	return nil
}

// Open implements [orchestrator.Artifacts]. Ranges are read from storage as they
// are asked for. What is still spooled on this machine is found too.
func (s *Store) Open(ctx context.Context, key string) (orchestrator.ArtifactReader, error) {
	if checkKey(key) != nil {
		return nil, fmt.Errorf("open %q: %w", key, orchestrator.ErrNoArtifact)
	}
	r, err := s.bucket.NewReader(ctx, key, nil)
	if err == nil {
		return r, nil
	}
	if s.spool != nil {
		if spooled, err := s.spool.open(key); err == nil {
			return spooled, nil
		}
	}
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("open %s: %w", key, orchestrator.ErrNoArtifact)
	}
	return nil, storageError(ctx, "open", key, err)
}

// Delete implements [orchestrator.Artifacts]: the file with that key, and all
// that lie under it. What is not there is no error.
func (s *Store) Delete(ctx context.Context, prefix string) error {
	if err := checkKey(prefix); err != nil {
		return err
	}
	if s.spool != nil {
		if err := s.spool.remove(prefix); err != nil {
			return storageError(ctx, "delete", prefix, err)
		}
	}
	if s.dir != "" {
		// Takes along empty directories, and what a killed process left behind.
		if err := os.RemoveAll(s.Path(prefix)); err != nil {
			return storageError(ctx, "delete", prefix, err)
		}
		return nil
	}
	return s.deleteObjects(ctx, prefix)
}

func (s *Store) deleteObjects(ctx context.Context, prefix string) error {
	keys := []string{prefix}
	for object, err := range objects(ctx, s.bucket, prefix+"/") {
		if err != nil {
			return storageError(ctx, "list", prefix, err)
		}
		keys = append(keys, object.Key)
	}
	for _, key := range keys {
		if err := s.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
			return storageError(ctx, "delete", key, err)
		}
	}
	return nil
}

func objects(ctx context.Context, bucket *blob.Bucket, prefix string) iter.Seq2[*blob.ListObject, error] {
	return func(yield func(*blob.ListObject, error) bool) {
		list := bucket.List(&blob.ListOptions{Prefix: prefix})
		for {
			object, err := list.Next(ctx)
			if errors.Is(err, io.EOF) || !yield(object, err) || err != nil {
				return
			}
		}
	}
}

// storageError classifies a failure of storage. When the caller's time was over
// it says that instead.
func storageError(ctx context.Context, verb, key string, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("%s %s: %w", verb, key, cause)
	}
	return &classify.Error{
		Class: classify.Server, Code: CodeStorage, Message: "artifact storage is not available",
		Cause: fmt.Errorf("%s %s: %w", verb, key, err),
	}
}

// source is what is being stored: its head, and then the rest, hashed and
// counted on the way.
type source struct {
	head  []byte
	r     io.Reader
	hash  hash.Hash
	read  int64
	limit int64
}

func newSource(r io.Reader, limit int64) (*source, error) {
	// Most files are smaller than the head: it grows as needed.
	head, err := io.ReadAll(io.LimitReader(r, headSize))
	if err != nil {
		return nil, err
	}
	if len(head) == 0 {
		return nil, &classify.Error{Class: classify.GenerationFailed, Code: CodeEmpty, Message: "file is empty"}
	}
	return &source{head: head, r: io.MultiReader(bytes.NewReader(head), r), hash: sha256.New(), limit: limit}, nil
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.read += int64(n)
	if s.limit > 0 && s.read > s.limit {
		return 0, &classify.Error{
			Class: classify.Validation, Code: CodeTooLarge, Message: fmt.Sprintf("file is larger than %d bytes", s.limit),
		}
	}
	s.hash.Write(p[:n])
	return n, err
}

// remembering tells a failure to read from a failure to write.
type remembering struct {
	r   io.Reader
	err error
}

// Read implements [io.Reader].
func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// peeked reads the head from memory, and opens what was stored only for who
// looks further.
type peeked struct {
	head []byte
	size int64
	open func() (io.ReadSeekCloser, error)

	at   int64
	rest io.ReadSeekCloser
	from int64 // where rest stands
}

// Read implements [io.Reader].
func (p *peeked) Read(b []byte) (int, error) {
	if p.at >= p.size {
		return 0, io.EOF
	}
	if p.at < int64(len(p.head)) {
		n := copy(b, p.head[p.at:])
		p.at += int64(n)
		return n, nil
	}
	if err := p.seekRest(); err != nil {
		return 0, err
	}
	n, err := p.rest.Read(b)
	p.at += int64(n)
	p.from = p.at
	return n, err
}

func (p *peeked) seekRest() error {
	if p.rest == nil {
		rest, err := p.open()
		if err != nil {
			return err
		}
		p.rest = rest
	}
	if p.from == p.at {
		return nil
	}
	_, err := p.rest.Seek(p.at, io.SeekStart)
	p.from = p.at
	return err
}

// Seek implements [io.Seeker].
func (p *peeked) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	p.at = offset
	return offset, nil
}

func (p *peeked) close() {
	if p.rest != nil {
		_ = p.rest.Close()
	}
}
