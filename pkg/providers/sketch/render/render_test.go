package render

import (
	"crypto/sha256"
	"fmt"
	"image"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fingerprint(data []byte) string {
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%x", sum[:6])
}

// works draws one of everything, small.
func works() map[string]func() []byte {
	out := map[string]func() []byte{}
	given := func() image.Image { return Picture(Brief{Prompt: "flowers", Seed: 1, Width: 96, Height: 64}) }
	for _, name := range slices.Sorted(maps.Keys(compositions)) {
		word := map[string]string{"tiles": "tile", "bloom": "flower"}[name]
		out["picture of "+name] = func() []byte { return Picture(Brief{Prompt: word + " " + name, Seed: 5, Width: 96, Height: 80}).Pix }
	}
	brief := Brief{Prompt: "a boat at sunset", Seed: 9, Width: 96, Height: 64}
	out["animation"] = func() []byte { return Animation(brief, 12).Image[7].Pix }
	out["drift"] = func() []byte { return Drift(given(), brief, 12).Image[7].Pix }
	out["repaint"] = func() []byte { return Repaint(given(), brief, 0.7).Pix }
	out["upscale"] = func() []byte { return Upscale(given(), 2).Pix }
	out["cutout"] = func() []byte { return Cutout(given()).Pix }
	out["speech"] = func() []byte { return Speech("How do you do?", "", 3, time.Minute).WAV() }
	out["music"] = func() []byte { return Music(brief, 2*time.Second).WAV() }
	return out
}

// golden are the fingerprints of works. A change of the rules changes them, and
// is to be meant.
var golden = map[string]string{
	"animation":            "c805f1aab0ca",
	"cutout":               "d4e534e4f325",
	"drift":                "4c10939656b5",
	"music":                "46112843475e",
	"picture of bloom":     "2b11c0097bc2",
	"picture of city":      "4ee22cfd09a2",
	"picture of flow":      "c452ec7a7dff",
	"picture of forest":    "9212dda46d5a",
	"picture of landscape": "89945c3dc7a0",
	"picture of night":     "c2652d9739fd",
	"picture of sea":       "ba5a789ba290",
	"picture of space":     "a11001242295",
	"picture of tiles":     "885f1b88499d",
	"repaint":              "57ad301a4e70",
	"speech":               "d3612decd8a1",
	"upscale":              "ca4124cdf981",
}

func TestDeterminism(t *testing.T) {
	t.Parallel()
	for name, draw := range works() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := fingerprint(draw())
			require.Equal(t, first, fingerprint(draw()), "the same brief gives the same work")
			if runtime.GOARCH == "amd64" { // others may fuse multiplications and additions
				require.Equal(t, golden[name], first)
			}
		})
	}
}

// spread is how many of 512 coarse colours a picture has, and how far its
// brightness ranges.
func spread(m *image.RGBA) (colors int, contrast float64) {
	seen := map[[3]uint8]bool{}
	low, high := 255.0, 0.0
	for i := 0; i < len(m.Pix); i += 4 {
		p := m.Pix[i : i+3]
		seen[[3]uint8{p[0] >> 5, p[1] >> 5, p[2] >> 5}] = true
		luma := 0.3*float64(p[0]) + 0.59*float64(p[1]) + 0.11*float64(p[2])
		low, high = min(low, luma), max(high, luma)
	}
	return len(seen), high - low
}

func TestPicturesAreNeverBlank(t *testing.T) {
	t.Parallel()
	prompts := map[string]string{
		"empty": "", "space": " \t\n", "emoji": "🐱🚀🌈", "Arabic": "غروب جميل فوق البحر", "Hebrew": "שקיעה יפה",
		"Chinese": "美丽的日落", "combining": strings.Repeat("e\u0301", 300), "one long word": strings.Repeat("x", 10000),
		"many words": strings.Repeat("sunset ", 1500), "control": "\x00\x1b[31m", "broken": "\xff\xfe\xfd", "quote": `"'<>&`,
	}
	for _, name := range slices.Sorted(maps.Keys(compositions)) {
		prompts["the "+name] = name
	}
	sizes := [][2]int{{64, 64}, {64, 600}, {600, 64}, {160, 120}}
	for name, prompt := range prompts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed, size := range sizes {
				m := Picture(Brief{Prompt: prompt, Seed: uint64(seed), Width: size[0], Height: size[1]})
				require.Equal(t, image.Pt(size[0], size[1]), m.Rect.Size())
				colors, contrast := spread(m)
				require.GreaterOrEqual(t, colors, 6, "%v", size)
				require.Greater(t, contrast, 80.0, "%v", size)
			}
		})
	}
}

func TestLargestPicture(t *testing.T) {
	t.Parallel()
	m := Picture(Brief{Prompt: "tiles", Width: 2048, Height: 2048})
	colors, _ := spread(m)
	require.GreaterOrEqual(t, colors, 6)
}

// Every composition in every mood.
func TestEveryMood(t *testing.T) {
	t.Parallel()
	for _, m := range moods {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			for name, paint := range compositions {
				random := newChance(4)
				s := &scene{canvas: newCanvas(96, 96), chance: random, noise: newNoise(random), mood: m, words: map[string]bool{}, unit: 96}
				paint(s)
				colors, contrast := spread(s.image(0))
				require.GreaterOrEqual(t, colors, 4, name)
				require.Greater(t, contrast, 50.0, name)
			}
		})
	}
}

func TestWordsChoose(t *testing.T) {
	t.Parallel()
	tests := []struct{ prompt, style, composition, mood string }{
		{"A beautiful sunset", "", "landscape", "sunset"},
		{"the ocean", "", "sea", "sea"},
		{"a deep forest", "", "forest", "forest"},
		{"Night!", "", "night", "night"},
		{"a lighthouse at dusk", "", "sea", "sunset"},
		{"two mountains", "", "landscape", ""},
		{"mountains", "cyberpunk", "city", "neon"},
		{"flowers, roses", "", "bloom", "blossom"},
	}
	for _, test := range tests {
		b := Brief{Prompt: test.prompt, Style: test.style}
		require.Equal(t, test.composition, b.composition(), test.prompt)
		if test.mood != "" {
			require.Equal(t, test.mood, b.mood().name, test.prompt)
		}
	}
	seen := map[string]bool{}
	for seed := range uint64(100) {
		seen[Brief{Prompt: "qwerty", Seed: seed}.composition()] = true
	}
	require.Len(t, seen, len(compositions), "without a word the seed chooses among all")
}

func TestWordTablesNameWhatThereIs(t *testing.T) {
	t.Parallel()
	for word, name := range moodWords {
		require.Equal(t, name, moodNamed(name).name, word)
		require.Equal(t, []string{word}, Brief{Prompt: word}.words(), "%s would never be found", word)
	}
	for word, name := range sceneWords {
		require.Contains(t, compositions, name, word)
		require.Equal(t, []string{word}, Brief{Prompt: word}.words(), "%s would never be found", word)
	}
	for _, word := range hours {
		require.Contains(t, moodWords, word)
	}
}

// The prompt stands in the picture: another prompt, other letters.
func TestCaption(t *testing.T) {
	t.Parallel()
	plain := func(prompt string) *image.RGBA {
		c := newCanvas(300, 200)
		return lettered(c, prompt, 0)
	}
	changed := func(a, b *image.RGBA) (n int) {
		for i := range a.Pix {
			n += btoi(a.Pix[i] != b.Pix[i])
		}
		return n
	}
	require.Greater(t, changed(plain("a house"), plain("a horse")), 30)
	require.Equal(t, "a house", legible(" a\n house 🏠"))
	require.Equal(t, "Ελληνικά и русский", legible("Ελληνικά и русский"))
	require.Regexp(t, `^untitled, no\. [0-9A-F]{4}$`, legible("🐱"))
	require.NotEqual(t, legible("🐱"), legible("🐶"))
}

func difference(a, b *image.Paletted) float64 {
	sum := 0.0
	for i := range a.Pix {
		r0, g0, b0, _ := a.Palette[a.Pix[i]].RGBA()
		r1, g1, b1, _ := b.Palette[b.Pix[i]].RGBA()
		sum += math.Abs(float64(r0)-float64(r1)) + math.Abs(float64(g0)-float64(g1)) + math.Abs(float64(b0)-float64(b1))
	}
	return sum / float64(len(a.Pix)) / 257
}

// Frames differ from one another, and the last leads back to the first.
func TestAnimationsLoop(t *testing.T) {
	t.Parallel()
	for name := range compositions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const frames = 16
			g := Animation(Brief{Prompt: name, Seed: 2, Width: 96, Height: 64}, frames)
			require.Len(t, g.Image, frames)
			seen := map[string]bool{}
			var steps []float64
			for i, frame := range g.Image {
				seen[fingerprint(frame.Pix)] = true
				steps = append(steps, difference(frame, g.Image[(i+1)%frames]))
			}
			require.GreaterOrEqual(t, len(seen), 12)
			closing := steps[frames-1]
			require.LessOrEqual(t, closing, slices.Max(steps[:frames-1])*1.25+0.5, "the loop has no seam: %v", steps)
		})
	}
}

// loudness is the root mean square of a sound.
func loudness(s Sound) float64 {
	sum := 0.0
	for _, v := range s.Samples {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(s.Samples)))
}

func TestSpeech(t *testing.T) {
	t.Parallel()
	texts := map[string]string{
		"sentence": "The quick brown fox jumps over the lazy dog.", "empty": "", "emoji": "🐱", "consonants": "brr pst",
		"Chinese": "美丽的日落", "digits": "1 2 3", "long": strings.Repeat("banana ", 3000),
	}
	for name, text := range texts {
		for _, voice := range []string{"alto", "tenor", "chime", ""} {
			t.Run(name+" "+voice, func(t *testing.T) {
				t.Parallel()
				s := Speech(text, voice, 1, 10*time.Second)
				require.GreaterOrEqual(t, s.Duration(), 1500*time.Millisecond)
				require.LessOrEqual(t, s.Duration(), 10*time.Second)
				require.Greater(t, loudness(s), 0.02)
			})
		}
	}
	short, long := Speech("go", "alto", 1, time.Minute), Speech("the melody follows the text, word by word", "alto", 1, time.Minute)
	require.Greater(t, long.Duration(), short.Duration())
}

func TestSyllables(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{"hello": 2, "a": 1, "banana": 3, "brr": 1, "": 0, "日落": 2, "42": 2, "été": 2} {
		require.Len(t, syllables(text), want, text)
	}
	require.Positive(t, syllables("really?")[1].lift, "a question rises")
	require.Negative(t, syllables("really.")[1].lift, "a statement falls")
}

func TestMusic(t *testing.T) {
	t.Parallel()
	for _, length := range []time.Duration{time.Second, 1500 * time.Millisecond, 5 * time.Second} {
		for _, prompt := range []string{"calm", "ocean waves", "wind", "rain"} {
			s := Music(Brief{Prompt: prompt}, length)
			require.Equal(t, length, s.Duration())
			require.Greater(t, loudness(s), 0.02, fmt.Sprint(prompt, length))
			require.LessOrEqual(t, max(slices.Max(s.Samples), -slices.Min(s.Samples)), float32(1), "nothing is clipped")
		}
	}
}

func TestWAV(t *testing.T) {
	t.Parallel()
	raw := Sound{Channels: 2, Samples: []float32{0, 1, -1, 0.5}}.WAV()
	require.Equal(t, "RIFF\x2c\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x02\x00\xc0\x5d\x00\x00\x00\x77\x01\x00\x04\x00\x10\x00data\x08\x00\x00\x00"+
		"\x00\x00\xff\x7f\x01\x80\xff\x3f", string(raw))
}

func TestCutoutKeepsTheSubject(t *testing.T) {
	t.Parallel()
	c := newCanvas(80, 80)
	c.gradient(0, 80, newRamp(hex(0xe8f0ff), hex(0xf4f4f4)))
	c.disc(40, 40, 20, hex(0x206040), 1, 1)
	c.disc(40, 40, 8, hex(0xf0f4fa), 1, 1) // a hole in the subject is not background
	m := Cutout(c.image(0))
	require.Zero(t, m.NRGBAAt(4, 4).A)
	require.EqualValues(t, 255, m.NRGBAAt(40, 26).A)
	require.EqualValues(t, 255, m.NRGBAAt(40, 40).A)
}

func TestUpscaleKeepsTransparency(t *testing.T) {
	t.Parallel()
	m := image.NewNRGBA(image.Rect(0, 0, 10, 10))
	m.Pix[3] = 255
	large := Upscale(m, 4)
	require.Equal(t, image.Rect(0, 0, 40, 40), large.Rect)
	require.Greater(t, large.NRGBAAt(1, 1).A, uint8(200))
	require.Zero(t, large.NRGBAAt(30, 30).A)
}

func BenchmarkPicture(b *testing.B) {
	for _, name := range slices.Sorted(maps.Keys(compositions)) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				Picture(Brief{Prompt: name, Seed: 1, Width: 512, Height: 512})
			}
		})
	}
}
