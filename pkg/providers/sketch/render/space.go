package render

import "math"

// space is a planet among stars, with rings and a moon.
func (s *scene) space() {
	ground := hex(0x05060f)
	hue := s.mood.sky[len(s.mood.sky)/2]
	s.gradient(0, s.h, newRamp(ground, ground.mix(s.mood.sky[0], 0.6), ground))
	s.nebula(hue, s.mood.inks[s.IntN(len(s.mood.inks))])
	s.mood.light = hex(0xfff6e0)
	s.stars(s.height(), 0.75)
	x, y := s.width()*s.between(0.4, 0.6), s.height()*s.between(0.4, 0.48)
	radius := s.unit * s.between(0.2, 0.26)
	tilt := s.between(-0.07, 0.07)
	ringed := s.has("saturn", "ring") || s.IntN(3) > 0
	s.glow(x, y, radius*2.1, s.mood.inks[0], 0.35)
	if ringed {
		s.rings(x, y, radius, tilt, false)
	}
	s.planet(x, y, radius, tilt)
	if ringed {
		s.rings(x, y, radius, tilt, true)
	}
	turn := s.Float64() + s.t
	mx, my := x+math.Cos(2*math.Pi*turn)*radius*2, y+wave(turn)*radius*0.7-radius*0.5
	s.ball(mx, my, radius*0.17, func(float64, float64) color { return s.mood.inks[2].mix(hex(0xe8e2d6), 0.6) })
}

// nebula is coloured gas.
func (s *scene) nebula(a, b color) {
	shift := s.between(0, 99)
	s.shade(0, s.h, func(x, y int, old color) color {
		u, v := float64(x)/s.unit*1.7+shift, float64(y)/s.unit*1.7
		warp := s.noise.fractal(u+0.04*wave(s.t), v, 3)
		n := s.noise.fractal(u+warp*1.3, v+warp*1.3+7, 4)
		return old.screen(a, 0.85*smooth(-0.1, 0.8, n)).screen(b, 0.6*smooth(0, 0.7, warp))
	})
}

// planet has bands of weather that move round along the loop.
func (s *scene) planet(x, y, radius, tilt float64) {
	bands := newRamp(s.mood.inks[0], s.mood.inks[1], s.mood.inks[4], s.mood.inks[2], s.mood.inks[0], s.mood.inks[5])
	sin, cos := math.Sincos(2 * math.Pi * tilt)
	s.ball(x, y, radius, func(u, v float64) color {
		u, v = u*cos+v*sin, v*cos-u*sin
		lon := math.Asin(clamp((u/math.Sqrt(max(1-v*v, 1e-4))+1)/2)*2 - 1)
		// A circle through the noise closes the loop.
		cx, cy := math.Sincos(lon + 2*math.Pi*s.t)
		n := s.noise.fractal(cx*0.9+3, cy*0.9+v*4, 3)
		return bands.at(0.5 + 0.48*v + 0.2*n)
	})
}

// ball shades a sphere lit from the upper left.
func (s *scene) ball(x, y, radius float64, texture func(u, v float64) color) {
	disc := newPath(x, y, radius, 0).oval(0, 0, 1, 1)
	s.fillWith(disc, 1, func(px, py int, _ color) color {
		u, v := (float64(px)+0.5-x)/radius, (float64(py)+0.5-y)/radius
		z := math.Sqrt(max(1-u*u-v*v, 0))
		light := clamp(-0.55*u-0.5*v+0.67*z)*1.12 + 0.05
		rim := math.Pow(1-z, 3) * clamp(0.2-u-v)
		return texture(u, v).scale(light).screen(hex(0xcfe6ff), 0.5*clamp(rim))
	})
}

// rings draws the half behind the planet, or the half before it.
func (s *scene) rings(x, y, radius, tilt float64, front bool) {
	sin, cos := math.Sincos(2 * math.Pi * (tilt - 0.03))
	inner, outer := 1.35, 2.25
	const flat = 0.24
	reach := int(radius * outer)
	for py := max(int(y)-reach, 0); py < min(int(y)+reach, s.h); py++ {
		for px := max(int(x)-reach, 0); px < min(int(x)+reach, s.w); px++ {
			u, v := (float64(px)+0.5-x)/radius, (float64(py)+0.5-y)/radius
			u, v = u*cos+v*sin, (v*cos-u*sin)/flat
			if front != (v > 0) {
				continue
			}
			d := math.Hypot(u, v)
			edge := 1.5 / radius * (1 + 3*math.Abs(v)/max(d, 0.1))
			cover := smooth(inner-edge, inner+edge, d) * smooth(outer+edge, outer-edge, d)
			if cover <= 0 {
				continue
			}
			groove := 0.5 + 0.9*s.noise.fractal(d*9, 2, 2)
			gap := 1 - 0.85*smooth(0.035, 0.015, math.Abs(d-1.88))
			shadow := 1 - 0.75*smooth(1.05, 0.9, math.Hypot(u-0.75*v*flat, 0.6*v*flat+0.4*u))*btof(!front)
			ink := s.mood.inks[1].mix(hex(0xfff3dc), 0.45).scale(shadow * (0.75 + 0.3*groove))
			s.blend(py*s.w+px, ink, cover*gap*clamp(0.35+0.6*groove))
		}
	}
}

func btof(b bool) float64 { return float64(btoi(b)) }
