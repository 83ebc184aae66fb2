package artifacts

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

const (
	drainEvery = 5 * time.Second
	// partialPrefix marks what was not complete when its writer stopped.
	partialPrefix = ".partial-"
	// partialAge is when nobody can be writing it any more. Processes may
	// share a spool.
	partialAge = time.Hour
)

// spool keeps stagings on this machine's disk while storage fails: one directory
// for each, named by its prefix, that appears complete or not at all.
type spool struct {
	dir string
	mu  sync.Mutex // held while an entry is handed in or removed
}

func openSpool(dir string) (*spool, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	// What jobs produce is nobody else's business.
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &spool{dir: dir}, nil
}

// directoryName is the name for a prefix: its slashes are escaped.
func directoryName(prefix string) string { return url.PathEscape(prefix) }

func (p *spool) path(prefix string) string { return filepath.Join(p.dir, directoryName(prefix)) }

// put writes the files and makes them durable. An entry that is there already is
// complete, and of the same submission: it stays.
func (p *spool) put(prefix string, entries []entry) error {
	partial, err := os.MkdirTemp(p.dir, partialPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(partial) // gone already when all went well
	for _, e := range entries {
		if err := writeFile(filepath.Join(partial, e.name), e.data); err != nil {
			return err
		}
	}
	if err := syncDirectory(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, p.path(prefix)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirectory(p.dir)
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}

// open opens a file that waits in the spool.
func (p *spool) open(key string) (orchestrator.ArtifactReader, error) {
	prefix, file := path.Split(key)
	f, err := os.Open(filepath.Join(p.path(strings.TrimSuffix(prefix, "/")), file))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &spooledFile{f, info}, nil
}

// spooledFile implements [orchestrator.ArtifactReader].
type spooledFile struct {
	*os.File
	info fs.FileInfo
}

// Size implements [orchestrator.ArtifactReader].
func (f *spooledFile) Size() int64 { return f.info.Size() }

// ModTime implements [orchestrator.ArtifactReader].
func (f *spooledFile) ModTime() time.Time { return f.info.ModTime() }

// prefixes lists the entries, and clears what a killed process left unfinished.
func (p *spool) prefixes() ([]string, error) {
	list, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	var prefixes []string
	for _, e := range list {
		if strings.HasPrefix(e.Name(), partialPrefix) {
			if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > partialAge {
				_ = os.RemoveAll(filepath.Join(p.dir, e.Name()))
			}
			continue
		}
		prefix, err := url.PathUnescape(e.Name())
		if err != nil || !e.IsDir() || checkKey(prefix) != nil {
			continue // not ours
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

// remove deletes the entries at and under prefix.
func (p *spool) remove(prefix string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	prefixes, err := p.prefixes()
	if err != nil {
		return err
	}
	for _, found := range prefixes {
		if found != prefix && !strings.HasPrefix(found, prefix+"/") {
			continue
		}
		if err := os.RemoveAll(p.path(found)); err != nil {
			return err
		}
	}
	return nil
}

// Run hands spooled stagings in, at once and then every few seconds, until ctx
// ends. Without a spool it only waits.
func (s *Store) Run(ctx context.Context) error {
	if s.spool == nil {
		<-ctx.Done()
		return nil
	}
	ticker := time.NewTicker(drainEvery)
	defer ticker.Stop()
	for {
		s.drain(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// drain hands in what the spool holds. It stops at the first failure: storage
// that refused one will refuse the next.
func (s *Store) drain(ctx context.Context) {
	prefixes, err := s.spool.prefixes()
	if err != nil {
		s.log.Error("spool cannot be read", zap.Error(err))
		return
	}
	for _, prefix := range prefixes {
		if err := s.handIn(ctx, prefix); err != nil {
			s.log.Warn("spooled output waits for artifact storage", zap.String("prefix", prefix),
				zap.Int("waiting", len(prefixes)), zap.Error(err))
			return
		}
		s.log.Info("spooled output was handed in", zap.String("prefix", prefix))
	}
}

// handIn writes an entry to storage, the manifest last, and then removes it. A
// process that is killed in between does it again.
func (s *Store) handIn(ctx context.Context, prefix string) error {
	s.spool.mu.Lock()
	defer s.spool.mu.Unlock()
	dir := s.spool.path(prefix)
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another process, or a delete, was here first
	}
	if err != nil {
		return err
	}
	names := make([]string, 0, len(list)+1)
	for _, e := range list {
		if e.Name() != manifestName {
			names = append(names, e.Name())
		}
	}
	for _, name := range append(names, manifestName) {
		if err := s.copyIn(ctx, prefix+"/"+name, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

func (s *Store) copyIn(ctx context.Context, key, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, headSize))
	if err != nil {
		return err
	}
	mediaType, err := mediaTypeOf(head, "")
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return s.write(ctx, key, mediaType, f)
}
