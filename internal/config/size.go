package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as 32MiB, 1GB or a plain number.
type Size int64

// The binary multiples.
const (
	Kibibyte Size = 1 << 10
	Mebibyte Size = 1 << 20
	Gibibyte Size = 1 << 30
	Tebibyte Size = 1 << 40
)

// units are the suffixes of a size, longest first where one ends in another.
var units = []struct {
	suffix string
	bytes  Size
}{
	{"TiB", Tebibyte}, {"GiB", Gibibyte}, {"MiB", Mebibyte}, {"KiB", Kibibyte},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"KB", 1e3}, {"B", 1},
}

var errSize = errors.New("must be a size such as 32MiB, 500MB or a number of bytes")

// ParseSize reads a size. The error does not repeat the text.
func ParseSize(text string) (Size, error) {
	number, multiple := strings.TrimSpace(text), Size(1)
	for _, unit := range units {
		if rest, found := cutSuffixFold(number, unit.suffix); found {
			number, multiple = strings.TrimSpace(rest), unit.bytes
			break
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || n < 0 || math.IsNaN(n) {
		return 0, errSize
	}
	total := n * float64(multiple)
	if total >= math.MaxInt64 {
		return 0, errSize
	}
	return Size(total), nil
}

func cutSuffixFold(text, suffix string) (string, bool) {
	at := len(text) - len(suffix)
	if at < 0 || !strings.EqualFold(text[at:], suffix) {
		return text, false
	}
	return text[:at], true
}

// String writes the size in the largest binary multiple that divides it.
func (s Size) String() string {
	for _, unit := range units[:4] {
		if s != 0 && s%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", s/unit.bytes, unit.suffix)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText is [Size.String].
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalYAML is [Size.String].
func (s Size) MarshalYAML() (any, error) { return s.String(), nil }
