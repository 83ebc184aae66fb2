package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// download copies a job's artifacts into dir and notes their paths in it.
func download(ctx context.Context, c *client.Client, job *client.Job, dir string) error {
	if job.Result == nil || len(job.Result.Artifacts) == 0 {
		return nil
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		return fmt.Errorf("download: %w", err)
	}
	for i := range job.Result.Artifacts {
		artifact := &job.Result.Artifacts[i]
		path := filepath.Join(dir, fmt.Sprintf("%s-%d%s", fileName(job.ID), artifact.Index, extension(artifact.MediaType)))
		if err := downloadOne(ctx, c, job.ID, *artifact, path); err != nil {
			return fmt.Errorf("download artifact %d of %s: %w", artifact.Index, job.ID, err)
		}
		artifact.Path = path
	}
	return nil
}

// downloadOne writes the whole file or none: it takes its name only once its
// content has proved to be what the job says.
func downloadOne(ctx context.Context, c *client.Client, jobID string, artifact tasks.ArtifactView, path string) (err error) {
	source, err := c.OpenArtifact(ctx, jobID, artifact.Index)
	if err != nil {
		return err
	}
	defer source.Close()
	file, err := os.CreateTemp(filepath.Dir(path), ".easel-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	hash := sha256.New()
	if _, err := io.Copy(io.MultiWriter(file, hash), source); err != nil {
		return err
	}
	if artifact.SHA256 != "" && hex.EncodeToString(hash.Sum(nil)) != artifact.SHA256 {
		return errors.New("what came is not what the job produced")
	}
	if err := file.Chmod(0o644); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return err
	}
	return file.Close()
}

// fileName keeps of an id what cannot lead out of the directory.
func fileName(id string) string {
	safe := []rune(id)
	for i, r := range safe {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-'
		if !letter {
			safe[i] = '_'
		}
	}
	return string(safe)
}

// extensions are those of the media types that generators make. The server's
// own table of the system may say .jfif for a picture.
var extensions = map[string]string{
	"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "image/avif": ".avif", "image/svg+xml": ".svg",
	"video/mp4": ".mp4", "video/webm": ".webm", "video/quicktime": ".mov",
	"audio/wav": ".wav", "audio/x-wav": ".wav", "audio/mpeg": ".mp3", "audio/ogg": ".ogg", "audio/flac": ".flac", "audio/aac": ".aac",
	"application/json": ".json", "text/plain": ".txt", "application/pdf": ".pdf",
}

func extension(mediaType string) string {
	if known := extensions[mediaType]; known != "" {
		return known
	}
	return ".bin"
}
