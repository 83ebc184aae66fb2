package render

import "math"

// landscape is hills behind hills under a low sun.
func (s *scene) landscape() {
	horizon := s.height() * s.between(0.56, 0.66)
	s.sky(horizon)
	if s.mood.dark {
		s.stars(horizon*0.8, 0.6)
	}
	sunX, sunY := s.width()*s.between(0.24, 0.76), horizon-s.unit*s.between(0.06, 0.2)
	sunRadius := s.unit * s.between(0.055, 0.095)
	s.sun(sunX, sunY, sunRadius)
	lit := s.mood.light.mix(s.mood.sky[len(s.mood.sky)-1], 0.45)
	s.clouds(horizon*0.04, horizon*0.86, s.between(0.26, 0.44), lit, s.mood.sky[len(s.mood.sky)/2])
	if !s.mood.dark {
		s.birds(s.width()-sunX, horizon*s.between(0.3, 0.5))
	}
	if s.has("balloon") {
		s.balloons(horizon)
	}
	s.hills(horizon, sunX)
}

// hills stacks ridges from far to near, with haze lying between them.
func (s *scene) hills(horizon, sunX float64) {
	const layers = 6
	alpine := s.has("mountain", "alpine", "winter", "volcano", "peak") || s.IntN(2) == 0
	haze := s.mood.sky[len(s.mood.sky)-1].mix(s.mood.light, 0.2)
	for k := range layers {
		depth := float64(k) / (layers - 1)
		line := s.skyline(horizon, depth, alpine)
		crest := s.mood.far.mix(s.mood.near, math.Pow(depth, 1.15))
		base := crest.mix(haze, 0.5*(1-depth))
		s.ridge(line, crest, base, s.unit*lerp(0.16, 0.4, depth))
		if k >= layers-2 && !s.has("desert", "dune", "sand") {
			s.woods(line, crest.scale(lerp(0.85, 0.7, depth)), depth)
		}
		if k == layers-2 {
			s.landmarks(line, crest, sunX)
		}
	}
}

// skyline is the outline of the ridge at a depth of 0 (far) to 1 (near).
func (s *scene) skyline(horizon, depth float64, alpine bool) func(float64) float64 {
	base := lerp(horizon+s.unit*0.015, s.height()*0.93, math.Pow(depth, 1.35))
	height := s.unit * lerp(0.15, 0.115, depth)
	shift, stretch := s.between(0, 220), s.unit*lerp(0.42, 0.75, depth)
	if alpine && depth < 0.5 {
		return func(x float64) float64 {
			return base - height*1.5*(s.noise.ridged(x/stretch+shift, depth*9, 5)-0.32)
		}
	}
	return func(x float64) float64 {
		return base - height*(0.35+s.noise.fractal(x/stretch+shift, depth*9, 3))
	}
}

// woods stands pines along a ridge where the noise wants them.
func (s *scene) woods(line func(float64) float64, ink color, depth float64) {
	size := s.unit * lerp(0.018, 0.075, math.Pow(depth, 4))
	shift := s.between(0, 99)
	for x := -size; x < s.width()+size; x += size * s.between(0.3, 0.8) {
		if s.noise.fractal(x/s.unit*1.7+shift, 3, 2) < 0.02 {
			continue
		}
		s.pine(x, line(x)+size*0.12, size*s.between(0.75, 1.45), ink)
	}
}

// pine draws a fir: a spire with ragged sides, the same at every phase. It sways a little along the loop.
func (s *scene) pine(x, y, size float64, ink color) {
	sway := 0.03 * wave(s.t+x/s.unit)
	p := newPath(x, y, size, 0).move(-0.04, 0.1)
	p.line(-0.025, -0.1)
	tiers := 6 + int(min(size/s.unit, 1)*26) // the larger, the finer
	ragged := newChance(math.Float64bits(math.Round(x)))
	branch := func(side, up float64) {
		rise := 0.1 + up*1.02
		reach := (0.3*math.Pow(1-up, 0.85) + 0.015) * ragged.between(0.62, 1.1)
		drop := 0.62 / float64(tiers)
		tip, root := [2]float64{side*reach + sway*up, -rise + drop*0.5}, [2]float64{side*reach*0.45 + sway*up, -rise - drop}
		if side > 0 {
			p.line(root[0], root[1]).quad(side*reach*0.7, -rise-drop*0.1, tip[0], tip[1])
			return
		}
		p.line(tip[0], tip[1]).quad(side*reach*0.7, -rise-drop*0.1, root[0], root[1])
	}
	for k := range tiers {
		branch(-1, float64(k)/float64(tiers))
	}
	p.line(sway, -1.2)
	for k := tiers - 1; k >= 0; k-- {
		branch(1, float64(k)/float64(tiers))
	}
	s.fill(p.line(0.025, -0.1).line(0.04, 0.1), ink, 1)
}

// landmarks puts what the prompt names onto a ridge.
func (s *scene) landmarks(line func(float64) float64, crest color, sunX float64) {
	x := s.width() * 0.3
	if sunX < s.width()/2 {
		x = s.width() * 0.7
	}
	ink := crest.scale(0.55)
	switch {
	case s.has("cat", "kitten"):
		s.cat(x, line(x)+s.unit*0.015, s.unit*0.2, ink)
	case s.has("house", "cottage", "village", "cabin", "home"):
		for k := range 1 + 3*btoi(s.has("village")) {
			hx := x + float64(k)*s.unit*0.085 - s.unit*0.04
			s.house(hx, line(hx)+s.unit*0.015, s.unit*s.between(0.055, 0.075), ink)
		}
	case s.has("lighthouse", "tower"):
		s.lighthouse(x, line(x)+s.unit*0.02, s.unit*0.22, ink)
	case s.has("tree"):
		s.roundTree(x, line(x)+s.unit*0.01, s.unit*0.2, ink)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
