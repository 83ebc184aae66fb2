package render

// mood is a set of colours that go together.
type mood struct {
	name  string
	sky   []color // zenith to horizon
	light color   // sun, moon, lamps
	far   color   // the farthest hills
	near  color   // the nearest hills
	plain color   // paper of abstract compositions
	inks  []color // colours of abstract compositions
	dark  bool    // stars are out
}

func colors(values ...uint32) []color {
	out := make([]color, len(values))
	for i, v := range values {
		out[i] = hex(v)
	}
	return out
}

// moods are mixed by hand.
var moods = []mood{
	{
		name: "sunset", sky: colors(0x2a1a4a, 0x5d2a6c, 0xb83b5e, 0xf08a5d, 0xffd39b),
		light: hex(0xfff0c4), far: hex(0xb2577a), near: hex(0x1c1030),
		plain: hex(0x2a1a3e), inks: colors(0xf9c784, 0xf7a072, 0xe4576b, 0x9d3c72, 0xfdf0d5, 0x5b4b8a),
	},
	{
		name: "dawn", sky: colors(0x4f6d9e, 0x8fa6cc, 0xd9b8c4, 0xf7cfb5, 0xfff0d6),
		light: hex(0xfffaea), far: hex(0xa99cc0), near: hex(0x332f55),
		plain: hex(0xfaf1e6), inks: colors(0x5b7db1, 0xe39b9b, 0xf2c57c, 0x33415c, 0x9a8fbf, 0xf7cfb5),
	},
	{
		name: "day", sky: colors(0x2574b8, 0x5aa9dd, 0xa6d8ec, 0xe8f3e3),
		light: hex(0xfffdf0), far: hex(0x86b8c0), near: hex(0x17513f),
		plain: hex(0xf6f4e8), inks: colors(0x1f78b4, 0xf2b134, 0xed553b, 0x20639b, 0x3caea3, 0x173f5f),
	},
	{
		name: "night", sky: colors(0x040818, 0x0a1734, 0x16305c, 0x37598a),
		light: hex(0xf8f3df), far: hex(0x1d3560), near: hex(0x030612),
		plain: hex(0x070d22), inks: colors(0xf4e8c1, 0x6fa8dc, 0x9d8df1, 0x41b3a3, 0xe27d9a, 0x2f4b8f), dark: true,
	},
	{
		name: "sea", sky: colors(0x0d3b66, 0x2a7da8, 0x7cc3cf, 0xe5f2d9),
		light: hex(0xfff8dc), far: hex(0x5fa3b5), near: hex(0x08283d),
		plain: hex(0xf1f6ee), inks: colors(0x0d3b66, 0x1b9aaa, 0x06d6a0, 0xf4d35e, 0xee964b, 0x7cc3cf),
	},
	{
		name: "forest", sky: colors(0x5f8a7d, 0x9cbf9f, 0xd5dfb4, 0xf7f1cf),
		light: hex(0xfffce0), far: hex(0x9cba9b), near: hex(0x0b241c),
		plain: hex(0xf3f1e0), inks: colors(0x2d6a4f, 0x95d5b2, 0xd4a373, 0x1b4332, 0xe9c46a, 0x74a57f),
	},
	{
		name: "desert", sky: colors(0x3a6186, 0x7fa9c2, 0xe3c9a8, 0xf4b183),
		light: hex(0xfff6db), far: hex(0xdb9f77), near: hex(0x6a2c22),
		plain: hex(0xf7e9d3), inks: colors(0xc8553d, 0xf28f3b, 0x588b8b, 0xffd5c2, 0x2d3047, 0xe0a458),
	},
	{
		name: "winter", sky: colors(0x4d7299, 0x94b5d3, 0xd5e4ef, 0xfaf3ec),
		light: hex(0xfffdf6), far: hex(0xb4c9dd), near: hex(0x35506e),
		plain: hex(0xf4f7fa), inks: colors(0x35506e, 0x9ec1da, 0xd8572a, 0x1d2d44, 0xc9ada7, 0x748cab),
	},
	{
		name: "autumn", sky: colors(0x4a3f62, 0x9a5b6a, 0xdd8f5f, 0xf2c773, 0xfaeab8),
		light: hex(0xfff4cf), far: hex(0xc47b57), near: hex(0x33160f),
		plain: hex(0xfbf1dc), inks: colors(0x9b2226, 0xbb3e03, 0xee9b00, 0x005f73, 0xe9d8a6, 0x6a4c3b),
	},
	{
		name: "blossom", sky: colors(0x8d7fc7, 0xc9a2dc, 0xf6c3dc, 0xffe6e2),
		light: hex(0xfffaf2), far: hex(0xcfa3cb), near: hex(0x533f6e),
		plain: hex(0xfff4f2), inks: colors(0xe56b8a, 0xf7b2bd, 0xb392ac, 0x735d78, 0xf7d1cd, 0x7fb69e),
	},
	{
		name: "neon", sky: colors(0x0b0220, 0x2a0f52, 0x7d1f80, 0xf23a72, 0xffb25e),
		light: hex(0xffe873), far: hex(0x63208a), near: hex(0x0a0118),
		plain: hex(0x0d0322), inks: colors(0xff2e88, 0x21e6c1, 0xffe066, 0x7a5cff, 0x29b6f6, 0xff7b54), dark: true,
	},
	{
		name: "storm", sky: colors(0x1d2932, 0x3b505f, 0x768b96, 0xc9cfc6),
		light: hex(0xf2f1e4), far: hex(0x6d818c), near: hex(0x0c1318),
		plain: hex(0xe8eae6), inks: colors(0x2b3a42, 0x3f7d8c, 0xbdd4de, 0xef6f4e, 0x94a7ae, 0x11191e),
	},
	{
		name: "ember", sky: colors(0x16070f, 0x4c1526, 0xa3302b, 0xee8434, 0xffd27f),
		light: hex(0xffefbf), far: hex(0x8f3030), near: hex(0x120509),
		plain: hex(0x1c0a12), inks: colors(0xff6b35, 0xf7c59f, 0xffba08, 0xd00000, 0x9d0208, 0xfaa307),
	},
	{
		name: "ink", sky: colors(0xb9b4a8, 0xd3cfc4, 0xe8e5dc, 0xf5f3ed),
		light: hex(0xfffefa), far: hex(0xa8a49a), near: hex(0x1c1b1a),
		plain: hex(0xf3f0e8), inks: colors(0x1c1b1a, 0x55524d, 0x8f8a80, 0xb8402f, 0xc9c4b8, 0x33312e),
	},
}

// hours are words for a time of day or year. They go before places: "a
// lighthouse at dusk" is first of all dusk.
var hours = splitWords("sunset evening dusk twilight sundown golden dawn sunrise night midnight moonlit moonlight " +
	"starry winter snow snowy autumn neon cyberpunk")

// moodWords says which mood a word calls up.
var moodWords = lookup(map[string]string{
	"sunset":  "sunset evening dusk twilight golden romantic warm sundown afterglow",
	"dawn":    "dawn sunrise morning mist misty fog foggy calm gentle soft watercolor watercolour",
	"day":     "day noon summer meadow field sky blue sunny green hill realistic photo photorealistic bright",
	"night":   "night midnight star starry moon moonlit moonlight space saturn galaxy aurora cosmos nebula dark dream astronaut planet",
	"sea":     "ocean sea beach wave lake river water coast island boat ship sail fish whale underwater harbor harbour lighthouse",
	"forest":  "forest tree wood jungle pine nature rainforest bamboo fern moss garden deer bear",
	"desert":  "desert dune sand canyon sahara camel egypt pyramid clay terracotta bauhaus",
	"winter":  "winter snow snowy ice cold arctic glacier frozen frost polar penguin christmas",
	"autumn":  "autumn fall harvest october leaf leave fox pumpkin vintage retro",
	"blossom": "blossom cherry spring flower rose pink pastel candy love sakura tulip unicorn fairy cute",
	"neon":    "neon cyberpunk cyber synthwave vaporwave robot future futuristic arcade disco laser city skyline scifi",
	"storm":   "storm rain rainy thunder grey gray cloud cloudy moody wind november",
	"ember":   "fire lava volcano mars dragon ember flame hell heat inferno",
	"ink":     "ink monochrome bw noir pencil charcoal minimal minimalist zen japanese white black sketch drawing line",
})

// sceneWords says which composition a word calls up.
var sceneWords = lookup(map[string]string{
	"landscape": "landscape sunset sunrise dawn mountain hill valley meadow field desert dune canyon country balloon house cottage village cat dog horse fox snow winter volcano",
	"sea":       "ocean sea beach wave lake river water coast island boat ship sail harbor harbour lighthouse whale fish",
	"night":     "night star starry moon moonlit moonlight aurora northern midnight campfire tent",
	"forest":    "forest tree wood jungle pine bamboo deer bear owl rainforest autumn fall leaf leave",
	"city":      "city skyline street building tower town metropolis cyberpunk urban skyscraper",
	"space":     "space planet galaxy cosmos saturn mars astronaut rocket nebula universe alien spaceship",
	"bloom":     "flower rose blossom garden tulip sunflower bloom petal spring sakura cherry dahlia",
	"flow":      "abstract flow wind music dream river hair energy silk smoke swirl fluid emotion thought",
	"tiles":     "geometric geometry pattern tile bauhaus modern logo poster mosaic shape minimal architecture",
})

func lookup(table map[string]string) map[string]string {
	words := map[string]string{}
	for name, list := range table {
		for _, w := range splitWords(list) {
			words[singular(w)] = name
		}
	}
	return words
}
