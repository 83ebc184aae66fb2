package render

import (
	"math"
	"strings"
	"time"
	"unicode"
)

// Speech is a voice that hums a text: one sung vowel per syllable, higher where
// a sentence asks, lower where it ends, with pauses where it has commas. Voice
// is "alto", "tenor" or "chime"; what is empty or unknown is chosen by the seed.
// It speaks no longer than limit.
func Speech(text, voice string, seed uint64, limit time.Duration) Sound {
	b := Brief{Prompt: text, Seed: seed}
	random := newChance(b.hash())
	names := []string{"alto", "tenor", "chime"}
	singer, ok := singers[voice]
	if pick := random.IntN(len(names)); !ok {
		singer = singers[names[pick]]
	}
	sound := Sound{Channels: 1}
	step := 4
	for _, s := range syllables(text) {
		if len(sound.Samples) > int((limit-time.Second).Seconds()*SampleRate) {
			break
		}
		step = min(max(step+s.vowel%3-1+s.lift, 0), 9)
		sound.Samples = append(sound.Samples, singer.sing(s, step, random)...)
	}
	// An empty text is a rest of the shortest length, begun with a hum.
	for shortest := SampleRate * 8 / 5; len(sound.Samples) < shortest; {
		step = max(step-1, 0)
		sound.Samples = append(sound.Samples, singer.sing(syllable{vowel: 4, pause: 0.1, long: 1.6}, step, random)...)
	}
	sound.fade()
	return sound.normalize()
}

// syllable is one beat of a text.
type syllable struct {
	vowel int     // a e i o u
	onset rune    // the consonant before it, 0 for none
	lift  int     // how the melody moves here
	pause float64 // seconds of silence after it
	long  float64 // length, 1 is ordinary
}

// syllables counts vowel groups; scripts without our vowels get one syllable
// per letter, its vowel chosen by the letter.
func syllables(text string) []syllable {
	var out []syllable
	for _, word := range strings.Fields(strings.ToLower(text)) {
		before := len(out)
		out = append(out, wordSyllables(word)...)
		if len(out) == before {
			continue
		}
		last := &out[len(out)-1]
		last.pause += 0.03
		switch {
		case strings.ContainsAny(word, "?؟？"):
			last.lift, last.pause, last.long = 3, 0.32, 1.5
		case strings.ContainsAny(word, ".!。"):
			last.lift, last.pause, last.long = -3, 0.34, 1.6
		case strings.ContainsAny(word, ",;:—"):
			last.lift, last.pause, last.long = 1, 0.18, 1.25
		}
	}
	return out
}

func wordSyllables(word string) []syllable {
	var out []syllable
	var onset rune
	inVowel := false
	for _, r := range word {
		vowel := strings.IndexRune("aeiou", unaccented(r))
		switch {
		case vowel >= 0 && !inVowel:
			out = append(out, syllable{vowel: vowel, onset: onset, long: 1})
			inVowel, onset = true, 0
		case vowel < 0 && (r > 0x24f && unicode.IsLetter(r) || unicode.IsDigit(r)):
			out = append(out, syllable{vowel: int(r) % 5, onset: r, long: 0.9})
			inVowel = false
		case vowel < 0 && unicode.IsLetter(r):
			inVowel, onset = false, r
		}
	}
	if len(out) == 0 && onset != 0 {
		out = append(out, syllable{vowel: int(onset) % 5, onset: onset, long: 0.7})
	}
	if len(out) > 0 {
		out[0].lift = 1 // words begin with a little stress
	}
	return out
}

// unaccented folds the accented vowels of Latin-1 onto plain ones; y sounds
// like i.
func unaccented(r rune) rune {
	for plain, accented := range map[rune]string{'a': "àáâãäåæ", 'e': "èéêë", 'i': "ìíîïyý", 'o': "òóôõöøœ", 'u': "ùúûü"} {
		if strings.ContainsRune(accented, r) {
			return plain
		}
	}
	return r
}

// singer is a voice: where it lies, and how it sounds.
type singer struct {
	root   float64
	body   float64 // shifts the formants, as a larger or smaller head does
	pace   float64 // seconds per syllable
	chimes bool
}

var singers = map[string]singer{
	"alto":  {root: 196, body: 1.12, pace: 0.17},
	"tenor": {root: 123.5, body: 0.95, pace: 0.18},
	"chime": {root: 392, pace: 0.19, chimes: true},
}

// formants are the resonances of a e i o u, in hertz.
var formants = [5][3]float64{
	{730, 1090, 2440}, {530, 1840, 2480}, {270, 2290, 3010}, {570, 840, 2410}, {300, 870, 2240},
}

// sing makes the samples of one syllable and the pause after it.
func (v singer) sing(s syllable, step int, random chance) []float32 {
	n := int(v.pace * s.long * SampleRate)
	out := make([]float32, n+int(s.pause*SampleRate))
	frequency := pitch(v.root, step)
	if v.chimes {
		copy(out, pluck(frequency, n, 0.6))
		for i := range n { // let go before the next one
			out[i] *= float32(smooth(1, 0.75, float64(i)/float64(n)))
		}
		return out
	}
	v.vowel(out[:n], s, frequency)
	v.consonant(out[:n], s, random)
	return out
}

// vowel sums the harmonics of a soft glottal source, each as loud as the
// resonances of the mouth let it through.
func (v singer) vowel(out []float32, s syllable, frequency float64) {
	mouth := formants[s.vowel]
	harmonics := min(int(4200/frequency), 30)
	loud := make([]float64, harmonics)
	for h := range loud {
		f := frequency * float64(h+1)
		for k, resonance := range mouth {
			width := 90 + 60*float64(k)
			off := (f - resonance*v.body) / width
			loud[h] += math.Pow(0.5, float64(k)) / (1 + off*off)
		}
		loud[h] = (loud[h] + 0.05) / math.Pow(float64(h+1), 0.6)
	}
	phase := 0.0
	for i := range out {
		u, t := float64(i)/float64(len(out)), float64(i)/SampleRate
		phase += frequency * (1 + 0.006*wave(5.2*t) + 0.02*float64(s.lift)*(u-0.5)) / SampleRate
		shape := smooth(0, 0.16, u) * smooth(1, 0.7, u)
		sum := 0.0
		for h, l := range loud {
			sum += l * wave(phase*float64(h+1))
		}
		out[i] = float32(0.3 * shape * sum)
	}
}

// consonant begins the syllable with a breath of noise: hissing for s, soft for m.
func (v singer) consonant(out []float32, s syllable, random chance) {
	if s.onset == 0 {
		return
	}
	bright, loud := 0.35, 0.1
	switch {
	case strings.ContainsRune("szxcfhj", s.onset):
		bright, loud = 0.9, 0.16
	case strings.ContainsRune("mnlrwv", s.onset):
		bright, loud = 0.08, 0.05
	}
	n, low := len(out)/5, 0.0
	for i := range n {
		low += bright * (random.between(-1, 1) - low)
		u := float64(i) / float64(n)
		out[i] += float32(loud * low * smooth(0, 0.2, u) * smooth(1, 0.4, u))
	}
}
