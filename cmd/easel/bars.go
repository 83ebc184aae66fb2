package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// bars shows how jobs fare. On a terminal each has a line that is redrawn in
// place; elsewhere a line is written whenever a job has got further. Its methods
// may be called concurrently.
type bars struct {
	w       io.Writer
	redraws bool
	width   int
	color   bool

	mu     sync.Mutex
	labels []string
	jobs   []client.Job
	told   []string // what was written last of each, where nothing is redrawn
	drawn  int      // lines on the screen
}

const (
	barCells     = 24
	defaultWidth = 80
)

// newBars shows jobs under these labels.
func (p *program) newBars(labels []string) *bars {
	b := &bars{
		w: p.stderr, redraws: p.interactive, width: defaultWidth,
		labels: labels, jobs: make([]client.Job, len(labels)), told: make([]string, len(labels)),
	}
	if columns, ok := p.lookupEnv("COLUMNS"); ok {
		if n, err := strconv.Atoi(columns); err == nil && n >= 20 {
			b.width = n
		}
	}
	_, plain := p.lookupEnv("NO_COLOR")
	b.color = p.interactive && !plain
	return b
}

// begin says under which labels jobs are shown, before the first is.
func (b *bars) begin(labels []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.labels, b.jobs, b.told = labels, make([]client.Job, len(labels)), make([]string, len(labels))
}

// show says how the job at index fares now.
func (b *bars) show(index int, job client.Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.jobs[index] = job
	if b.redraws {
		b.erase()
		b.draw()
		return
	}
	if text := plainProgress(job); text != b.told[index] {
		b.told[index] = text
		fmt.Fprintf(b.w, "%s  %s\n", b.labels[index], text)
	}
}

// Write writes what belongs above the bars, such as a log, and draws them again
// below it.
func (b *bars) Write(text []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.erase()
	n, err := b.w.Write(text)
	if b.drawnBefore() {
		b.draw()
	}
	return n, err
}

func (b *bars) drawnBefore() bool {
	for _, job := range b.jobs {
		if b.redraws && job.ID != "" {
			return true
		}
	}
	return false
}

// Escape sequences (ECMA-48). Lines do not wrap while they are drawn: one that
// took two rows could not be found again.
const (
	cursorUp  = "\x1b[%dA"
	eraseDown = "\r\x1b[J"
	wrapOff   = "\x1b[?7l"
	wrapOn    = "\x1b[?7h"
	green     = "\x1b[32m"
	red       = "\x1b[31m"
	yellow    = "\x1b[33m"
	plainText = "\x1b[0m"
)

func (b *bars) erase() {
	if b.drawn > 0 {
		fmt.Fprintf(b.w, cursorUp+eraseDown, b.drawn)
		b.drawn = 0
	}
}

func (b *bars) draw() {
	var out strings.Builder
	out.WriteString(wrapOff)
	for i, job := range b.jobs {
		if job.ID == "" {
			continue
		}
		out.WriteString(b.line(b.labels[i], job) + "\n")
		b.drawn++
	}
	out.WriteString(wrapOn)
	_, _ = io.WriteString(b.w, out.String()) // a screen that is gone shows nothing
}

func (b *bars) line(label string, job client.Job) string {
	wide := 0
	for _, other := range b.labels {
		wide = max(wide, utf8.RuneCountInString(other))
	}
	head := fmt.Sprintf("%s%s  %s  %5s  ", label, strings.Repeat(" ", wide-utf8.RuneCountInString(label)), gauge(job), percent(job))
	tail := truncate(state(job), b.width-1-utf8.RuneCountInString(head))
	if !b.color {
		return head + tail
	}
	switch job.Status {
	case tasks.StatusCompleted:
		return head + green + tail + plainText
	case tasks.StatusFailed, tasks.StatusCanceled:
		return head + red + tail + plainText
	case tasks.StatusUnresolved:
		return head + yellow + tail + plainText
	}
	return head + tail
}

// gauge fills as far as somebody has said that the job is, and not further.
func gauge(job client.Job) string {
	filled := 0
	if p := job.Progress.Percent; p != nil {
		filled = int(min(max(*p, 0), 100) / 100 * barCells)
	}
	return strings.Repeat("█", filled) + strings.Repeat("░", barCells-filled)
}

// percent marks what is our estimate and not the provider's word.
func percent(job client.Job) string {
	p := job.Progress.Percent
	if p == nil {
		return "–"
	}
	text := fmt.Sprintf("%.0f%%", min(max(*p, 0), 100))
	if job.Progress.Estimated {
		return "~" + text
	}
	return text
}

// state says in words how a job fares.
func state(job client.Job) string {
	text := string(job.Status)
	switch {
	case job.Error != nil && job.Status.AtRest():
		text += ": " + job.Error.Message
	case job.Status.AtRest():
	case job.Progress.QueuePosition != nil:
		text += fmt.Sprintf(", %d ahead", *job.Progress.QueuePosition)
	case job.Progress.Message != "" && job.Progress.Message != string(job.Status):
		text += ": " + job.Progress.Message
	case job.Progress.Stage != "" && string(job.Progress.Stage) != string(job.Status):
		text += ": " + string(job.Progress.Stage)
	}
	return printable(text)
}

// plainProgress changes when there is something worth a line of a log: every
// percent would not be.
func plainProgress(job client.Job) string {
	if job.Status.AtRest() {
		return state(job)
	}
	text := string(job.Status)
	if job.Progress.Stage != "" && string(job.Progress.Stage) != text {
		text += ": " + string(job.Progress.Stage)
	}
	if p := job.Progress.Percent; p != nil && *p >= 25 {
		quarter := fmt.Sprintf(" %d%%", int(min(*p, 100))/25*25)
		if job.Progress.Estimated {
			quarter = " ~" + quarter[1:]
		}
		text += quarter
	}
	return text
}

func truncate(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	if width < 1 {
		return ""
	}
	return string([]rune(text)[:width-1]) + "…"
}

// printable takes out what would move the cursor or worse: texts come from
// providers.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return ' '
		}
		return r
	}, text)
}

// printableLines is printable for a text of several lines.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}
