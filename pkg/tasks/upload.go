package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// UploadPrefix begins the ids of uploads.
const UploadPrefix = "file_"

// Upload is a file that a caller has brought ahead of the requests that use it.
// A request that refers to it gets a copy of its own, so that it may go while
// the job lives.
type Upload struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	Key       string    `json:"key,omitempty"` // where it lies in artifact storage; empty while it arrives
	MediaType string    `json:"media_type,omitempty"`
	Bytes     int64     `json:"bytes,omitempty"`
	SHA256    string    `json:"sha256,omitempty"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// UploadView is an [Upload] as callers see it.
type UploadView struct {
	ID        string    `json:"id" doc:"What a request says in input_data: {\"file\": id}" example:"file_01JD3XK8M5Q0R7Z4N9T2V6W8YB"`
	MediaType string    `json:"media_type" doc:"What the bytes are, whatever the caller claimed" example:"image/png"`
	Bytes     int64     `json:"bytes" doc:"The size"`
	SHA256    string    `json:"sha256" doc:"The digest of the bytes, in hexadecimal"`
	CreatedAt time.Time `json:"created_at" doc:"When it was uploaded"`
	ExpiresAt time.Time `json:"expires_at" doc:"When it will be erased. Jobs that were made from it keep a copy of their own"`
}

// View is the upload as callers see it.
func (u *Upload) View() UploadView {
	return UploadView{
		ID: u.ID, MediaType: u.MediaType, Bytes: u.Bytes, SHA256: u.SHA256,
		CreatedAt: u.CreatedAt.UTC(), ExpiresAt: u.ExpiresAt.UTC(),
	}
}

// Source is a file that an input names rather than brings: an upload, another
// job's artifact, or a URL. Exactly one of Upload, Job and URL is set.
type Source struct {
	Upload   string
	Job      string
	Artifact int
	URL      string
}

// SourceError is an object of the input that is meant to be a [Source] and is
// not well made. It does not repeat what the object holds.
type SourceError struct{ Detail string }

// Error is the detail.
func (e *SourceError) Error() string { return e.Detail }

// SourceOf reads a JSON object as the source of a file: {"file": "file_…"},
// {"file": "https://…"} or {"job": "job_…", "artifact": 0}, and nothing beside
// these keys. Every other object is none, and is the provider's to understand;
// what only looks like one is a *[SourceError].
func SourceOf(object map[string]any) (Source, bool, error) {
	if name, ok := object["file"].(string); ok && len(object) == 1 {
		switch {
		case strings.HasPrefix(name, UploadPrefix):
			return Source{Upload: name}, true, nil
		case strings.HasPrefix(name, "https://"), strings.HasPrefix(name, "http://"):
			return Source{URL: name}, true, nil
		}
	}
	job, ok := object["job"].(string)
	if !ok || !strings.HasPrefix(job, "job_") {
		return Source{}, false, nil
	}
	index, has := object["artifact"]
	switch {
	case len(object) == 1 && !has:
		return Source{}, false, &SourceError{"names a job and no artifact of it"}
	case len(object) != 2 || !has:
		return Source{}, false, nil
	}
	n, whole := wholeNumber(index)
	if !whole || n < 0 {
		return Source{}, false, &SourceError{"must name the artifact by its index, a whole number from 0"}
	}
	return Source{Job: job, Artifact: n}, true, nil
}

// wholeNumber reads a number of decoded JSON.
func wholeNumber(v any) (int, bool) {
	switch v := v.(type) {
	case float64:
		n := int(v)
		return n, float64(n) == v
	case json.Number:
		n, err := strconv.Atoi(v.String())
		return n, err == nil
	default:
		return 0, false
	}
}

// String names the source in a record. A URL may be signed, and shows as its
// digest.
func (s Source) String() string {
	switch {
	case s.Upload != "":
		return s.Upload
	case s.Job != "":
		return fmt.Sprintf("%s/%d", s.Job, s.Artifact)
	default:
		sum := sha256.Sum256([]byte(s.URL))
		return "url:" + hex.EncodeToString(sum[:])
	}
}
