package artifacts

import (
	"encoding/binary"
	"io"
)

// A box is one part of an ISO base media file (ISO/IEC 14496-12): MP4 and AVIF
// are trees of them.
type box struct {
	kind       string
	start, end int64 // of its content
}

// maxBoxes bounds how many boxes of one parent are looked at.
const maxBoxes = 1000

// children lists the boxes in a part of the file. Boxes that reach beyond it are
// cut, so that a file without its end still tells what it can.
func children(r io.ReadSeeker, start, end int64) ([]box, error) {
	var boxes []box
	for at := start; at+8 <= end && len(boxes) < maxBoxes; {
		var head [16]byte
		if err := readAt(r, at, head[:8]); err != nil {
			return boxes, err
		}
		length, header := int64(binary.BigEndian.Uint32(head[:])), int64(8)
		switch length {
		case 0: // to the end
			length = end - at
		case 1: // a long one
			if err := readAt(r, at+8, head[8:]); err != nil {
				return boxes, err
			}
			length, header = int64(binary.BigEndian.Uint64(head[8:])), 16
		}
		if length < header || length > end-at {
			length = end - at
		}
		if length < header {
			return boxes, errFormat
		}
		boxes = append(boxes, box{string(head[4:8]), at + header, at + length})
		at += length
	}
	return boxes, nil
}

// find returns the boxes that lie at a path below a part of the file.
func find(r io.ReadSeeker, start, end int64, path ...string) ([]box, error) {
	level, err := children(r, start, end)
	if err != nil && len(level) == 0 {
		return nil, err
	}
	var found []box
	for _, b := range level {
		if b.kind != path[0] {
			continue
		}
		if len(path) == 1 {
			found = append(found, b)
			continue
		}
		if b.kind == "meta" {
			b.start += 4 // version and flags
		}
		below, err := find(r, b.start, b.end, path[1:]...)
		if err != nil {
			return found, err
		}
		found = append(found, below...)
	}
	return found, nil
}

// measureMP4 reads the duration from the movie's header and the dimensions from
// its tracks'.
func measureMP4(r io.ReadSeeker, size int64) (measures, error) {
	movies, err := find(r, 0, size, "moov")
	if err != nil || len(movies) == 0 {
		return measures{}, err
	}
	movie := movies[0]
	var m measures
	tracks, err := find(r, movie.start, movie.end, "trak", "tkhd")
	if err != nil {
		return m, err
	}
	for _, t := range tracks {
		var dimensions [8]byte // fixed point, 16.16, at the end
		if err := readAt(r, max(t.end-8, t.start), dimensions[:]); err != nil {
			return m, err
		}
		m.enlarge(int(binary.BigEndian.Uint16(dimensions[:])), int(binary.BigEndian.Uint16(dimensions[4:])))
	}
	headers, err := find(r, movie.start, movie.end, "mvhd")
	if err != nil || len(headers) == 0 {
		return m, err
	}
	var h [32]byte
	if headers[0].end-headers[0].start < int64(len(h)) {
		return m, errFormat
	}
	if err := readAt(r, headers[0].start, h[:]); err != nil {
		return m, err
	}
	if h[0] == 1 { // version with 64-bit times
		m.duration = ratio(binary.BigEndian.Uint64(h[24:]), uint64(binary.BigEndian.Uint32(h[20:])))
	} else {
		m.duration = ratio(uint64(binary.BigEndian.Uint32(h[16:])), uint64(binary.BigEndian.Uint32(h[12:])))
	}
	return m, nil
}

// measureAVIF takes the largest picture: the others are thumbnails, or tiles and
// masks of it.
func measureAVIF(r io.ReadSeeker, size int64) (measures, error) {
	var m measures
	extents, err := find(r, 0, size, "meta", "iprp", "ipco", "ispe")
	for _, e := range extents {
		var p [12]byte // version and flags, width, height
		if err := readAt(r, e.start, p[:]); err != nil {
			return m, err
		}
		width, height := binary.BigEndian.Uint32(p[4:]), binary.BigEndian.Uint32(p[8:])
		if width < 1<<20 && height < 1<<20 {
			m.enlarge(int(width), int(height))
		}
	}
	return m, err
}

func (m *measures) enlarge(width, height int) {
	if width*height > m.width*m.height {
		m.width, m.height = width, height
	}
}
