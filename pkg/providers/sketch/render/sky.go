package render

import "math"

// sky paints the gradient down to the horizon, and goes on below it in the
// colour it has there.
func (s *scene) sky(horizon float64) {
	last := s.mood.sky[len(s.mood.sky)-1]
	s.gradient(0, int(horizon)+1, newRamp(s.mood.sky...))
	s.shade(int(horizon)+1, s.h, func(int, int, color) color { return last })
}

// sun paints a disc with its glow. Dark moods get a moon instead.
func (s *scene) sun(x, y, radius float64) {
	breath := 1 + 0.04*wave(s.t)
	s.glow(x, y, radius*9*breath, s.mood.light.mix(s.mood.sky[len(s.mood.sky)-2], 0.35), 0.55)
	s.glow(x, y, radius*3.4*breath, s.mood.light, 0.75)
	if s.mood.dark && s.mood.name != "neon" {
		s.moon(x, y, radius)
		return
	}
	s.disc(x, y, radius, s.mood.light, 1, radius*0.05+1)
}

// moon paints a full moon with its seas.
func (s *scene) moon(x, y, radius float64) {
	s.disc(x, y, radius, s.mood.light, 1, 1.5)
	for range 7 {
		turn, far := s.Float64(), math.Sqrt(s.Float64())*0.68
		size := radius * s.between(0.08, 0.26)
		s.disc(x+radius*far*math.Cos(2*math.Pi*turn), y+radius*far*wave(turn), size,
			s.mood.light.mix(s.mood.sky[2], 0.5), 0.2, size*0.7)
	}
}

// stars sprinkles the rows above a height; they twinkle along the loop.
func (s *scene) stars(bottom float64, density float64) {
	count := int(density * float64(s.w) * bottom / 900)
	count = min(count, 2600)
	for range count {
		x, y := s.Float64()*s.width(), math.Pow(s.Float64(), 1.25)*bottom
		size := s.unit / 512 * (0.5 + 1.5*math.Pow(s.Float64(), 5))
		tint := s.mood.light.mix(hex(0x9fc4ff), s.Float64()*0.7)
		cycles, phase := float64(1+s.IntN(2)), s.Float64()
		glint := 0.68 + 0.32*wave(phase+s.t*cycles)
		s.disc(x, y, size, tint, glint*s.between(0.35, 1), max(size, 1))
		if size > s.unit/512*1.7 {
			s.glow(x, y, size*8, tint, 0.5*glint)
		}
	}
}

// clouds lays veils of vapour over rows [top, bottom), lit from one side.
func (s *scene) clouds(top, bottom, amount float64, lit, shadow color) {
	span := bottom - top
	if span < 4 {
		return
	}
	drift := 0.09 * wave(s.t)
	shift := s.between(0, 200)
	scale := 1 / (s.unit * 0.42)
	s.shade(int(top), int(bottom), func(x, y int, old color) color {
		v := (float64(y) - top) / span
		nx, ny := float64(x)*scale+shift+drift, float64(y)*scale*3.1
		n := s.noise.fractal(nx, ny, 4)
		cover := smooth(0.62-amount, 1.15-amount, n+0.32) * smooth(0, 0.25, v) * smooth(1, 0.6, v)
		if cover <= 0.004 {
			return old
		}
		body := smooth(-0.1, 0.5, s.noise.at(nx+0.05, ny-0.28))
		return old.mix(lit.mix(shadow, body), cover*0.8)
	})
}

// birds sets a few of them far off; their wings beat along the loop.
func (s *scene) birds(x, y float64) {
	ink := s.mood.near.mix(s.mood.far, 0.25)
	for range 4 + s.IntN(4) {
		size := s.unit * s.between(0.010, 0.021)
		bx, by := x+s.between(-0.13, 0.13)*s.unit, y+s.between(-0.06, 0.06)*s.unit
		beat := 0.55 + 0.35*wave(s.t*2+s.Float64())
		bx += s.unit * 0.03 * wave(s.t)
		bird := newPath(bx, by, size, s.between(-0.03, 0.03)).
			move(-1, -beat).quad(-0.45, -beat*1.1, 0, 0).quad(0.45, -beat*1.1, 1, -beat).
			quad(0.4, -beat*0.72, 0, 0.2).quad(-0.4, -beat*0.72, -1, -beat)
		s.fill(bird, ink, 0.9)
	}
}

// aurora hangs curtains of light into the rows above a height.
func (s *scene) aurora(bottom float64) {
	greens := []color{hex(0x3df5a5), hex(0x46e0d0), hex(0x9b7bff)}
	for band, light := range greens {
		base := bottom * s.between(0.62, 0.9)
		reach := bottom * s.between(0.45, 0.7)
		shift := float64(band)*7 + s.Float64()*50
		for x := range s.w {
			u := float64(x) / s.unit
			foot := base + s.unit*0.13*s.noise.fractal(u*1.1+shift, wave(s.t)*0.12, 2)
			rays := 0.45 + 0.9*math.Abs(s.noise.at(u*13+shift, wave(s.t+0.2)*0.5))
			rays *= smooth(-0.5, 0.15, s.noise.at(u*0.9+shift*2, 4.2))
			for y := max(int(foot-reach), 0); y < min(int(foot)+8, s.h); y++ {
				up := (foot - float64(y)) / reach
				fade := smooth(-0.03, 0.07, up) * math.Pow(clamp(1-up), 1.7)
				i := y*s.w + x
				s.pix[i] = s.pix[i].screen(light, 0.75*rays*fade)
			}
		}
	}
}
