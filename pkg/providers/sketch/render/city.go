package render

import "math"

// city is towers behind towers, windows lit, at the water's edge.
func (s *scene) city() {
	horizon := math.Round(s.height() * 0.76)
	s.sky(horizon)
	if s.mood.dark {
		s.stars(horizon*0.6, 0.5)
	}
	s.sun(s.width()*s.between(0.25, 0.75), horizon-s.unit*s.between(0.34, 0.5), s.unit*s.between(0.13, 0.19))
	lit := s.mood.light.mix(s.mood.sky[len(s.mood.sky)-2], 0.5)
	s.clouds(0, horizon*0.7, 0.28, lit, s.mood.sky[len(s.mood.sky)/2])
	const layers = 4
	for k := range layers {
		depth := float64(k) / (layers - 1)
		ink := s.mood.far.mix(s.mood.near, 0.15+0.85*depth)
		s.towers(horizon, depth, ink)
		glow := s.mood.sky[len(s.mood.sky)-2]
		s.shade(int(horizon-s.unit*0.3), int(horizon), func(_, y int, old color) color {
			return old.mix(glow, 0.3*(1-depth)*smooth(horizon-s.unit*0.3, horizon, float64(y)))
		})
	}
	s.lake(horizon)
}

// towers builds one row of the skyline.
func (s *scene) towers(horizon, depth float64, ink color) {
	for x := -s.unit * 0.05; x < s.width(); {
		wide := s.unit * lerp(0.045, 0.1, depth) * s.between(0.7, 1.5)
		centre := 1 - math.Abs(x/s.width()-0.5)*1.1
		tall := s.unit * lerp(0.5, 0.2, depth) * (0.35 + 0.75*s.Float64()) * (0.45 + 0.7*centre)
		s.tower(math.Round(x), horizon, math.Round(wide), tall, depth, ink)
		x += wide * s.between(0.92, 1.25)
	}
}

func (s *scene) tower(x, foot, wide, tall, depth float64, ink color) {
	top := foot - tall
	s.fill(newPath(0, 0, 1, 0).rect(x, top, x+wide, foot+1), ink, 1)
	s.fill(newPath(0, 0, 1, 0).rect(x, top, x+max(wide*0.08, 1), foot), s.mood.light, 0.1)
	switch s.IntN(5) {
	case 0: // a spire
		s.fill(newPath(x+wide/2, top, wide, 0).move(-0.3, 0.01).line(-0.03, -0.5).line(0, -1.1).line(0.03, -0.5).line(0.3, 0.01), ink, 1)
		s.glow(x+wide/2, top-wide*1.1, s.unit*0.02, hex(0xff5a5a), 0.5+0.5*wave(s.t*2))
	case 1: // a stepped roof
		s.fill(newPath(x+wide/2, top, wide, 0).rect(-0.3, -0.22, 0.3, 0.01).rect(-0.14, -0.4, 0.14, -0.2), ink, 1)
	case 2: // a slanted roof
		s.fill(newPath(x, top, wide, 0).move(0, 0.02).line(1, -0.45).line(1, 0.02), ink, 1)
	}
	if depth > 0.3 {
		s.windows(x, top, wide, tall, depth)
	}
}

// windows light up one by one; a few go on and off along the loop.
func (s *scene) windows(x, top, wide, tall, depth float64) {
	cell := max(s.unit*lerp(0.011, 0.018, depth), 3)
	lamp := []color{s.mood.light, hex(0xffd27a), s.mood.inks[1]}
	for wy := top + cell; wy < top+tall-cell; wy += cell {
		for wx := x + cell*0.6; wx < x+wide-cell; wx += cell {
			lit, tint, phase, blinks := s.Float64() < 0.36, s.IntN(8), s.Float64(), s.IntN(9) == 0
			if !lit || blinks && wave(phase+s.t) < 0 {
				continue
			}
			s.fill(newPath(0, 0, 1, 0).rect(wx, wy, wx+cell*0.52, wy+cell*0.6), lamp[max(tint-5, 0)], 0.45+0.45*phase)
		}
	}
}
