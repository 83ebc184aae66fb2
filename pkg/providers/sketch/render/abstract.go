package render

import "math"

// flow follows thousands of grains through a field of noise.
func (s *scene) flow() {
	ground := s.mood.plain
	s.gradient(0, s.h, newRamp(ground, ground.mix(s.mood.inks[s.IntN(2)], 0.22)))
	zoom, swirl := s.between(0.9, 1.7), s.between(1.1, 1.9)
	hole := [2]float64{s.width() * s.between(0.35, 0.65), s.height() * s.between(0.3, 0.6)}
	round := s.unit * s.between(0.16, 0.24)
	angle := func(x, y float64) float64 {
		around := math.Atan2(y-hole[1], x-hole[0]) + math.Pi/2
		near := math.Exp(-math.Hypot(x-hole[0], y-hole[1]) / (round * 1.1))
		free := s.noise.fractal(x/s.unit*zoom, y/s.unit*zoom, 2) * math.Pi * swirl
		return free*(1-near) + around*near
	}
	inks := newRamp(s.mood.inks...)
	count := min(int(float64(s.w*s.h)/(s.unit*s.unit)*2100), 5000)
	for range count {
		s.grain(angle, inks)
	}
	s.orb(hole[0], hole[1], round)
}

// grain draws one line along the field. Along the loop its width travels.
func (s *scene) grain(angle func(x, y float64) float64, inks *ramp) {
	x, y := s.width()*s.between(-0.1, 1.1), s.height()*s.between(-0.1, 1.1)
	phase, wide := s.Float64(), s.unit*0.0019*math.Pow(2, s.between(0, 2.4))
	ink := inks.at(clamp(0.5 + 0.75*s.noise.fractal(x/s.unit*1.1+70, y/s.unit*1.1, 2) + s.between(-0.16, 0.16)))
	steps := 10 + s.IntN(14)
	points := make([][2]float64, 0, steps)
	for range steps {
		points = append(points, [2]float64{x, y})
		sin, cos := math.Sincos(angle(x, y))
		x, y = x+cos*s.unit*0.011, y+sin*s.unit*0.011
	}
	from := int(float64(steps) * 0.35 * (0.5 + 0.5*wave(s.t+phase)))
	s.stroke(points[from:], wide*0.4, wide*(1+0.4*wave(s.t+phase)), ink, 0.82)
}

// orb rests where the field turns.
func (s *scene) orb(x, y, radius float64) {
	radius *= 0.72 * (1 + 0.02*wave(s.t))
	s.disc(x+radius*0.06, y+radius*0.12, radius*1.02, hex(0x000000), 0.35, radius*0.5)
	warm, cool := s.mood.inks[1], s.mood.inks[3]
	s.fillWith(newPath(x, y, radius, 0).oval(0, 0, 1, 1), 1, func(px, py int, _ color) color {
		u, v := (float64(px)-x)/radius, (float64(py)-y)/radius
		return s.mood.light.mix(warm, smooth(-0.9, 0.3, u*0.6+v)).mix(cool, smooth(0.1, 1.1, u*0.5+v)*0.85)
	})
}

// tiles is a grid of quarter circles, discs and stripes, after the Bauhaus.
func (s *scene) tiles() {
	paper := s.mood.plain
	s.gradient(0, s.h, newRamp(paper, paper))
	rows := 4 + s.IntN(2)
	cell := s.height() / float64(rows)
	columns := int(math.Ceil(s.width()/cell)) + 1
	left := (s.width() - cell*float64(columns)) / 2
	last := -1
	for row := range rows {
		for column := range columns {
			kind := s.IntN(8)
			if kind == last {
				kind = (kind + 3) % 8
			}
			last = kind
			s.tile(left+cell*(float64(column)+0.5), cell*(float64(row)+0.5), cell, kind)
		}
	}
	s.paperGrain()
}

// tile fills one cell. Along the loop each tile turns once, starting when it
// likes.
func (s *scene) tile(x, y, cell float64, kind int) {
	pick := s.Perm(len(s.mood.inks))
	ground, a, b := s.mood.inks[pick[0]], s.mood.inks[pick[1]], s.mood.inks[pick[2]]
	if s.IntN(4) == 0 {
		ground = s.mood.plain
	}
	start := 0.45 * s.Float64()
	turn := float64(s.IntN(4))/4 + smooth(start, start+0.5, s.t)
	s.fill(newPath(x, y, cell, 0).rect(-0.5, -0.5, 0.5, 0.5), ground, 1)
	shape := func() *path { return newPath(x, y, cell, turn) }
	switch kind {
	case 0: // quarter circles, one in another
		s.fill(shape().quarter(1), a, 1)
		s.fill(shape().quarter(0.66), b, 1)
		s.fill(shape().quarter(0.33), ground, 1)
	case 1: // a disc and its pupil
		s.fill(shape().oval(0, 0, 0.42, 0.42), a, 1)
		s.fill(shape().oval(0.12*math.Cos(2*math.Pi*s.t), 0.12*wave(s.t), 0.2, 0.2), b, 1)
	case 2: // a half circle over a half square
		s.fill(shape().rect(-0.5, 0, 0.5, 0.5), a, 1)
		s.fill(newPath(x, y, cell, turn).move(-0.5, 0).cube(-0.5, -0.66, 0.5, -0.66, 0.5, 0), b, 1)
	case 3: // stripes
		for k := range 4 {
			v := -0.5 + float64(k)*0.25
			s.fill(shape().rect(-0.5, v, 0.5, v+0.125), a, 1)
		}
	case 4: // a diagonal
		s.fill(shape().move(-0.5, -0.5).line(0.5, -0.5).line(-0.5, 0.5), a, 1)
		s.fill(shape().oval(0.2, 0.2, 0.16, 0.16), b, 1)
	case 5: // two leaves
		s.fill(shape().move(-0.5, -0.5).cube(0.06, -0.5, 0.5, -0.06, 0.5, 0.5).cube(-0.06, 0.5, -0.5, 0.06, -0.5, -0.5), a, 1)
	case 6: // dots
		for i := range 9 {
			s.fill(shape().oval(float64(i%3)*0.3-0.3, float64(i/3)*0.3-0.3, 0.085, 0.085), []color{a, b}[i%2], 1)
		}
	case 7: // rings
		for i := range 4 {
			r := 0.44 - 0.11*float64(i)
			s.fill(shape().oval(0, 0, r, r), []color{a, ground}[i%2], 1)
		}
	}
}

// quarter is a quarter of a disc, its corner in the tile's corner.
func (p *path) quarter(radius float64) *path {
	const k = 0.5522847498
	r := radius
	return p.move(-0.5, -0.5).line(-0.5+r, -0.5).
		cube(-0.5+r, -0.5+r*k, -0.5+r*k, -0.5+r, -0.5, -0.5+r).line(-0.5, -0.5)
}

// paperGrain makes flat colours look printed.
func (s *scene) paperGrain() {
	s.shade(0, s.h, func(x, y int, old color) color {
		n := s.noise.at(float64(x)/1.7, float64(y)/1.7)*0.5 + s.noise.fractal(float64(x)/(s.unit*0.2), float64(y)/(s.unit*0.2), 2)*0.35
		return old.scale(1 + 0.07*n)
	})
}
