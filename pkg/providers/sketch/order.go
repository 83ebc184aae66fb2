package sketch

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers/sketch/render"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The limits of an order.
const (
	maxText        = 20000
	maxCount       = 4
	maxSeed        = 1<<53 - 1 // what JSON numbers carry exactly
	minSide        = 64
	maxSide        = 2048
	maxVideoSide   = 1024
	maxPixels      = 4 << 20  // over all pictures of an order
	maxVideoPixels = 16 << 20 // over all frames
	maxInputPixels = 16 << 20 // of a given picture, checked before it is decoded
	maxVideo       = 8.0
	maxAudio       = 30.0
	maxSpeech      = 2 * time.Minute
)

// order is a checked input.
type order struct {
	feature       tasks.Feature
	model         string
	prompt        string
	style         string
	voice         string
	format        string
	width, height int // 0: the given picture's own
	count         int
	seed          uint64
	duration      time.Duration
	factor        int
	strength      float64
	simulate      simulation
}

// invalid is the error for a mistake in the input. It never echoes values.
func invalid(field, format string, args ...any) *classify.Error {
	return &classify.Error{Class: classify.Validation, Code: "invalid_input", Field: field, Message: fmt.Sprintf(format, args...)}
}

// parseOrder checks an input and reads it.
func parseOrder(f tasks.Feature, model string, raw json.RawMessage, allowSimulate bool) (order, error) {
	if model == "" {
		model = ModelDefault
	}
	offer := offerOf(f)
	switch {
	case offer == nil:
		return order{}, &classify.Error{Class: classify.NotFound, Code: "not_found", Message: "there is no such feature"}
	case !slices.Contains(offer.models, model):
		return order{}, &classify.Error{Class: classify.NotFound, Code: "not_found", Message: "there is no such model for this feature"}
	}
	reader := inputReader{}
	if err := json.Unmarshal(raw, &reader.fields); err != nil || reader.fields == nil {
		return order{}, invalid("/input_data", "must be an object")
	}
	o := reader.order(offer)
	o.feature, o.model = f, model
	if reader.err == nil {
		o.simulate, reader.err = reader.simulation(allowSimulate)
	}
	if reader.err != nil {
		return order{}, reader.err
	}
	return o, nil
}

// inputReader reads the keys of an input and keeps the first mistake.
type inputReader struct {
	fields map[string]json.RawMessage
	err    error
}

func (r *inputReader) fail(key, format string, args ...any) {
	if r.err == nil {
		r.err = invalid("/input_data/"+key, format, args...)
	}
}

func (r *inputReader) order(offer *offer) order {
	var o order
	if slices.Contains(offer.keys, "image") {
		r.image()
	}
	o.prompt = r.prompt(offer)
	o.style = r.text("style", 200)
	o.voice = r.choice("voice", "", voices)
	o.format = r.choice("format", "png", []string{"png", "jpeg"})
	o.seed = uint64(r.number("seed", 0, 0, maxSeed, true))
	o.count = int(r.number("n", 1, 1, maxCount, true))
	o.factor = int(r.number("factor", 2, 2, 4, true))
	if o.factor == 3 {
		r.fail("factor", "must be 2 or 4")
	}
	o.strength = r.number("strength", 0.7, 0, 1, false)
	r.measure(&o, offer)
	return o
}

// prompt reads what is asked for in words. Speech takes its text under either
// name, since callers call the words a prompt everywhere else.
func (r *inputReader) prompt(offer *offer) string {
	key := "prompt"
	if slices.Contains(offer.keys, "text") {
		key = "text"
		if _, ok := r.fields["text"]; !ok && r.fields["prompt"] != nil {
			key = "prompt"
		}
	}
	prompt := r.text(key, maxText)
	if strings.TrimSpace(prompt) == "" && (slices.Contains(offer.required, "prompt") || slices.Contains(offer.required, "text")) {
		r.fail(key, "is required and must not be empty")
	}
	return prompt
}

// measure reads size and duration and holds both to what is worth drawing.
func (r *inputReader) measure(o *order, offer *offer) {
	side, fallbackSize, longest, fallback := maxSide, "512x512", maxAudio, 5.0
	if offer.kind == "video" {
		side, fallbackSize, longest, fallback = maxVideoSide, "384x256", maxVideo, 2.0
	}
	if slices.Contains(offer.keys, "size") {
		if slices.Contains(offer.keys, "image") && offer.kind == "image" {
			fallbackSize = ""
		}
		o.width, o.height = r.size(fallbackSize, side)
	}
	if !slices.Contains(offer.keys, "n") {
		o.count = 1
	}
	seconds := fallback
	if slices.Contains(offer.keys, "duration") {
		seconds = r.number("duration", fallback, 1, longest, false)
	}
	o.duration = time.Duration(seconds * float64(time.Second))
	switch pixels := o.width * o.height; {
	case offer.kind == "image" && pixels*o.count > maxPixels:
		r.fail("size", "must not exceed %d pixels over all pictures", maxPixels)
	case offer.kind == "video" && pixels*o.frames() > maxVideoPixels:
		r.fail("size", "must not exceed %d pixels over all frames; shorten the duration", maxVideoPixels)
	}
}

// frames is how many pictures a video has.
func (o order) frames() int {
	return max(int(math.Round(o.duration.Seconds()*render.FramesPerSecond)), 12)
}

// image checks that a picture was given, as a file. What it is shows when it is
// decoded.
func (r *inputReader) image() {
	raw, ok := r.fields["image"]
	var reference struct {
		File *int `json:"$file"`
	}
	switch {
	case !ok || string(raw) == "null":
		r.fail("image", "is required")
	case json.Unmarshal(raw, &reference) == nil && reference.File != nil:
	case strings.HasPrefix(string(raw), `"data:`):
	default:
		r.fail("image", "must be a file; this provider does not fetch URLs")
	}
}

func (r *inputReader) text(key string, longest int) string {
	var value *string
	if raw, ok := r.fields[key]; ok && json.Unmarshal(raw, &value) != nil {
		r.fail(key, "must be a text")
	}
	if value == nil {
		return ""
	}
	if utf8.RuneCountInString(*value) > longest {
		r.fail(key, "must not be longer than %d characters", longest)
	}
	return *value
}

func (r *inputReader) choice(key, fallback string, choices []string) string {
	value := r.text(key, 100)
	if value == "" {
		return fallback
	}
	if !slices.Contains(choices, value) {
		r.fail(key, "must be one of %s", strings.Join(choices, ", "))
	}
	return value
}

func (r *inputReader) number(key string, fallback, low, high float64, whole bool) float64 {
	var value *float64
	if raw, ok := r.fields[key]; ok && json.Unmarshal(raw, &value) != nil {
		r.fail(key, "must be a number")
	}
	if value == nil {
		return fallback
	}
	switch {
	case whole && *value != math.Trunc(*value):
		r.fail(key, "must be a whole number")
	case *value < low || *value > high:
		r.fail(key, "must be from %s to %s", plain(low), plain(high))
	default:
		return *value
	}
	return fallback
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func (r *inputReader) size(fallback string, side int) (width, height int) {
	value := r.text("size", 20)
	if value == "" {
		value = fallback
	}
	if value == "" {
		return 0, 0
	}
	w, h, found := strings.Cut(value, "x")
	width, errW := strconv.Atoi(w)
	height, errH := strconv.Atoi(h)
	if !found || errW != nil || errH != nil || width < minSide || height < minSide || width > side || height > side {
		r.fail("size", "must be width x height, such as 512x512, each from %d to %d", minSide, side)
		return 0, 0
	}
	return width, height
}
