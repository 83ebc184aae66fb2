package render

import "math"

// bloom is flowers on paper: petals laid in rings, seeds in a sunflower's spiral.
func (s *scene) bloom() {
	paper := s.mood.plain
	s.gradient(0, s.h, newRamp(paper.mix(s.mood.light, 0.4), paper, paper.mix(s.mood.inks[4], 0.3)))
	s.wash()
	type flower struct{ x, y, size float64 }
	var flowers []flower
	for range 60 {
		f := flower{s.width() * s.between(0.1, 0.9), s.height() * s.between(0.14, 0.62), s.unit * s.between(0.085, 0.16)}
		if len(flowers) == 0 {
			f = flower{s.width() * s.between(0.4, 0.6), s.height() * 0.36, s.unit * 0.23}
		}
		free := true
		for _, o := range flowers {
			free = free && math.Hypot(f.x-o.x, f.y-o.y) > (f.size+o.size)*0.82
		}
		if free && len(flowers) < 9 {
			flowers = append(flowers, f)
		}
	}
	stem := s.stemColor()
	for i, f := range flowers {
		s.stalk(f.x, f.y, s.width()*(0.5+0.1*(f.x/s.width()-0.5)*4), stem, i)
	}
	for i := len(flowers) - 1; i >= 0; i-- {
		s.flower(flowers[i].x+s.unit*0.006*wave(s.t+float64(i)/5), flowers[i].y, flowers[i].size, i)
	}
}

func (s *scene) stemColor() color {
	if s.mood.dark {
		return hex(0x3f8f78)
	}
	return hex(0x4f7f5a).mix(s.mood.near, 0.25)
}

// wash lays pale watercolour blots under everything.
func (s *scene) wash() {
	for range 7 {
		x, y, r := s.Float64()*s.width(), s.Float64()*s.height(), s.unit*s.between(0.16, 0.36)
		ink, shift := s.mood.inks[s.IntN(len(s.mood.inks))], s.between(0, 90)
		s.shade(int(y-r*1.4), int(y+r*1.4), func(px, py int, old color) color {
			u, v := (float64(px)-x)/r, (float64(py)-y)/r
			if u*u+v*v > 2.2 {
				return old // no edge is frayed that far
			}
			d := math.Hypot(u, v) + 0.42*s.noise.fractal(u*1.3+shift, v*1.3, 3)
			edge := smooth(0.8, 0.98, d) * smooth(1, 0.98, d)
			return old.mix(ink, 0.13*smooth(1, 0.9, d)+0.08*edge)
		})
	}
}

// stalk bends from a flower to the ground, with leaves on its way.
func (s *scene) stalk(x, y, footX float64, ink color, k int) {
	at := func(u float64) [2]float64 {
		return [2]float64{lerp(x, footX, u*u) + s.unit*0.02*math.Sin(u*4+float64(k)), lerp(y, s.height()*1.02, u)}
	}
	var points [][2]float64
	for i := range 17 {
		points = append(points, at(float64(i)/16))
	}
	s.stroke(points, s.unit*0.007, s.unit*0.011, ink, 1)
	for range 2 {
		p := at(s.between(0.45, 0.85))
		side := float64(s.IntN(2)*2 - 1)
		turn := side*s.between(0.08, 0.16) + 0.006*wave(s.t)
		leaf := newPath(p[0], p[1], s.unit*s.between(0.09, 0.15), turn).
			move(0, 0).cube(0.26, -0.25, 0.2, -0.7, 0, -1).cube(-0.2, -0.7, -0.26, -0.25, 0, 0)
		s.fill(leaf, ink.mix(s.mood.light, s.between(0, 0.25)), 0.95)
	}
}

// flower lays rings of petals, the inner ones smaller and lighter. It turns by
// one petal along the loop.
func (s *scene) flower(x, y, size float64, k int) {
	ink := s.mood.inks[k%len(s.mood.inks)]
	heart := s.mood.inks[(k+2)%len(s.mood.inks)]
	petals := []int{9, 12, 16, 21}[s.IntN(4)]
	rings, wide, turn := 2+s.IntN(3), s.between(0.5, 0.8), s.Float64()
	for ring := range rings {
		reach := size * (1 - 0.24*float64(ring))
		tint := ink.mix(s.mood.light, 0.2*float64(ring))
		for p := range petals {
			angle := turn + (float64(p)+0.5*float64(ring%2)+s.t)/float64(petals)
			half := wide * 3.2 / float64(petals)
			petal := newPath(x, y, reach, angle).move(0, -0.12).
				cube(half, -0.35, half*1.05, -0.85, 0, -1).cube(-half*1.05, -0.85, -half, -0.35, 0, -0.12)
			s.fillWith(petal, 0.93, func(px, py int, _ color) color {
				d := math.Hypot(float64(px)-x, float64(py)-y) / reach
				return tint.scale(0.72+0.34*d).mix(s.mood.light, 0.12*d)
			})
		}
	}
	s.seeds(x, y, size*0.3, heart)
}

// seeds follow the golden angle, as a sunflower's do.
func (s *scene) seeds(x, y, radius float64, ink color) {
	s.disc(x, y, radius, ink.scale(0.6), 1, 1.5)
	const count = 90
	for i := range count {
		far := radius * math.Sqrt((float64(i)+0.5)/count) * 0.94
		turn := float64(i) * 0.38196601125
		s.disc(x+far*math.Cos(2*math.Pi*turn), y+far*wave(turn), radius*0.075,
			ink.mix(s.mood.light, 0.25+0.5*float64(i)/count), 1, 1)
	}
}
