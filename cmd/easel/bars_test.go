package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/easel-jobs/easel/pkg/client"
	"github.com/easel-jobs/easel/pkg/tasks"
)

func sha256Of(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func at(percent float64, estimated bool) client.Job {
	return client.Job{ID: "job_1", Status: tasks.StatusProcessing, Progress: tasks.ProgressView{
		Stage: tasks.StageProcessing, Percent: &percent, Estimated: estimated, Message: "drawing"}}
}

// terminal replays what was written on a screen of unlimited height.
func terminal(t *testing.T, text string) []string {
	t.Helper()
	lines, row := []string{""}, 0
	for len(text) > 0 {
		switch {
		case strings.HasPrefix(text, "\x1b["):
			end := strings.IndexAny(text[2:], "AJhlm") + 3
			switch sequence := text[:end]; sequence[len(sequence)-1] {
			case 'A':
				up := 0
				_, err := fmt.Sscanf(sequence, "\x1b[%dA", &up)
				require.NoError(t, err)
				row -= up
				require.GreaterOrEqual(t, row, 0, "must not leave its own lines")
			case 'J':
				lines = lines[:row+1]
				lines[row] = ""
			}
			text = text[end:]
		case text[0] == '\n':
			row++
			if row == len(lines) {
				lines = append(lines, "")
			}
			text = text[1:]
		case text[0] == '\r':
			text = text[1:]
		default:
			lines[row] += text[:1]
			text = text[1:]
		}
	}
	return lines
}

func TestBarsRedraw(t *testing.T) {
	t.Parallel()
	e := newEasel(nil)
	e.interactive, e.env["NO_COLOR"] = true, ""
	b := e.newBars([]string{"image", "video"})
	b.show(0, at(0, false))
	b.show(1, at(50, true))
	_, err := b.Write([]byte("a warning\n"))
	require.NoError(t, err)
	b.show(0, client.Job{ID: "job_1", Status: tasks.StatusFailed, Error: &tasks.FailureView{Message: "no\x1b[2Jluck\nat all"}})
	b.show(1, at(100, false))
	require.Equal(t, []string{
		"a warning",
		"image  ░░░░░░░░░░░░░░░░░░░░░░░░      –  failed: no [2Jluck at all",
		"video  ████████████████████████   100%  processing: drawing",
		"",
	}, terminal(t, e.err.String()))
	require.Contains(t, e.err.String(), "████████████░░░░░░░░░░░░   ~50%", "an estimate is marked")
}

func TestBarsFitTheScreen(t *testing.T) {
	t.Parallel()
	e := newEasel(nil)
	e.interactive, e.env["NO_COLOR"], e.env["COLUMNS"] = true, "", "50"
	job := at(10, false)
	job.Progress.Message = strings.Repeat("long ", 50)
	e.newBars([]string{"image"}).show(0, job)
	for _, line := range terminal(t, e.err.String()) {
		require.Less(t, len([]rune(line)), 50)
	}
}

func TestBarsInALog(t *testing.T) {
	t.Parallel()
	e := newEasel(nil)
	b := e.newBars([]string{"image"})
	for percent := range 101 {
		b.show(0, at(float64(percent), false))
	}
	b.show(0, client.Job{ID: "job_1", Status: tasks.StatusCompleted})
	require.Equal(t, "image  processing\nimage  processing 25%\nimage  processing 50%\nimage  processing 75%\nimage  processing 100%\nimage  completed\n", e.err.String())
}

func TestBarsTogether(t *testing.T) {
	t.Parallel()
	e := newEasel(nil)
	e.interactive, e.env["NO_COLOR"] = true, ""
	b := e.newBars([]string{"a", "b", "c"})
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			for percent := range 50 {
				b.show(i, at(float64(percent), false))
				_, _ = b.Write([]byte("log\n"))
			}
		})
	}
	all.Wait()
	screen := terminal(t, e.err.String())
	require.Len(t, screen, 150+3+1, "every line of the log, and each bar once")
	require.Contains(t, screen[150], "49%")
}
