package render

import (
	"image"
	"image/gif"
	"math"

	"golang.org/x/image/draw"
)

// Repaint paints a given picture anew, in brush strokes that follow its shapes
// and in the colours that the prompt calls up. Strength, 0 to 1, is how far it
// goes from the original.
func Repaint(source image.Image, b Brief, strength float64) *image.RGBA {
	strength = clamp(strength)
	original := fitted(source, b.Width, b.Height)
	m := b.mood()
	tones := newRamp(append([]color{m.near, m.near.mix(m.far, 0.5), m.far}, append(m.inks[:2:2], m.light)...)...)
	graded := newCanvas(b.Width, b.Height)
	for i, c := range original.pix {
		graded.pix[i] = c.mix(tones.at(c.luma()), 0.72*strength)
	}
	painting := newCanvas(b.Width, b.Height)
	copy(painting.pix, graded.pix)
	random := newChance(b.hash())
	unit := float64(min(b.Width, b.Height))
	for _, brush := range []float64{0.05, 0.026, 0.013} {
		brushwork(painting, graded, random, unit*brush, strength)
	}
	return lettered(painting, b.Prompt, vignette*strength)
}

// brushwork covers the canvas with strokes of one brush. Strokes lie across the
// slope of brightness, which is along the edges of things.
func brushwork(painting, guide *canvas, random chance, size, strength float64) {
	if size < 1.2 {
		return
	}
	luma := func(x, y float64) float64 {
		xi, yi := min(max(int(x), 0), guide.w-1), min(max(int(y), 0), guide.h-1)
		return guide.pix[yi*guide.w+xi].luma()
	}
	wander := newNoise(random)
	cells := int(float64(guide.w*guide.h) / (size * size) * 1.5)
	for range min(cells, 30000) {
		x, y := random.Float64()*float64(guide.w), random.Float64()*float64(guide.h)
		gx := luma(x+size/2, y) - luma(x-size/2, y)
		gy := luma(x, y+size/2) - luma(x, y-size/2)
		angle := math.Pi * wander.at(x/size/9, y/size/9)
		if math.Hypot(gx, gy) > 0.03 {
			angle = math.Atan2(gx, -gy)
		}
		i := min(int(y), guide.h-1)*guide.w + min(int(x), guide.w-1)
		ink := guide.pix[i].scale(random.between(0.93, 1.08))
		long := size * random.between(0.8, 1.5)
		sin, cos := math.Sincos(angle)
		points := [][2]float64{{x - cos*long, y - sin*long}, {x + sin*size*0.12, y - cos*size*0.12}, {x + cos*long, y + sin*long}}
		painting.stroke(points, size*0.75, size*0.4, ink, 0.35+0.5*strength)
	}
}

// fitted scales a picture to fill a canvas, cropping what stands over.
func fitted(source image.Image, w, h int) *canvas {
	bounds := source.Bounds()
	scale := max(float64(w)/float64(bounds.Dx()), float64(h)/float64(bounds.Dy()))
	cw, ch := max(int(float64(w)/scale), 1), max(int(float64(h)/scale), 1)
	x0, y0 := bounds.Min.X+(bounds.Dx()-cw)/2, bounds.Min.Y+(bounds.Dy()-ch)/2
	scaled := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(scaled, scaled.Rect, image.White, image.Point{}, draw.Src)
	draw.BiLinear.Scale(scaled, scaled.Rect, source, image.Rect(x0, y0, x0+cw, y0+ch), draw.Over, nil)
	c := newCanvas(w, h)
	for i := range c.pix {
		p := scaled.Pix[i*4 : i*4+3]
		c.pix[i] = color{float32(p[0]) / 255, float32(p[1]) / 255, float32(p[2]) / 255}
	}
	return c
}

// Upscale enlarges a picture and sharpens it a little, keeping transparency.
func Upscale(source image.Image, factor int) *image.NRGBA {
	bounds := source.Bounds()
	large := image.NewNRGBA(image.Rect(0, 0, bounds.Dx()*factor, bounds.Dy()*factor))
	draw.CatmullRom.Scale(large, large.Rect, source, bounds, draw.Src, nil)
	return sharpened(large, factor)
}

// sharpened subtracts a fraction of what a small blur would add.
func sharpened(m *image.NRGBA, reach int) *image.NRGBA {
	const amount = 0.45
	out := image.NewNRGBA(m.Rect)
	w, h := m.Rect.Dx(), m.Rect.Dy()
	for y := range h {
		up, down := max(y-reach, 0)*m.Stride, min(y+reach, h-1)*m.Stride
		for x := range w {
			i := y*m.Stride + x*4
			left, right := y*m.Stride+max(x-reach, 0)*4, y*m.Stride+min(x+reach, w-1)*4
			for c := range 3 {
				v := float64(m.Pix[i+c])
				around := float64(int(m.Pix[left+c])+int(m.Pix[right+c])+int(m.Pix[up+x*4+c])+int(m.Pix[down+x*4+c])) / 4
				out.Pix[i+c] = uint8(min(max(v+amount*(v-around)+0.5, 0), 255))
			}
			out.Pix[i+3] = m.Pix[i+3]
		}
	}
	return out
}

// Cutout makes the background of a picture transparent: everything that can be
// reached from the border without crossing an edge and whose colour is one of
// the border's.
func Cutout(source image.Image) *image.NRGBA {
	bounds := source.Bounds()
	w, h := bounds.Dx(), bounds.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Rect, source, bounds.Min, draw.Src)
	background := flood(out)
	for y := range h {
		for x := range w {
			// The alpha is a blur of the mask, which rounds its stairs.
			near, all := 0, 0
			for ny := max(y-1, 0); ny <= min(y+1, h-1); ny++ {
				for nx := max(x-1, 0); nx <= min(x+1, w-1); nx++ {
					near += btoi(!background[ny*w+nx])
					all++
				}
			}
			i := y*out.Stride + x*4 + 3
			out.Pix[i] = uint8(int(out.Pix[i]) * near / all)
		}
	}
	return out
}

// flood marks the background, spreading inwards from the border in steps that
// the eye would hardly see.
func flood(m *image.NRGBA) []bool {
	const step, total = 0.035, 0.17
	w, h := m.Rect.Dx(), m.Rect.Dy()
	lab := make([]oklab, w*h)
	for i := range lab {
		p := m.Pix[i/w*m.Stride+i%w*4:]
		lab[i] = color{float32(p[0]) / 255, float32(p[1]) / 255, float32(p[2]) / 255}.oklab()
	}
	reached, origin := make([]bool, w*h), make([]int32, w*h)
	var queue []int
	for i := range lab {
		if x, y := i%w, i/w; x == 0 || y == 0 || x == w-1 || y == h-1 {
			reached[i], origin[i] = true, int32(i)
			queue = append(queue, i)
		}
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		x, y := i%w, i/w
		for _, next := range [4][2]int{{x - 1, y}, {x + 1, y}, {x, y - 1}, {x, y + 1}} {
			if next[0] < 0 || next[1] < 0 || next[0] >= w || next[1] >= h {
				continue
			}
			n := next[1]*w + next[0]
			if !reached[n] && lab[i].distance(lab[n]) < step && lab[origin[i]].distance(lab[n]) < total {
				reached[n], origin[n] = true, origin[i]
				queue = append(queue, n)
			}
		}
	}
	return reached
}

func (o oklab) distance(p oklab) float64 {
	dl, da, db := o.l-p.l, o.a-p.a, o.b-p.b
	return math.Sqrt(dl*dl + da*da + db*db)
}

// Drift moves a camera slowly over a picture, there and back, with light that
// comes and goes in the colours the prompt calls up.
func Drift(source image.Image, b Brief, frames int) *gif.GIF {
	random := newChance(b.hash())
	m := b.mood()
	wide := fitted(source, b.Width*5/4, b.Height*5/4)
	tx, ty := random.between(-1, 1), random.between(-0.7, 0.7)
	lx, ly := random.between(0.2, 0.8), random.between(0.1, 0.5)
	return assemble(frames, func(t float64) *image.RGBA {
		c := newCanvas(b.Width, b.Height)
		zoom := 1.13 - 0.1*math.Cos(2*math.Pi*t)
		px, py := 0.5+0.42*tx*wave(t), 0.5+0.42*ty*wave(t+0.25)
		vw, vh := float64(wide.w)/zoom, float64(wide.h)/zoom
		x0, y0 := (float64(wide.w)-vw)*px, (float64(wide.h)-vh)*py
		c.shade(0, c.h, func(x, y int, _ color) color {
			return wide.sample(x0+(float64(x)+0.5)*vw/float64(c.w), y0+(float64(y)+0.5)*vh/float64(c.h))
		})
		unit := float64(min(c.w, c.h))
		c.glow(float64(c.w)*(lx+0.1*wave(t)), float64(c.h)*ly, unit*0.8, m.light.mix(m.sky[len(m.sky)-2], 0.5), 0.3+0.12*wave(t))
		return lettered(c, b.Prompt, vignette)
	})
}

// sample reads a colour between pixels.
func (c *canvas) sample(x, y float64) color {
	x, y = min(max(x-0.5, 0), float64(c.w-1)), min(max(y-0.5, 0), float64(c.h-1))
	xi, yi := int(x), int(y)
	xn, yn := min(xi+1, c.w-1), min(yi+1, c.h-1)
	top := c.pix[yi*c.w+xi].mix(c.pix[yi*c.w+xn], x-float64(xi))
	return top.mix(c.pix[yn*c.w+xi].mix(c.pix[yn*c.w+xn], x-float64(xi)), y-float64(yi))
}
