package render

import (
	"bytes"
	"encoding/binary"
	"math"
	"time"
)

// SampleRate is that of every [Sound].
const SampleRate = 24000

// Sound is samples between -1 and 1, one channel after the other per moment.
type Sound struct {
	Channels int
	Samples  []float32
}

// Duration is how long the sound lasts.
func (s Sound) Duration() time.Duration {
	return time.Duration(len(s.Samples)/s.Channels) * time.Second / SampleRate
}

// WAV encodes the sound as 16-bit PCM in a RIFF container.
func (s Sound) WAV() []byte {
	size := len(s.Samples) * 2
	var out bytes.Buffer
	out.Grow(44 + size)
	header := struct {
		Riff                        [4]byte
		Size                        uint32
		Wave, Format                [4]byte
		FormatSize                  uint32
		PCM, Channels               uint16
		Rate, BytesPerSecond        uint32
		BytesPerMoment, BitsPerSide uint16
		Data                        [4]byte
		DataSize                    uint32
	}{
		[4]byte{'R', 'I', 'F', 'F'}, uint32(36 + size), [4]byte{'W', 'A', 'V', 'E'}, [4]byte{'f', 'm', 't', ' '},
		16, 1, uint16(s.Channels), SampleRate, uint32(SampleRate * s.Channels * 2), uint16(s.Channels * 2), 16,
		[4]byte{'d', 'a', 't', 'a'}, uint32(size),
	}
	// A bytes.Buffer never fails to write, and the header is of fixed size.
	_ = binary.Write(&out, binary.LittleEndian, header)
	pcm := make([]byte, size)
	for i, v := range s.Samples {
		binary.LittleEndian.PutUint16(pcm[i*2:], uint16(int16(min(max(v, -1), 1)*32767)))
	}
	out.Write(pcm)
	return out.Bytes()
}

// normalize brings the loudest moment to a comfortable level.
func (s Sound) normalize() Sound {
	peak := float32(1e-6)
	for _, v := range s.Samples {
		peak = max(peak, v, -v)
	}
	for i := range s.Samples {
		s.Samples[i] *= 0.82 / peak
	}
	return s
}

// scale is the pentatonic one, in semitones: nothing in it clashes.
var scale = []int{0, 2, 4, 7, 9}

// pitch is the frequency of a step of the scale above a root.
func pitch(root float64, step int) float64 {
	octave, degree := floorDiv(step, len(scale))
	return root * math.Pow(2, float64(octave)+float64(scale[degree])/12)
}

func floorDiv(a, b int) (quotient, remainder int) {
	quotient, remainder = a/b, a%b
	if remainder < 0 {
		quotient, remainder = quotient-1, remainder+b
	}
	return quotient, remainder
}

// Music composes a quiet piece: slow chords, a plucked melody with an echo, and
// where the prompt speaks of water, wind or rain, their sound.
func Music(b Brief, length time.Duration) Sound {
	random := newChance(b.hash())
	n := int(length.Seconds() * SampleRate)
	sound := Sound{Channels: 2, Samples: make([]float32, 2*n)}
	root := 110 * math.Pow(2, float64(random.IntN(8))/12)
	sound.pad(random, root, n)
	sound.melody(random, root, n)
	sound.weather(random, b, n)
	sound.fade()
	return sound.normalize()
}

// add mixes a voice in at a moment, placed from left (0) to right (1).
func (s Sound) add(from int, place float64, voice []float32) {
	left, right := float32(math.Sqrt(1-place)), float32(math.Sqrt(place))
	for i, v := range voice {
		at := (from + i) * 2
		if at+1 >= len(s.Samples) {
			return
		}
		s.Samples[at] += v * left
		s.Samples[at+1] += v * right
	}
}

// pad holds a chord of three for a few seconds and moves to the next.
func (s Sound) pad(random chance, root float64, n int) {
	const hold = 3 * SampleRate
	for from := 0; from < n; from += hold {
		degree := []int{0, 3, 1, 2, 4}[random.IntN(5)]
		if from == 0 {
			degree = 0
		}
		for k, step := range []int{degree, degree + 2, degree + 4} {
			s.add(from, 0.25+0.25*float64(k), swell(pitch(root, step), hold*5/4, 0.11))
		}
	}
}

// swell is a soft tone of a few detuned partials that comes and goes.
func swell(frequency float64, n int, loud float64) []float32 {
	voice := make([]float32, n)
	for i := range voice {
		t, u := float64(i)/SampleRate, float64(i)/float64(n)
		shape := smooth(0, 0.25, u) * smooth(1, 0.55, u)
		v := wave(frequency*t) + 0.7*wave(frequency*1.003*t) + 0.3*wave(frequency*2.001*t) + 0.12*wave(frequency*2.997*t)
		voice[i] = float32(loud * shape * v)
	}
	return voice
}

// melody plucks notes of the scale, never far from the one before.
func (s Sound) melody(random chance, root float64, n int) {
	beat := int(SampleRate * random.between(0.24, 0.36))
	step := 10
	for from := beat / 2; from < n-beat; from += beat {
		if random.IntN(4) == 0 {
			continue
		}
		step = min(max(step+random.IntN(5)-2, 5), 17)
		loud, place := random.between(0.14, 0.3), random.between(0.2, 0.8)
		for echo := range 3 {
			note := pluck(pitch(root, step), SampleRate*5/4, loud*math.Pow(0.36, float64(echo)))
			s.add(from+echo*beat*3/2, lerp(place, 1-place, float64(echo)/2), note)
		}
	}
}

// pluck is a bell of inharmonic partials that die away, the higher the faster.
func pluck(frequency float64, n int, loud float64) []float32 {
	voice := make([]float32, n)
	for i := range voice {
		t := float64(i) / SampleRate
		attack := clamp(t / 0.004)
		v := wave(frequency*t)*math.Exp(-3.2*t) + 0.35*wave(frequency*2.76*t)*math.Exp(-7*t) + 0.16*wave(frequency*5.4*t)*math.Exp(-14*t)
		voice[i] = float32(loud * attack * v * smooth(1.25, 1.05, t))
	}
	return voice
}

// weather adds filtered noise that rises and falls like surf, wind or rain.
func (s Sound) weather(random chance, b Brief, n int) {
	period, bright, loud := 0.0, 0.0, 0.0
	for _, w := range b.words() {
		switch w {
		case "ocean", "sea", "beach", "wave", "water":
			period, bright, loud = 4.2, 0.16, 0.5
		case "wind", "storm", "desert", "mountain":
			period, bright, loud = 6.5, 0.06, 0.7
		case "rain", "rainy", "thunder", "forest", "river":
			period, bright, loud = 9, 0.5, 0.14
		}
	}
	var left, right float64
	for i := range n {
		t := float64(i) / SampleRate
		rise := 0.35 + 0.65*math.Pow(0.5+0.5*wave(t/max(period, 1)-0.25), 2)
		left += bright * (random.between(-1, 1) - left)
		right += bright * (random.between(-1, 1) - right)
		s.Samples[2*i] += float32(left * loud * rise)
		s.Samples[2*i+1] += float32(right * loud * rise)
	}
}

// fade lets the sound begin and end softly.
func (s Sound) fade() {
	n := len(s.Samples) / s.Channels
	for i := range s.Samples {
		at := float64(i/s.Channels) / SampleRate
		left := float64(n)/SampleRate - at
		s.Samples[i] *= float32(smooth(0, 0.06, at) * smooth(0, 0.5, left))
	}
}
