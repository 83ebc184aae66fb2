package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// Feature is a kind of generation. The set is open: a provider may offer
// features that are not listed here.
type Feature string

// The common features.
const (
	TextToImage      Feature = "text-to-image"
	ImageToImage     Feature = "image-to-image"
	Upscale          Feature = "upscale"
	RemoveBackground Feature = "remove-background"
	TextToVideo      Feature = "text-to-video"
	ImageToVideo     Feature = "image-to-video"
	TextToSpeech     Feature = "text-to-speech"
	TextToAudio      Feature = "text-to-audio"
)

// Priority chooses the submit queue. Weights are 6, 3 and 1.
type Priority string

// The three priorities; the empty one means [PriorityDefault].
const (
	PriorityHigh    Priority = "high"
	PriorityDefault Priority = "default"
	PriorityLow     Priority = "low"
)

// Valid reports whether p is one of the three priorities.
func (p Priority) Valid() bool {
	return p == PriorityHigh || p == PriorityDefault || p == PriorityLow
}

// Request is what a caller asks for. It never changes once accepted.
type Request struct {
	FeatureType Feature `json:"feature_type"`
	// InputData is a JSON object. Files in it have been replaced by
	// references (see [File]); nothing large travels through Redis.
	InputData           json.RawMessage   `json:"input_data"`
	UserID              string            `json:"user_id,omitempty"`
	ProviderID          string            `json:"provider_id,omitempty"`
	FallbackProviderIDs []string          `json:"fallback_provider_ids,omitempty"`
	Model               string            `json:"model,omitempty"`
	RetryAttempts       int               `json:"retry_attempts"`
	RetryDelay          time.Duration     `json:"retry_delay"`
	Timeout             time.Duration     `json:"timeout"`
	WebhookURL          string            `json:"webhook_url,omitempty"`
	Metadata            map[string]string `json:"metadata,omitempty"`
	Priority            Priority          `json:"priority"`
	RunAt               time.Time         `json:"run_at,omitzero"`
	// Files are the parts of the input that were moved to artifact storage.
	Files []File `json:"files,omitempty"`
}

// File is a part of the input that lies in artifact storage. In InputData its
// place is taken by {"$file": Index}.
type File struct {
	Index     int    `json:"index"`
	Pointer   string `json:"pointer"` // where it stood in input_data, RFC 6901
	Key       string `json:"key"`     // where it lies in artifact storage
	MediaType string `json:"media_type"`
	Bytes     int64  `json:"bytes"`
	SHA256    string `json:"sha256"`
	// Source names where it came from when the input did not bring it; see
	// [Source].
	Source string `json:"source,omitempty"`
}

// Hash identifies the request for idempotency: equal requests, equal hashes.
// It is taken over the parsed request, so that white space and the order of
// keys do not matter. Files count by their content, not by where they lie, and
// those that the input only named by their name: it is what the caller wrote,
// and the same request stays the same when a URL has changed its content.
func (r Request) Hash() string {
	var input any
	if json.Unmarshal(r.InputData, &input) == nil {
		// Marshalling a decoded value sorts the keys of its objects.
		if sorted, err := json.Marshal(input); err == nil {
			r.InputData = sorted
		}
	}
	files := make([]File, len(r.Files))
	copy(files, r.Files)
	for i := range files {
		files[i].Key = ""
		if files[i].Source != "" {
			files[i].MediaType, files[i].Bytes, files[i].SHA256 = "", 0, ""
		}
	}
	r.Files = files
	raw, err := json.Marshal(r)
	if err != nil {
		// Every field is a plain value, and InputData was validated as JSON
		// when it came in: only a programming error leads here.
		panic("tasks: request cannot be encoded: " + err.Error())
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}
