package render

import "math"

// sea is a sun over water, with a shore far off.
func (s *scene) sea() {
	horizon := math.Round(s.height() * s.between(0.46, 0.56))
	s.sky(horizon)
	if s.mood.dark {
		s.stars(horizon*0.9, 0.7)
	}
	sunX := s.width() * s.between(0.3, 0.7)
	sunY := horizon - s.unit*s.between(0.05, 0.17)
	radius := s.unit * s.between(0.06, 0.1)
	s.sun(sunX, sunY, radius)
	lit := s.mood.light.mix(s.mood.sky[len(s.mood.sky)-1], 0.4)
	s.clouds(0, horizon*0.9, s.between(0.28, 0.46), lit, s.mood.sky[len(s.mood.sky)/2])
	s.coast(horizon, sunX)
	s.water(horizon, sunX)
	if !s.mood.dark {
		s.birds(sunX+s.unit*0.2, horizon*0.45)
	}
	if s.has("boat", "ship", "sail", "sailing", "sailboat") || s.IntN(2) == 0 {
		x := sunX + s.unit*0.26
		if sunX > s.width()/2 {
			x = sunX - s.unit*0.28
		}
		s.reflected(x, horizon+s.unit*0.085, s.unit*0.17)
	}
}

// reflected draws a boat with its mirror image below.
func (s *scene) reflected(x, y, size float64) {
	ink, sail := s.mood.near.mix(hex(0x2a1a14), 0.4), hex(0xfbf5e6).mix(s.mood.light, 0.4)
	for k := range 16 {
		v := float64(k) / 16
		ripple := size * 0.05 * wave(s.t*2+v*3)
		s.fill(newPath(x+ripple, y+size*(0.07+v*0.7), size, 0).
			rect(-0.34*(1-v), 0, 0.4*(1-v)+0.02, 0.022), sail.mix(ink, 0.35), 0.34*(1-v))
	}
	s.boat(x, y, size, ink, sail)
}

// coast puts headlands on the horizon, away from the sun.
func (s *scene) coast(horizon, sunX float64) {
	side := 1.0
	if sunX > s.width()/2 {
		side = -1
	}
	for k := range 3 {
		depth := float64(k) / 2
		shift := s.between(0, 99)
		ink := s.mood.far.mix(s.mood.near, 0.1+0.28*depth)
		for x := range s.w {
			away := side * (float64(x) - sunX) / s.width()
			rise := smooth(0.02+0.16*depth, 0.75, away)
			tall := s.unit * (0.22 - 0.04*depth) * rise * (0.65 + 0.8*s.noise.fractal(float64(x)/s.unit*2.2+shift, depth, 4))
			for y := max(int(horizon-tall), 0); y < int(horizon); y++ {
				s.blend(y*s.w+x, ink.mix(s.mood.sky[len(s.mood.sky)-1], 0.3*smooth(horizon-tall, horizon, float64(y))),
					clamp(float64(y)+1-(horizon-tall)))
			}
		}
	}
	if s.has("lighthouse") {
		x := s.width()/2 + side*s.width()*0.36
		s.lighthouse(x, horizon-s.unit*0.05, s.unit*0.27, s.mood.near)
	}
}

// water mirrors what stands above the horizon, broken by waves that grow
// towards us, and glitters under the sun.
func (s *scene) water(horizon, sunX float64) {
	deep := s.mood.near.mix(s.mood.sky[0], 0.55)
	depth := s.height() - horizon
	sky := make([]color, len(s.pix))
	copy(sky, s.pix)
	s.shade(int(horizon), s.h, func(x, y int, _ color) color {
		v := (float64(y) - horizon + 0.5) / depth
		near := 0.02 + v
		u := (float64(x) - s.width()/2) / (s.unit * (0.16 + 1.1*v))
		// Waves are crossing sines and noise, all periodic in t.
		row := math.Log(near) * 9
		swell := s.noise.fractal(u*1.4+0.15*wave(s.t), row*1.15+0.6*wave(s.t+0.25)*0.5, 3)
		swell += 0.25 * math.Sin(row*2.1+u*0.8+2*math.Pi*s.t)
		mirrorY := min(max(horizon-1-(float64(y)-horizon)*0.8+swell*s.unit*(0.008+0.045*v), 0), horizon-1)
		mirrorX := min(max(float64(x)+swell*s.unit*0.04*near, 0), s.width()-1)
		water := sky[int(mirrorY)*s.w+int(mirrorX)].mix(deep, 0.2+0.5*math.Pow(v, 0.7))
		water = water.scale(1 + 0.2*swell*(0.4+v))
		across := math.Abs(float64(x)-sunX) / (s.unit * (0.05 + 0.24*v))
		glitter := smooth(0.1, 0.5, swell+0.18) * math.Exp(-across*across) * (1 - 0.55*v)
		return water.screen(s.mood.light, 0.85*glitter)
	})
	s.shade(int(horizon)-1, int(horizon)+2, func(_, _ int, old color) color {
		return old.mix(s.mood.sky[len(s.mood.sky)-1], 0.35)
	})
}
