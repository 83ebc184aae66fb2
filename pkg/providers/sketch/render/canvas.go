package render

import (
	"image"
	"math"

	"golang.org/x/image/vector"
)

// canvas is a picture in the making. Colours are floats until the end, so that
// a dozen thin glazes leave no steps.
type canvas struct {
	w, h int
	pix  []color
	// raster and mask are reused from shape to shape.
	raster vector.Rasterizer
	mask   *image.Alpha
}

func newCanvas(w, h int) *canvas {
	return &canvas{w: w, h: h, pix: make([]color, w*h), mask: image.NewAlpha(image.Rect(0, 0, w, h))}
}

func (c *canvas) blend(i int, d color, alpha float64) { c.pix[i] = c.pix[i].mix(d, alpha) }

// shade asks for the colour of every pixel in rows [top, bottom).
func (c *canvas) shade(top, bottom int, at func(x, y int, old color) color) {
	for y := max(top, 0); y < min(bottom, c.h); y++ {
		for x := range c.w {
			i := y*c.w + x
			c.pix[i] = at(x, y, c.pix[i])
		}
	}
}

// gradient fills rows [top, bottom) with a vertical run of colours.
func (c *canvas) gradient(top, bottom int, r *ramp) {
	for y := max(top, 0); y < min(bottom, c.h); y++ {
		row := r.at(float64(y-top) / float64(max(bottom-top-1, 1)))
		for x := range c.w {
			c.pix[y*c.w+x] = row
		}
	}
}

// glow adds light around a point; it fades to nothing at radius.
func (c *canvas) glow(cx, cy, radius float64, light color, strength float64) {
	for y := max(int(cy-radius), 0); y < min(int(cy+radius)+1, c.h); y++ {
		for x := max(int(cx-radius), 0); x < min(int(cx+radius)+1, c.w); x++ {
			dx, dy := float64(x)-cx, float64(y)-cy
			d := (dx*dx + dy*dy) / (radius * radius)
			if d < 1 {
				fade := (1 - d) * (1 - d)
				i := y*c.w + x
				c.pix[i] = c.pix[i].screen(light, strength*fade*fade)
			}
		}
	}
}

// disc fills a circle whose edge is soft over the given number of pixels.
func (c *canvas) disc(cx, cy, radius float64, fill color, alpha, soft float64) {
	outer := radius + soft
	for y := max(int(cy-outer), 0); y < min(int(cy+outer)+2, c.h); y++ {
		for x := max(int(cx-outer), 0); x < min(int(cx+outer)+2, c.w); x++ {
			d := math.Hypot(float64(x)+0.5-cx, float64(y)+0.5-cy)
			if a := clamp((radius - d + soft/2) / soft); a > 0 {
				c.blend(y*c.w+x, fill, a*alpha)
			}
		}
	}
}

// ridge fills everything below a skyline, from crest colour to base colour.
func (c *canvas) ridge(skyline func(x float64) float64, crest, base color, depth float64) {
	for x := range c.w {
		edge := skyline(float64(x))
		for y := max(int(edge), 0); y < c.h; y++ {
			cover := clamp(float64(y) + 1 - edge)
			c.blend(y*c.w+x, crest.mix(base, smooth(0, depth, float64(y)-edge)), cover)
		}
	}
}

// path is an outline in canvas coordinates. Its methods take local ones, which
// are scaled, turned and moved into place.
type path struct {
	x, y     float64 // where the local origin lies
	scale    float64
	sin, cos float64
	steps    []step
	x0, y0   float64 // bounds
	x1, y1   float64
}

type step struct {
	verb byte // m, l, q or c
	p    [6]float32
}

// newPath starts an outline at a place, in a size, turned clockwise by whole turns.
func newPath(x, y, scale, turn float64) *path {
	sin, cos := math.Sincos(2 * math.Pi * turn)
	return &path{x: x, y: y, scale: scale, sin: sin, cos: cos,
		x0: math.Inf(1), y0: math.Inf(1), x1: math.Inf(-1), y1: math.Inf(-1)}
}

func (p *path) add(verb byte, coordinates ...float64) *path {
	s := step{verb: verb}
	for i := 0; i < len(coordinates); i += 2 {
		lx, ly := coordinates[i]*p.scale, coordinates[i+1]*p.scale
		x, y := p.x+lx*p.cos-ly*p.sin, p.y+lx*p.sin+ly*p.cos
		p.x0, p.x1 = min(p.x0, x), max(p.x1, x)
		p.y0, p.y1 = min(p.y0, y), max(p.y1, y)
		s.p[i], s.p[i+1] = float32(x), float32(y)
	}
	p.steps = append(p.steps, s)
	return p
}

func (p *path) move(x, y float64) *path                 { return p.add('m', x, y) }
func (p *path) line(x, y float64) *path                 { return p.add('l', x, y) }
func (p *path) quad(bx, by, x, y float64) *path         { return p.add('q', bx, by, x, y) }
func (p *path) cube(bx, by, cx, cy, x, y float64) *path { return p.add('c', bx, by, cx, cy, x, y) }
func (p *path) rect(x0, y0, x1, y1 float64) *path {
	return p.move(x0, y0).line(x1, y0).line(x1, y1).line(x0, y1).line(x0, y0)
}

// oval adds an ellipse of four cubics.
func (p *path) oval(cx, cy, rx, ry float64) *path {
	const k = 0.5522847498
	return p.move(cx+rx, cy).
		cube(cx+rx, cy+ry*k, cx+rx*k, cy+ry, cx, cy+ry).
		cube(cx-rx*k, cy+ry, cx-rx, cy+ry*k, cx-rx, cy).
		cube(cx-rx, cy-ry*k, cx-rx*k, cy-ry, cx, cy-ry).
		cube(cx+rx*k, cy-ry, cx+rx, cy-ry*k, cx+rx, cy)
}

// fill paints the inside of an outline.
func (c *canvas) fill(p *path, ink color, alpha float64) {
	c.fillWith(p, alpha, func(_, _ int, _ color) color { return ink })
}

// fillWith paints the inside of an outline with what at says of each pixel.
// Only the outline's bounding box is touched: a scene has thousands of shapes.
func (c *canvas) fillWith(p *path, alpha float64, at func(x, y int, old color) color) {
	left, top := max(int(math.Floor(p.x0)), 0), max(int(math.Floor(p.y0)), 0)
	right, bottom := min(int(math.Ceil(p.x1))+1, c.w), min(int(math.Ceil(p.y1))+1, c.h)
	if left >= right || top >= bottom {
		return
	}
	w, h := right-left, bottom-top
	c.rasterize(p, left, top, w, h)
	for y := range h {
		row := c.mask.Pix[y*w : (y+1)*w]
		for x, cover := range row {
			if cover != 0 {
				i := (top+y)*c.w + left + x
				c.pix[i] = c.pix[i].mix(at(left+x, top+y, c.pix[i]), alpha*float64(cover)/255)
			}
		}
	}
}

func (c *canvas) rasterize(p *path, left, top, w, h int) {
	c.raster.Reset(w, h)
	dx, dy := float32(left), float32(top)
	for _, s := range p.steps {
		switch s.verb {
		case 'm':
			c.raster.ClosePath()
			c.raster.MoveTo(s.p[0]-dx, s.p[1]-dy)
		case 'l':
			c.raster.LineTo(s.p[0]-dx, s.p[1]-dy)
		case 'q':
			c.raster.QuadTo(s.p[0]-dx, s.p[1]-dy, s.p[2]-dx, s.p[3]-dy)
		case 'c':
			c.raster.CubeTo(s.p[0]-dx, s.p[1]-dy, s.p[2]-dx, s.p[3]-dy, s.p[4]-dx, s.p[5]-dy)
		}
	}
	c.raster.ClosePath()
	// The mask's own stride is that of the box, which keeps rows together.
	box := &image.Alpha{Pix: c.mask.Pix[:w*h], Stride: w, Rect: image.Rect(0, 0, w, h)}
	clear(box.Pix)
	c.raster.Draw(box, box.Rect, image.Opaque, image.Point{})
}

// stroke draws a line through points, tapering from one width to another.
func (c *canvas) stroke(points [][2]float64, from, to float64, ink color, alpha float64) {
	if len(points) < 2 {
		return
	}
	outline := newPath(0, 0, 1, 0)
	var back [][2]float64
	for i, p := range points {
		a, b := points[max(i-1, 0)], points[min(i+1, len(points)-1)]
		dx, dy := b[0]-a[0], b[1]-a[1]
		length := max(math.Hypot(dx, dy), 1e-6)
		half := lerp(from, to, float64(i)/float64(len(points)-1)) / 2
		nx, ny := -dy/length*half, dx/length*half
		if i == 0 {
			outline.move(p[0]+nx, p[1]+ny)
		} else {
			outline.line(p[0]+nx, p[1]+ny)
		}
		back = append(back, [2]float64{p[0] - nx, p[1] - ny})
	}
	for i := len(back) - 1; i >= 0; i-- {
		outline.line(back[i][0], back[i][1])
	}
	c.fill(outline, ink, alpha)
}

// image develops the canvas: a light vignette, a little grain against banding,
// and eight bits.
func (c *canvas) image(vignette float64) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, c.w, c.h))
	for y := range c.h {
		dy := (float64(y)/float64(c.h) - 0.5) * 2
		for x := range c.w {
			dx := (float64(x)/float64(c.w) - 0.5) * 2
			i := y*c.w + x
			k := float32(1 - vignette*smooth(0.7, 2, dx*dx+dy*dy))
			grain := bayer[y&7][x&7]
			p := out.Pix[i*4 : i*4+4 : i*4+4]
			p[0], p[1], p[2], p[3] = level(c.pix[i].r*k, grain), level(c.pix[i].g*k, grain), level(c.pix[i].b*k, grain), 255
		}
	}
	return out
}

func level(v, grain float32) uint8 { return uint8(min(max(v*255+grain+0.5, 0), 255)) }

// bayer is an ordered dither of 8 by 8, within half a level up and down.
var bayer = func() (m [8][8]float32) {
	for y := range 8 {
		for x := range 8 {
			v := 0
			for bit := range 3 {
				v = v<<2 | ((x^y)>>bit&1)<<1 | (y >> bit & 1)
			}
			m[y][x] = float32(v)/64 - 0.5
		}
	}
	return m
}()
