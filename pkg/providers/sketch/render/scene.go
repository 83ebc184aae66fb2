package render

import (
	"image"
	"maps"
	"slices"
	"strings"
)

// scene is a composition about to be painted: where, in which mood, and at
// which phase of its loop.
type scene struct {
	*canvas
	chance
	noise *noise
	mood  mood
	words map[string]bool
	t     float64 // phase, 0 to 1; a loop ends where it began
	unit  float64 // the shorter side; sizes are parts of it
}

// compositions are the ways to fill a canvas.
var compositions = map[string]func(*scene){
	"landscape": (*scene).landscape,
	"sea":       (*scene).sea,
	"night":     (*scene).night,
	"forest":    (*scene).forest,
	"city":      (*scene).city,
	"space":     (*scene).space,
	"bloom":     (*scene).bloom,
	"flow":      (*scene).flow,
	"tiles":     (*scene).tiles,
}

func splitWords(list string) []string { return strings.Fields(list) }

// composition chooses what is painted: the first word that calls something up
// decides, else the hash does.
func (b Brief) composition() string {
	for _, w := range b.words() {
		if name, ok := sceneWords[w]; ok {
			return name
		}
	}
	names := slices.Sorted(maps.Keys(compositions))
	return names[mix(b.hash()^1)%uint64(len(names))]
}

// mood chooses the colours, likewise.
func (b Brief) mood() mood {
	name := ""
	for _, w := range b.words() {
		found, ok := moodWords[w]
		if ok && slices.Contains(hours, w) {
			return moodNamed(found)
		}
		if ok && name == "" {
			name = found
		}
	}
	if name != "" {
		return moodNamed(name)
	}
	return moods[mix(b.hash()^2)%uint64(len(moods))]
}

func moodNamed(name string) mood {
	i := slices.IndexFunc(moods, func(m mood) bool { return m.name == name })
	return moods[max(i, 0)]
}

// paint draws the brief at a phase, without its caption.
func (b Brief) paint(t float64) *canvas {
	random := newChance(b.hash())
	s := &scene{
		canvas: newCanvas(b.Width, b.Height), chance: random, noise: newNoise(random),
		mood: b.mood(), words: map[string]bool{}, t: t, unit: float64(min(b.Width, b.Height)),
	}
	for _, w := range b.words() {
		s.words[w] = true
	}
	compositions[b.composition()](s)
	return s.canvas
}

// Picture draws the brief.
func Picture(b Brief) *image.RGBA {
	return lettered(b.paint(0), b.Prompt, vignette)
}

// vignette is how much darker the corners are.
const vignette = 0.22

// has reports whether one of the words was said.
func (s *scene) has(words ...string) bool {
	return slices.ContainsFunc(words, func(w string) bool { return s.words[w] })
}

// width and height are the canvas's, as floats.
func (s *scene) width() float64  { return float64(s.w) }
func (s *scene) height() float64 { return float64(s.h) }
