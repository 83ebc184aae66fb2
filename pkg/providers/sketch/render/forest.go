package render

import "math"

// forest is trunks in mist, with light falling through.
func (s *scene) forest() {
	sky := s.mood.sky
	bright := sky[len(sky)-1]
	s.gradient(0, s.h, newRamp(sky[len(sky)-2], bright, bright, sky[len(sky)-2]))
	lightX, lightY := s.width()*s.between(0.3, 0.7), s.height()*s.between(0.16, 0.34)
	s.glow(lightX, lightY, s.unit*0.95, s.mood.light, 0.85)
	const layers = 6
	for k := range layers {
		depth := float64(k) / (layers - 1)
		ink := s.mood.far.mix(s.mood.near, math.Pow(depth, 0.9)).mix(bright, 0.5*(1-depth))
		s.grove(depth, ink)
		s.mist(depth, bright)
		if k == 3 {
			s.beams(lightX, lightY)
		}
	}
	s.motes()
}

// grove stands the trees of one depth on their ground.
func (s *scene) grove(depth float64, ink color) {
	ground := s.height() * lerp(0.66, 0.97, depth)
	shift := s.between(0, 200)
	floor := func(x float64) float64 {
		return ground + s.unit*0.05*s.noise.fractal(x/(s.unit*0.5)+shift, depth, 3)
	}
	count := int(lerp(34, 9, depth) * s.width() / s.height())
	for range max(count, 3) {
		x := s.Float64() * s.width() * 1.06
		if depth > 0.7 && math.Abs(x/s.width()-0.5) < 0.3 {
			continue // leave the light free
		}
		if s.IntN(5) > 0 {
			s.pine(x, floor(x)+s.unit*0.02, s.unit*lerp(0.3, 0.86, depth)*s.between(0.6, 1.15), ink)
		} else {
			s.trunk(x, floor(x)+s.unit*0.03, s.unit*lerp(0.011, 0.05, depth)*s.between(0.8, 1.3), ink)
		}
	}
	s.ridge(floor, ink, ink.scale(0.8), s.unit*0.4)
	s.undergrowth(floor, ink, depth)
}

// trunk rises out of the picture and throws out branches.
func (s *scene) trunk(x, foot, width float64, ink color) {
	lean := s.between(-0.04, 0.04) * s.height()
	at := func(u float64) [2]float64 {
		return [2]float64{x + lean*u + width*0.5*s.noise.at(u*3, x), foot - u*foot*1.05}
	}
	var spine [][2]float64
	for k := range 13 {
		spine = append(spine, at(float64(k)/12))
	}
	s.stroke(spine, width*1.5, width*0.7, ink, 1)
	for range 7 {
		p := at(s.between(0.3, 0.95))
		side, long := float64(s.IntN(2)*2-1), width*s.between(2, 6)
		sway := 0.05 * wave(s.t+p[1]/s.unit)
		s.stroke([][2]float64{p, {p[0] + side*long*0.5, p[1] - long*(0.24+sway)}, {p[0] + side*long, p[1] - long*(0.62+sway)}},
			width*0.34, width*0.06, ink, 1)
	}
}

// undergrowth is grass and ferns along the ground of the nearer groves.
func (s *scene) undergrowth(floor func(float64) float64, ink color, depth float64) {
	if depth < 0.55 {
		return
	}
	tall := s.unit * lerp(0.02, 0.07, depth)
	for x := 0.0; x < s.width(); x += tall * s.between(0.1, 0.34) {
		y, lean := floor(x)+2, s.between(-0.6, 0.6)+0.12*wave(s.t+x/s.unit)
		blade := tall * s.between(0.3, 1)
		s.fill(newPath(x, y, blade, 0).move(-0.07, 0).quad(lean*0.2, -0.6, lean, -1).quad(lean*0.2+0.1, -0.6, 0.08, 0), ink, 1)
	}
}

// mist lies between the groves and drifts along the loop.
func (s *scene) mist(depth float64, bright color) {
	middle, thick := s.height()*lerp(0.6, 0.9, depth), s.height()*0.2
	shift, strength := s.between(0, 90), lerp(0.62, 0.1, depth)
	s.shade(int(middle-thick), int(middle+thick), func(x, y int, old color) color {
		v := (float64(y) - middle) / thick
		n := s.noise.fractal(float64(x)/(s.unit*0.6)+shift+0.14*wave(s.t), float64(y)/(s.unit*0.22), 2)
		return old.mix(bright, strength*clamp(0.62+n)*smooth(1, 0, math.Abs(v)))
	})
}

// beams are shafts of light that fan out from the sun.
func (s *scene) beams(x, y float64) {
	shift := s.between(0, 60)
	s.shade(0, s.h, func(px, py int, old color) color {
		dx, dy := float64(px)-x, float64(py)-y
		if dy < -s.unit*0.02 {
			return old
		}
		angle := math.Atan2(dx, dy+s.unit*0.05)
		ray := smooth(0.05, 0.5, s.noise.fractal(angle*5+shift, 0.25*wave(s.t), 2)+0.12)
		fade := math.Exp(-math.Hypot(dx, dy)/(s.unit*0.6)) * smooth(1.25, 0.2, math.Abs(angle))
		return old.screen(s.mood.light, 0.6*ray*fade)
	})
}

// motes are specks of pollen, or fireflies in the dark, that circle slowly.
func (s *scene) motes() {
	for range 46 {
		x, y := s.Float64()*s.width(), s.height()*s.between(0.25, 0.92)
		phase, size := s.Float64(), s.unit*s.between(0.0018, 0.0042)
		x += s.unit * 0.02 * wave(phase+s.t)
		y += s.unit * 0.016 * wave(phase*1.7+s.t+0.25)
		s.glow(x, y, size*5, s.mood.light, 0.65)
		s.disc(x, y, size, s.mood.light, 0.5+0.4*wave(phase+s.t), size+1)
	}
}
