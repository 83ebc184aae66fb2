package render

import (
	"image"
	imagecolor "image/color"
	"image/gif"
	"math"
	"slices"
)

// frameDelay is in hundredths of a second: 12.5 frames a second.
const frameDelay = 8

// FramesPerSecond is how fast an [Animation] runs.
const FramesPerSecond = 100.0 / frameDelay

// Animation draws the brief as a seamless loop of frames.
func Animation(b Brief, frames int) *gif.GIF {
	return assemble(frames, func(t float64) *image.RGBA {
		return lettered(b.paint(t), b.Prompt, vignette)
	})
}

// assemble makes a GIF of what draw says of each phase. The palette is that of
// a few frames spread over the loop, so that it holds every colour there is.
func assemble(frames int, draw func(t float64) *image.RGBA) *gif.GIF {
	pictures := make([]*image.RGBA, frames)
	for i := range pictures {
		pictures[i] = draw(float64(i) / float64(frames))
	}
	q := newQuantizer([]*image.RGBA{pictures[0], pictures[frames/3], pictures[frames*2/3]})
	out := &gif.GIF{}
	for _, p := range pictures {
		out.Image = append(out.Image, q.reduce(p))
		out.Delay = append(out.Delay, frameDelay)
	}
	return out
}

// quantizer reduces true colour to a palette of 256. Lookups go through a cube
// of 32 levels each way, filled on demand.
type quantizer struct {
	palette imagecolor.Palette
	nearest [1 << 15]int16
}

// newQuantizer chooses the palette by median cut: the box with the widest
// spread is halved until there are enough.
func newQuantizer(samples []*image.RGBA) *quantizer {
	var pixels [][3]uint8
	for _, m := range samples {
		stride := max(len(m.Pix)/4/16000, 1) * 4
		for i := 0; i+3 < len(m.Pix); i += stride {
			pixels = append(pixels, [3]uint8(m.Pix[i:i+3]))
		}
	}
	boxes := []box{newBox(pixels)}
	for len(boxes) < 256 {
		widest := 0
		for i := range boxes {
			if boxes[i].spread > boxes[widest].spread {
				widest = i
			}
		}
		b := boxes[widest]
		if b.spread <= 0 {
			break
		}
		slices.SortFunc(b.pixels, func(p, q [3]uint8) int { return int(p[b.channel]) - int(q[b.channel]) })
		half := len(b.pixels) / 2
		boxes[widest] = newBox(b.pixels[:half])
		boxes = append(boxes, newBox(b.pixels[half:]))
	}
	q := &quantizer{}
	for _, b := range boxes {
		q.palette = append(q.palette, average(b.pixels))
	}
	for i := range q.nearest {
		q.nearest[i] = -1
	}
	return q
}

// box is a part of the colours: the channel in which it spreads most, and how
// much that is, weighed by how many pixels would gain from a cut.
type box struct {
	pixels  [][3]uint8
	channel int
	spread  int
}

func newBox(pixels [][3]uint8) box {
	b := box{pixels: pixels, spread: -1}
	if len(pixels) < 2 {
		return b
	}
	low, high := pixels[0], pixels[0]
	for _, p := range pixels {
		for c := range 3 {
			low[c], high[c] = min(low[c], p[c]), max(high[c], p[c])
		}
	}
	for c := range 3 {
		if s := int(high[c]) - int(low[c]); s > b.spread {
			b.channel, b.spread = c, s
		}
	}
	b.spread = int(float64(b.spread) * math.Sqrt(float64(len(pixels))))
	return b
}

func average(pixels [][3]uint8) imagecolor.RGBA {
	var sum [3]int
	for _, p := range pixels {
		for c := range 3 {
			sum[c] += int(p[c])
		}
	}
	n := max(len(pixels), 1)
	return imagecolor.RGBA{R: uint8(sum[0] / n), G: uint8(sum[1] / n), B: uint8(sum[2] / n), A: 255}
}

// reduce maps a picture onto the palette, with an ordered dither: its pattern
// stands still from frame to frame, where error diffusion would crawl.
func (q *quantizer) reduce(m *image.RGBA) *image.Paletted {
	out := image.NewPaletted(m.Rect, q.palette)
	w := m.Rect.Dx()
	for i := range out.Pix {
		nudge := bayer[i/w&7][i%w&7] * 9
		p := m.Pix[i*4 : i*4+3]
		out.Pix[i] = q.index(level(float32(p[0])/255, nudge), level(float32(p[1])/255, nudge), level(float32(p[2])/255, nudge))
	}
	return out
}

func (q *quantizer) index(r, g, b uint8) uint8 {
	key := int(r>>3)<<10 | int(g>>3)<<5 | int(b>>3)
	if q.nearest[key] < 0 {
		q.nearest[key] = int16(q.palette.Index(imagecolor.RGBA{R: r&^7 | 4, G: g&^7 | 4, B: b&^7 | 4, A: 255}))
	}
	return uint8(q.nearest[key])
}
