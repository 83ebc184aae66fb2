package orchestrator

import (
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
	"github.com/easel-jobs/easel/pkg/tasks"
)

// The most that a provider's answer may put into a record. What is longer, or
// makes no sense, is a provider's mistake or malice; a record that cannot be
// written would leave the job for ever.
const (
	longestMessage  = 500
	longestAddress  = 16 << 10 // a signed URL has a few kilobytes
	longestID       = 1 << 10
	mostWarnings    = 20
	longestETA      = 30 * 24 * time.Hour
	longestPollWait = classify.MaxRetryAfter
)

// sane is a provider's answer without what must not get into a record.
func (e *Engine) sane(st providers.Status) providers.Status {
	st.Message = legible(st.Message, longestMessage)
	if p := st.Percent; p != nil && (math.IsNaN(*p) || *p < 0 || *p > 100) {
		st.Percent = nil // no fake progress
	}
	if q := st.QueuePosition; q != nil && *q < 0 {
		st.QueuePosition = nil
	}
	if st.ETA < 0 || st.ETA > longestETA {
		st.ETA = 0
	}
	st.PollAfter = min(max(st.PollAfter, 0), longestPollWait)
	st.PollURL, st.CancelURL = address(st.PollURL), address(st.CancelURL)
	if len(st.Warnings) > mostWarnings {
		st.Warnings = st.Warnings[:mostWarnings]
	}
	for i := range st.Warnings {
		st.Warnings[i].Message = legible(st.Warnings[i].Message, longestMessage)
	}
	if st.Failure != nil {
		failure := *st.Failure
		failure.Message, failure.Code = legible(failure.Message, longestMessage), legible(failure.Code, longestMessage)
		st.Failure = &failure
	}
	return e.saneOutputs(st)
}

// saneOutputs leaves out what cannot be fetched, and what there is too much of,
// and says so.
func (e *Engine) saneOutputs(st providers.Status) providers.Status {
	outputs := make([]providers.Output, 0, min(len(st.Outputs), e.Limits.Outputs))
	for _, out := range st.Outputs {
		if len(outputs) == e.Limits.Outputs {
			break
		}
		if out.Name = legible(out.Name, longestMessage); address(out.URL) == out.URL {
			outputs = append(outputs, out)
		}
	}
	if len(outputs) < len(st.Outputs) {
		st.Warnings = append(st.Warnings, tasks.Warning{
			Code: "outputs_dropped", Message: "the provider brought more files than are kept, or some that cannot be fetched",
		})
	}
	st.Outputs = outputs
	return st
}

// address is a URL, or empty when it is too long to be one.
func address(url string) string {
	if len(url) > longestAddress {
		return ""
	}
	return url
}

// legible is a text cut to size, as UTF-8, on one line.
func legible(text string, most int) string {
	if len(text) > most {
		text = text[:most] // a character that is cut in two is dropped below
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}
