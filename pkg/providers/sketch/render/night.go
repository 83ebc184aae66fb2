package render

import "math"

// night is stars over mountains and a lake that holds them.
func (s *scene) night() {
	if !s.mood.dark {
		s.mood = moodNamed("night")
	}
	horizon := math.Round(s.height() * s.between(0.62, 0.7))
	s.sky(horizon)
	s.milkyWay(horizon)
	s.stars(horizon, 1)
	if s.has("aurora", "arctic", "northern") || s.IntN(3) == 0 {
		s.aurora(horizon)
	}
	moonX, moonY := s.width()*s.between(0.2, 0.8), horizon*s.between(0.2, 0.42)
	s.sun(moonX, moonY, s.unit*s.between(0.05, 0.075))
	s.shootingStar(horizon)
	for k := range 3 {
		depth := float64(k) / 2
		shift := s.between(0, 200)
		crest := s.mood.far.mix(s.mood.near, 0.2+depth*0.7)
		s.ridge(func(x float64) float64 {
			peak := s.noise.ridged(x/(s.unit*0.5)+shift, depth*5, 5) - 0.25
			return horizon - s.unit*lerp(0.17, 0.05, depth)*peak*1.5
		}, crest, crest.mix(s.mood.sky[3], 0.3*(1-depth)), s.unit*0.22)
	}
	s.lake(horizon + s.unit*0.02)
	s.shorePines()
}

// milkyWay lays a band of faint light across the sky.
func (s *scene) milkyWay(bottom float64) {
	tilt, mid := s.between(-0.9, 0.9), s.between(0.35, 0.65)
	violet, pale := hex(0x8f7fd6), hex(0xcfe0ff)
	s.shade(0, int(bottom), func(x, y int, old color) color {
		u, v := (float64(x)-s.width()*mid)/s.unit, (float64(y)-bottom*0.4)/s.unit
		off := (v - tilt*u) / math.Hypot(1, tilt)
		n := s.noise.fractal(u*3.1, v*3.1, 4)
		band := math.Exp(-off * off / 0.022)
		dust := 1 - 0.7*smooth(0, 0.5, s.noise.fractal(u*4+40, v*4, 3))*math.Exp(-off*off/0.004)
		return old.screen(violet.mix(pale, clamp(n+0.5)), 0.34*band*dust*clamp(0.6+n))
	})
}

// shootingStar crosses the sky in the first third of the loop.
func (s *scene) shootingStar(horizon float64) {
	x, y := s.width()*s.between(0.15, 0.5), horizon*s.between(0.1, 0.3)
	u := s.t * 3
	if u >= 1 {
		return
	}
	length := s.unit * 0.2
	hx, hy := x+s.unit*0.4*u, y+s.unit*0.13*u
	s.stroke([][2]float64{{hx - length*0.95, hy - length*0.31}, {hx, hy}}, 0.2, s.unit*0.006, s.mood.light, 0.85*(1-u))
	s.glow(hx, hy, s.unit*0.025, s.mood.light, 0.9*(1-u))
}

// lake mirrors everything above a row, with calm ripples.
func (s *scene) lake(top float64) {
	row := int(top)
	above := make([]color, len(s.pix))
	copy(above, s.pix)
	s.shade(row, s.h, func(x, y int, _ color) color {
		down := float64(y - row)
		v := down / max(s.height()-top, 1)
		ripple := s.noise.at(float64(x)/(s.unit*(0.09+0.25*v)), down/(s.unit*(0.006+0.022*v))+0.8*wave(s.t))
		my := int(top - 1 - down*0.92 + ripple*s.unit*0.012*(0.4+v))
		mx := min(max(x+int(ripple*s.unit*0.012), 0), s.w-1)
		c := above[min(max(my, 0), row-1)*s.w+mx].scale(0.86 - 0.4*v)
		return c.screen(s.mood.sky[3], 0.14*(1-v)+0.06*ripple)
	})
}

// shorePines frames the picture left and right.
func (s *scene) shorePines() {
	foot := s.height() * 1.02
	for range 26 {
		edge := math.Pow(s.Float64(), 1.6) * 0.36
		x := s.width() * edge
		if s.IntN(2) == 0 {
			x = s.width() * (1 - edge)
		}
		s.pine(x, foot, s.unit*(0.5-0.8*edge)*s.between(0.75, 1.1), s.mood.near)
	}
}
