package render

import "math"

// color is a point in sRGB, 0 to 1 in each channel.
type color struct{ r, g, b float32 }

// hex reads a colour written as 0xRRGGBB.
func hex(v uint32) color {
	return color{float32(v>>16&255) / 255, float32(v>>8&255) / 255, float32(v&255) / 255}
}

// mix blends two colours as light would look to the eye at the cheapest: for
// pixels. Ramps use Oklab.
func (c color) mix(d color, t float64) color {
	f := float32(t)
	return color{c.r + (d.r-c.r)*f, c.g + (d.g-c.g)*f, c.b + (d.b-c.b)*f}
}

// scale makes the colour darker or brighter.
func (c color) scale(k float64) color {
	f := float32(k)
	return color{c.r * f, c.g * f, c.b * f}
}

// screen adds light of colour d without overexposing.
func (c color) screen(d color, strength float64) color {
	f := float32(strength)
	return color{1 - (1-c.r)*(1-d.r*f), 1 - (1-c.g)*(1-d.g*f), 1 - (1-c.b)*(1-d.b*f)}
}

// luma is how bright the colour looks.
func (c color) luma() float64 {
	return 0.299*float64(c.r) + 0.587*float64(c.g) + 0.114*float64(c.b)
}

// oklab is a colour space in which mixtures look even:
// https://bottosson.github.io/posts/oklab/
type oklab struct{ l, a, b float64 }

func (c color) oklab() oklab {
	r, g, b := linear(c.r), linear(c.g), linear(c.b)
	l := math.Cbrt(0.4122214708*r + 0.5363325363*g + 0.0514459929*b)
	m := math.Cbrt(0.2119034982*r + 0.6806995451*g + 0.1073969566*b)
	s := math.Cbrt(0.0883024619*r + 0.2817188376*g + 0.6299787005*b)
	return oklab{
		0.2104542553*l + 0.7936177850*m - 0.0040720468*s,
		1.9779984951*l - 2.4285922050*m + 0.4505937099*s,
		0.0259040371*l + 0.7827717662*m - 0.8086757660*s,
	}
}

func (o oklab) color() color {
	l := o.l + 0.3963377774*o.a + 0.2158037573*o.b
	m := o.l - 0.1055613458*o.a - 0.0638541728*o.b
	s := o.l - 0.0894841775*o.a - 1.2914855480*o.b
	l, m, s = l*l*l, m*m*m, s*s*s
	return color{
		companded(4.0767416621*l - 3.3077115913*m + 0.2309699292*s),
		companded(-1.2684380046*l + 2.6097574011*m - 0.3413193965*s),
		companded(-0.0041960863*l - 0.7034186147*m + 1.7076147010*s),
	}
}

func linear(v float32) float64 {
	if v <= 0.04045 {
		return float64(v) / 12.92
	}
	return math.Pow((float64(v)+0.055)/1.055, 2.4)
}

func companded(v float64) float32 {
	v = clamp(v)
	if v <= 0.0031308 {
		return float32(v * 12.92)
	}
	return float32(1.055*math.Pow(v, 1/2.4) - 0.055)
}

// ramp is a run of colours, mixed in Oklab beforehand.
type ramp [256]color

func newRamp(stops ...color) *ramp {
	r := new(ramp)
	labs := make([]oklab, len(stops))
	for i, s := range stops {
		labs[i] = s.oklab()
	}
	for i := range r {
		at := float64(i) / 255 * float64(len(labs)-1)
		k := min(int(at), len(labs)-2)
		t := at - float64(k)
		p, q := labs[k], labs[k+1]
		r[i] = oklab{lerp(p.l, q.l, t), lerp(p.a, q.a, t), lerp(p.b, q.b, t)}.color()
	}
	return r
}

// at returns the colour at t of 0 to 1, mixed between its neighbours so that a
// long gradient has no steps.
func (r *ramp) at(t float64) color {
	x := clamp(t) * 255
	i := min(int(x), 254)
	return r[i].mix(r[i+1], x-float64(i))
}
