package artifacts

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files below are as small as their formats allow, and real enough to be
// recognized and measured.

func pngFile(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))))
	return b.Bytes()
}

// pngBomb claims more pixels than it has.
func pngBomb(t *testing.T, width, height uint32) []byte {
	t.Helper()
	b := pngFile(t, 1, 1)
	binary.BigEndian.PutUint32(b[16:], width)
	binary.BigEndian.PutUint32(b[20:], height)
	binary.BigEndian.PutUint32(b[29:], crc32.ChecksumIEEE(b[12:29]))
	return b
}

func jpegFile(t *testing.T, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, image.NewGray(image.Rect(0, 0, width, height)), nil))
	return b.Bytes()
}

// gifFile has frames with these delays, in hundredths of a second.
func gifFile(t *testing.T, width, height int, delays ...int) []byte {
	t.Helper()
	g := &gif.GIF{Delay: delays}
	for range delays {
		g.Image = append(g.Image, image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.White}))
	}
	var b bytes.Buffer
	require.NoError(t, gif.EncodeAll(&b, g))
	return b.Bytes()
}

// webpFile is 1 by 1.
func webpFile(t *testing.T) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString("UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEAAUAmJaQAA3AA/v89WAAAAA==")
	require.NoError(t, err)
	return b
}

// wavFile holds seconds of silence at 8 kHz, 8 bit. The length it claims is that
// of its samples, or claimed.
func wavFile(seconds int, claimed uint32) []byte {
	samples := seconds * 8000
	if claimed == 0 {
		claimed = uint32(samples)
	}
	b := []byte("RIFF\x00\x00\x00\x00WAVE")
	b = append(b, "LIST\x03\x00\x00\x00abc\x00"...) // odd length, padded
	b = append(b, "fmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	b = binary.LittleEndian.AppendUint32(b, 8000)
	b = binary.LittleEndian.AppendUint32(b, 8000)
	b = append(b, "\x01\x00\x08\x00data"...)
	b = binary.LittleEndian.AppendUint32(b, claimed)
	return append(b, make([]byte, samples)...)
}

// flacFile lasts 2.5 seconds at 44.1 kHz.
func flacFile() []byte {
	b := []byte("fLaC\x00\x00\x00\x22")
	b = append(b, make([]byte, 10)...) // block and frame sizes
	b = binary.BigEndian.AppendUint64(b, 44100<<44|1<<41|15<<36|110250)
	return append(b, make([]byte, 16)...) // MD5
}

func makeBox(kind string, content ...[]byte) []byte {
	inside := bytes.Join(content, nil)
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(inside)))
	return append(append(b, kind...), inside...)
}

// mp4File lasts 3.5 seconds and is 640 by 360. Its header stands behind a body of
// that size, as encoders leave it.
func mp4File(body int) []byte {
	header := make([]byte, 100)
	binary.BigEndian.PutUint32(header[12:], 1000)
	binary.BigEndian.PutUint32(header[16:], 3500)
	track := make([]byte, 84)
	binary.BigEndian.PutUint16(track[76:], 640)
	binary.BigEndian.PutUint16(track[80:], 360)
	sound := make([]byte, 84)
	return bytes.Join([][]byte{
		makeBox("ftyp", []byte("isom\x00\x00\x02\x00isommp42")),
		makeBox("mdat", make([]byte, body)),
		makeBox("moov", makeBox("mvhd", header), makeBox("trak", makeBox("tkhd", sound)), makeBox("trak", makeBox("tkhd", track))),
	}, nil)
}

// mp4Long has 64-bit lengths and times: 2 seconds.
func mp4Long() []byte {
	header := make([]byte, 112)
	header[0] = 1
	binary.BigEndian.PutUint32(header[20:], 90000)
	binary.BigEndian.PutUint64(header[24:], 180000)
	movie := makeBox("mvhd", header)
	long := append([]byte{0, 0, 0, 1}, "moov"...)
	long = binary.BigEndian.AppendUint64(long, uint64(16+len(movie)))
	return append(makeBox("ftyp", []byte("isom\x00\x00\x02\x00isommp42")), append(long, movie...)...)
}

// avifFile is 320 by 200, with a thumbnail.
func avifFile() []byte {
	extent := func(width, height uint32) []byte {
		b := binary.BigEndian.AppendUint32(make([]byte, 4), width)
		return makeBox("ispe", binary.BigEndian.AppendUint32(b, height))
	}
	return append(
		makeBox("ftyp", []byte("avif\x00\x00\x00\x00avifmif1")),
		makeBox("meta", make([]byte, 4), makeBox("iprp", makeBox("ipco", extent(32, 20), extent(320, 200))))...,
	)
}
