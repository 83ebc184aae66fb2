package app

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/easel-jobs/easel/pkg/orchestrator"
)

// Processes that run on through a restore of Redis notice that its data went
// back in time. Those that start after it have seen nothing; so workers note in
// the artifact storage how far the data had come, and compare when they start.
//
// The note bears the name that the data of this Redis gave itself: a restored
// copy has the same one, while a Redis that was begun anew, on purpose or because
// it keeps nothing, has another and is compared with nothing.

// tideInterval is how often one of all workers writes the note: what a restore
// takes back of the last moments before everything died shows only if it was
// noted.
const tideInterval = 30 * time.Second

// tidePatience bounds how long storage may keep a start or a stop waiting.
const tidePatience = 10 * time.Second

// tideMark is the note, as one worker keeps it.
type tideMark struct {
	*platform
	name     string // empty: none is kept
	compared bool   // it is not written before it was read
}

// openTideMark compares the data with what was noted. What goes wrong is a
// warning and no more: the note is a net under the drill.
func (p *platform) openTideMark(ctx context.Context) *tideMark {
	m := &tideMark{platform: p}
	if p.fleeting {
		return m
	}
	identity, err := p.store.Identity(ctx)
	if err != nil {
		p.log.Warn("how far Redis has come is not noted", zap.Error(err))
		return m
	}
	m.name = "easel-tide-" + identity + ".txt"
	m.compare(ctx)
	return m
}

func (m *tideMark) compare(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tidePatience)
	defer cancel()
	text, err := m.artifacts.ReadNote(ctx, m.name)
	if errors.Is(err, orchestrator.ErrNoArtifact) {
		m.compared = true // nobody has noted anything yet
		return
	}
	seen, parseErr := time.Parse(time.RFC3339Nano, text)
	believed := err == nil && parseErr == nil
	if believed {
		believed, err = m.store.CompareTide(ctx, seen)
	}
	if err == nil {
		m.compared = true
	}
	if !believed || err != nil {
		m.log.Warn("the note of how far Redis had come cannot be used: a restore before this start is not noticed",
			zap.String("note", m.name), zap.Error(err))
	}
}

// keep writes the note until the context ends, and once more then.
func (m *tideMark) keep(ctx context.Context) error {
	if m.name == "" {
		return nil
	}
	ticker := time.NewTicker(tideInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			m.write(ctx)
			return nil
		case <-ticker.C:
		}
		// The error is told by whoever else needs Redis.
		if mine, err := m.store.TakeMark(ctx, tideInterval*9/10); err == nil && mine {
			m.write(ctx)
		}
	}
}

func (m *tideMark) write(ctx context.Context) {
	ctx = context.WithoutCancel(ctx) // a stop ends it by its patience, not half-way
	if !m.compared {
		m.compare(ctx)
	}
	tide := m.store.Tide()
	if !m.compared || tide.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tidePatience)
	defer cancel()
	if err := m.artifacts.WriteNote(ctx, m.name, tide.Format(time.RFC3339Nano)); err != nil {
		m.log.Warn("how far Redis has come could not be noted", zap.String("note", m.name), zap.Error(err))
	}
}
