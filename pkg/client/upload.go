package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// UploadedFile is an uploaded file as the API shows it.
type UploadedFile = tasks.UploadView

// Upload brings a file to the server at baseURL for requests to be made from:
// where an input would hold a data URL, it says [UploadInput] instead. The media
// type may be empty; it counts only where the bytes do not tell. The reader is
// read once and the call is not repeated: a file that was not taken leaves
// nothing behind.
func Upload(ctx context.Context, baseURL, key, mediaType string, r io.Reader) (*UploadedFile, error) {
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	// A reader of its own kind, so that nobody closes what the caller opened.
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(baseURL, "/")+"/v1/files", struct{ io.Reader }{r})
	if err != nil {
		return nil, fmt.Errorf("easel: upload: %w", withoutURL(err))
	}
	request.ContentLength = sizeOf(r)
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("Accept", "application/json, application/problem+json")
	if key != "" {
		request.Header.Set("Authorization", "Bearer "+key)
	}
	caller := newHTTPClient()
	defer caller.CloseIdleConnections()
	response, err := caller.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("easel: upload: %w", context.Cause(ctx))
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, withoutURL(err))
	}
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		return nil, readProblem(response)
	}
	file := new(UploadedFile)
	if err := json.NewDecoder(response.Body).Decode(file); err != nil {
		return nil, fmt.Errorf("easel: read answer: %w", err)
	}
	return file, nil
}

// sizeOf is how much a reader holds that tells, -1 for every other.
func sizeOf(r io.Reader) int64 {
	switch r := r.(type) {
	case interface{ Len() int }:
		return int64(r.Len())
	case io.Seeker:
		at, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return -1
		}
		end, err := r.Seek(0, io.SeekEnd)
		if err != nil {
			return -1
		}
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return -1
		}
		return end - at
	default:
		return -1
	}
}

// UploadInput is what an input says to be made from an uploaded file.
func UploadInput(id string) map[string]string { return map[string]string{"file": id} }

// ArtifactInput is what an input says to be made from what another job has
// produced.
func ArtifactInput(jobID string, index int) map[string]any {
	return map[string]any{"job": jobID, "artifact": index}
}
