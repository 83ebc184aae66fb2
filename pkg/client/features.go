package client

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/easel-jobs/easel/pkg/tasks"
)

// kind is what a feature makes.
type kind string

// The kinds, as artifacts name them.
const (
	kindImage kind = "image"
	kindVideo kind = "video"
	kindAudio kind = "audio"
)

// kinds are the last words of features whose kind is plain. Every other feature
// counts as one of images, of which there are the most names.
var kinds = map[string]kind{
	"video": kindVideo, "animation": kindVideo,
	"audio": kindAudio, "speech": kindAudio, "music": kindAudio, "voice": kindAudio, "sound": kindAudio,
	"text": "text", "model": "model", "3d": "model",
}

func kindOf(feature FeatureType) kind {
	words := strings.Split(string(feature), "-")
	if k, plain := kinds[words[len(words)-1]]; plain {
		return k
	}
	if k, plain := kinds[words[0]]; plain && k == kindVideo && !strings.Contains(string(feature), "-to-") {
		return k // video-upscale
	}
	return kindImage
}

// KindError is what executing a feature answers that makes something else than
// the method is for.
type KindError struct {
	FeatureType FeatureType
	Kind        string // what the method makes
}

// Error names both.
func (e *KindError) Error() string {
	return fmt.Sprintf("easel: %q is not a feature that makes %s", e.FeatureType, e.Kind)
}

// ImageInput is the input of an image feature. What is zero is left to the
// provider.
type ImageInput struct {
	Prompt         string   `json:"prompt,omitempty"`
	NegativePrompt string   `json:"negative_prompt,omitempty"`
	Style          string   `json:"style,omitempty"`
	Size           string   `json:"size,omitempty"` // such as 1024x1024
	Image          *File    `json:"image,omitempty"`
	Mask           *File    `json:"mask,omitempty"`
	N              int      `json:"n,omitempty"` // how many images
	Seed           *int64   `json:"seed,omitempty"`
	Strength       *float64 `json:"strength,omitempty"` // of a change, 0 to 1
	Factor         int      `json:"factor,omitempty"`   // of an upscale
	Format         string   `json:"format,omitempty"`
	// Extra are further inputs under the provider's own names. They win.
	Extra map[string]any `json:"-"`
}

// VideoInput is the input of a video feature. What is zero is left to the
// provider.
type VideoInput struct {
	Prompt         string  `json:"prompt,omitempty"`
	NegativePrompt string  `json:"negative_prompt,omitempty"`
	Style          string  `json:"style,omitempty"`
	Size           string  `json:"size,omitempty"`
	AspectRatio    string  `json:"aspect_ratio,omitempty"`
	Image          *File   `json:"image,omitempty"`
	Duration       float64 `json:"duration,omitempty"` // in seconds
	Seed           *int64  `json:"seed,omitempty"`
	// Extra are further inputs under the provider's own names. They win.
	Extra map[string]any `json:"-"`
}

// AudioInput is the input of an audio feature: Text is what is spoken, Prompt
// describes a sound. What is zero is left to the provider.
type AudioInput struct {
	Text     string  `json:"text,omitempty"`
	Prompt   string  `json:"prompt,omitempty"`
	Voice    string  `json:"voice,omitempty"`
	Duration float64 `json:"duration,omitempty"` // in seconds
	Format   string  `json:"format,omitempty"`
	Seed     *int64  `json:"seed,omitempty"`
	// Extra are further inputs under the provider's own names. They win.
	Extra map[string]any `json:"-"`
}

// Image is an image of a result. Width and Height are 0 where they are not
// known.
type Image struct {
	Index         int
	URL           string
	MediaType     string
	Bytes         int64
	SHA256        string
	Width, Height int
}

// Video is a film of a result. What is not known is 0.
type Video struct {
	Index         int
	URL           string
	MediaType     string
	Bytes         int64
	SHA256        string
	Width, Height int
	Duration      time.Duration
}

// Audio is a recording of a result. What is not known is 0.
type Audio struct {
	Index     int
	URL       string
	MediaType string
	Bytes     int64
	SHA256    string
	Duration  time.Duration
}

// ImageResult is the result of an image feature.
type ImageResult struct {
	*GenerationResult
	Images []Image
}

// VideoResult is the result of a video feature.
type VideoResult struct {
	*GenerationResult
	Videos []Video
}

// AudioResult is the result of an audio feature.
type AudioResult struct {
	*GenerationResult
	Audio []Audio
}

// ExecuteImageFeature is [Client.Execute] for features that make images:
// text-to-image, image-to-image, upscale, remove-background and whatever else
// providers offer. A feature that makes something else is a [*KindError].
func (c *Client) ExecuteImageFeature(ctx context.Context, feature FeatureType, input ImageInput, options ...ExecuteOption) (*ImageResult, error) {
	result, err := c.executeKind(ctx, kindImage, feature, input, input.Extra, options)
	if err != nil {
		return nil, err
	}
	typed := &ImageResult{GenerationResult: result}
	for _, a := range artifactsOf(result, kindImage) {
		typed.Images = append(typed.Images, Image{a.Index, a.URL, a.MediaType, a.Bytes, a.SHA256, value(a.Width), value(a.Height)})
	}
	return typed, nil
}

// ExecuteVideoFeature is [Client.Execute] for features that make films:
// text-to-video, image-to-video. A feature that makes something else is a
// [*KindError].
func (c *Client) ExecuteVideoFeature(ctx context.Context, feature FeatureType, input VideoInput, options ...ExecuteOption) (*VideoResult, error) {
	result, err := c.executeKind(ctx, kindVideo, feature, input, input.Extra, options)
	if err != nil {
		return nil, err
	}
	typed := &VideoResult{GenerationResult: result}
	for _, a := range artifactsOf(result, kindVideo) {
		typed.Videos = append(typed.Videos, Video{
			a.Index, a.URL, a.MediaType, a.Bytes, a.SHA256, value(a.Width), value(a.Height), duration(a.DurationMS),
		})
	}
	return typed, nil
}

// ExecuteAudioFeature is [Client.Execute] for features that make sound:
// text-to-speech, text-to-audio. A feature that makes something else is a
// [*KindError].
func (c *Client) ExecuteAudioFeature(ctx context.Context, feature FeatureType, input AudioInput, options ...ExecuteOption) (*AudioResult, error) {
	result, err := c.executeKind(ctx, kindAudio, feature, input, input.Extra, options)
	if err != nil {
		return nil, err
	}
	typed := &AudioResult{GenerationResult: result}
	for _, a := range artifactsOf(result, kindAudio) {
		typed.Audio = append(typed.Audio, Audio{a.Index, a.URL, a.MediaType, a.Bytes, a.SHA256, duration(a.DurationMS)})
	}
	return typed, nil
}

// HasImageFeatureSupport reports whether the feature makes images and some
// provider offers it.
func (c *Client) HasImageFeatureSupport(ctx context.Context, feature FeatureType) (bool, error) {
	return c.hasSupport(ctx, kindImage, feature)
}

// HasVideoFeatureSupport reports whether the feature makes films and some
// provider offers it.
func (c *Client) HasVideoFeatureSupport(ctx context.Context, feature FeatureType) (bool, error) {
	return c.hasSupport(ctx, kindVideo, feature)
}

// HasAudioFeatureSupport reports whether the feature makes sound and some
// provider offers it.
func (c *Client) HasAudioFeatureSupport(ctx context.Context, feature FeatureType) (bool, error) {
	return c.hasSupport(ctx, kindAudio, feature)
}

func (c *Client) hasSupport(ctx context.Context, wanted kind, feature FeatureType) (bool, error) {
	if kindOf(feature) != wanted {
		return false, nil
	}
	all, err := c.Providers(ctx)
	if err != nil {
		return false, err
	}
	for _, p := range all {
		if p.Offers(feature) {
			return true, nil
		}
	}
	return false, nil
}

func (c *Client) executeKind(ctx context.Context, wanted kind, feature FeatureType, input any, extra map[string]any, options []ExecuteOption) (*GenerationResult, error) {
	if kindOf(feature) != wanted {
		return nil, &KindError{feature, string(wanted)}
	}
	data, err := inputOf(input, extra)
	if err != nil {
		return nil, err
	}
	return c.Execute(ctx, Request{FeatureType: feature, InputData: data}, options...)
}

// inputOf is a typed input with what was given beside it.
func inputOf(input any, extra map[string]any) (json.RawMessage, error) {
	raw, err := json.Marshal(input)
	if err == nil && len(extra) > 0 {
		merged := map[string]any{}
		if err = json.Unmarshal(raw, &merged); err == nil {
			maps.Copy(merged, extra)
			raw, err = json.Marshal(merged)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("easel: the input cannot be written as JSON: %w", err)
	}
	return raw, nil
}

// artifactsOf are the files of a kind. GIFs are films to some providers and
// images to others: where a result has no file of the kind, all of them count.
func artifactsOf(r *GenerationResult, wanted kind) []tasks.ArtifactView {
	var found []tasks.ArtifactView
	for _, a := range r.Artifacts {
		if a.Kind == string(wanted) {
			found = append(found, a)
		}
	}
	if found == nil {
		return r.Artifacts
	}
	return found
}

func value(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}

func duration(ms *int64) time.Duration {
	if ms == nil {
		return 0
	}
	return time.Duration(*ms) * time.Millisecond
}
