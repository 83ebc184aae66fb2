package sketch

import (
	"bytes"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"

	_ "golang.org/x/image/webp" // so that given pictures may be WebP

	"github.com/easel-jobs/easel/pkg/providers/sketch/render"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// onePixel is what sketch-noop draws: a PNG of one transparent pixel.
var onePixel = []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89" +
	"\x00\x00\x00\rIDATx\xdac\xfc\xff\x9f\xa1\x1e\x00\x07\x82\x02\x7f\x3d\xc8H\xef\x00\x00\x00\x00IEND\xaeB`\x82")

// needsImage reports whether a feature works on a given picture.
func needsImage(f tasks.Feature) bool {
	switch f {
	case tasks.ImageToImage, tasks.Upscale, tasks.RemoveBackground, tasks.ImageToVideo:
		return true
	}
	return false
}

// mediaType is what an order makes, with the ending of its file names.
func (o order) mediaType() (mediaType, ending string) {
	switch offerOf(o.feature).kind {
	case "video":
		return "image/gif", "gif"
	case "audio":
		return "audio/wav", "wav"
	}
	if o.format == "jpeg" && o.model != ModelNoop {
		return "image/jpeg", "jpg"
	}
	return "image/png", "png"
}

// image is the picture that was given, or nil.
func (e entry) image() []byte {
	for _, f := range e.Files {
		if f.Pointer == "/image" {
			return f.Data
		}
	}
	return nil
}

// draw makes the bytes of the n-th output. The same order gives the same bytes.
func (o order) draw(source []byte, n int) ([]byte, error) {
	brief := render.Brief{Prompt: o.prompt, Style: o.style, Seed: o.seed + uint64(n), Width: o.width, Height: o.height}
	switch o.feature {
	case tasks.TextToImage:
		return o.encode(render.Picture(brief))
	case tasks.TextToVideo:
		return encodeGIF(render.Animation(brief, o.frames()))
	case tasks.TextToSpeech:
		return render.Speech(o.prompt, o.voice, brief.Seed, maxSpeech).WAV(), nil
	case tasks.TextToAudio:
		return render.Music(brief, o.duration).WAV(), nil
	}
	picture, err := decode(source)
	if err != nil {
		return nil, err
	}
	switch o.feature {
	case tasks.ImageToImage:
		if o.width == 0 {
			brief.Width, brief.Height = fitting(picture.Bounds().Dx(), picture.Bounds().Dy(), maxPixels/o.count)
		}
		return o.encode(render.Repaint(picture, brief, o.strength))
	case tasks.Upscale:
		return o.encode(render.Upscale(picture, o.factor))
	case tasks.RemoveBackground:
		return o.encode(render.Cutout(picture))
	case tasks.ImageToVideo:
		return encodeGIF(render.Drift(picture, brief, o.frames()))
	}
	return nil, fmt.Errorf("feature %s cannot be drawn", o.feature)
}

// fitting scales a size down until it is within the limits of an order.
func fitting(w, h, pixels int) (width, height int) {
	width, height = max(w, minSide), max(h, minSide)
	for width > maxSide || height > maxSide || width*height > pixels {
		width, height = max(width*9/10, minSide), max(height*9/10, minSide)
	}
	return width, height
}

func (o order) encode(picture image.Image) ([]byte, error) {
	var out bytes.Buffer
	if o.format == "jpeg" {
		err := jpeg.Encode(&out, picture, &jpeg.Options{Quality: 90})
		return out.Bytes(), err
	}
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	err := encoder.Encode(&out, picture)
	return out.Bytes(), err
}

func encodeGIF(animation *gif.GIF) ([]byte, error) {
	var out bytes.Buffer
	err := gif.EncodeAll(&out, animation)
	return out.Bytes(), err
}

// sourceSize reads the head of a given picture and holds it to the limits, so
// that nothing is decoded that was made to fill our memory.
func sourceSize(data []byte, o order) (image.Config, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(data))
	pixels := config.Width * config.Height
	switch {
	case err != nil:
		return config, invalid("/input_data/image", "must be PNG, JPEG, GIF or WebP")
	case config.Width < 1 || config.Height < 1 || pixels > maxInputPixels:
		return config, invalid("/input_data/image", "must not have more than %d pixels", maxInputPixels)
	case o.feature == tasks.Upscale && pixels*o.factor*o.factor > maxInputPixels:
		return config, invalid("/input_data/factor", "makes the picture larger than %d pixels", maxInputPixels)
	}
	return config, nil
}

func decode(data []byte) (image.Image, error) {
	if _, err := sourceSize(data, order{}); err != nil {
		return nil, err
	}
	picture, _, err := image.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode the given picture: %w", err)
	}
	return picture, nil
}
