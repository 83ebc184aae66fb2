package artifacts

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/zap"
	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/blob/s3blob"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// Config says where files are kept.
type Config struct {
	// URL is "file:///directory", which is made when it is missing, or
	// "s3://bucket?region=…&endpoint=…" with the parameters of
	// gocloud.dev/blob/s3blob and credentials from AWS's usual places.
	URL string
	// SpoolDir takes staged bytes while storage fails. It should be on another
	// disk than storage, and must outlive the process. Empty: no spool.
	SpoolDir string
	// Inputs bounds the files of a request. Zero fields are those of
	// [DefaultInputLimits].
	Inputs InputLimits
	// Log hears of the spool. Nil: nobody does.
	Log *zap.Logger
}

// Store implements [orchestrator.Artifacts] and [orchestrator.Inputs]. It is
// safe for concurrent use.
type Store struct {
	bucket *blob.Bucket
	dir    string // absolute; empty when storage is not a directory
	spool  *spool // nil when there is none
	inputs InputLimits
	log    *zap.Logger
}

var (
	_ orchestrator.Artifacts = (*Store)(nil)
	_ orchestrator.Inputs    = (*Store)(nil)
)

// Open opens storage. A directory is made when it is missing; whether a bucket
// can be reached shows at the first use.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	s := &Store{inputs: cfg.Inputs.withDefaults(), log: cfg.Log}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if err := s.openBucket(ctx, cfg.URL); err != nil {
		return nil, fmt.Errorf("open artifact storage: %w", err)
	}
	if cfg.SpoolDir == "" {
		return s, nil
	}
	spool, err := openSpool(cfg.SpoolDir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.bucket.Close())
	}
	s.spool = spool
	return s, nil
}

func (s *Store) openBucket(ctx context.Context, raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		// The parser's error would quote the URL.
		return errors.New("URL is not valid")
	}
	if u.User != nil {
		return errors.New("URL must not hold credentials")
	}
	switch u.Scheme {
	case fileblob.Scheme:
		return s.openDirectory(u)
	case s3blob.Scheme:
		// The mux adds the parameter "prefix" to those of the driver.
		mux := new(blob.URLMux)
		mux.RegisterBucket(s3blob.Scheme, &s3blob.URLOpener{})
		s.bucket, err = mux.OpenBucketURL(ctx, u)
		return err
	default:
		return fmt.Errorf("scheme must be %q or %q", fileblob.Scheme, s3blob.Scheme)
	}
}

// openDirectory takes file:///absolute and file://./relative.
func (s *Store) openDirectory(u *url.URL) error {
	path := u.Path
	if u.Host == "." {
		path = strings.TrimPrefix(path, "/")
	}
	if path == "" || (u.Host != "" && u.Host != "." && u.Host != "localhost") || u.RawQuery != "" {
		return errors.New("URL of a directory must look like file:///absolute/path")
	}
	dir, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		return err
	}
	s.bucket, err = fileblob.OpenBucket(dir, &fileblob.Options{
		CreateDir:   true,
		DirFileMode: 0o755,
		// Renaming works only within one file system.
		NoTempDir: true,
		// What a file is stands in the job's record, and would be in the way
		// of who looks into the directory.
		Metadata: fileblob.MetadataDontWrite,
	})
	if err != nil {
		return err
	}
	s.dir = dir
	return nil
}

// Close releases storage. Readers that are open become unusable.
func (s *Store) Close() error { return s.bucket.Close() }

// Path is where a file lies on this machine's disk, empty when storage is not a
// directory.
func (s *Store) Path(key string) string {
	if s.dir == "" || checkKey(key) != nil {
		return ""
	}
	return filepath.Join(s.dir, filepath.FromSlash(key))
}

const maxKey = 512

// checkKey lets no key leave its place: segments of letters, digits and "._-"
// that do not begin with a dot. What fileblob keeps for itself is refused too.
func checkKey(key string) error {
	if len(key) > maxKey {
		return fmt.Errorf("key is longer than %d bytes", maxKey)
	}
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "" || segment[0] == '.' || strings.Trim(segment, keyCharacters) != "" {
			return fmt.Errorf("key %q is not allowed", key)
		}
	}
	if strings.HasSuffix(key, ".attrs") || strings.HasSuffix(key, ".tmp") {
		return fmt.Errorf("key %q is not allowed", key)
	}
	return nil
}

const keyCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

// syncDirectories makes the names on the way from path up to root durable:
// fsync of a file does not cover the directory that names it.
func syncDirectories(path, root string) error {
	for {
		if err := syncDirectory(path); err != nil {
			return err
		}
		if path == root || len(path) <= len(root) {
			return nil
		}
		path = filepath.Dir(path)
	}
}

func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
