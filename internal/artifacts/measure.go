package artifacts

import (
	"bufio"
	"encoding/binary"
	"errors"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"time"

	"golang.org/x/image/webp"
)

// measures are what the header of a file says. What is unknown is zero.
type measures struct {
	width, height int
	duration      time.Duration
}

// maxMeasured bounds how much of a file is read to measure it.
const maxMeasured = 32 << 20

// measurers are the types that can be measured. None of them decodes a picture.
var measurers = map[string]func(r io.ReadSeeker, size int64) (measures, error){
	"image/png":  config(png.DecodeConfig),
	"image/jpeg": config(jpeg.DecodeConfig),
	"image/webp": config(webp.DecodeConfig),
	"image/gif":  measureGIF,
	"image/avif": measureAVIF,
	"video/mp4":  measureMP4,
	"audio/mp4":  measureMP4,
	"audio/wav":  measureWAV,
	"audio/flac": measureFLAC,
}

// measure reads the header of a file. A header that cannot be read leaves what
// was found until then.
func measure(mediaType string, r io.ReadSeeker, size int64) measures {
	measurer, ok := measurers[mediaType]
	if !ok {
		return measures{}
	}
	m, err := measurer(r, size)
	if err != nil {
		m.duration = 0 // a sum that stopped halfway
	}
	return m
}

func config(decode func(io.Reader) (image.Config, error)) func(io.ReadSeeker, int64) (measures, error) {
	return func(r io.ReadSeeker, _ int64) (measures, error) {
		c, err := decode(io.LimitReader(r, maxMeasured))
		return measures{width: c.Width, height: c.Height}, err
	}
}

var errFormat = errors.New("file does not follow its format")

// measureGIF sums the delays of the frames, which stand between the blocks of
// pixels. https://www.w3.org/Graphics/GIF/spec-gif89a.txt
func measureGIF(r io.ReadSeeker, _ int64) (measures, error) {
	c, err := gif.DecodeConfig(io.LimitReader(r, maxMeasured))
	if err != nil {
		return measures{}, err
	}
	m := measures{width: c.Width, height: c.Height}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return m, err
	}
	m.duration, err = gifDuration(bufio.NewReader(io.LimitReader(r, maxMeasured)))
	return m, err
}

func gifDuration(r *bufio.Reader) (time.Duration, error) {
	var screen [13]byte
	if _, err := io.ReadFull(r, screen[:]); err != nil {
		return 0, err
	}
	if err := skipColors(r, screen[10]); err != nil {
		return 0, err
	}
	var delays time.Duration
	for {
		block, err := r.ReadByte()
		if err != nil {
			return 0, err
		}
		switch block {
		case 0x3b: // trailer
			return delays, nil
		case 0x21: // extension
			delay, err := gifExtension(r)
			if err != nil {
				return 0, err
			}
			delays += delay
		case 0x2c: // image
			if err := skipFrame(r); err != nil {
				return 0, err
			}
		default:
			return 0, errFormat
		}
	}
}

// gifExtension returns the delay that a graphic control extension sets.
func gifExtension(r *bufio.Reader) (time.Duration, error) {
	label, err := r.ReadByte()
	if err != nil {
		return 0, err
	}
	if label != 0xf9 {
		return 0, skipBlocks(r)
	}
	var control [5]byte // length, flags, delay, transparent color
	if _, err := io.ReadFull(r, control[:]); err != nil {
		return 0, err
	}
	if control[0] != 4 {
		return 0, errFormat
	}
	return time.Duration(binary.LittleEndian.Uint16(control[2:])) * 10 * time.Millisecond, skipBlocks(r)
}

func skipFrame(r *bufio.Reader) error {
	var descriptor [9]byte
	if _, err := io.ReadFull(r, descriptor[:]); err != nil {
		return err
	}
	if err := skipColors(r, descriptor[8]); err != nil {
		return err
	}
	if _, err := r.Discard(1); err != nil { // code size
		return err
	}
	return skipBlocks(r)
}

// skipColors skips the color table that the flags announce.
func skipColors(r *bufio.Reader, flags byte) error {
	if flags&0x80 == 0 {
		return nil
	}
	_, err := r.Discard(3 << (flags&7 + 1))
	return err
}

func skipBlocks(r *bufio.Reader) error {
	for {
		length, err := r.ReadByte()
		if err != nil || length == 0 {
			return err
		}
		if _, err := r.Discard(int(length)); err != nil {
			return err
		}
	}
}

// measureWAV divides the length of the samples by the bytes per second. A file
// that was streamed does not know its length; then the samples last to its end.
func measureWAV(r io.ReadSeeker, size int64) (measures, error) {
	at := int64(12) // behind "RIFF", length, "WAVE"
	var perSecond uint32
	for range 1000 {
		var head [8]byte
		if err := readAt(r, at, head[:]); err != nil {
			return measures{}, err
		}
		length := int64(binary.LittleEndian.Uint32(head[4:]))
		at += 8
		switch string(head[:4]) {
		case "fmt ":
			var format [12]byte
			if err := readAt(r, at, format[:]); err != nil {
				return measures{}, err
			}
			perSecond = binary.LittleEndian.Uint32(format[8:])
		case "data":
			if length == 0 || at+length > size {
				length = size - at
			}
			return measures{duration: ratio(uint64(max(length, 0)), uint64(perSecond))}, nil
		}
		at += length + length&1
	}
	return measures{}, errFormat
}

// measureFLAC reads the STREAMINFO block (RFC 9639 §8.2), which comes first.
func measureFLAC(r io.ReadSeeker, _ int64) (measures, error) {
	var packed [8]byte // sample rate 20 bits, channels 3, sample size 5, samples 36
	if err := readAt(r, 18, packed[:]); err != nil {
		return measures{}, err
	}
	n := binary.BigEndian.Uint64(packed[:])
	return measures{duration: ratio(n&(1<<36-1), n>>44)}, nil
}

// ratio is count/perSecond seconds; zero when the rate is, or when the result is
// more than a year, which is no duration but a mistake.
func ratio(count, perSecond uint64) time.Duration {
	if perSecond == 0 {
		return 0
	}
	seconds := float64(count) / float64(perSecond)
	if seconds > 365*24*3600 {
		return 0
	}
	return time.Duration(seconds * float64(time.Second))
}

func readAt(r io.ReadSeeker, at int64, p []byte) error {
	if _, err := r.Seek(at, io.SeekStart); err != nil {
		return err
	}
	_, err := io.ReadFull(r, p)
	return err
}
