package render

import (
	"fmt"
	"hash/fnv"
	"image"
	imagecolor "image/color"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gomedium"
	"golang.org/x/image/font/opentype"
	"golang.org/x/image/math/fixed"
)

// captionLines is how much of a long prompt is shown.
const captionLines = 3

// typeface parses the Go font once. The font is part of the binary, so that a
// failure would be one of the build and not of the machine.
var typeface = sync.OnceValue(func() *opentype.Font {
	f, err := opentype.Parse(gomedium.TTF)
	if err != nil {
		panic("render: built-in font: " + err.Error())
	}
	return f
})

// lettered writes the prompt over the foot of a painted canvas and develops it.
func lettered(c *canvas, prompt string, vignette float64) *image.RGBA {
	size := max(float64(min(c.w, c.h))*0.042, 9)
	// A face keeps buffers and is not for sharing between goroutines.
	face, err := opentype.NewFace(typeface(), &opentype.FaceOptions{Size: size, DPI: 72, Hinting: font.HintingNone})
	if err != nil {
		panic("render: built-in font: " + err.Error())
	}
	margin := int(size * 0.95)
	lines := wrap(face, legible(prompt), c.w-2*margin)
	leading := size * 1.32
	block := float64(len(lines)) * leading
	band := int(block + size*2.2)
	c.shade(c.h-band, c.h, func(_, y int, old color) color {
		v := float64(y-(c.h-band)) / float64(max(band, 1))
		return old.mix(hex(0x07070c), 0.74*smooth(0, 0.75, v))
	})
	picture := c.image(vignette)
	for i, line := range lines {
		baseline := float64(c.h) - float64(margin)*0.85 - block + leading*float64(i+1) - size*0.28
		letter(picture, face, line, margin, baseline, size)
	}
	return picture
}

// letter draws one line with a thin shadow.
func letter(picture *image.RGBA, face font.Face, line string, x int, baseline, size float64) {
	for _, layer := range []struct {
		ink   *image.Uniform
		shift float64
	}{
		{image.NewUniform(imagecolor.NRGBA{A: 140}), size * 0.05},
		{image.NewUniform(imagecolor.NRGBA{R: 250, G: 247, B: 240, A: 250}), 0},
	} {
		(&font.Drawer{
			Dst: picture, Src: layer.ink, Face: face,
			Dot: fixed.Point26_6{X: fixed.I(x) + fixed.Int26_6(layer.shift*64), Y: fixed.Int26_6((baseline + layer.shift) * 64)},
		}).DrawString(line)
	}
}

// legible keeps what the font can show. A prompt in another script is numbered
// like an untitled work.
func legible(prompt string) string {
	var kept strings.Builder
	shown := 0
	for _, r := range firstRunes(prompt, 600) {
		if unicode.IsSpace(r) {
			kept.WriteByte(' ')
			continue
		}
		if index, err := typeface().GlyphIndex(nil, r); err != nil || index == 0 || !unicode.IsGraphic(r) {
			continue
		}
		kept.WriteRune(r)
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			shown++
		}
	}
	if shown == 0 {
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(prompt)) // a hash.Hash never fails to write
		return fmt.Sprintf("untitled, no. %04X", sum.Sum32()&0xffff)
	}
	return strings.Join(strings.Fields(kept.String()), " ")
}

// firstRunes cuts a text without cutting a character.
func firstRunes(text string, n int) []rune {
	runes := make([]rune, 0, min(n, len(text)))
	for _, r := range text {
		if len(runes) == n {
			break
		}
		runes = append(runes, r)
	}
	return runes
}

// wrap breaks a text into lines of at most width pixels; what does not fit into
// captionLines ends with an ellipsis.
func wrap(face font.Face, text string, width int) []string {
	fits := func(line string) bool { return font.MeasureString(face, line).Ceil() <= width }
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if joined := strings.TrimSpace(line + " " + word); fits(joined) {
			line = joined
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		if len(lines) == captionLines {
			lines[captionLines-1] = shorten(lines[captionLines-1]+" …", fits)
			return lines
		}
		line = shorten(word, fits)
	}
	return append(lines, line)
}

// shorten drops letters from the end until the line fits.
func shorten(line string, fits func(string) bool) string {
	if fits(line) {
		return line
	}
	runes := []rune(strings.TrimRight(line, "…"))
	for len(runes) > 1 && !fits(string(runes)+"…") {
		runes = runes[:len(runes)-1]
	}
	return strings.TrimRight(string(runes), " ,;:") + "…"
}
