package artifacts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"gocloud.dev/blob/memblob"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/orchestrator"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// directory opens storage in a new directory, with a spool beside it.
func directory(t *testing.T) *Store {
	t.Helper()
	root := t.TempDir()
	s, err := Open(t.Context(), Config{URL: "file://" + root + "/artifacts", SpoolDir: root + "/spool"})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// bucket opens storage that is not a directory.
func bucket(t *testing.T) *Store {
	t.Helper()
	s := directory(t)
	require.NoError(t, s.bucket.Close())
	s.bucket, s.dir = memblob.OpenBucket(nil), ""
	return s
}

// each runs a test with both kinds of storage.
func each(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Helper()
	t.Run("directory", func(t *testing.T) { t.Parallel(); test(t, directory(t)) })
	t.Run("bucket", func(t *testing.T) { t.Parallel(); test(t, bucket(t)) })
}

func requireClass(t *testing.T, err error, class classify.Class, code string) {
	t.Helper()
	var failure *classify.Error
	require.True(t, errors.As(err, &failure), "%v", err)
	require.Equal(t, class, failure.Class)
	require.Equal(t, code, failure.Code)
}

// everything lists the files of a directory and below.
func everything(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(dir, path)
			names = append(names, name)
		}
		return err
	}))
	return names
}

func requireNothing(t *testing.T, s *Store) {
	t.Helper()
	for object, err := range objects(t.Context(), s.bucket, "") {
		require.NoError(t, err)
		t.Errorf("%s is stored", object.Key)
	}
	if s.dir != "" {
		require.Empty(t, everything(t, s.dir))
	}
}

func content(t *testing.T, s *Store, key string) string {
	t.Helper()
	r, err := s.Open(t.Context(), key)
	require.NoError(t, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(data)
}

func TestPutSaysWhatItStored(t *testing.T) {
	t.Parallel()
	text := func(s string) []byte { return []byte(s) }
	tests := []struct {
		name    string
		data    []byte
		claimed string
		want    tasks.Artifact // without bytes and hash
	}{
		{"png", pngFile(t, 30, 20), "image/png", tasks.Artifact{Key: "a.png", Kind: "image", MediaType: "image/png", Width: 30, Height: 20}},
		{"jpeg", jpegFile(t, 30, 20), "", tasks.Artifact{Key: "a.jpg", Kind: "image", MediaType: "image/jpeg", Width: 30, Height: 20}},
		{"webp", webpFile(t), "", tasks.Artifact{Key: "a.webp", Kind: "image", MediaType: "image/webp", Width: 1, Height: 1}},
		{"avif", avifFile(), "", tasks.Artifact{Key: "a.avif", Kind: "image", MediaType: "image/avif", Width: 320, Height: 200}},
		{"gif", gifFile(t, 8, 9, 10, 25, 5), "", tasks.Artifact{Key: "a.gif", Kind: "image", MediaType: "image/gif", Width: 8, Height: 9, Duration: 400}},
		{"svg", text(`<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>`), "image/svg+xml", tasks.Artifact{Key: "a.svg", Kind: "image", MediaType: "image/svg+xml"}},
		{"mp4", mp4File(10), "", tasks.Artifact{Key: "a.mp4", Kind: "video", MediaType: "video/mp4", Width: 640, Height: 360, Duration: 3500}},
		{"mp4, header at its end", mp4File(2 * headSize), "", tasks.Artifact{Key: "a.mp4", Kind: "video", MediaType: "video/mp4", Width: 640, Height: 360, Duration: 3500}},
		{"mp4, long", mp4Long(), "", tasks.Artifact{Key: "a.mp4", Kind: "video", MediaType: "video/mp4", Duration: 2000}},
		{"mp4, cut", mp4File(10)[:60], "", tasks.Artifact{Key: "a.mp4", Kind: "video", MediaType: "video/mp4"}},
		{"webm", text("\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01\x42\x82\x84webm"), "", tasks.Artifact{Key: "a.webm", Kind: "video", MediaType: "video/webm"}},
		{"wav", wavFile(2, 0), "", tasks.Artifact{Key: "a.wav", Kind: "audio", MediaType: "audio/wav", Duration: 2000}},
		{"wav, streamed", wavFile(2, 0xffffffff), "", tasks.Artifact{Key: "a.wav", Kind: "audio", MediaType: "audio/wav", Duration: 2000}},
		{"flac", flacFile(), "", tasks.Artifact{Key: "a.flac", Kind: "audio", MediaType: "audio/flac", Duration: 2500}},
		{"mp3", text("\xff\xfb\x90\x00"), "", tasks.Artifact{Key: "a.mp3", Kind: "audio", MediaType: "audio/mpeg"}},
		{"ogg", append(text("OggS\x00\x02"), append(make([]byte, 22), "\x7fFLAC"...)...), "", tasks.Artifact{Key: "a.ogg", Kind: "audio", MediaType: "audio/ogg"}},
		{"pdf", text("%PDF-1.7\n"), "", tasks.Artifact{Key: "a.pdf", Kind: "file", MediaType: "application/pdf"}},
		{"zip", text("PK\x03\x04"), "", tasks.Artifact{Key: "a.zip", Kind: "file", MediaType: "application/zip"}},
		{"json", text(`{"a":1}`), "", tasks.Artifact{Key: "a.json", Kind: "file", MediaType: "application/json"}},
		{"text", text("words"), "text/plain; charset=utf-8", tasks.Artifact{Key: "a.txt", Kind: "file", MediaType: "text/plain"}},
		{"page that nobody calls a picture", text("<html></html>"), "text/plain", tasks.Artifact{Key: "a.html", Kind: "file", MediaType: "text/html"}},
		{"corrected", jpegFile(t, 3, 2), "image/png", tasks.Artifact{Key: "a.jpg", Kind: "image", MediaType: "image/jpeg", Width: 3, Height: 2}},
		{"corrected kind", mp4File(10), "image/png", tasks.Artifact{Key: "a.mp4", Kind: "video", MediaType: "video/mp4", Width: 640, Height: 360, Duration: 3500}},
		{"claim is no media type", pngFile(t, 3, 2), "<script>", tasks.Artifact{Key: "a.png", Kind: "image", MediaType: "image/png", Width: 3, Height: 2}},
		{"raw samples", text("\x01\x02\x03\x00"), "audio/L16;rate=24000", tasks.Artifact{Key: "a.bin", Kind: "audio", MediaType: "audio/l16"}},
		{"false claim of a known type", text("\x01\x02\x03\x00"), "image/png", tasks.Artifact{Key: "a.bin", Kind: "image", MediaType: "application/octet-stream"}},
		{"bomb", pngBomb(t, 60000, 60000), "image/png", tasks.Artifact{Key: "a.png", Kind: "image", MediaType: "image/png", Width: 60000, Height: 60000}},
		{"picture with a broken header", pngFile(t, 3, 2)[:20], "image/png", tasks.Artifact{Key: "a.png", Kind: "image", MediaType: "image/png"}},
	}
	each(t, func(t *testing.T, s *Store) {
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				sum := sha256.Sum256(tt.data)
				prefix := "job_1/" + strconv.Itoa(i) + "/"
				want := tt.want
				want.Key, want.Bytes, want.SHA256 = prefix+want.Key, int64(len(tt.data)), hex.EncodeToString(sum[:])

				got, err := s.Put(t.Context(), prefix+"a.*", tt.claimed, iotest.OneByteReader(bytes.NewReader(tt.data)), int64(len(tt.data)))
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.Equal(t, string(tt.data), content(t, s, got.Key))
			})
		}
	})
}

func TestPutStoresNothingWhenItFails(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection reset")
	each(t, func(t *testing.T, s *Store) {
		put := func(claimed string, r io.Reader, limit int64) error {
			_, err := s.Put(t.Context(), "job_1/a.*", claimed, r, limit)
			return err
		}
		requireClass(t, put("", strings.NewReader("four"), 3), classify.Validation, CodeTooLarge)
		requireClass(t, put("", io.LimitReader(zeros{}, 1<<40), 3*headSize), classify.Validation, CodeTooLarge)
		requireClass(t, put("", strings.NewReader(""), 3), classify.GenerationFailed, CodeEmpty)
		for _, claimed := range []string{"image/png", "video/mp4; codecs=avc1", "AUDIO/MPEG"} {
			for _, data := range []string{"<!DOCTYPE html><html>", `{"error":"expired"}`, "<Error><Code>AccessDenied</Code></Error>", "Access denied"} {
				requireClass(t, put(claimed, strings.NewReader(data), 0), classify.GenerationFailed, CodeNotMedia)
			}
		}
		require.ErrorIs(t, put("", iotest.ErrReader(broken), 0), broken)
		late := io.MultiReader(io.LimitReader(zeros{}, 2*headSize), iotest.ErrReader(broken))
		require.ErrorIs(t, put("", late, 0), broken)

		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Put(ctx, "job_1/a.*", "", io.MultiReader(io.LimitReader(zeros{}, 2*headSize), callback(cancel)), 0)
		require.ErrorIs(t, err, context.Canceled)
		requireNothing(t, s)
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// callback is a reader that has nothing, and calls back when it is asked.
type callback func()

func (f callback) Read([]byte) (int, error) { f(); return 0, io.EOF }

func TestPutReportsStorageThatFails(t *testing.T) {
	t.Parallel()
	s := directory(t)
	block(t, s, "job_1")
	_, err := s.Put(t.Context(), "job_1/a.*", "", strings.NewReader("words"), 0)
	requireClass(t, err, classify.Server, CodeStorage)
}

// block makes storage fail for a job, until the file that it returns is removed:
// where the job's directory should be, there is a file.
func block(t *testing.T, s *Store, job string) string {
	t.Helper()
	path := filepath.Join(s.dir, job)
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	return path
}

func TestKeys(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *Store) {
		for _, key := range []string{
			"", "/etc/passwd", "../a", "job_1/../job_2/a", "job_1//a", "job_1/", "job_1/.", "job_1/.hidden", "job_1/a b", "job_1/a\x00",
			`job_1\a`, "job_1/a.attrs", "job_1/a.tmp", "job_1/*.png", "job_1/ü", strings.Repeat("a", maxKey+1),
		} {
			_, err := s.Put(t.Context(), key, "", strings.NewReader("words"), 0)
			require.Error(t, err, key)
			_, err = s.Open(t.Context(), key)
			require.ErrorIs(t, err, orchestrator.ErrNoArtifact, key)
			require.Error(t, s.Delete(t.Context(), key), key)
			require.Empty(t, s.Path(key), key)
		}
		requireNothing(t, s)
	})
}

func TestPath(t *testing.T) {
	t.Parallel()
	s := directory(t)
	stored, err := s.Put(t.Context(), "job_1/0.*", "", bytes.NewReader(pngFile(t, 1, 1)), 0)
	require.NoError(t, err)
	path := s.Path(stored.Key)
	require.True(t, filepath.IsAbs(path))
	require.Equal(t, "0.png", filepath.Base(path))
	require.FileExists(t, path)
	require.Equal(t, []string{"job_1/0.png"}, everything(t, s.dir), "nothing lies beside it")
	require.Empty(t, bucket(t).Path(stored.Key))
}

func TestOpenServesRanges(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *Store) {
		before := time.Now().Add(-time.Minute)
		_, err := s.Put(t.Context(), "job_1/a.txt", "", strings.NewReader("0123456789"), 0)
		require.NoError(t, err)
		r, err := s.Open(t.Context(), "job_1/a.txt")
		require.NoError(t, err)
		defer r.Close()
		require.EqualValues(t, 10, r.Size())
		require.True(t, r.ModTime().After(before))

		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.Header.Set("Range", "bytes=3-5")
		answer := httptest.NewRecorder()
		http.ServeContent(answer, request, "a.txt", r.ModTime(), r)
		require.Equal(t, http.StatusPartialContent, answer.Code)
		require.Equal(t, "345", answer.Body.String())
		require.Equal(t, "bytes 3-5/10", answer.Header().Get("Content-Range"))

		_, err = s.Open(t.Context(), "job_1/b.txt")
		require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
		_, err = s.Open(t.Context(), "job_1")
		require.ErrorIs(t, err, orchestrator.ErrNoArtifact, "a directory is no artifact")
	})
}

func TestDelete(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, s *Store) {
		keys := []string{"job_1/0.txt", "job_1/inputs/0.txt", "job_1/1/staged/0.txt", "job_10/0.txt"}
		for _, key := range keys {
			_, err := s.Put(t.Context(), key, "", strings.NewReader("words"), 0)
			require.NoError(t, err)
		}
		require.NoError(t, s.Delete(t.Context(), "job_1/inputs"))
		_, err := s.Open(t.Context(), keys[1])
		require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
		require.Equal(t, "words", content(t, s, keys[0]))

		require.NoError(t, s.Delete(t.Context(), "job_1"))
		require.NoError(t, s.Delete(t.Context(), "job_1"), "again is no error")
		for _, key := range keys[:3] {
			_, err := s.Open(t.Context(), key)
			require.ErrorIs(t, err, orchestrator.ErrNoArtifact)
		}
		require.Equal(t, "words", content(t, s, keys[3]), "another job whose id begins the same")
		require.NoError(t, s.Delete(t.Context(), "job_10/0.txt"))
		requireNothing(t, s)
		if s.dir != "" {
			require.NoDirExists(t, filepath.Join(s.dir, "job_1"))
		}
	})
}

func TestOpenConfig(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "ftp://host/dir", "file://", "file://host/dir", "file:///tmp/x?metadata=skip", "/just/a/path", "s3://user:hunter2@bucket", "s3://[hunter2",
		"s3://bucket?nonsense=1",
	} {
		_, err := Open(t.Context(), Config{URL: url})
		require.Error(t, err, url)
		require.NotContains(t, err.Error(), "hunter2")
	}

	s, err := Open(t.Context(), Config{URL: "s3://bucket?region=eu-central-1&endpoint=http://127.0.0.1:1&use_path_style=true&prefix=easel/"})
	require.NoError(t, err, "a bucket is not called before it is used")
	require.Empty(t, s.Path("job_1/0.png"))
	require.NoError(t, s.Close())

	dir := t.TempDir()
	s, err = Open(t.Context(), Config{URL: "file://" + dir + "/a/b"})
	require.NoError(t, err)
	require.DirExists(t, dir+"/a/b")
	require.NoError(t, s.Close())
}
