package providers

import (
	"slices"
	"strings"
	"time"
)

const (
	clockSkew = 2 * time.Minute  // between our clock and the provider's
	findSpan  = 15 * time.Minute // a submission that took longer is given up
)

// Listed is a generation in a provider's list, as far as it tells whether it can
// be a lost submission.
type Listed struct {
	ID      string
	Created time.Time
	// Input is what was asked for, nil where the list does not say.
	Input map[string]any
}

// FindSince is from when on a provider's list has to be read for a lost
// submission, FindUntil up to when.
func (l Lost) FindSince() time.Time { return l.SentAt.Add(-clockSkew) }

// FindUntil is the end of what has to be read.
func (l Lost) FindUntil() time.Time { return l.SentAt.Add(findSpan) }

// Match picks the one generation that a lost submission can have become: created
// around the time of the call, for the same input. Whole says that the list has
// everything since [Lost.FindSince]. Where several fit nobody can tell them
// apart, and what cannot be compared may be the one: both are errors, and only
// if there is surely none it is [ErrAbsent].
func (c *Client) Match(lost Lost, sent map[string]any, list []Listed, whole bool) (id string, err error) {
	var fitting []string
	for _, one := range list {
		if one.Created.Before(lost.FindSince()) || one.Created.After(lost.FindUntil()) {
			continue
		}
		if one.Input == nil {
			return "", c.Strange(false, "the list does not say what was asked for")
		}
		// Pages overlap while a list grows.
		if resembles(sent, one.Input) && !slices.Contains(fitting, one.ID) {
			fitting = append(fitting, one.ID)
		}
	}
	switch {
	case len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return "", c.Strange(false, "%d generations fit the submission", len(fitting))
	case !whole:
		return "", c.Strange(false, "the list does not surely have every submission of that time")
	}
	return "", ErrAbsent
}

// resembles compares the texts, numbers and switches that both have. Files are
// left out: providers put addresses of their own in their place.
func resembles(sent, listed map[string]any) bool {
	for key, value := range sent {
		other, given := listed[key]
		if !given || other == nil {
			continue
		}
		switch value := value.(type) {
		case string:
			text, ok := other.(string)
			file := isURL(value) || strings.HasPrefix(value, "data:") || len(value) > maxCompared
			if ok && !file && strings.TrimSpace(text) != strings.TrimSpace(value) {
				return false
			}
		case float64, bool:
			if other != value {
				return false
			}
		}
	}
	return true
}

// maxCompared is longer than any prompt; longer texts are files in base64.
const maxCompared = 100_000
