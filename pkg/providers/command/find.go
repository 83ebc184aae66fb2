package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/easel-jobs/easel/pkg/classify"
	"github.com/easel-jobs/easel/pkg/providers"
)

// Find implements [providers.Finder]. A run that has left its mark here and is
// over is absent: its bytes are gone, and nothing was bought. One that is not
// over although its time is, since its worker was killed and the program was
// not, is killed first. Without a mark nobody can tell: the worker may have
// another data directory, or be another machine.
func (p *Provider) Find(_ context.Context, lost providers.Lost) (providers.Status, error) {
	id, err := idOf(lost.Request)
	if err != nil {
		return providers.Status{}, err
	}
	mark, err := os.OpenFile(p.markPath(id), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return providers.Status{}, fmt.Errorf("the run has left no mark in this data directory: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return providers.Status{}, p.unsure("the run's mark cannot be read", err)
	}
	defer func() { _ = mark.Close() }() // only read
	var was origin
	if err := json.NewDecoder(mark).Decode(&was); err != nil && !errors.Is(err, os.ErrClosed) {
		// Cut off while it was written, which is before anything ran.
		was = here()
	}
	if !was.mine() {
		return providers.Status{}, p.unsure("the program ran on another machine, which knows whether it is over", nil)
	}
	on, err := p.stillOn(mark, id)
	if err != nil {
		return providers.Status{}, p.unsure("the run's mark cannot be locked", err)
	}
	if on {
		killAll(processesOf(p.workPath(id)))
		return providers.Status{}, p.unsure("the program is not over yet", nil)
	}
	if err := os.RemoveAll(p.workPath(id)); err != nil {
		return providers.Status{}, p.unsure("the run's directory cannot be removed", err)
	}
	return providers.Status{}, providers.ErrAbsent
}

// ListLag implements [providers.Finder]: a mark is there before the program.
func (p *Provider) ListLag() time.Duration { return 0 }

// mine reports whether a run was under this kernel, or under one that this
// machine had before it was started again.
func (o origin) mine() bool {
	now := here()
	if o.Boot != "" && o.Boot == now.Boot {
		return true
	}
	return o.Host == now.Host
}

func (p *Provider) unsure(message string, cause error) error {
	return &classify.Error{Class: classify.Server, Provider: p.name, Code: "not_over", Message: message, Cause: cause}
}
