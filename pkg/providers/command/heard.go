package command

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// heard is what a program has written, of which the end is kept, and how far it
// said to be.
type heard struct {
	keep     int
	progress *regexp.Regexp

	mu   sync.Mutex
	tail []byte
	line []byte // what has been written since the last line end
	part *float64
}

func newHeard(c *command) *heard { return &heard{keep: c.config.KeptOutput, progress: c.progress} }

// maxLine is how much of a line is looked at for progress.
const maxLine = 4 << 10

// listen reads until nobody can write any more.
func (h *heard) listen(output io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := output.Read(buffer)
		h.take(buffer[:n])
		if err != nil {
			return
		}
	}
}

func (h *heard) take(text []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tail = append(h.tail, text...)
	if excess := len(h.tail) - h.keep; excess > 0 {
		h.tail = slices.Delete(h.tail, 0, excess)
	}
	if h.progress == nil {
		return
	}
	for {
		// Progress bars end their lines with a carriage return.
		end := bytes.IndexAny(text, "\r\n")
		if end < 0 {
			break
		}
		h.line = append(h.line, text[:end]...)
		h.measure()
		h.line, text = h.line[:0], text[end+1:]
	}
	h.line = append(h.line, text[:min(len(text), max(0, maxLine-len(h.line)))]...)
}

// measure looks for progress in the line. What goes back is not believed:
// programs begin again with each of their steps.
func (h *heard) measure() {
	line := h.line[:min(len(h.line), maxLine)]
	found := h.progress.FindSubmatch(line)
	if found == nil {
		return
	}
	value := func(name string) (float64, bool) {
		i := h.progress.SubexpIndex(name)
		if i < 0 {
			return 0, false
		}
		number, err := strconv.ParseFloat(string(found[i]), 64)
		return number, err == nil
	}
	percent, ok := value("percent")
	if !ok {
		done, known := value("done")
		total, whole := value("total")
		ok = known && whole && total > 0
		percent = done / total * 100
	}
	if ok && percent >= 0 && percent <= 100 && (h.part == nil || percent > *h.part) {
		h.part = &percent
	}
}

func (h *heard) percent() *float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.part
}

// lastLine is the last thing that the program said, for whoever wonders why it
// failed.
func (h *heard) lastLine() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	lines := strings.FieldsFunc(string(h.tail), func(r rune) bool { return r == '\n' || r == '\r' })
	for _, line := range slices.Backward(lines) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// progressOf compiles the expression that finds progress.
func progressOf(expression string) (*regexp.Regexp, error) {
	if expression == "" {
		return nil, nil
	}
	compiled, err := regexp.Compile(expression)
	if err != nil {
		return nil, errors.New("is not a regular expression")
	}
	names := compiled.SubexpNames()
	if !slices.Contains(names, "percent") && !(slices.Contains(names, "done") && slices.Contains(names, "total")) {
		return nil, errors.New("needs a group named percent, or two named done and total, as in (?P<percent>[0-9.]+)%")
	}
	return compiled, nil
}
