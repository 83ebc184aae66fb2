package render

import "math"

// Figures are drawn in local units: feet at the origin, about one unit tall.

// cat sits with its back to us; the tail moves along the loop.
func (s *scene) cat(x, y, size float64, ink color) {
	s.fill(newPath(x, y, size, 0).
		move(-0.27, 0).cube(-0.36, -0.3, -0.2, -0.42, -0.13, -0.55).
		line(-0.155, -0.62).line(-0.17, -0.86).line(-0.06, -0.765).
		quad(0.01, -0.785, 0.07, -0.765).line(0.17, -0.86).line(0.16, -0.62).
		quad(0.155, -0.57, 0.13, -0.53).cube(0.22, -0.4, 0.36, -0.3, 0.27, 0).line(-0.27, 0), ink, 1)
	flick := 0.08 * wave(s.t)
	var tail [][2]float64
	for k := range 13 {
		u := float64(k) / 12
		tail = append(tail, [2]float64{
			x + size*(0.2+0.3*math.Sin(u*2.6)),
			y - size*(0.04+0.42*u*u+flick*u),
		})
	}
	s.stroke(tail, size*0.085, size*0.045, ink, 1)
}

// house has a gable, a chimney and a lit window.
func (s *scene) house(x, y, size float64, ink color) {
	s.fill(newPath(x, y, size, 0).rect(0.22, -1.15, 0.36, -0.6), ink, 1)
	s.fill(newPath(x, y, size, 0).rect(-0.5, -0.62, 0.5, 0.1).
		move(-0.62, -0.58).line(0, -1.12).line(0.62, -0.58).line(-0.62, -0.58), ink, 1)
	lamp := hex(0xffd98a)
	s.fill(newPath(x, y, size, 0).rect(-0.3, -0.45, -0.08, -0.2).rect(0.1, -0.45, 0.32, -0.2), lamp, 1)
	s.glow(x, y-size*0.33, size*1.3, lamp, 0.4+0.06*wave(s.t*2))
}

// lighthouse shines a beam that turns along the loop.
func (s *scene) lighthouse(x, y, size float64, ink color) {
	lampX, lampY := x, y-size*0.915
	light := hex(0xfff2c0)
	for _, side := range []float64{1, -1} {
		reach := side * math.Cos(2*math.Pi*(s.t+0.06))
		beam := newPath(lampX, lampY, size, 0).move(0, 0).line(reach*3.4, -0.42).line(reach*3.4, 0.16)
		bright := 0.42 * math.Abs(reach)
		s.fillWith(beam, 1, func(px, _ int, old color) color {
			fade := clamp(1 - math.Abs(float64(px)-lampX)/(size*3.4*math.Abs(reach)+1e-9))
			return old.screen(light, bright*fade*fade)
		})
	}
	s.fill(newPath(x, y, size, 0).move(-0.14, 0.1).line(-0.085, -0.82).line(0.085, -0.82).line(0.14, 0.1), hex(0xf4efe4).mix(ink, 0.25), 1)
	for k := range 3 {
		low := -0.06 - float64(k)*0.27
		wide := func(v float64) float64 { return 0.085 + 0.055*(v+0.82)/0.92 }
		s.fill(newPath(x, y, size, 0).move(-wide(low), low).line(-wide(low-0.13), low-0.13).
			line(wide(low-0.13), low-0.13).line(wide(low), low), hex(0xc4483a).mix(ink, 0.25), 1)
	}
	s.fill(newPath(x, y, size, 0).rect(-0.11, -0.85, 0.11, -0.81).
		move(-0.09, -0.965).line(0, -1.07).line(0.09, -0.965), ink, 1)
	s.fill(newPath(x, y, size, 0).rect(-0.06, -0.97, 0.06, -0.85), light, 1)
	s.glow(lampX, lampY, size*0.6, light, 0.9)
}

// roundTree is an old tree with a full crown.
func (s *scene) roundTree(x, y, size float64, ink color) {
	s.fill(newPath(x, y, size, 0).move(-0.06, 0.06).quad(-0.025, -0.25, -0.04, -0.5).
		line(0.04, -0.5).quad(0.025, -0.25, 0.075, 0.06), ink, 1)
	crown := newChance(uint64(s.noise.perm[3]) + 7)
	for range 26 {
		turn, far := crown.Float64(), math.Sqrt(crown.Float64())
		cx := x + size*(0.36*far*math.Cos(2*math.Pi*turn)+0.012*wave(s.t+turn))
		cy := y - size*(0.72+0.27*far*wave(turn))
		s.disc(cx, cy, size*crown.between(0.09, 0.17), ink.mix(s.mood.light, crown.between(0, 0.12)), 1, 1.5)
	}
}

// balloons rise over the hills, bobbing along the loop.
func (s *scene) balloons(horizon float64) {
	for k := range 3 {
		size := s.unit * []float64{0.2, 0.11, 0.075}[k]
		x := s.width() * (0.2 + 0.3*float64(k) + s.between(-0.05, 0.05))
		y := horizon*s.between(0.5, 0.72) + s.unit*0.012*wave(s.t+float64(k)/3)
		s.balloon(x, y, size, s.mood.inks[k%len(s.mood.inks)], s.mood.inks[(k+1)%len(s.mood.inks)])
	}
}

func (s *scene) balloon(x, y, size float64, ink, stripe color) {
	outline := func(k float64) *path {
		return newPath(x, y, size, 0).move(0, -1).cube(0.56*k, -1, 0.58*k, -0.48, 0.12*k, -0.14).
			line(-0.12*k, -0.14).cube(-0.58*k, -0.48, -0.56*k, -1, 0, -1)
	}
	for k, width := range []float64{1, 0.72, 0.36} {
		fill := ink
		if k == 1 {
			fill = stripe
		}
		s.fillWith(outline(width), 1, func(px, py int, _ color) color {
			side := (float64(px) - x) / size
			return fill.screen(s.mood.light, 0.25*clamp(-side*1.6+0.2)).scale(1 - 0.4*clamp(side*1.3))
		})
	}
	s.fill(newPath(x, y, size, 0).rect(-0.075, -0.03, 0.075, 0.08), hex(0x6b4226), 1)
	s.stroke([][2]float64{{x - size*0.11, y - size*0.15}, {x - size*0.07, y}}, 1, 1, hex(0x3b2a1d), 0.8)
	s.stroke([][2]float64{{x + size*0.11, y - size*0.15}, {x + size*0.07, y}}, 1, 1, hex(0x3b2a1d), 0.8)
}

// boat sails; it rocks along the loop.
func (s *scene) boat(x, y, size float64, ink, sail color) {
	rock := 0.012 * wave(s.t)
	y += size * 0.03 * wave(s.t+0.25)
	s.fill(newPath(x, y, size, rock).move(0.015, -1).quad(0.42, -0.5, 0.4, -0.2).line(0.015, -0.2), sail, 0.98)
	s.fill(newPath(x, y, size, rock).move(-0.03, -0.88).quad(-0.22, -0.5, -0.3, -0.22).line(-0.03, -0.2), sail.scale(0.86), 0.98)
	s.fill(newPath(x, y, size, rock).rect(-0.012, -1.03, 0.012, -0.12), ink, 1)
	s.fill(newPath(x, y, size, rock).move(-0.46, -0.15).line(0.5, -0.15).quad(0.42, 0.03, 0.26, 0.05).
		line(-0.3, 0.05).quad(-0.42, 0.02, -0.46, -0.15), ink, 1)
}
