package render

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
	"unicode"
)

// Brief says what to draw.
type Brief struct {
	Prompt string
	Style  string // further words that choose mood and composition, before the prompt's
	Seed   uint64
	Width  int
	Height int
}

// hash mixes everything that decides about a picture except its size, so that
// the same scene can be had large and small.
func (b Brief) hash() uint64 {
	sum := fnv.New64a()
	// A hash.Hash never fails to write.
	_, _ = sum.Write([]byte(b.Style + "\x00" + b.Prompt))
	return mix(sum.Sum64() ^ mix(b.Seed+0x9e3779b97f4a7c15))
}

// mix is the finalizer of SplitMix64: neighbouring seeds become strangers.
func mix(x uint64) uint64 {
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

// words are the lower-case words of the style and the prompt, without a
// plural's s.
func (b Brief) words() []string {
	words := strings.FieldsFunc(strings.ToLower(b.Style+" "+b.Prompt), func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for i, w := range words {
		words[i] = singular(w)
	}
	return words
}

// singular cuts a plural's s. It need not be right, only the same for a prompt
// and for the tables it is looked up in.
func singular(word string) string {
	if len(word) > 3 && strings.HasSuffix(word, "s") && !strings.HasSuffix(word, "ss") {
		return strings.TrimSuffix(word, "s")
	}
	return word
}

// chance is a source of random numbers with the words a painter uses.
type chance struct{ *rand.Rand }

func newChance(seed uint64) chance {
	return chance{rand.New(rand.NewPCG(seed, mix(seed)))}
}

// between returns a number of [low, high).
func (c chance) between(low, high float64) float64 { return low + (high-low)*c.Float64() }

// noise is gradient noise: smooth, about ±0.7, and the same for the same seed.
type noise struct{ perm [512]uint8 }

func newNoise(c chance) *noise {
	n := new(noise)
	for i, p := range c.Perm(256) {
		n.perm[i], n.perm[i+256] = uint8(p), uint8(p)
	}
	return n
}

// gradients are sixteen directions, evenly spread.
var gradients = func() (g [16][2]float64) {
	for i := range g {
		g[i][1], g[i][0] = math.Sincos(2 * math.Pi * float64(i) / 16)
	}
	return g
}()

func (n *noise) at(x, y float64) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	xi, yi := int(fx)&255, int(fy)&255
	x, y = x-fx, y-fy
	u, v := x*x*x*(x*(x*6-15)+10), y*y*y*(y*(y*6-15)+10)
	a, b := int(n.perm[xi]), int(n.perm[xi+1])
	return lerp(
		lerp(n.dot(a+yi, x, y), n.dot(b+yi, x-1, y), u),
		lerp(n.dot(a+yi+1, x, y-1), n.dot(b+yi+1, x-1, y-1), u), v)
}

func (n *noise) dot(i int, x, y float64) float64 {
	g := &gradients[n.perm[i&511]&15]
	return g[0]*x + g[1]*y
}

// fractal sums octaves of noise, each twice as fine and half as strong.
func (n *noise) fractal(x, y float64, octaves int) float64 {
	sum, strength := 0.0, 1.0
	for range octaves {
		sum += n.at(x, y) * strength
		x, y, strength = x*2+17.3, y*2+9.1, strength/2
	}
	return sum
}

// ridged is fractal noise folded at zero, which makes crests.
func (n *noise) ridged(x, y float64, octaves int) float64 {
	sum, strength := 0.0, 1.0
	for range octaves {
		sum += (0.5 - math.Abs(n.at(x, y))) * strength
		x, y, strength = x*2+17.3, y*2+9.1, strength*0.45
	}
	return sum
}

func lerp(a, b, t float64) float64 { return a + (b-a)*t }

func clamp(x float64) float64 { return min(max(x, 0), 1) }

// smooth is 0 below low, 1 above high, and eased in between.
func smooth(low, high, x float64) float64 {
	t := clamp((x - low) / (high - low))
	return t * t * (3 - 2*t)
}

// wave is the sine of a whole turn: its period is 1.
func wave(turns float64) float64 { return math.Sin(2 * math.Pi * turns) }
